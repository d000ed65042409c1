//! What every message is wrapped in: CloudEvents 1.0 in the structured JSON form, with extensions of ours.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;
use uuid::Uuid;

use crate::{UserId, WorkspaceId};

/// The media type of an envelope on the wire.
pub const CONTENT_TYPE: &str = "application/cloudevents+json";

/// A CloudEvents 1.0 event.
///
/// What else another producer or a broker put beside these attributes is passed over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Envelope {
    /// The version of CloudEvents.
    pub specversion: SpecVersion,
    /// Identifies the message. Who sends it again keeps it, and who receives it twice handles it once.
    pub id: Uuid,
    /// The service that says it.
    pub source: String,
    /// Says what `data` is.
    #[serde(rename = "type")]
    pub kind: String,
    /// The id of what it is about: a task, a list, a user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// When it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
    /// The form of `data`: JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datacontenttype: Option<String>,
    /// The workspace that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspaceid: Option<WorkspaceId>,
    /// Counts the events of the workspace; clients sync by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspaceseq: Option<Counter>,
    /// Counts the events of the subject. A gap shows that one is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregateversion: Option<Counter>,
    /// Shared by everything that one request has led to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlationid: Option<Uuid>,
    /// The message that this one answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causationid: Option<Uuid>,
    /// Who wanted it: the id of a user, or `service:` and the name of a service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actorid: Option<Actor>,
    /// The trace that it belongs to, as W3C Trace Context writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// What happened, or is asked for.
    pub data: Value,
}

impl Envelope {
    /// The form of `data`, for new envelopes.
    #[must_use]
    pub fn json() -> Option<String> {
        Some("application/json".to_owned())
    }
}

/// The one version of CloudEvents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum SpecVersion {
    /// 1.0
    #[default]
    #[serde(rename = "1.0")]
    V1,
}

/// A number that only grows, as a decimal string: integers of CloudEvents have 32 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Counter(pub u64);

impl fmt::Display for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Counter {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Counter {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        // `u64::from_str` takes "+7" and "007" too; a counter has one form only.
        let number = text.parse().ok().map(Self);
        number
            .filter(|counter| counter.to_string() == text)
            .ok_or_else(|| serde::de::Error::custom(format_args!("{text:?} is no decimal counter")))
    }
}

impl JsonSchema for Counter {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Counter".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^(0|[1-9][0-9]{0,19})$"})
    }
}

/// Who wants something.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Actor {
    /// A person, or a program with that person's token.
    User(UserId),
    /// One of our own services.
    Service(String),
}

/// A text that names no actor.
#[derive(Debug, Error)]
#[error(
    "{0:?} is neither the id of a user nor `service:` with a name of small letters and hyphens"
)]
pub struct NoActor(String);

const SERVICE: &str = "service:";

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => id.fmt(f),
            Self::Service(name) => write!(f, "{SERVICE}{name}"),
        }
    }
}

impl FromStr for Actor {
    type Err = NoActor;

    fn from_str(text: &str) -> Result<Self, NoActor> {
        let is_name = |name: &str| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '-')
        };
        match text.strip_prefix(SERVICE) {
            Some(name) if is_name(name) => Ok(Self::Service(name.to_owned())),
            Some(_) => Err(NoActor(text.to_owned())),
            None => text
                .parse()
                .map(Self::User)
                .map_err(|_| NoActor(text.to_owned())),
        }
    }
}

impl Serialize for Actor {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Actor {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Actor {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Actor".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^(service:[a-z-]+|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$"})
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    pub(crate) fn message() -> Envelope {
        serde_json::from_value(wire()).unwrap()
    }

    fn wire() -> Value {
        json!({
            "specversion": "1.0",
            "id": "019a2d3c-4f5a-7b6c-8d7e-9f0a1b2c3d4e",
            "source": "/todo/tasks",
            "type": "todo.task.completed.v1",
            "subject": "019a2d3c-0000-7000-8000-000000000001",
            "time": "2026-11-21T09:00:00.123456Z",
            "datacontenttype": "application/json",
            "workspaceid": "019a2d3c-0000-7000-8000-0000000000aa",
            "workspaceseq": "18446744073709551615",
            "aggregateversion": "7",
            "correlationid": "019a2d3c-0000-7000-8000-0000000000cc",
            "causationid": "019a2d3c-0000-7000-8000-0000000000cd",
            "actorid": "service:scheduler",
            "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "data": {"task_id": "019a2d3c-0000-7000-8000-000000000001"}
        })
    }

    #[test]
    fn what_was_read_is_written_as_it_was() {
        assert_eq!(serde_json::to_value(message()).unwrap(), wire());
    }

    #[test]
    fn attributes_of_others_are_passed_over() {
        let mut wire = wire();
        for (name, value) in [("pubsubname", "kafka"), ("topic", "t"), ("tracestate", "")] {
            wire[name] = json!(value);
        }
        let read: Envelope = serde_json::from_value(wire).unwrap();
        assert_eq!(read, message());
    }

    #[test]
    fn counters_have_one_form_and_64_bits() {
        for wrong in ["", "+7", "007", "-1", "1.0", "18446744073709551616"] {
            let error = serde_json::from_value::<Counter>(json!(wrong)).unwrap_err();
            assert!(
                error.to_string().contains("is no decimal counter"),
                "{error}"
            );
        }
        assert!(serde_json::from_value::<Counter>(json!(7)).is_err());
        assert_eq!(
            serde_json::from_value::<Counter>(json!("0")).unwrap(),
            Counter(0)
        );
    }

    #[test]
    fn an_actor_is_a_user_or_a_service() {
        let user = "019a2d3c-0000-7000-8000-0000000000ee";
        assert_eq!(user.parse::<Actor>().unwrap().to_string(), user);
        assert_eq!(
            "service:scheduler".parse::<Actor>().unwrap(),
            Actor::Service("scheduler".to_owned())
        );
        for wrong in ["", "somebody", "service:", "service:A"] {
            assert!(wrong.parse::<Actor>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn another_version_of_cloudevents_is_refused() {
        let mut wire = wire();
        wire["specversion"] = json!("0.3");
        let error = serde_json::from_value::<Envelope>(wire).unwrap_err();
        assert!(error.to_string().contains("0.3"), "{error}");
    }
}
