//! `worker`, `produce` and `check` against a real Kafka.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panic"
)]

mod support;

use std::time::Duration;

use localcluster::{Cluster, Config, Kafka};
use nix::sys::signal::Signal;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use serde_json::Value;
use support::{Ended, Running, Variables, ended, until, variables};
use tokio::sync::OnceCell;

async fn broker() -> String {
    static BROKER: OnceCell<Cluster> = OnceCell::const_new();
    let start = || async {
        let config = Config::control_plane().kafka(Kafka::default());
        Cluster::start(config).await.expect("a broker")
    };
    BROKER.get_or_init(start).await.kafka_bootstrap().unwrap()
}

/// Topics of one test, and the variables that the operator sets for its components.
struct Stage {
    name: &'static str,
    broker: String,
}

impl Stage {
    async fn new(name: &'static str, partitions: i32) -> Self {
        let broker = broker().await;
        let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
            .set("bootstrap.servers", &broker)
            .create()
            .unwrap();
        let names = ["orders", "processed"].map(|topic| format!("{name}.{topic}"));
        let topics = names
            .each_ref()
            .map(|topic| NewTopic::new(topic, partitions, TopicReplication::Fixed(1)));
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
        for result in admin.create_topics(&topics, &options).await.unwrap() {
            result.unwrap();
        }
        Self { name, broker }
    }

    fn variables(&self, pod: &str, more: &[(&str, &str)]) -> Variables {
        let name = |what: &str| format!("{}.{what}", self.name);
        let mut all = variables([
            ("KAFKA_BOOTSTRAP_SERVERS", self.broker.as_str()),
            ("KAFKA_SECURITY_PROTOCOL", "PLAINTEXT"),
            ("KAFKA_GROUP_ID", &name("worker")),
            ("TOPIC_ORDERS", &name("orders")),
            ("TOPIC_PROCESSED", &name("processed")),
            ("APP_COMPONENT", "worker"),
            ("POD_NAME", pod),
        ]);
        all.extend(variables(more.iter().copied()));
        all
    }

    fn worker(&self, pod: &str, more: &[(&str, &str)]) -> Running {
        Running::start(&[], self.variables(pod, more))
    }

    async fn run(&self, arguments: &[&str]) -> Ended {
        ended(arguments, &self.variables("tool", &[])).await
    }

    async fn produce(&self, run: &str, messages: &str, rate: &str) {
        let arguments = [
            "produce",
            "--run",
            run,
            "--messages",
            messages,
            "--rate",
            rate,
        ];
        let produced = self.run(&arguments).await;
        assert_eq!(produced.code, Some(0), "{produced:?}");
        let text = format!("\"messages\":{messages}}}");
        assert!(produced.output.contains(&text), "{produced:?}");
    }

    /// The report of `check`, and whether it is clean.
    async fn check(&self, wait: &str) -> (bool, Value) {
        let checked = self.run(&["check", "--wait", wait]).await;
        let report = serde_json::from_str(&checked.output);
        let report = report.unwrap_or_else(|error| panic!("{error}: {checked:?}"));
        (checked.code == Some(0), report)
    }
}

/// The sum of a metric's series that contain `label`.
async fn metric(worker: &Running, name: &str, label: &str) -> u64 {
    let Some((_, text)) = worker.admin("/metrics").await else {
        return 0;
    };
    let series = text
        .lines()
        .filter(|line| line.starts_with(name) && line.contains(label));
    series
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

async fn until_processed(worker: &Running, at_least: u64) {
    until("enough messages are processed", async || {
        let processed = metric(worker, "messages_total", "result=\"ok\"").await;
        (processed >= at_least).then_some(())
    })
    .await;
}

#[tokio::test]
async fn nothing_is_lost_or_reordered_when_workers_are_killed_stopped_and_added() {
    let stage = Stage::new("killed", 4).await;
    let slow = [("DEMO_PROCESSING_TIME", "3ms")];
    let first = stage.worker("w-1", &slow);
    first.until_ready().await;
    let load = async {
        stage.produce("a", "2000", "1000").await;
    };
    let chaos = async {
        until_processed(&first, 100).await;
        let second = stage.worker("w-2", &slow);
        until_processed(&second, 50).await;
        first.signal(Signal::SIGKILL);
        first.end().await;
        let third = stage.worker("w-3", &[]);
        third.until_ready().await;
        let log = second.stop().await;
        assert!(log.contains("is committed, and the group is left"), "{log}");
        third
    };
    let ((), third) = tokio::join!(load, chaos);
    let (is_clean, report) = stage.check("100s").await;
    assert!(is_clean, "{report}");
    assert_eq!(report["produced"], 2000);
    assert_eq!(report["processed"], 2000);
    assert_eq!(report["keys"], 10);
    until("the lag is gone", async || {
        let (_, text) = third.admin("/metrics").await?;
        let lags: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("consumer_lag{"))
            .collect();
        let is_gone = lags.iter().all(|line| line.ends_with(" 0"));
        (lags.len() == 4 && is_gone && lags[0].contains("topic=\"killed.orders\"")).then_some(())
    })
    .await;
    third.stop().await;
}

#[tokio::test]
async fn a_canary_that_fails_every_message_loses_none() {
    let stage = Stage::new("canary", 1).await;
    stage.produce("a", "30", "1000").await;
    let (is_clean, report) = stage.check("0s").await;
    assert!(!is_clean);
    assert_eq!(report["missing"], 30, "{report}");

    let bad = stage.worker("bad", &[("DEMO_ERROR_PERCENT", "100")]);
    until("it fails", async || {
        let errors = metric(&bad, "messages_total", "result=\"error\"").await;
        (errors >= 2).then_some(())
    })
    .await;
    until("its lag is told", async || {
        (metric(&bad, "consumer_lag", "partition=\"0\"").await == 30).then_some(())
    })
    .await;
    bad.stop().await;
    // Nothing of that is committed, although the worker has left its group in order.

    // Slow enough that partitions are paused while a message is in work.
    let good = stage.worker("good", &[("DEMO_PROCESSING_TIME", "150ms")]);
    // There is one partition: one of the two gets none, and is ready all the same.
    let idle = stage.worker("idle", &[]);
    good.until_ready().await;
    idle.until_ready().await;
    let (is_clean, report) = stage.check("100s").await;
    assert!(is_clean, "{report}");
    assert_eq!(report["repeated"], 0, "{report}");
    good.stop().await;
    idle.stop().await;
}

#[tokio::test]
async fn with_log_only_it_says_what_it_would_record_and_records_nothing() {
    let stage = Stage::new("silent", 1).await;
    stage.produce("a", "3", "1000").await;
    let silent = stage.worker("silent", &[("LOG_ONLY", "true")]);
    until_processed(&silent, 3).await;
    let log = silent.stop().await;
    assert_eq!(log.matches("as LOG_ONLY is set").count(), 3, "{log}");
    let (_, report) = stage.check("0s").await;
    assert_eq!(report["missing"], 3, "{report}");
    // They are committed all the same: another does not get them again.
    let loud = stage.worker("loud", &[]);
    loud.until_ready().await;
    stage.produce("b", "1", "1000").await;
    until_processed(&loud, 1).await;
    loud.stop().await;
    let (_, report) = stage.check("0s").await;
    assert_eq!(
        (&report["missing"], &report["processed"]),
        (&3.into(), &1.into()),
        "{report}"
    );
}

#[tokio::test]
async fn what_is_wrong_is_said_with_its_place() {
    let stage = Stage::new("wrong", 1).await;
    let checked = stage.run(&["check", "--records", "wrong.nowhere"]).await;
    assert_eq!(checked.code, Some(1), "{checked:?}");
    assert!(checked.log.contains("wrong.nowhere"), "{checked:?}");
    let misspelt = stage.variables("w", &[("DEMO_PROCESSING_TIME", "soon")]);
    let refused = ended(&[], &misspelt).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    for part in [
        "'soon'",
        "--processing-time",
        "DEMO_PROCESSING_TIME",
        "500ms",
    ] {
        assert!(refused.log.contains(part), "{part}: {}", refused.log);
    }
}
