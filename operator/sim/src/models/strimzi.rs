//! Strimzi's topic operator (1.2.0): a KafkaTopic is a topic in Kafka.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use todo_operator_core::topics::LiveTopic;

use super::client::{Client, Controller};
use super::fields::{
    annotation, condition, count, generation, has_finalizer, is_deleting, name, stamp, text,
    with_finalizer, without_finalizer,
};
use crate::actor::{Resource, resource};

const TOPICS: Resource = resource("kafka.strimzi.io", "kafkatopics");
const FINALIZER: &str = "strimzi.io/topic-operator";
const MANAGED: &str = "strimzi.io/managed";

/// The topic operator.
pub(crate) struct Strimzi;

impl Controller for Strimzi {
    const NAME: &'static str = "strimzi";
    const MANAGER: &'static str = "strimzi-topic-operator";
    const WATCHES: &'static [Resource] = &[TOPICS];

    fn sync(&mut self, client: &mut Client, now: Timestamp) {
        for topic in client.list(TOPICS) {
            reconcile(client, &topic, now);
        }
    }
}

fn topic_name(topic: &Value) -> &str {
    match text(topic, "/spec/topicName") {
        "" => name(topic),
        named => named,
    }
}

fn reconcile(client: &mut Client, topic: &Value, now: Timestamp) {
    let is_managed = annotation(topic, MANAGED) != Some("false");
    let kafka = Arc::clone(&client.knobs().kafka);
    if is_deleting(topic) {
        if has_finalizer(topic, FINALIZER) {
            if is_managed {
                kafka.take_away(topic_name(topic));
            }
            let _ = client.merge(TOPICS, topic, without_finalizer(topic, FINALIZER));
        }
        return;
    }
    if !is_managed {
        let _ = report(client, topic, "Unmanaged", "True", "", "", now);
        return;
    }
    if !has_finalizer(topic, FINALIZER) {
        // The write brings us back.
        let _ = client.merge(TOPICS, topic, with_finalizer(topic, FINALIZER));
        return;
    }
    let wanted = LiveTopic {
        partitions: i32::try_from(count(topic, "/spec/partitions")).unwrap_or_default(),
        replicas: i32::try_from(count(topic, "/spec/replicas")).unwrap_or_default(),
        config: config(topic),
    };
    let _ = match kafka.reconcile(topic_name(topic), wanted) {
        Ok(()) => report(client, topic, "Ready", "True", "", "", now),
        Err((reason, message)) => report(client, topic, "Ready", "False", reason, &message, now),
    };
}

fn config(topic: &Value) -> BTreeMap<String, String> {
    let config = topic.pointer("/spec/config").and_then(Value::as_object);
    config
        .into_iter()
        .flatten()
        .map(|(key, value)| match value {
            Value::String(text) => (key.clone(), text.clone()),
            other => (key.clone(), other.to_string()),
        })
        .collect()
}

fn report(
    client: &mut Client,
    topic: &Value,
    kind: &str,
    status: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> Result<(), super::client::Interrupted> {
    let said =
        |known: &&Value| text(known, "/status") == status && text(known, "/reason") == reason;
    let mut told = json!({"type": kind, "status": status, "lastTransitionTime": stamp(now)});
    if let Some(known) = condition(topic, kind).filter(said) {
        told["lastTransitionTime"] = known["lastTransitionTime"].clone();
    }
    if !reason.is_empty() {
        told["reason"] = json!(reason);
        told["message"] = json!(message);
    }
    let mut report = json!({
        "observedGeneration": generation(topic),
        "conditions": [told],
        "topicName": topic_name(topic),
    });
    if kind == "Ready" {
        report["topicId"] = json!(todo_operator_core::canonical::short(&topic_name(topic), 22));
    }
    client.set_status(TOPICS, topic, report)?;
    Ok(())
}
