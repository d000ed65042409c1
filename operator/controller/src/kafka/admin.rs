//! Kafka's admin API on librdkafka.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use rdkafka::admin::{
    AdminOptions, AlterConfig, ConfigResource, ConfigSource, NewPartitions, NewTopic,
    OwnedResourceSpecifier, ResourceSpecifier, TopicReplication, TopicResult,
};
use rdkafka::types::RDKafkaErrorCode as Code;
use todo_operator_core::topics::{LiveTopic, WantedTopic};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time;

use super::connection::Connection;
use super::credential::Credential;
use super::{Action, KafkaAdmin, KafkaCluster, KafkaError};

type Config = BTreeMap<String, String>;

/// How often it is looked whether Kafka shows a change.
const POLL: Duration = Duration::from_millis(50);

/// [`KafkaAdmin`] on librdkafka. Connections are kept, and made anew when a credential's files change.
pub struct RdKafkaAdmin {
    credentials: PathBuf,
    request_timeout: Duration,
    connections: Mutex<HashMap<KafkaCluster, (Credential, Arc<Connection>)>>,
}

impl fmt::Debug for RdKafkaAdmin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RdKafkaAdmin")
            .field("credentials", &self.credentials)
            .field("request_timeout", &self.request_timeout)
            .finish_non_exhaustive()
    }
}

impl RdKafkaAdmin {
    /// Time in which a request must be answered.
    pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

    /// Finds credentials as directories below `credentials`.
    pub fn new(credentials: PathBuf) -> Self {
        Self {
            credentials,
            request_timeout: Self::REQUEST_TIMEOUT,
            connections: Mutex::default(),
        }
    }

    /// The same with another time than [`Self::REQUEST_TIMEOUT`].
    pub fn with_request_timeout(self, request_timeout: Duration) -> Self {
        Self {
            request_timeout,
            ..self
        }
    }

    async fn connect<'a>(&self, cluster: &'a KafkaCluster) -> Result<Session<'a>, KafkaError> {
        let credential = Credential::read(&self.credentials, cluster).await?;
        let mut connections = self.connections.lock().await;
        if let Some((opened_with, connection)) = connections.get(cluster)
            && *opened_with == credential
            && connection.is_sound()
        {
            return Ok(self.session(cluster, Arc::clone(connection)));
        }
        let timeout = self.request_timeout;
        let (to, with) = (cluster.clone(), credential.clone());
        let opened = spawn_blocking(move || Connection::open(&to, &with, timeout)).await;
        let connection = Arc::new(opened.map_err(|error| KafkaError::Client {
            cluster: cluster.to_string(),
            reason: error.to_string(),
        })??);
        if let Some(stale) =
            connections.insert(cluster.clone(), (credential, Arc::clone(&connection)))
        {
            // librdkafka waits for its threads.
            spawn_blocking(move || drop(stale));
        }
        Ok(self.session(cluster, connection))
    }

    fn session<'a>(&self, cluster: &'a KafkaCluster, connection: Arc<Connection>) -> Session<'a> {
        Session {
            cluster,
            connection,
            timeout: self.request_timeout,
        }
    }
}

impl KafkaAdmin for RdKafkaAdmin {
    fn describe<'a>(
        &'a self,
        cluster: &'a KafkaCluster,
        topics: &'a [String],
    ) -> BoxFuture<'a, Result<BTreeMap<String, LiveTopic>, KafkaError>> {
        async move {
            if topics.is_empty() {
                return Ok(BTreeMap::new());
            }
            self.connect(cluster).await?.describe(topics).await
        }
        .boxed()
    }

    fn create<'a>(
        &'a self,
        cluster: &'a KafkaCluster,
        topic: &'a WantedTopic,
    ) -> BoxFuture<'a, Result<(), KafkaError>> {
        async move { self.connect(cluster).await?.create(topic).await }.boxed()
    }

    fn grow<'a>(
        &'a self,
        cluster: &'a KafkaCluster,
        topic: &'a str,
        partitions: i32,
    ) -> BoxFuture<'a, Result<(), KafkaError>> {
        async move { self.connect(cluster).await?.grow(topic, partitions).await }.boxed()
    }

    fn configure<'a>(
        &'a self,
        cluster: &'a KafkaCluster,
        topic: &'a str,
        config: &'a Config,
    ) -> BoxFuture<'a, Result<(), KafkaError>> {
        async move { self.connect(cluster).await?.configure(topic, config).await }.boxed()
    }

    fn delete<'a>(
        &'a self,
        cluster: &'a KafkaCluster,
        topic: &'a str,
    ) -> BoxFuture<'a, Result<(), KafkaError>> {
        async move { self.connect(cluster).await?.delete(topic).await }.boxed()
    }
}

/// One request, or several that belong together, on one connection.
struct Session<'a> {
    cluster: &'a KafkaCluster,
    connection: Arc<Connection>,
    timeout: Duration,
}

impl Session<'_> {
    async fn describe(&self, topics: &[String]) -> Result<BTreeMap<String, LiveTopic>, KafkaError> {
        let layouts = self.connection.layouts(topics).await?;
        let names: Vec<&str> = layouts.keys().map(String::as_str).collect();
        let mut configs = self.configs(&names).await?;
        let unseen = layouts.keys().filter(|name| !configs.contains_key(*name));
        let unseen: Vec<String> = unseen.cloned().collect();
        // Deleted between the two requests, or not for the operator to see.
        if !unseen.is_empty()
            && let Some(topic) = self.connection.layouts(&unseen).await?.into_keys().next()
        {
            let cluster = self.cluster.to_string();
            return Err(KafkaError::Unreadable { cluster, topic });
        }
        let topics = layouts.into_iter().filter_map(|(name, layout)| {
            let topic = LiveTopic {
                partitions: layout.partitions,
                replicas: layout.replicas,
                config: configs.remove(&name)?,
            };
            Some((name, topic))
        });
        Ok(topics.collect())
    }

    async fn create(&self, topic: &WantedTopic) -> Result<(), KafkaError> {
        let name = &topic.physical_name;
        let new = new_topic(name, topic.partitions, topic.replicas, &topic.config);
        match self.create_topic(name, &new, self.options()).await? {
            Ok(()) => Ok(()),
            Err(Code::TopicAlreadyExists) => self.compare(topic).await,
            Err(code) => {
                Err(self.refused(Action::Create, name, code, self.explain(topic, code).await))
            }
        }
    }

    async fn grow(&self, topic: &str, partitions: i32) -> Result<(), KafkaError> {
        let count = usize::try_from(partitions).unwrap_or_default();
        let grown = [NewPartitions::new(topic, count)];
        let request = self
            .connection
            .admin
            .create_partitions(&grown, &self.options());
        let results = self.answer(Action::Grow, topic, request).await?;
        match verdict(results) {
            Ok(()) => Ok(()),
            // Also Kafka's answer to growing to what it has already.
            Err(Code::InvalidPartitions) => {
                let layouts = self.connection.layouts(&[topic.to_owned()]).await?;
                let has = layouts.get(topic).map(|layout| layout.partitions);
                if has == Some(partitions) {
                    return Ok(());
                }
                let detail =
                    has.map(|has| format!("it has {has} partitions, {partitions} were asked for"));
                Err(self.refused(Action::Grow, topic, Code::InvalidPartitions, detail))
            }
            Err(code) => Err(self.refused(Action::Grow, topic, code, None)),
        }
    }

    /// rdkafka drops the broker's answer to AlterConfigs, so whether the settings are valid is asked before, and whether
    /// they are taken over is looked at after. The request replaces all settings of the topic.
    async fn configure(&self, topic: &str, config: &Config) -> Result<(), KafkaError> {
        let refused = self.invalid_settings(&unused_name(topic), config).await?;
        if refused.is_some() {
            return Err(self.refused(Action::Configure, topic, Code::InvalidConfig, refused));
        }
        let mut change = AlterConfig::new(ResourceSpecifier::Topic(topic));
        for (key, value) in config {
            change = change.set(key, value);
        }
        let request = self
            .connection
            .admin
            .alter_configs([&change], &self.options());
        self.answer(Action::Configure, topic, request).await?;
        let mut live = None;
        let taken_over = async {
            loop {
                live = self.configs(&[topic]).await?.remove(topic);
                if live.as_ref() == Some(config) {
                    return Ok(());
                }
                time::sleep(POLL).await;
            }
        };
        if let Ok(done) = time::timeout(self.timeout, taken_over).await {
            return done;
        }
        Err(match live {
            Some(live) => KafkaError::NotTakenOver {
                cluster: self.cluster.to_string(),
                topic: topic.to_owned(),
                differing: differing(config, &live),
                timeout: self.timeout,
            },
            None => KafkaError::Unreadable {
                cluster: self.cluster.to_string(),
                topic: topic.to_owned(),
            },
        })
    }

    async fn delete(&self, topic: &str) -> Result<(), KafkaError> {
        let request = self
            .connection
            .admin
            .delete_topics(&[topic], &self.options());
        let results = self.answer(Action::Delete, topic, request).await?;
        match verdict(results) {
            Ok(()) | Err(Code::UnknownTopicOrPartition) => Ok(()),
            Err(code) => Err(self.refused(Action::Delete, topic, code, None)),
        }
    }

    /// The settings of topics themselves, without what they inherit. Topics whose settings Kafka does not show are absent.
    async fn configs(&self, topics: &[&str]) -> Result<BTreeMap<String, Config>, KafkaError> {
        if topics.is_empty() {
            return Ok(BTreeMap::new());
        }
        let resources: Vec<ResourceSpecifier<'_>> = topics
            .iter()
            .map(|topic| ResourceSpecifier::Topic(topic))
            .collect();
        let request = self
            .connection
            .admin
            .describe_configs(&resources, &self.options());
        let answers = self
            .answer(Action::Describe, &topics.join(", "), request)
            .await?;
        Ok(answers
            .into_iter()
            .flatten()
            .filter_map(own_settings)
            .collect())
    }

    /// Creates a topic, or only tries to. The outer error is that of the connection.
    async fn create_topic(
        &self,
        name: &str,
        topic: &NewTopic<'_>,
        options: AdminOptions,
    ) -> Result<Result<(), Code>, KafkaError> {
        let request = self.connection.admin.create_topics([topic], &options);
        Ok(verdict(self.answer(Action::Create, name, request).await?))
    }

    /// Whether a topic that was already there is the one that was to be made.
    async fn compare(&self, wanted: &WantedTopic) -> Result<(), KafkaError> {
        let name = &wanted.physical_name;
        let found = self
            .describe(std::slice::from_ref(name))
            .await?
            .remove(name);
        let found = match found {
            Some(live)
                if live.partitions == wanted.partitions
                    && live.replicas == wanted.replicas
                    && live.config == wanted.config =>
            {
                return Ok(());
            }
            Some(live) => format!(
                "it has {} partitions, {} replicas, settings {:?}",
                live.partitions, live.replicas, live.config
            ),
            None => "the brokers do not show it yet".to_owned(),
        };
        Err(KafkaError::Exists {
            cluster: self.cluster.to_string(),
            topic: name.clone(),
            found,
        })
    }

    /// What in particular Kafka does not like about a topic, where that can be found out.
    async fn explain(&self, topic: &WantedTopic, code: Code) -> Option<String> {
        match code {
            Code::InvalidConfig => self
                .invalid_settings(&topic.physical_name, &topic.config)
                .await
                .ok()?,
            Code::InvalidReplicationFactor => {
                let brokers = self.connection.brokers(&topic.physical_name).await.ok()?;
                Some(format!(
                    "{} replicas were asked for, brokers: {brokers}",
                    topic.replicas
                ))
            }
            _ => None,
        }
    }

    /// The settings that Kafka would not take for a topic, if there are any. `unused` is the name of a topic that does not
    /// exist; none is made. An answer that says nothing about the settings counts as consent.
    async fn invalid_settings(
        &self,
        unused: &str,
        config: &Config,
    ) -> Result<Option<String>, KafkaError> {
        if self.accepts(unused, config).await? {
            return Ok(None);
        }
        let mut refused = Vec::new();
        for (key, value) in config {
            let alone = Config::from([(key.clone(), value.clone())]);
            if !self.accepts(unused, &alone).await? {
                refused.push(format!("{key}={value}"));
            }
        }
        Ok(Some(if refused.is_empty() {
            "its settings contradict each other".to_owned()
        } else {
            refused.join(", ")
        }))
    }

    async fn accepts(&self, unused: &str, config: &Config) -> Result<bool, KafkaError> {
        /// The brokers' own number of replicas.
        const DEFAULT_REPLICAS: i32 = -1;
        let topic = new_topic(unused, 1, DEFAULT_REPLICAS, config);
        let options = self.options().validate_only(true);
        Ok(self.create_topic(unused, &topic, options).await? != Err(Code::InvalidConfig))
    }

    /// The answer to a request, or why there is none.
    async fn answer<T>(
        &self,
        action: Action,
        topic: &str,
        request: impl Future<Output = Result<T, rdkafka::error::KafkaError>>,
    ) -> Result<T, KafkaError> {
        let answer = self.connection.attempt(request).await?;
        answer.map_err(|error| self.connection.unanswered(action, topic, error))
    }

    fn refused(
        &self,
        action: Action,
        topic: &str,
        code: Code,
        detail: Option<String>,
    ) -> KafkaError {
        KafkaError::Refused {
            cluster: self.cluster.to_string(),
            topic: topic.to_owned(),
            action,
            code,
            detail,
        }
    }

    /// The brokers get half of the time, so that their own answer comes before ours is given up.
    fn options(&self) -> AdminOptions {
        AdminOptions::new()
            .request_timeout(Some(self.timeout))
            .operation_timeout(Some(self.timeout / 2))
    }
}

fn new_topic<'a>(
    name: &'a str,
    partitions: i32,
    replicas: i32,
    config: &'a Config,
) -> NewTopic<'a> {
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(replicas));
    config
        .iter()
        .fold(topic, |topic, (key, value)| topic.set(key, value))
}

/// The answer for the one topic that was asked about.
fn verdict(results: Vec<TopicResult>) -> Result<(), Code> {
    results
        .into_iter()
        .try_for_each(|result| result.map(drop).map_err(|(_, code)| code))
}

/// A topic's own settings. A topic always has inherited ones too; none at all is what rdkafka makes of an error.
fn own_settings(resource: ConfigResource) -> Option<(String, Config)> {
    let OwnedResourceSpecifier::Topic(name) = resource.specifier else {
        return None;
    };
    let shown = !resource.entries.is_empty();
    let own = resource
        .entries
        .into_iter()
        .filter(|entry| entry.source == ConfigSource::DynamicTopic)
        .filter_map(|entry| Some((entry.name, entry.value?)))
        .collect();
    shown.then_some((name, own))
}

/// A name for a topic that is never made, but that the same prefixed permissions cover.
fn unused_name(topic: &str) -> String {
    const LONGEST: usize = 249;
    const SUFFIX: &str = ".validate-only";
    let kept: String = topic.chars().take(LONGEST - SUFFIX.len()).collect();
    kept + SUFFIX
}

fn differing(wanted: &Config, live: &Config) -> String {
    let changed = wanted
        .iter()
        .filter(|(key, value)| live.get(*key) != Some(*value));
    let left = live.keys().filter(|key| !wanted.contains_key(*key));
    let mut names: Vec<&str> = changed
        .map(|(key, _)| key)
        .chain(left)
        .map(String::as_str)
        .collect();
    names.sort_unstable();
    names.join(", ")
}
