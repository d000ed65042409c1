//! A connection to one Kafka cluster: librdkafka's clients and what they say while nobody asks.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::admin::AdminClient;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{Producer, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode as Code;
use todo_operator_api::environment::{SaslMechanism, SecurityProtocol};
use tokio::sync::{oneshot, watch};

use super::credential::{CA, CERTIFICATE, Credential, KEY};
use super::{Action, KafkaCluster, KafkaError};

/// Partitions, and copies of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) partitions: i32,
    pub(super) replicas: i32,
}

/// Two clients, because rdkafka's admin client tells nobody why it cannot connect: that comes as events to its main queue,
/// which it does not read. A producer does, so one that never produces asks for metadata and listens.
pub(super) struct Connection {
    cluster: KafkaCluster,
    timeout: Duration,
    listener: ThreadedProducer<Listener>,
    pub(super) admin: AdminClient<Mute>,
}

impl Connection {
    /// Makes the clients; librdkafka connects in the background. Blocks.
    pub(super) fn open(
        cluster: &KafkaCluster,
        credential: &Credential,
        timeout: Duration,
    ) -> Result<Self, KafkaError> {
        let mut config = client_config(cluster, credential, timeout)?;
        let listener = ThreadedProducer::from_config_and_context(&config, Listener::default());
        // Nobody reads what this client logs, and its queue must not grow.
        config.set_log_level(RDKafkaLogLevel::Emerg);
        let admin = AdminClient::from_config_and_context(&config, Mute);
        let unusable = |error| KafkaError::Client {
            cluster: cluster.to_string(),
            reason: without_value(error),
        };
        Ok(Self {
            cluster: cluster.clone(),
            timeout,
            listener: listener.map_err(unusable)?,
            admin: admin.map_err(unusable)?,
        })
    }

    /// Whether nothing has gone wrong with it. One that has failed is not used again: its failure would be told of at once,
    /// although the brokers may be back.
    pub(super) fn is_sound(&self) -> bool {
        self.listener().failure.borrow().is_none()
    }

    /// Does `work`, or fails as soon as it is known that it cannot succeed, without waiting for its timeout.
    pub(super) async fn attempt<T>(&self, work: impl Future<Output = T>) -> Result<T, KafkaError> {
        let mut failure = self.listener().failure.subscribe();
        tokio::select! {
            biased;
            done = work => Ok(done),
            Ok(failure) = failure.wait_for(Option::is_some) => Err(match failure.clone() {
                Some(Failure::Authentication(reason)) => KafkaError::Authentication {
                    cluster: self.cluster.to_string(),
                    reason,
                },
                Some(Failure::Unreachable(reason)) => self.unreachable(reason),
                None => self.unreachable("no broker answers".to_owned()),
            }),
        }
    }

    /// The topics of these names that exist.
    pub(super) async fn layouts(
        self: &Arc<Self>,
        topics: &[String],
    ) -> Result<BTreeMap<String, Layout>, KafkaError> {
        let (connection, topics) = (Arc::clone(self), topics.to_vec());
        self.in_background(move || {
            let mut layouts = BTreeMap::new();
            for topic in topics {
                if let Some(layout) = connection.layout(&topic)? {
                    layouts.insert(topic, layout);
                }
            }
            Ok(layouts)
        })
        .await
    }

    /// Number of brokers.
    pub(super) async fn brokers(self: &Arc<Self>, topic: &str) -> Result<usize, KafkaError> {
        let (connection, topic) = (Arc::clone(self), topic.to_owned());
        self.in_background(move || Ok(connection.metadata(&topic)?.brokers().len()))
            .await
    }

    /// The error of a request that was not answered at all.
    pub(super) fn unanswered(&self, action: Action, topic: &str, error: ClientError) -> KafkaError {
        match error {
            ClientError::AdminOp(Code::OperationTimedOut | Code::RequestTimedOut) => {
                KafkaError::TimedOut {
                    cluster: self.cluster.to_string(),
                    topic: topic.to_owned(),
                    action,
                    timeout: self.timeout,
                }
            }
            ClientError::AdminOp(code) => KafkaError::Refused {
                cluster: self.cluster.to_string(),
                topic: topic.to_owned(),
                action,
                code,
                detail: None,
            },
            error => KafkaError::Client {
                cluster: self.cluster.to_string(),
                reason: without_value(error),
            },
        }
    }

    /// Runs what blocks on a thread of its own: on one of the runtime's, a call that is not awaited any more would hold up
    /// the end of the process.
    async fn in_background<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, KafkaError> + Send + 'static,
    ) -> Result<T, KafkaError> {
        let (answer, answered) = oneshot::channel();
        let started = thread::Builder::new()
            .name("kafka-metadata".to_owned())
            .spawn(move || drop(answer.send(work())));
        let failed = |reason: String| KafkaError::Client {
            cluster: self.cluster.to_string(),
            reason,
        };
        started.map_err(|error| failed(format!("cannot start a thread: {error}")))?;
        let answer = self.attempt(answered).await?;
        answer.unwrap_or_else(|_| Err(failed("the thread that asks for metadata died".to_owned())))
    }

    fn layout(&self, topic: &str) -> Result<Option<Layout>, KafkaError> {
        let metadata = self.metadata(topic)?;
        let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
            return Ok(None);
        };
        // Partitions of a topic with an error are not to be looked at: there may be none, and the pointer to them null.
        if let Some(error) = found.error() {
            return match Code::from(error) {
                Code::UnknownTopicOrPartition => Ok(None),
                code => Err(KafkaError::Refused {
                    cluster: self.cluster.to_string(),
                    topic: topic.to_owned(),
                    action: Action::Describe,
                    code,
                    detail: None,
                }),
            };
        }
        let partitions = found.partitions();
        let replicas = partitions
            .iter()
            .map(|partition| partition.replicas().len())
            .min();
        Ok(Some(Layout {
            partitions: i32::try_from(partitions.len()).unwrap_or(i32::MAX),
            replicas: replicas
                .and_then(|replicas| i32::try_from(replicas).ok())
                .unwrap_or_default(),
        }))
    }

    fn metadata(&self, topic: &str) -> Result<rdkafka::metadata::Metadata, KafkaError> {
        let client = self.listener.client();
        client
            .fetch_metadata(Some(topic), self.timeout)
            .map_err(|error| {
                let cause = self.listener().cause();
                self.unreachable(cause.unwrap_or_else(|| without_value(error)))
            })
    }

    fn listener(&self) -> &Listener {
        self.listener.client().context()
    }

    fn unreachable(&self, reason: String) -> KafkaError {
        KafkaError::Unreachable {
            cluster: self.cluster.to_string(),
            reason,
        }
    }
}

/// What it means if no broker is left and nothing went wrong with any: librdkafka calls a close no error.
const CLOSED: &str = "the brokers close the connection, as they do if the protocol is not theirs";

/// Why no request can succeed on a connection.
#[derive(Clone, Debug)]
enum Failure {
    Authentication(String),
    Unreachable(String),
}

/// Hears what goes wrong with a client.
struct Listener {
    failure: watch::Sender<Option<Failure>>,
    /// The last thing that happened to any broker; alone it means little, because another may answer.
    cause: Mutex<Option<String>>,
}

impl Default for Listener {
    fn default() -> Self {
        Self {
            failure: watch::Sender::new(None),
            cause: Mutex::default(),
        }
    }
}

impl Listener {
    fn cause(&self) -> Option<String> {
        self.cause
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl ClientContext for Listener {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, "librdkafka: {message}");
    }

    fn error(&self, error: ClientError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(Code::Authentication) => {
                let failure = Failure::Authentication(reason.to_owned());
                self.failure.send_replace(Some(failure));
            }
            Some(Code::AllBrokersDown) => {
                let cause = self.cause().unwrap_or_else(|| CLOSED.to_owned());
                self.failure.send_if_modified(|failure| {
                    let first = failure.is_none();
                    failure.get_or_insert(Failure::Unreachable(cause));
                    first
                });
            }
            _ => {
                *self.cause.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned())
            }
        }
    }
}

impl ProducerContext for Listener {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): Self::DeliveryOpaque) {}
}

/// The context of the client that nobody listens to.
pub(super) struct Mute;

impl ClientContext for Mute {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}
}

fn client_config(
    cluster: &KafkaCluster,
    credential: &Credential,
    timeout: Duration,
) -> Result<ClientConfig, KafkaError> {
    let mut config = ClientConfig::new();
    config
        .set("client.id", "todo-operator")
        .set("bootstrap.servers", &cluster.bootstrap_servers)
        .set(
            "security.protocol",
            protocol_name(cluster.security_protocol),
        )
        .set(
            "socket.connection.setup.timeout.ms",
            timeout.as_millis().max(1_000).to_string(),
        )
        .set("socket.keepalive.enable", "true")
        // A producer's default is to make the topics whose metadata it asks for.
        .set("allow.auto.create.topics", "false")
        // Brokers close idle connections, which is no failure.
        .set("log.connection.close", "false");
    if is_tls(cluster.security_protocol) {
        for (setting, file) in [
            ("ssl.ca.location", CA),
            ("ssl.certificate.location", CERTIFICATE),
            ("ssl.key.location", KEY),
        ] {
            if let Some(path) = credential.path(file) {
                config.set(setting, path);
            }
        }
    }
    if is_sasl(cluster.security_protocol) {
        let missing = |reason: &str| KafkaError::Settings {
            cluster: cluster.to_string(),
            reason: format!(
                "securityProtocol {} needs {reason}",
                protocol_name(cluster.security_protocol)
            ),
        };
        let mechanism = cluster
            .sasl_mechanism
            .ok_or_else(|| missing("a saslMechanism"))?;
        let name = cluster
            .credential
            .as_ref()
            .ok_or_else(|| missing("an adminCredential"))?;
        let (username, password) = credential.login().ok_or_else(|| KafkaError::Credential {
            cluster: cluster.to_string(),
            credential: name.clone(),
            reason: "username and password must both be there, be text and not be empty".to_owned(),
        })?;
        config
            .set("sasl.mechanism", mechanism_name(mechanism))
            .set("sasl.username", username)
            .set("sasl.password", password);
    }
    Ok(config)
}

fn protocol_name(protocol: SecurityProtocol) -> &'static str {
    match protocol {
        SecurityProtocol::Plaintext => "PLAINTEXT",
        SecurityProtocol::Ssl => "SSL",
        SecurityProtocol::SaslPlaintext => "SASL_PLAINTEXT",
        SecurityProtocol::SaslSsl => "SASL_SSL",
    }
}

fn mechanism_name(mechanism: SaslMechanism) -> &'static str {
    match mechanism {
        SaslMechanism::Plain => "PLAIN",
        SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
        SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
    }
}

fn is_tls(protocol: SecurityProtocol) -> bool {
    matches!(protocol, SecurityProtocol::Ssl | SecurityProtocol::SaslSsl)
}

fn is_sasl(protocol: SecurityProtocol) -> bool {
    matches!(
        protocol,
        SecurityProtocol::SaslPlaintext | SecurityProtocol::SaslSsl
    )
}

/// The error without the value of a setting, which may be the password.
fn without_value(error: ClientError) -> String {
    match error {
        ClientError::ClientConfig(_, description, setting, _) => {
            format!("{setting}: {description}")
        }
        ClientError::Nul(_) => "a setting contains a zero byte".to_owned(),
        error => error.to_string(),
    }
}
