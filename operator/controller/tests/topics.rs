//! Topics that the operator makes itself, in a real Kafka broker, for applications on a real API server.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panic")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::api::{DeleteParams, Patch, PatchParams};
use localcluster::{Cluster, Config, Kafka, KafkaUser, Node, Part};
use serde_json::{Value, json};
use todo_operator_api::environment::SecurityProtocol;
use todo_operator_controller::kafka::{KafkaAdmin, KafkaCluster, RdKafkaAdmin};
use todo_operator_core::child::ChildKey;
use todo_operator_core::kind::Kind;
use todo_operator_core::topics::{LiveTopic, WantedTopic};
use tokio::sync::{OnceCell, RwLock};

use support::{
    Operator, SteppedClock, api, app, apply, child, condition, environment, merge, until,
    until_ready,
};

const USER: &str = "admin";
const PASSWORD: &str = "right-password";

/// The cluster with its broker, and the operator on it.
struct Stage {
    cluster: Cluster,
    clock: Arc<SteppedClock>,
    _operator: Operator,
    credentials: tempfile::TempDir,
    /// Held for writing by the test that stops the broker.
    broker: RwLock<()>,
}

async fn stage() -> (&'static Stage, Client) {
    static STAGE: OnceCell<Stage> = OnceCell::const_new();
    let stage = STAGE.get_or_init(begin).await;
    (stage, stage.cluster.client().unwrap())
}

async fn begin() -> Stage {
    let sasl = Some(KafkaUser {
        name: USER.to_owned(),
        password: PASSWORD.to_owned(),
    });
    let config = Config::control_plane()
        .controllers()
        .node(Node::Kwok { count: 1 })
        .kafka(Kafka {
            sasl,
            ..Kafka::default()
        });
    let cluster = support::cluster(config).await;
    let credentials = tempfile::tempdir().unwrap();
    let kafka = RdKafkaAdmin::new(credentials.path().to_owned())
        .with_request_timeout(Duration::from_secs(3));
    let clock = Arc::new(SteppedClock::default());
    let operator = Operator::start_with(&cluster, Arc::new(kafka), clock.clone()).await;
    Stage {
        cluster,
        clock,
        _operator: operator,
        credentials,
        broker: RwLock::default(),
    }
}

impl Stage {
    /// Kafka, as an administrator beside the operator.
    fn kafka(&self) -> (RdKafkaAdmin, KafkaCluster) {
        let cluster = KafkaCluster {
            bootstrap_servers: self.cluster.kafka_bootstrap().unwrap(),
            security_protocol: SecurityProtocol::Plaintext,
            sasl_mechanism: None,
            credential: None,
        };
        (RdKafkaAdmin::new("no-credentials".into()), cluster)
    }

    /// Waits until Kafka shows a topic so.
    async fn until_topic(&self, name: &str, expected: LiveTopic) {
        let (kafka, cluster) = self.kafka();
        let names = [name.to_owned()];
        until(&format!("topic {name} is {expected:?}"), async || {
            let live = kafka.describe(&cluster, &names).await.ok()?;
            (live.get(name) == Some(&expected)).then_some(())
        })
        .await;
    }

    /// Makes an environment of this name that makes its topics itself.
    async fn environment(&self, client: &Client, name: &str) {
        let bootstrap = self.cluster.kafka_bootstrap().unwrap();
        let spec = format!(
            "{{defaults: {{topicReplicas: 1}}, messaging: {{provider: Direct, bootstrapServers: '{bootstrap}'}}}}"
        );
        environment(client, name, &spec).await;
    }

    /// Makes a topic as somebody else does.
    async fn make(&self, name: &str, partitions: i32) {
        let (kafka, cluster) = self.kafka();
        let topic = WantedTopic {
            physical_name: name.to_owned(),
            partitions,
            replicas: 1,
            config: BTreeMap::new(),
            allow_growth: false,
        };
        kafka.create(&cluster, &topic).await.unwrap();
        self.until_topic(name, live(partitions, &[])).await;
    }
}

fn live(partitions: i32, config: &[(&str, &str)]) -> LiveTopic {
    let config = config
        .iter()
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect();
    LiveTopic {
        partitions,
        replicas: 1,
        config,
    }
}

/// An application with a worker that reads `orders`, a topic of this specification.
fn shop(namespace: &str, topic: &str) -> Value {
    let spec = format!(
        "
components: {{worker: {{kind: Worker, consumes: {{orders: {{}}}}}}}}
messaging: {{topics: {{orders: {topic}}}}}
release: {{images: [{{component: worker, image: 'registry.example/worker:1'}}]}}
"
    );
    app(namespace, "shop", &spec)
}

/// Waits until a condition has this status and a message with this in it; the TodoApp.
async fn until_says(
    client: &Client,
    manifest: &Value,
    kind: &str,
    reason: &str,
    part: &str,
) -> Value {
    let namespace = manifest["metadata"]["namespace"].as_str().unwrap();
    until(
        &format!("{namespace}: {kind} is {reason}: {part}"),
        async || {
            let app = support::object(client, &support::apps(), namespace, "shop").await?;
            let condition = condition(&app, kind)?;
            let says = condition["reason"] == reason
                && condition["message"].as_str()?.contains(part)
                && condition["observedGeneration"] == app["metadata"]["generation"];
            says.then_some(app)
        },
    )
    .await
}

async fn worker(client: &Client, namespace: &str) -> Option<Value> {
    child(
        client,
        &ChildKey::new(Kind::Deployment, namespace, "shop-worker"),
    )
    .await
}

const DEAD_LETTERS: &[(&str, &str)] =
    &[("cleanup.policy", "delete"), ("retention.ms", "2592000000")];

#[tokio::test]
async fn topics_are_made_as_asked_changed_and_changed_back_and_never_shrunk_or_deleted() {
    let (stage, client) = stage().await;
    let _broker = stage.broker.read().await;
    stage.environment(&client, "direct").await;
    let mut manifest = shop("direct", "{partitions: 3, config: {retention.ms: '60000'}}");
    apply(&client, &manifest).await;
    let ready = until_ready(&client, &manifest).await;
    stage
        .until_topic("direct.orders", live(3, &[("retention.ms", "60000")]))
        .await;
    stage
        .until_topic("direct.worker.dlq", live(1, DEAD_LETTERS))
        .await;
    let orders = json!({"physicalName": "direct.orders", "partitions": 3, "ready": true});
    assert_eq!(ready["status"]["topics"]["orders"], orders);
    assert_eq!(ready["status"]["topics"]["worker.dlq"]["partitions"], 1);

    for (config, expected) in [
        (
            json!({"retention.ms": "120000", "cleanup.policy": "compact"}),
            &[("retention.ms", "120000"), ("cleanup.policy", "compact")][..],
        ),
        (
            json!({"retention.ms": "60000"}),
            &[("retention.ms", "60000")],
        ),
    ] {
        manifest["spec"]["messaging"]["topics"]["orders"]["config"] = config;
        apply(&client, &manifest).await;
        stage.until_topic("direct.orders", live(3, expected)).await;
        until_ready(&client, &manifest).await;
    }

    // Growth needs a word, at admission already.
    manifest["spec"]["messaging"]["topics"]["orders"]["partitions"] = json!(5);
    let refusal = support::try_apply(&client, &manifest).await.unwrap_err();
    assert!(
        refusal.contains("set allowPartitionGrowth: true"),
        "{refusal}"
    );
    manifest["spec"]["messaging"]["topics"]["orders"]["allowPartitionGrowth"] = json!(true);
    apply(&client, &manifest).await;
    stage
        .until_topic("direct.orders", live(5, &[("retention.ms", "60000")]))
        .await;
    until_ready(&client, &manifest).await;

    // Out of the spec is not out of Kafka.
    merge(
        &mut manifest["spec"],
        json!({"components": {"worker": {"consumes": null}}, "messaging": null}),
    );
    apply(&client, &manifest).await;
    let ready = until_ready(&client, &manifest).await;
    assert_eq!(ready["status"]["topics"], Value::Null);
    api(&client, &support::apps(), "direct")
        .delete("shop", &DeleteParams::default())
        .await
        .unwrap();
    until("the application has gone", async || {
        support::object(&client, &support::apps(), "direct", "shop")
            .await
            .is_none()
            .then_some(())
    })
    .await;
    stage
        .until_topic("direct.orders", live(5, &[("retention.ms", "60000")]))
        .await;
    stage
        .until_topic("direct.worker.dlq", live(1, DEAD_LETTERS))
        .await;
}

#[tokio::test]
async fn topics_that_went_with_an_application_are_made_again_for_the_next_of_its_name() {
    let (stage, client) = stage().await;
    let _broker = stage.broker.read().await;
    stage.environment(&client, "again").await;
    let mut manifest = shop("again", "{partitions: 3}");
    manifest["spec"]["deletionPolicy"] = json!("Delete");
    let (kafka, cluster) = stage.kafka();
    let names = ["again.orders", "again.worker.dlq"].map(str::to_owned);
    for _ in 0..2 {
        apply(&client, &manifest).await;
        until_ready(&client, &manifest).await;
        let there = kafka.describe(&cluster, &names).await.unwrap();
        assert!(there.keys().eq(&names), "{there:?}");
        api(&client, &support::apps(), "again")
            .delete("shop", &DeleteParams::default())
            .await
            .unwrap();
        until("the application and its topics have gone", async || {
            let app = support::object(&client, &support::apps(), "again", "shop").await;
            let there = kafka.describe(&cluster, &names).await.ok()?;
            (app.is_none() && there.is_empty()).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_topic_that_was_there_is_neither_shrunk_nor_grown_unasked_and_the_workload_waits() {
    let (stage, client) = stage().await;
    let _broker = stage.broker.read().await;
    for (namespace, there, said) in [
        ("larger", 8, "8 partitions"),
        ("smaller", 2, "allowPartitionGrowth"),
    ] {
        stage.environment(&client, namespace).await;
        let name = format!("{namespace}.orders");
        stage.make(&name, there).await;
        let mut manifest = shop(namespace, "{partitions: 3}");
        apply(&client, &manifest).await;
        let app = until(&format!("{namespace}: it is said"), async || {
            let app = support::object(&client, &support::apps(), namespace, "shop").await?;
            let message = condition(&app, "Ready")?["message"].as_str()?.to_owned();
            (message.contains("orders") && message.contains(said)).then_some(app)
        })
        .await;
        assert_eq!(condition(&app, "Ready").unwrap()["status"], "False");
        assert!(
            worker(&client, namespace).await.is_none(),
            "no worker before its topic is as asked"
        );
        stage.until_topic(&name, live(there, &[])).await;

        // A person decides; it comes right by itself.
        let topic = json!({"partitions": there.max(3), "allowPartitionGrowth": true});
        manifest["spec"]["messaging"]["topics"]["orders"] = topic;
        apply(&client, &manifest).await;
        until_ready(&client, &manifest).await;
        stage.until_topic(&name, live(there.max(3), &[])).await;
        assert!(worker(&client, namespace).await.is_some());
    }
}

#[tokio::test]
async fn a_topic_that_kafka_refuses_is_named_and_holds_back_no_other() {
    let (stage, client) = stage().await;
    let _broker = stage.broker.read().await;
    stage.environment(&client, "refused").await;
    let mut manifest = shop("refused", "{partitions: 1, replicas: 3}");
    apply(&client, &manifest).await;
    let app = until_says(
        &client,
        &manifest,
        "Applied",
        "ApplyFailed",
        "ask for at most as many replicas as there are brokers",
    )
    .await;
    assert!(
        condition(&app, "Ready").unwrap()["message"]
            .as_str()
            .unwrap()
            .contains("refused.orders")
    );
    let message = app["status"]["topics"]["orders"]["message"]
        .as_str()
        .unwrap();
    assert!(message.contains("3 replicas"), "{message}");
    stage
        .until_topic("refused.worker.dlq", live(1, DEAD_LETTERS))
        .await;
    assert!(worker(&client, "refused").await.is_none());
    manifest["spec"]["messaging"]["topics"]["orders"]["replicas"] = json!(1);
    apply(&client, &manifest).await;
    until_ready(&client, &manifest).await;
}

#[tokio::test]
async fn a_broker_with_tls_and_a_password_is_reached_with_the_credential_that_is_mounted() {
    let (stage, client) = stage().await;
    let _broker = stage.broker.read().await;
    let spec = json!({
        "defaults": {"topicReplicas": 1},
        "messaging": {
            "provider": "Direct",
            "bootstrapServers": stage.cluster.kafka_sasl_bootstrap().unwrap(),
            "securityProtocol": "SASL_SSL",
            "saslMechanism": "PLAIN",
            "adminCredential": "main",
            "clientSecret": "kafka-client",
        },
    });
    environment(&client, "secured", &spec.to_string()).await;
    let manifest = shop("secured", "{partitions: 2}");
    apply(&client, &manifest).await;
    until_says(
        &client,
        &manifest,
        "TopicsReady",
        "KafkaUnreachable",
        "credential 'main'",
    )
    .await;
    assert!(worker(&client, "secured").await.is_none());

    let main = stage.credentials.path().join("main");
    std::fs::create_dir(&main).unwrap();
    std::fs::copy(stage.cluster.kafka_ca(), main.join("ca.crt")).unwrap();
    let write = |directory: &Path, password: &str| {
        std::fs::write(directory.join("username"), USER).unwrap();
        std::fs::write(directory.join("password"), password).unwrap();
    };
    write(&main, "wrong-password");
    until_says(
        &client,
        &manifest,
        "TopicsReady",
        "KafkaUnreachable",
        "does not accept the operator's credential",
    )
    .await;
    write(&main, PASSWORD);
    until_ready(&client, &manifest).await;
    stage.until_topic("secured.orders", live(2, &[])).await;
}

#[tokio::test]
async fn a_broker_that_is_down_is_said_and_work_resumes_when_it_is_back_and_drift_is_put_right() {
    let (stage, client) = stage().await;
    let _broker = stage.broker.write().await;
    stage.environment(&client, "outage").await;
    stage.cluster.stop_part(Part::Kafka).unwrap();
    let manifest = shop("outage", "{partitions: 3, config: {retention.ms: '60000'}}");
    apply(&client, &manifest).await;
    let app = until_says(
        &client,
        &manifest,
        "TopicsReady",
        "KafkaUnreachable",
        &stage.cluster.kafka_bootstrap().unwrap(),
    )
    .await;
    assert_eq!(condition(&app, "Ready").unwrap()["status"], "False");
    assert_eq!(app["status"]["topics"]["orders"]["ready"], false);
    assert!(
        worker(&client, "outage").await.is_none(),
        "no worker before its topic"
    );
    stage.cluster.restart_part(Part::Kafka).await.unwrap();
    until_ready(&client, &manifest).await;
    stage
        .until_topic("outage.orders", live(3, &[("retention.ms", "60000")]))
        .await;

    // Nobody watches Kafka: what somebody changed there is seen at the next look, some minutes later.
    let (kafka, cluster) = stage.kafka();
    kafka
        .configure(&cluster, "outage.orders", &BTreeMap::new())
        .await
        .unwrap();
    stage.until_topic("outage.orders", live(3, &[])).await;
    stage.clock.step(Duration::from_secs(600));
    let touched = json!({"metadata": {"annotations": {"example.com/touched": "once"}}});
    api(&client, &support::apps(), "outage")
        .patch("shop", &PatchParams::default(), &Patch::Merge(touched))
        .await
        .unwrap();
    stage
        .until_topic("outage.orders", live(3, &[("retention.ms", "60000")]))
        .await;
}
