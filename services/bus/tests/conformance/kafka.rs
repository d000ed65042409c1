//! A real broker.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use clap::Parser;
use localcluster::standalone::Broker;
use localcluster::{Cache, Kafka, KafkaUser, Lines, Tools};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use todo_bus::kafka::{KafkaBus, Options};
use todo_bus::{EventBus, Mode};
use todo_kit::metrics::Metrics;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::messages::{Recorder, keys, messages};
use crate::rig::{DEADLINE, Keys, PARTITIONS, Rig, subscription, until};

const DRAIN: Duration = Duration::from_secs(20);

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    kafka: Options,
}

/// Options as the command line gives them.
fn options(words: &[&str]) -> Options {
    Arguments::try_parse_from(["test"].iter().chain(words))
        .unwrap()
        .kafka
}

pub struct KafkaRig {
    broker: Mutex<Broker>,
    bootstrap: String,
    user: KafkaUser,
}

impl KafkaRig {
    pub async fn start() -> Self {
        let user = KafkaUser {
            name: "todo".to_owned(),
            password: "secret".to_owned(),
        };
        let config = Kafka {
            port: None,
            sasl: Some(user.clone()),
        };
        let tools = Tools::new(Cache::from_env());
        let broker = Broker::start(&tools, config, &Lines).await.unwrap();
        Self {
            bootstrap: broker.bootstrap(),
            broker: Mutex::new(broker),
            user,
        }
    }

    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    fn open(&self) -> KafkaBus {
        let options = options(&["--kafka-bootstrap-servers", self.bootstrap()]);
        KafkaBus::new(options, "test", Metrics::default(), DRAIN).unwrap()
    }

    async fn make_topic(&self, name: &str) {
        let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
            .set("bootstrap.servers", self.bootstrap())
            .create()
            .unwrap();
        let partitions = i32::try_from(PARTITIONS).unwrap();
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
        // A broker on a busy machine is late with its heartbeats, and counts as gone for a while.
        until("the topic is made", async || {
            let made = admin.create_topics([&topic], &options).await.unwrap();
            match made.into_iter().next().unwrap() {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => Some(()),
                Err((_, RDKafkaErrorCode::InvalidReplicationFactor)) => None,
                Err(error) => panic!("{error:?}"),
            }
        })
        .await;
        until("the topic is known", async || {
            let metadata = admin.inner().fetch_metadata(Some(name), DEADLINE).unwrap();
            let made = metadata.topics()[0].partitions();
            let all = made.len() == PARTITIONS as usize;
            (all && made.iter().all(|partition| partition.leader() >= 0)).then_some(())
        })
        .await;
    }

    /// Reads a topic from its beginning to its end, as no member of any group: keys and partitions of its messages.
    async fn find(&self, topic: &str) -> Vec<(String, u32)> {
        let (bootstrap, topic) = (self.bootstrap.clone(), topic.to_owned());
        let finding = tokio::task::spawn_blocking(move || find(&bootstrap, &topic));
        finding.await.unwrap()
    }
}

fn find(bootstrap: &str, topic: &str) -> Vec<(String, u32)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "finder")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let mut all = TopicPartitionList::new();
    for partition in 0..i32::try_from(PARTITIONS).unwrap() {
        all.add_partition_offset(topic, partition, Offset::Beginning)
            .unwrap();
    }
    consumer.assign(&all).unwrap();
    let (mut found, mut ends) = (Vec::new(), BTreeSet::new());
    while ends.len() < all.count() {
        match consumer
            .poll(DEADLINE)
            .expect("neither a message nor an end")
        {
            Ok(message) => {
                let key = String::from_utf8(message.key().unwrap().to_vec()).unwrap();
                let partition = u32::try_from(message.partition()).unwrap();
                found.push((key, partition));
            }
            Err(KafkaError::PartitionEOF(partition)) => {
                ends.insert(partition);
            }
            Err(error) => panic!("{error}"),
        }
    }
    found
}

#[async_trait(?Send)]
impl Rig for KafkaRig {
    fn name(&self) -> &'static str {
        "kafka"
    }

    async fn topic(&self, name: &str) {
        self.make_topic(name).await;
    }

    async fn bus(&self, _: &str) -> Arc<dyn EventBus> {
        Arc::new(self.open())
    }

    async fn interrupt(&self) {
        let mut broker = self.broker.lock().await;
        broker.kill().unwrap();
        broker.restart().await.unwrap();
    }

    async fn keys_in(&self, topic: &str) -> Keys {
        let mut keys = Keys::new();
        for (key, partition) in self.find(topic).await {
            keys.entry(key).or_default().insert(partition);
        }
        keys
    }

    async fn gone(&self, _: Arc<dyn EventBus>) {}
}

pub async fn members_that_listen_get_what_is_sent_from_then_on(rig: Arc<KafkaRig>) {
    let (topic, keys) = ("listened", keys(5));
    rig.topic(topic).await;
    let bus = Arc::new(rig.open());
    for result in bus.publish_all(&messages(topic, &keys, 0..3)).await {
        result.unwrap();
    }
    let stop = CancellationToken::new();
    let mut listening = Vec::new();
    for _ in 0..2 {
        let mut all = subscription("listened.readers", &[topic]);
        all.mode = Mode::Broadcast;
        let (recorder, joined) = (Recorder::default(), all.joined.clone());
        let (bus, handler, stop) = (Arc::clone(&bus), Arc::new(recorder.clone()), stop.clone());
        let task = tokio::spawn(async move { bus.run(all, handler, stop).await });
        tokio::time::timeout(DEADLINE, joined.wait()).await.unwrap();
        listening.push((recorder, task));
    }
    for result in bus.publish_all(&messages(topic, &keys, 3..6)).await {
        result.unwrap();
    }
    for (recorder, _) in &listening {
        until("all are heard", async || {
            (recorder.count() >= 15).then_some(())
        })
        .await;
    }
    stop.cancel();
    for (recorder, task) in listening {
        task.await.unwrap().unwrap();
        for (key, numbers) in recorder.by_key() {
            assert_eq!(numbers, [3, 4, 5], "{key}");
        }
    }
}

pub async fn a_user_proves_itself_over_tls(rig: Arc<KafkaRig>) {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let (ca, bootstrap, log) = {
        let broker = rig.broker.lock().await;
        (broker.ca(), broker.sasl_bootstrap(), broker.log())
    };
    std::fs::copy(ca, path("ca.crt")).unwrap();
    std::fs::write(path("username"), &rig.user.name).unwrap();
    std::fs::write(path("password"), &rig.user.password).unwrap();
    let topic = "protected";
    rig.topic(topic).await;
    let options = options(&[
        "--kafka-bootstrap-servers",
        &bootstrap,
        "--kafka-security-protocol",
        "SASL_SSL",
        "--kafka-sasl-mechanism",
        "PLAIN",
        "--kafka-credentials",
        directory.path().to_str().unwrap(),
    ]);
    let open = || KafkaBus::new(options.clone(), "test", Metrics::default(), DRAIN).unwrap();
    for result in open().publish_all(&messages(topic, &keys(2), 0..2)).await {
        result.unwrap();
    }
    std::fs::write(path("password"), "wrong").unwrap();
    let bus = open();
    let batch = messages(topic, &keys(2), 2..3);
    let publishing = tokio::spawn(async move { bus.publish_all(&batch).await });
    until("a wrong password is refused", async || {
        let log = std::fs::read_to_string(&log).unwrap();
        log.contains("Failed authentication").then_some(())
    })
    .await;
    publishing.abort();
    assert!(
        publishing.await.unwrap_err().is_cancelled(),
        "a wrong password is as good as the right one"
    );
    let found = rig.find(topic).await;
    assert_eq!(found.len(), 4, "{found:?}");
}
