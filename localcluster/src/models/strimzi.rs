//! Strimzi's topic operator, for which every topic is ready. No topic is made.

use std::sync::Arc;

use kube::api::DynamicObject;
use kube::core::ApiResource;
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};

use super::{condition, play, resource, write_status};

fn kind() -> ApiResource {
    resource("kafka.strimzi.io", "v1", "KafkaTopic")
}

pub(super) async fn run(client: Client) {
    play(client, kind(), false, reconcile).await;
}

async fn reconcile(client: Client, topic: Arc<DynamicObject>) -> Result<(), kube::Error> {
    write_status(client, &kind(), &topic, status(&topic)).await
}

fn status(topic: &DynamicObject) -> Value {
    let mut ready = condition(topic, "Ready", "", "");
    if let Some(fields) = ready.as_object_mut() {
        // Strimzi gives reasons only when something is wrong.
        fields.remove("reason");
        fields.remove("message");
    }
    json!({
        "conditions": [ready],
        "observedGeneration": topic.metadata.generation,
        "topicName": topic.data["spec"]["topicName"].as_str().map_or_else(|| topic.name_any(), str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topic_has_its_own_name_unless_the_spec_has_another() {
        let mut topic = DynamicObject::new("t", &kind());
        topic.data = json!({"spec": {}});
        assert_eq!(status(&topic)["topicName"], "t");
        topic.data = json!({"spec": {"topicName": "ns.t"}});
        assert_eq!(status(&topic)["topicName"], "ns.t");
    }
}
