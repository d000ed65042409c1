//! Values that several messages share.

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::{ReminderId, TagId};

/// When a task is due: a day; a day and a time wherever one is; or a day and a time in a zone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Due {
    /// The day.
    pub date: Date,
    /// The time of day. Without it the whole day is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time_of_day")]
    pub time: Option<Time>,
    /// The IANA time zone of `time`. Without it the time is meant wherever the reader is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub zone: Option<String>,
}

/// `HH:MM:SS`, without a zone.
fn time_of_day(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": ["string", "null"],
        "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\\.[0-9]{1,9})?)?$"
    })
}

/// How a task repeats.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Recurrence {
    /// A recurrence rule of RFC 5545, such as `FREQ=WEEKLY;BYDAY=MO,TH`.
    #[schemars(length(min = 1, max = limits::RULE))]
    pub rule: String,
    /// What the rule counts from. A command may leave it to the task's own due date; an event always has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Due>,
    /// Whether the next one is due after the last was due, or after it was completed.
    pub anchor: Anchor,
}

/// From where the next occurrence of a task is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Anchor {
    /// From the day on which the last one was due.
    Due,
    /// From the day on which the last one was completed.
    Completion,
}

/// When somebody is to be reminded of a task: at a moment, or some time before it is due. Exactly one of the two is given.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Reminder {
    /// Its id.
    pub reminder_id: ReminderId,
    /// The moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// Minutes before the task is due; the day begins where no time is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 527_040))]
    pub minutes_before: Option<i32>,
}

/// How urgent a task is. `p1` is the most urgent; a task without a priority comes after `p4`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Most urgent.
    P1,
    /// Urgent.
    P2,
    /// Normal.
    P3,
    /// Least urgent.
    P4,
}

/// What a member of a workspace may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything, membership included.
    Owner,
    /// Read and write.
    Editor,
    /// Read.
    Viewer,
}

/// A field of a task that can be empty.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum TaskField {
    /// Its description.
    Description,
    /// Its priority.
    Priority,
    /// When it is due.
    Due,
    /// How it repeats.
    Recurrence,
}

/// A field of a list or a tag that can be empty.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum LabelField {
    /// Its colour.
    Color,
}

/// The schema of a position among siblings.
///
/// Positions compare as texts, byte by byte; a text between any two exists. Those of equal position are ordered by id.
pub(crate) fn order(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": limits::ORDER, "pattern": "^[0-9A-Za-z]+$"})
}

/// The schema of a position that may be left out.
pub(crate) fn optional_order(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": ["string", "null"], "minLength": 1, "maxLength": limits::ORDER, "pattern": "^[0-9A-Za-z]+$"})
}

/// The schema of the tags of a task.
pub(crate) fn tag_ids(generator: &mut SchemaGenerator) -> Schema {
    let tag = TagId::json_schema(generator);
    json_schema!({"type": "array", "items": tag, "maxItems": limits::TAGS, "uniqueItems": true})
}

/// The schema of the tags of a task, where they may be left out.
pub(crate) fn optional_tag_ids(generator: &mut SchemaGenerator) -> Schema {
    let tag = TagId::json_schema(generator);
    json_schema!({"type": ["array", "null"], "items": tag, "maxItems": limits::TAGS, "uniqueItems": true})
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_due_date_is_a_day_a_floating_time_or_a_zoned_one() {
        for wire in [
            json!({"date": "2026-11-21"}),
            json!({"date": "2026-11-21", "time": "09:00:00"}),
            json!({"date": "2026-11-21", "time": "09:00:00", "zone": "Europe/Berlin"}),
        ] {
            let due: Due = serde_json::from_value(wire.clone()).unwrap();
            assert_eq!(serde_json::to_value(due).unwrap(), wire);
        }
    }

    #[test]
    fn days_and_times_that_are_none_are_refused() {
        for wire in [
            json!({"date": "2026-02-30"}),
            json!({"date": "2026-11-21", "time": "24:00:00"}),
            json!({"time": "09:00:00"}),
        ] {
            assert!(
                serde_json::from_value::<Due>(wire.clone()).is_err(),
                "{wire}"
            );
        }
    }

    #[test]
    fn priorities_sort_by_urgency_and_are_written_as_people_say_them() {
        assert!(Priority::P1 < Priority::P4);
        assert_eq!(serde_json::to_value(Priority::P1).unwrap(), json!("p1"));
    }
}
