//! A real sidecar for each process, in front of a real broker.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::routing::{get, post};
use axum::{Json, Router};
use clap::Parser;
use futures::future::join_all;
use localcluster::standalone::{Daprd, Sidecar};
use localcluster::{Cache, Lines, Tools, free_port};
use serde_json::json;
use todo_bus::EventBus;
use todo_bus::dapr::{DaprBus, Options};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::kafka::KafkaRig;
use crate::messages::{Recorder, first_times, keys, messages};
use crate::rig::{DEADLINE, Keys, Rig, subscription, until};

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    dapr: Options,
}

pub struct DaprRig {
    kafka: Arc<KafkaRig>,
    tools: Tools,
    sidecars: Mutex<Vec<(Arc<dyn EventBus>, Daprd)>>,
}

impl DaprRig {
    /// Sidecars in front of that broker.
    pub fn before(kafka: Arc<KafkaRig>) -> Self {
        Self {
            kafka,
            tools: Tools::new(Cache::from_env()),
            sidecars: Mutex::default(),
        }
    }

    /// A bus, its sidecar, and the port on which that finds the process.
    async fn open(&self, group: &str) -> (DaprBus, Daprd, u16) {
        let app_port = free_port("app").unwrap();
        let sidecar = Sidecar {
            app_id: group.replace('.', "-"),
            app_port: Some(app_port),
            resources: vec![component(self.kafka.bootstrap(), group)],
        };
        let daprd = Daprd::start(&self.tools, sidecar, &Lines).await.unwrap();
        let listen = format!("127.0.0.1:{app_port}");
        let url = daprd.url();
        let words = [
            "test",
            "--dapr-http-endpoint",
            &url,
            "--dapr-app-listen",
            &listen,
        ];
        let options = Arguments::try_parse_from(words).unwrap().dapr;
        let bus = DaprBus::new(options, Duration::from_secs(20)).unwrap();
        (bus, daprd, app_port)
    }
}

/// Tells a sidecar to end.
async fn stopped(mut daprd: Daprd) -> Daprd {
    let stopping = tokio::task::spawn_blocking(move || daprd.stop().map(|()| daprd));
    stopping.await.unwrap().unwrap()
}

/// The component, as `docs/services/bus.md` has it.
fn component(brokers: &str, group: &str) -> String {
    let document = include_str!("../../../../docs/services/bus.md");
    let begin = document.find("apiVersion: dapr.io/v1alpha1").unwrap();
    let end = begin + document[begin..].find("```").unwrap();
    document[begin..end]
        .replace("kafka.todo-test:9092", brokers)
        .replace("todo-test.views", group)
}

#[async_trait(?Send)]
impl Rig for DaprRig {
    fn name(&self) -> &'static str {
        "dapr"
    }

    async fn topic(&self, name: &str) {
        self.kafka.topic(name).await;
    }

    async fn bus(&self, group: &str) -> Arc<dyn EventBus> {
        let (bus, daprd, _) = self.open(group).await;
        let bus: Arc<dyn EventBus> = Arc::new(bus);
        let mut sidecars = self.sidecars.lock().await;
        sidecars.push((Arc::clone(&bus), daprd));
        bus
    }

    /// The sidecars: the broker is somebody else's.
    async fn interrupt(&self) {
        let mut sidecars = self.sidecars.lock().await;
        let killed = sidecars.iter_mut().map(async |(_, daprd)| {
            daprd.kill().unwrap();
            daprd.restart().await.unwrap();
        });
        join_all(killed).await;
    }

    async fn keys_in(&self, topic: &str) -> Keys {
        self.kafka.keys_in(topic).await
    }

    /// A sidecar commits once a second, and does not wait for what is in work when partitions go.
    fn hands_over_cleanly(&self) -> bool {
        false
    }

    async fn gone(&self, bus: Arc<dyn EventBus>) {
        let is_its = |(of, _): &mut (Arc<dyn EventBus>, Daprd)| Arc::ptr_eq(of, &bus);
        let ended: Vec<_> = self.sidecars.lock().await.extract_if(.., is_its).collect();
        for (_, daprd) in ended {
            stopped(daprd).await;
        }
    }
}

/// An earlier version of a service took messages elsewhere, and its sidecar still sends them there.
pub async fn a_message_for_a_route_that_is_gone_comes_when_the_sidecar_asks_again(
    rig: Arc<DaprRig>,
) {
    let (topic, group) = rig.names("moved");
    rig.topic(&topic).await;
    let (bus, daprd, port) = rig.open(&group).await;
    let was_asked = CancellationToken::new();
    let earlier = {
        let subscriptions = json!([{"pubsubname": "pubsub", "topic": topic, "route": "/before"}]);
        let was_asked = was_asked.clone();
        Router::new()
            .route("/dapr/subscribe", get(async move || Json(subscriptions)))
            .route(
                "/before",
                post(async move || {
                    was_asked.cancel();
                    Json(json!({"status": "RETRY"}))
                }),
            )
    };
    let (stop, listener) = (
        CancellationToken::new(),
        TcpListener::bind(("127.0.0.1", port)),
    );
    let serving = axum::serve(listener.await.unwrap(), earlier)
        .with_graceful_shutdown(stop.clone().cancelled_owned());
    let serving = tokio::spawn(async move { serving.await });
    let keys = keys(4);
    for result in bus.publish_all(&messages(&topic, &keys, 0..5)).await {
        result.unwrap();
    }
    tokio::time::timeout(DEADLINE, was_asked.cancelled())
        .await
        .expect("the earlier version gets no message");
    stop.cancel();
    serving.await.unwrap().unwrap();

    let (recorder, stop) = (Recorder::default(), CancellationToken::new());
    let running = {
        let (handler, stop) = (Arc::new(recorder.clone()), stop.clone());
        tokio::spawn(async move {
            bus.run(subscription(&group, &[&topic]), handler, stop)
                .await
        })
    };
    let log = daprd.log();
    until(
        "a message comes to where it is not taken any more",
        async || {
            let log = std::fs::read_to_string(&log).unwrap();
            let refused = "error returned from app while processing pub/sub event";
            log.contains(refused).then_some(())
        },
    )
    .await;
    assert_eq!(recorder.count(), 0);
    // In order: what it takes for done it commits.
    let mut daprd = stopped(daprd).await;
    daprd.restart().await.unwrap();
    until("all are handled", async || {
        (recorder.first_times() == 4 * 5).then_some(())
    })
    .await;
    for (key, numbers) in recorder.by_key() {
        assert_eq!(first_times(&numbers), [0, 1, 2, 3, 4], "{key}");
    }
    stop.cancel();
    running.await.unwrap().unwrap();
    stopped(daprd).await;
}
