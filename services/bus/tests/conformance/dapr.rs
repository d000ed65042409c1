//! A real sidecar for each process, in front of a real broker.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use clap::Parser;
use futures::future::join_all;
use localcluster::standalone::{Daprd, Sidecar};
use localcluster::{Cache, Lines, Tools, free_port};
use todo_bus::EventBus;
use todo_bus::dapr::{DaprBus, Options};
use tokio::sync::Mutex;

use crate::kafka::KafkaRig;
use crate::rig::{Keys, Rig};

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    dapr: Options,
}

pub struct DaprRig {
    kafka: KafkaRig,
    tools: Tools,
    sidecars: Mutex<Vec<(Arc<dyn EventBus>, Daprd)>>,
}

impl DaprRig {
    pub async fn start() -> Self {
        Self {
            kafka: KafkaRig::start().await,
            tools: Tools::new(Cache::from_env()),
            sidecars: Mutex::default(),
        }
    }
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
    async fn topic(&self, name: &str) {
        self.kafka.topic(name).await;
    }

    async fn bus(&self, group: &str) -> Arc<dyn EventBus> {
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
        let bus: Arc<dyn EventBus> =
            Arc::new(DaprBus::new(options, Duration::from_secs(20)).unwrap());
        let mut sidecars = self.sidecars.lock().await;
        sidecars.push((Arc::clone(&bus), daprd));
        bus
    }

    /// The broker, and then the sidecars.
    async fn interrupt(&self) {
        self.kafka.interrupt().await;
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
        for (_, mut daprd) in ended {
            let stopping = tokio::task::spawn_blocking(move || daprd.stop());
            stopping.await.unwrap().unwrap();
        }
    }
}
