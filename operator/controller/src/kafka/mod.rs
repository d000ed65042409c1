//! Kafka's admin API: the seam through which the controller reaches it, and the real one on librdkafka.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::mem::discriminant;

use futures::future::BoxFuture;
use todo_operator_api::environment::{EnvironmentMessaging, SaslMechanism, SecurityProtocol};
use todo_operator_core::topics::{LiveTopic, WantedTopic};

mod admin;
mod connection;
mod credential;
mod error;

pub use admin::RdKafkaAdmin;
pub use error::{Action, KafkaError};

/// Where a Kafka cluster is, and how the operator says who it is. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaCluster {
    /// `host:port`, comma-separated, as the operator reaches the brokers.
    pub bootstrap_servers: String,
    /// How the connection is protected.
    pub security_protocol: SecurityProtocol,
    /// How the operator says who it is, if the protocol is a SASL one.
    pub sasl_mechanism: Option<SaslMechanism>,
    /// Name of the directory with the operator's certificate or password.
    pub credential: Option<String>,
}

impl Hash for KafkaCluster {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bootstrap_servers.hash(state);
        discriminant(&self.security_protocol).hash(state);
        self.sasl_mechanism.as_ref().map(discriminant).hash(state);
        self.credential.hash(state);
    }
}

impl fmt::Display for KafkaCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.bootstrap_servers)
    }
}

impl From<&EnvironmentMessaging> for KafkaCluster {
    fn from(messaging: &EnvironmentMessaging) -> Self {
        Self {
            bootstrap_servers: messaging
                .admin_bootstrap_servers
                .as_ref()
                .unwrap_or(&messaging.bootstrap_servers)
                .clone(),
            security_protocol: messaging.security_protocol,
            sasl_mechanism: messaging.sasl_mechanism,
            credential: messaging.admin_credential.clone(),
        }
    }
}

/// What the controller asks of Kafka.
///
/// Every method does what it says or fails with an error that a person can act on, and is safe to repeat.
pub trait KafkaAdmin: Send + Sync {
    /// The topics of these names. Those that do not exist are absent from the answer; looking at them makes none.
    fn describe<'a>(
        &'a self,
        cluster: &'a KafkaCluster,
        topics: &'a [String],
    ) -> BoxFuture<'a, Result<BTreeMap<String, LiveTopic>, KafkaError>>;

    /// Makes a topic. One that is already there exactly as wanted is fine: somebody was quicker.
    fn create<'a>(
        &'a self,
        cluster: &'a KafkaCluster,
        topic: &'a WantedTopic,
    ) -> BoxFuture<'a, Result<(), KafkaError>>;

    /// Gives a topic more partitions, so that it has `partitions` of them.
    fn grow<'a>(
        &'a self,
        cluster: &'a KafkaCluster,
        topic: &'a str,
        partitions: i32,
    ) -> BoxFuture<'a, Result<(), KafkaError>>;

    /// Sets a topic's settings to exactly `config`: what is not among them falls back to the broker's value.
    fn configure<'a>(
        &'a self,
        cluster: &'a KafkaCluster,
        topic: &'a str,
        config: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<(), KafkaError>>;

    /// Deletes a topic and all that it holds. One that is already gone is fine.
    fn delete<'a>(
        &'a self,
        cluster: &'a KafkaCluster,
        topic: &'a str,
    ) -> BoxFuture<'a, Result<(), KafkaError>>;
}
