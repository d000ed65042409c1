//! Kafka: where it is, how a process proves itself there, and what lies in the topics.

pub mod check;
pub mod ledger;
pub mod message;
pub mod produce;
pub mod worker;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::Args;
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError as ClientError;
use thiserror::Error;

use crate::identity::Identity;
use todo_kit::arguments::name;

/// Where Kafka is.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Kafka")]
pub struct Place {
    /// Brokers to ask first, as host:port, comma-separated.
    #[arg(long = "kafka", env = "KAFKA_BOOTSTRAP_SERVERS", value_name = "SERVERS", value_parser = name)]
    pub bootstrap_servers: String,
    /// How the connection is protected.
    #[arg(long, env = "KAFKA_SECURITY_PROTOCOL", value_name = "PROTOCOL", default_value = "PLAINTEXT",
          value_parser = ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"])]
    pub security_protocol: String,
    /// How a name and a password are proved.
    #[arg(long, env = "KAFKA_SASL_MECHANISM", value_name = "MECHANISM",
          value_parser = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])]
    pub sasl_mechanism: Option<String>,
    /// Directory of the credential: ca.crt, user.crt and user.key, username and password, as far as they are needed.
    #[arg(
        long,
        env = "DEMO_KAFKA_CREDENTIALS",
        value_name = "PATH",
        default_value = "/etc/app/kafka"
    )]
    pub kafka_credentials: PathBuf,
}

/// What is wrong between this process and Kafka.
#[derive(Debug, Error)]
pub enum KafkaError {
    /// A file of the credential is needed and cannot be had.
    #[error(
        "{path} is needed for {protocol} and cannot be read: {reason}; mount the Secret of the Kafka user there"
    )]
    Credential {
        /// The file.
        path: String,
        /// The protocol that needs it.
        protocol: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The protocol needs a mechanism.
    #[error("KAFKA_SECURITY_PROTOCOL {0} needs KAFKA_SASL_MECHANISM")]
    Mechanism(String),
    /// Kafka, or its client, refuses.
    #[error("Kafka at {servers} cannot {action}: {source}")]
    Failed {
        /// Its bootstrap servers.
        servers: String,
        /// What was asked for.
        action: String,
        /// What it says.
        source: Box<ClientError>,
    },
}

impl Place {
    /// The settings of every client.
    fn client(&self, identity: &Identity) -> Result<ClientConfig, KafkaError> {
        let mut config = ClientConfig::new();
        config
            .set("client.id", &identity.pod)
            .set("bootstrap.servers", &self.bootstrap_servers)
            .set("security.protocol", &self.security_protocol)
            // Topics are declared, and made by the operator.
            .set("allow.auto.create.topics", "false")
            .set("log.connection.close", "false")
            .set_log_level(RDKafkaLogLevel::Warning);
        if self.security_protocol.ends_with("SSL") {
            for (setting, file) in [
                ("ssl.ca.location", "ca.crt"),
                ("ssl.certificate.location", "user.crt"),
                ("ssl.key.location", "user.key"),
            ] {
                let path = self.kafka_credentials.join(file);
                if path.exists() {
                    config.set(setting, path.display().to_string());
                }
            }
        }
        if self.security_protocol.starts_with("SASL") {
            let mechanism = self
                .sasl_mechanism
                .as_ref()
                .ok_or_else(|| KafkaError::Mechanism(self.security_protocol.clone()))?;
            config
                .set("sasl.mechanism", mechanism)
                .set("sasl.username", self.line("username")?)
                .set("sasl.password", self.line("password")?);
        }
        Ok(config)
    }

    /// The settings of a producer: nothing is lost, doubled or reordered on the way.
    fn producer(&self, identity: &Identity) -> Result<ClientConfig, KafkaError> {
        let mut config = self.client(identity)?;
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            // What waits for brokers that do not answer must fit into a small container; the default is 1 GiB.
            .set("queue.buffering.max.kbytes", "8192")
            // So that clients of other languages put a key into the same partition.
            .set("partitioner", "fnv1a_random");
        Ok(config)
    }

    /// A line break at the end of a file comes from an editor, and belongs to nothing.
    fn line(&self, file: &str) -> Result<String, KafkaError> {
        let path = self.kafka_credentials.join(file);
        let unreadable = |reason: String| KafkaError::Credential {
            path: path.display().to_string(),
            protocol: self.security_protocol.clone(),
            reason,
        };
        match read_line(&path) {
            Ok(line) if line.is_empty() => Err(unreadable("it is empty".to_owned())),
            Ok(line) => Ok(line),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(unreadable("it is not there".to_owned()))
            }
            Err(error) => Err(unreadable(error.to_string())),
        }
    }

    fn failed(&self, action: &str) -> impl FnOnce(ClientError) -> KafkaError + use<> {
        let (servers, action) = (self.bootstrap_servers.clone(), action.to_owned());
        |source| KafkaError::Failed {
            servers,
            action,
            source: Box::new(source),
        }
    }
}

fn read_line(path: &Path) -> std::io::Result<String> {
    let text = fs::read_to_string(path)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Puts what librdkafka says into the log of the process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told;

impl ClientContext for Told {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::warn!(facility, "{message}");
    }

    fn error(&self, error: ClientError, reason: &str) {
        tracing::warn!(%error, "{reason}");
    }
}

impl ConsumerContext for Told {}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(protocol: &str, mechanism: Option<&str>, credentials: &Path) -> Place {
        Place {
            bootstrap_servers: "kafka:9092".to_owned(),
            security_protocol: protocol.to_owned(),
            sasl_mechanism: mechanism.map(str::to_owned),
            kafka_credentials: credentials.to_owned(),
        }
    }

    fn identity() -> Identity {
        Identity {
            component: "worker".to_owned(),
            version: "v1".to_owned(),
            pod: "demo-worker-1".to_owned(),
        }
    }

    #[test]
    fn credentials_are_read_where_the_operator_mounts_them() {
        let directory = tempfile::tempdir().unwrap();
        for (file, text) in [
            ("ca.crt", "x"),
            ("username", "demo\n"),
            ("password", "p w\n"),
        ] {
            fs::write(directory.path().join(file), text).unwrap();
        }
        let place = place("SASL_SSL", Some("SCRAM-SHA-512"), directory.path());
        let config = place.client(&identity()).unwrap();
        assert_eq!(config.get("sasl.username"), Some("demo"));
        assert_eq!(config.get("sasl.password"), Some("p w"));
        assert!(config.get("ssl.ca.location").unwrap().ends_with("/ca.crt"));
        assert_eq!(config.get("ssl.key.location"), None);
    }

    #[test]
    fn what_is_missing_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let error = place("SASL_SSL", None, directory.path()).client(&identity());
        assert!(
            error
                .unwrap_err()
                .to_string()
                .contains("KAFKA_SASL_MECHANISM")
        );
        let error = place("SASL_SSL", Some("PLAIN"), directory.path()).client(&identity());
        let text = error.unwrap_err().to_string();
        assert!(text.contains("username is needed for SASL_SSL"), "{text}");
        assert!(
            place("PLAINTEXT", None, directory.path())
                .client(&identity())
                .is_ok()
        );
    }
}
