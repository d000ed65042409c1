//! Which transport a process uses: a matter of configuration.

use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use todo_kit::arguments::name;
use todo_kit::identity::Identity;
use todo_kit::metrics::Metrics;

use crate::dapr::{self, DaprBus};
use crate::kafka::{self, KafkaBus};
use crate::memory::MemoryBus;
use crate::topics::Topics;
use crate::{BusError, EventBus};

/// A transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Transport {
    /// Kafka itself.
    Kafka,
    /// A sidecar of Dapr.
    Dapr,
    /// The memory of this process: nobody else gets anything.
    Memory,
}

/// How messages go.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Messages")]
#[group(skip)]
pub struct Options {
    /// What carries messages.
    #[arg(long, env = "BUS", value_enum, default_value_t = Transport::Kafka)]
    pub bus: Transport,
    /// The consumer group. With Dapr the component's `consumerID` must be the same.
    #[arg(long, env = "KAFKA_GROUP_ID", value_name = "NAME", value_parser = name)]
    pub group: Option<String>,
    #[command(flatten)]
    kafka: kafka::Options,
    #[command(flatten)]
    dapr: dapr::Options,
    /// Names of the topics on the wire.
    #[command(flatten)]
    pub topics: Topics,
}

impl Options {
    /// The transport that is configured.
    ///
    /// # Errors
    /// If it is configured in a way that cannot work.
    pub fn open(
        &self,
        identity: &Identity,
        metrics: &Metrics,
        drain: Duration,
    ) -> Result<Arc<dyn EventBus>, BusError> {
        Ok(match self.bus {
            Transport::Kafka => {
                let (options, metrics) = (self.kafka.clone(), metrics.clone());
                Arc::new(KafkaBus::new(options, &identity.pod, metrics, drain)?)
            }
            Transport::Dapr => Arc::new(DaprBus::new(self.dapr.clone(), drain)?),
            Transport::Memory => Arc::new(MemoryBus::new(3)),
        })
    }

    /// The consumer group, or what it is in this stage by default.
    #[must_use]
    pub fn group_or(&self, identity: &Identity, component: &str) -> String {
        let default = || format!("{}.{component}", identity.stage);
        self.group.clone().unwrap_or_else(default)
    }
}
