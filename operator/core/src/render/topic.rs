//! Topics: as KafkaTopics for Strimzi, or as wishes that the operator fulfils through Kafka's admin API.

use std::collections::BTreeMap;

use serde_json::json;
use todo_operator_api::data::Topic;
use todo_operator_api::environment::MessagingProvider;

use super::metadata::child_elsewhere;
use crate::child::Child;
use crate::kind::Kind;
use crate::names;
use crate::topics::WantedTopic;
use crate::validate::{ValidApp, ValidComponent};

const DEFAULT_PARTITIONS: i32 = 6;
const DEFAULT_REPLICAS: i32 = 3;
/// Parked messages are few, and a person reads them in the order in which they came.
const DEAD_LETTER_PARTITIONS: i32 = 1;
/// 30 days: a person must have had the time.
const DEAD_LETTER_RETENTION_MS: &str = "2592000000";
const MAX_MESSAGE_BYTES: &str = "max.message.bytes";

/// Topics that the operator makes itself.
pub(super) fn direct(app: &ValidApp<'_>) -> Vec<WantedTopic> {
    match provider(app) {
        Some(MessagingProvider::Direct) => wanted(app),
        _ => Vec::new(),
    }
}

/// Topics that Strimzi's topic operator makes, in its own namespace. An object has the topic's name in Kafka, so that two
/// namespaces can never mean the same one.
pub(super) fn strimzi(app: &ValidApp<'_>) -> Vec<Child> {
    let messaging = app.environment.spec.messaging.as_ref();
    let Some(cluster) = messaging.and_then(|messaging| messaging.strimzi.as_ref()) else {
        return Vec::new();
    };
    if provider(app) != Some(MessagingProvider::Strimzi) {
        return Vec::new();
    }
    wanted(app)
        .into_iter()
        .map(|topic| {
            let name = &topic.physical_name;
            let spec = json!({
                "topicName": name,
                "partitions": topic.partitions,
                "replicas": topic.replicas,
                "config": topic.config,
            });
            let content = json!({"spec": spec});
            let mut child =
                child_elsewhere(app, Kind::KafkaTopic, &cluster.namespace, name, content);
            child.body["metadata"]["labels"]["strimzi.io/cluster"] = json!(cluster.cluster);
            child
        })
        .collect()
}

fn provider(app: &ValidApp<'_>) -> Option<MessagingProvider> {
    let messaging = app.environment.spec.messaging.as_ref();
    messaging.map(|messaging| messaging.provider)
}

/// The declared topics, and the dead-letter topic of every component that consumes.
fn wanted(app: &ValidApp<'_>) -> Vec<WantedTopic> {
    let defaults = app.environment.spec.defaults.as_ref();
    let replicas = defaults
        .and_then(|defaults| defaults.topic_replicas)
        .unwrap_or(DEFAULT_REPLICAS);
    let Some(messaging) = app.app.spec.messaging.as_ref() else {
        return Vec::new();
    };
    let declared = messaging.topics.iter().map(|(name, topic)| WantedTopic {
        physical_name: names::physical_topic(app.namespace, name),
        partitions: partitions(topic),
        replicas: topic.replicas.unwrap_or(replicas),
        config: topic.config.clone(),
        allow_growth: topic.allow_partition_growth,
    });
    let dead_letters = app
        .components
        .values()
        .filter(|component| !component.spec.consumes.is_empty())
        .map(|component| WantedTopic {
            physical_name: names::dead_letter_topic(app.namespace, component.name),
            partitions: DEAD_LETTER_PARTITIONS,
            replicas,
            config: dead_letter_config(component, &messaging.topics),
            allow_growth: false,
        });
    declared.chain(dead_letters).collect()
}

/// What was small enough for a topic must be small enough for the place where it is parked.
fn dead_letter_config(
    component: &ValidComponent<'_>,
    topics: &BTreeMap<String, Topic>,
) -> BTreeMap<String, String> {
    let mut config = BTreeMap::from([
        ("cleanup.policy".to_owned(), "delete".to_owned()),
        (
            "retention.ms".to_owned(),
            DEAD_LETTER_RETENTION_MS.to_owned(),
        ),
    ]);
    let consumed = component.spec.consumes.keys();
    let largest = consumed
        .filter_map(|topic| topics.get(topic)?.config.get(MAX_MESSAGE_BYTES))
        .filter_map(|bytes| bytes.parse::<u64>().ok())
        .max();
    if let Some(bytes) = largest {
        config.insert(MAX_MESSAGE_BYTES.to_owned(), bytes.to_string());
    }
    config
}

fn partitions(topic: &Topic) -> i32 {
    topic.partitions.unwrap_or(DEFAULT_PARTITIONS)
}

/// Partitions of each topic that a component's replicas share.
fn shared_partitions(app: &ValidApp<'_>, component: &ValidComponent<'_>) -> Vec<i64> {
    let messaging = app.app.spec.messaging.as_ref();
    let consumes = component.spec.consumes.iter();
    consumes
        .filter(|(_, consume)| !consume.broadcast)
        .filter_map(|(name, _)| messaging?.topics.get(name))
        .map(|topic| partitions(topic).into())
        .collect()
}

/// The fewest partitions of a topic that a component's replicas share.
pub(super) fn fewest_partitions(app: &ValidApp<'_>, component: &ValidComponent<'_>) -> Option<i64> {
    shared_partitions(app, component).into_iter().min()
}
