//! All messages.

use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::reminders::ReminderMessage;
use crate::task_commands::TaskCommand;
use crate::task_events::TaskEvent;
use crate::task_updates::TaskUpdate;
use crate::user_events::UserEvent;
use crate::user_profiles::UserProfileMessage;
use crate::workspace_members::WorkspaceMemberMessage;
use crate::{Payload, Topic};

/// One type of message.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The `type`.
    pub kind: &'static str,
    /// The name of its struct, here and in other languages.
    pub name: &'static str,
    /// Where it is sent to.
    pub topic: Topic,
    /// The schema of its `data`.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
}

impl Entry {
    pub(crate) fn of<T: Payload + JsonSchema>(name: &'static str) -> Self {
        Self {
            kind: T::TYPE,
            name,
            topic: T::TOPIC,
            schema: T::json_schema,
        }
    }
}

/// Every type of message, by topic.
#[must_use]
pub fn catalog() -> Vec<Entry> {
    [
        TaskCommand::entries(),
        TaskEvent::entries(),
        TaskUpdate::entries(),
        ReminderMessage::entries(),
        UserEvent::entries(),
        UserProfileMessage::entries(),
        WorkspaceMemberMessage::entries(),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_messages_share_a_type_or_a_name_and_every_topic_has_some() {
        let entries = catalog();
        let kinds: BTreeSet<_> = entries.iter().map(|entry| entry.kind).collect();
        let names: BTreeSet<_> = entries.iter().map(|entry| entry.name).collect();
        let topics: BTreeSet<_> = entries.iter().map(|entry| entry.topic).collect();
        assert_eq!(kinds.len(), entries.len());
        assert_eq!(names.len(), entries.len());
        assert_eq!(topics.len(), Topic::ALL.len());
    }

    #[test]
    fn a_type_says_whose_it_is_and_its_version() {
        for entry in catalog() {
            let parts: Vec<_> = entry.kind.split('.').collect();
            assert_eq!(parts.first(), Some(&"todo"), "{}", entry.kind);
            let version = parts.last().and_then(|last| last.strip_prefix('v'));
            assert!(
                version.is_some_and(|number| number.parse::<u32>().is_ok()),
                "{}",
                entry.kind
            );
        }
    }
}
