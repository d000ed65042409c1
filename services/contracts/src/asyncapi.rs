//! The AsyncAPI document: topics, what is in them, and who sends and receives it.

use serde_json::{Map, Value, json};

use schemars::JsonSchema as _;

use crate::schema::{plain, settings};
use crate::topic::Retention;
use crate::{Envelope, Topic, catalog};

use Topic::{
    Reminders, TaskCommands, TaskEvents, TaskUpdates, UserEvents, UserProfiles, WorkspaceMembers,
};

/// A service, what it sends, and what it receives.
const SERVICES: [(&str, &[Topic], &[Topic]); 7] = [
    ("activity", &[], &[TaskEvents, UserEvents, Reminders]),
    ("broadcaster", &[], &[Reminders, TaskEvents, UserProfiles]),
    ("gateway", &[TaskCommands], &[TaskUpdates, WorkspaceMembers]),
    (
        "identity",
        &[UserEvents, UserProfiles, WorkspaceMembers],
        &[],
    ),
    (
        "scheduler",
        &[Reminders, TaskCommands],
        &[TaskEvents, UserProfiles],
    ),
    ("tasks", &[TaskEvents], &[TaskCommands, WorkspaceMembers]),
    (
        "views",
        &[TaskUpdates],
        &[TaskEvents, UserProfiles, WorkspaceMembers],
    ),
];

/// The document, of AsyncAPI 3.1.
#[must_use]
pub fn document() -> Value {
    let (messages, schemas) = components();
    json!({
        "asyncapi": "3.1.0",
        "info": {
            "title": "Todo services",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Commands and events of the todo services. Each message is a CloudEvents 1.0 event in the structured JSON form.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": crate::envelope::CONTENT_TYPE,
        "channels": channels(),
        "operations": operations(),
        "components": {"messages": messages, "schemas": schemas},
    })
}

fn channels() -> Map<String, Value> {
    let channel = |topic: Topic| {
        let messages: Map<_, _> = catalog()
            .into_iter()
            .filter(|entry| entry.topic == topic)
            .map(|entry| {
                let reference = format!("#/components/messages/{}", entry.name);
                (entry.name.to_owned(), json!({"$ref": reference}))
            })
            .collect();
        let configuration = match topic.retention() {
            Retention::Compact => json!({"cleanup.policy": ["compact"]}),
            Retention::Unlimited => json!({"cleanup.policy": ["delete"], "retention.ms": -1}),
            Retention::Hours(hours) => {
                json!({"cleanup.policy": ["delete"], "retention.ms": u64::from(hours) * 3_600_000})
            }
        };
        let content = json!({
            "address": format!("{{namespace}}.{topic}"),
            "description": format!("{} Keyed by {}.", topic.description(), topic.key()),
            "parameters": {"namespace": {"description": "The namespace of the stage."}},
            "messages": messages,
            "bindings": {"kafka": {
                "partitions": topic.partitions(),
                "topicConfiguration": configuration,
                "bindingVersion": "0.5.0",
            }},
        });
        (topic.name().to_owned(), content)
    };
    Topic::ALL.into_iter().map(channel).collect()
}

fn operations() -> Map<String, Value> {
    let mut all = Map::new();
    for (service, sends, receives) in SERVICES {
        for (action, topics) in [("send", sends), ("receive", receives)] {
            for topic in topics {
                all.insert(
                    format!("{service}-{action}s-{topic}"),
                    json!({
                        "action": action,
                        "title": format!("{service} {action}s {topic}"),
                        "channel": {"$ref": format!("#/channels/{topic}")},
                    }),
                );
            }
        }
    }
    all
}

/// Messages and schemas by name.
fn components() -> (Map<String, Value>, Map<String, Value>) {
    let mut generator = settings("/components/schemas").into_generator();
    let mut messages = Map::new();
    let mut schemas = Map::new();
    let mut envelope = Envelope::json_schema(&mut generator);
    plain(&mut envelope);
    schemas.insert("Envelope".to_owned(), envelope.into());
    for entry in catalog() {
        let mut schema = (entry.schema)(&mut generator);
        plain(&mut schema);
        let summary = schema.get("description").cloned().unwrap_or_default();
        schemas.insert(entry.name.to_owned(), schema.into());
        messages.insert(
            entry.name.to_owned(),
            json!({
                "name": entry.kind,
                "title": entry.name,
                "summary": summary,
                "payload": {
                    "allOf": [
                        {"$ref": "#/components/schemas/Envelope"},
                        {"type": "object", "properties": {
                            "type": {"const": entry.kind},
                            "data": {"$ref": format!("#/components/schemas/{}", entry.name)},
                        }},
                    ],
                },
            }),
        );
    }
    for (name, definition) in generator.take_definitions(true) {
        let mut definition: schemars::Schema = definition.try_into().unwrap_or_default();
        plain(&mut definition);
        schemas.insert(name, definition.into());
    }
    (messages, schemas)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_has_somebody_who_sends_and_somebody_who_receives() {
        let document = document();
        for topic in Topic::ALL {
            let channel = json!({"$ref": format!("#/channels/{topic}")});
            for action in ["send", "receive"] {
                let operations = document["operations"].as_object().unwrap().values();
                let mut of_topic = operations
                    .filter(|operation| operation["channel"] == channel)
                    .filter(|operation| operation["action"] == action);
                assert!(of_topic.next().is_some(), "nobody {action}s {topic}");
            }
        }
    }

    #[test]
    fn references_lead_somewhere() {
        let document = document();
        let text = document.to_string();
        let references = text.split("\"$ref\":\"#").skip(1);
        let mut count = 0;
        for reference in references {
            let pointer = reference.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
            count += 1;
        }
        assert!(count > catalog().len());
    }
}
