//! Kafka: where it is, and how a process proves itself there.

mod group;
mod producer;
mod reader;
mod worker;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use clap::Args;
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use todo_kit::arguments::name;
use todo_kit::metrics::Metrics;
use tokio_util::sync::CancellationToken;

use self::producer::Producer;
use crate::{BusError, EventBus, Handler, Outgoing, Subscription};

const TRANSPORT: &str = "Kafka";

/// Where Kafka is.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Kafka")]
#[group(skip)]
pub struct Options {
    /// Brokers to ask first, as host:port, comma-separated.
    #[arg(long, env = "KAFKA_BOOTSTRAP_SERVERS", value_name = "SERVERS", value_parser = name, default_value = "127.0.0.1:9092")]
    pub kafka_bootstrap_servers: String,
    /// How the connection is protected.
    #[arg(long, env = "KAFKA_SECURITY_PROTOCOL", value_name = "PROTOCOL", default_value = "PLAINTEXT",
          value_parser = ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"])]
    pub kafka_security_protocol: String,
    /// How a name and a password are proved.
    #[arg(long, env = "KAFKA_SASL_MECHANISM", value_name = "MECHANISM",
          value_parser = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])]
    pub kafka_sasl_mechanism: Option<String>,
    /// Directory of the credential: ca.crt, user.crt and user.key, username and password, as far as they are needed.
    /// Without ca.crt the system's authorities are trusted.
    #[arg(
        long,
        env = "KAFKA_CREDENTIALS",
        value_name = "PATH",
        default_value = "/etc/app/kafka"
    )]
    pub kafka_credentials: PathBuf,
    /// How members of a group share its partitions: `consumer` on Kafka 4 or later, `classic` before.
    #[arg(long, env = "KAFKA_GROUP_PROTOCOL", value_name = "PROTOCOL", default_value = "consumer",
          value_parser = ["consumer", "classic"])]
    pub kafka_group_protocol: String,
}

impl Options {
    /// The settings of every client.
    fn client(&self, client_id: &str) -> Result<ClientConfig, BusError> {
        let mut config = ClientConfig::new();
        config
            .set("client.id", client_id)
            .set("bootstrap.servers", &self.kafka_bootstrap_servers)
            .set("security.protocol", &self.kafka_security_protocol)
            // Topics are declared, and made by the operator.
            .set("allow.auto.create.topics", "false")
            .set("log.connection.close", "false")
            // A broker that comes back is found soon.
            .set("reconnect.backoff.max.ms", "2000")
            .set_log_level(RDKafkaLogLevel::Warning);
        if self.kafka_security_protocol.ends_with("SSL") {
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
        if self.kafka_security_protocol.starts_with("SASL") {
            let mechanism = self.kafka_sasl_mechanism.as_ref().ok_or_else(|| {
                misconfigured(format!(
                    "KAFKA_SECURITY_PROTOCOL {} needs KAFKA_SASL_MECHANISM",
                    self.kafka_security_protocol
                ))
            })?;
            config
                .set("sasl.mechanism", mechanism)
                .set("sasl.username", self.line("username")?)
                .set("sasl.password", self.line("password")?);
        }
        Ok(config)
    }

    fn line(&self, file: &str) -> Result<String, BusError> {
        let path = self.kafka_credentials.join(file);
        let needed = |reason: &str| {
            misconfigured(format!(
                "{} is needed for {}, and {reason}; mount the Secret of the Kafka user there",
                path.display(),
                self.kafka_security_protocol
            ))
        };
        match read_line(&path) {
            Ok(line) if line.is_empty() => Err(needed("it is empty")),
            Ok(line) => Ok(line),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(needed("it is not there")),
            Err(error) => Err(needed(&error.to_string())),
        }
    }
}

/// A line break at the end of a file comes from an editor, and belongs to nothing.
fn read_line(path: &Path) -> std::io::Result<String> {
    let text = fs::read_to_string(path)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn misconfigured(reason: String) -> BusError {
    BusError::Misconfigured {
        transport: TRANSPORT,
        reason,
    }
}

/// What a client of Kafka says of itself, put into the log of the process.
#[derive(Clone, Copy, Debug, Default)]
struct Told;

impl ClientContext for Told {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::warn!(facility, "{message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, "{reason}");
    }
}

/// Errors of which only a change can help.
fn is_final(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::UnsupportedSASLMechanism
            | Code::InvalidGroupId
    )
}

/// Messages over Kafka.
#[derive(Debug)]
pub struct KafkaBus {
    options: Options,
    client_id: String,
    metrics: Metrics,
    drain: Duration,
    producer: Producer,
}

impl KafkaBus {
    /// A bus of a process that calls itself `client_id`, and has `drain` to end what is in work when it stops.
    ///
    /// # Errors
    /// If it is configured in a way that cannot work.
    pub fn new(
        options: Options,
        client_id: &str,
        metrics: Metrics,
        drain: Duration,
    ) -> Result<Self, BusError> {
        let producer = Producer::new(&options.client(client_id)?)?;
        Ok(Self {
            options,
            client_id: client_id.to_owned(),
            metrics,
            drain,
            producer,
        })
    }
}

#[async_trait]
impl EventBus for KafkaBus {
    async fn publish_all(&self, messages: &[Outgoing]) -> Vec<Result<(), BusError>> {
        self.producer.publish_all(messages).await
    }

    async fn run(
        &self,
        subscription: Subscription,
        handler: Arc<dyn Handler>,
        stop: CancellationToken,
    ) -> Result<(), BusError> {
        let config = group::settings(
            self.options.client(&self.client_id)?,
            &subscription,
            &self.options.kafka_group_protocol,
        );
        reader::run(reader::Reader {
            config,
            subscription,
            handler,
            metrics: self.metrics.clone(),
            drain: self.drain,
            stop,
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        kafka: Options,
    }

    fn options(words: &[&str], credentials: &Path) -> Options {
        let mut all = vec!["test", "--kafka-credentials", credentials.to_str().unwrap()];
        all.extend(words);
        Arguments::try_parse_from(all).unwrap().kafka
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
        let words = [
            "--kafka-security-protocol",
            "SASL_SSL",
            "--kafka-sasl-mechanism",
            "PLAIN",
        ];
        let config = options(&words, directory.path()).client("pod").unwrap();
        assert_eq!(config.get("sasl.username"), Some("demo"));
        assert_eq!(config.get("sasl.password"), Some("p w"));
        assert!(config.get("ssl.ca.location").unwrap().ends_with("/ca.crt"));
        assert_eq!(config.get("ssl.key.location"), None);
    }

    #[test]
    fn what_is_missing_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let said = |words: &[&str]| {
            let error = options(words, directory.path()).client("pod").unwrap_err();
            error.to_string()
        };
        let text = said(&["--kafka-security-protocol", "SASL_SSL"]);
        assert!(text.contains("needs KAFKA_SASL_MECHANISM"), "{text}");
        let words = [
            "--kafka-security-protocol",
            "SASL_SSL",
            "--kafka-sasl-mechanism",
            "PLAIN",
        ];
        let text = said(&words);
        assert!(text.contains("username is needed for SASL_SSL"), "{text}");
        assert!(options(&[], directory.path()).client("pod").is_ok());
    }
}
