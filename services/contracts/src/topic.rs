//! The topics, by their logical names. On the wire a topic has the name that the environment says, for
//! [`Topic::TaskEvents`] in `TOPIC_TASK_EVENTS`.

use std::fmt;

use crate::Envelope;

/// A topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// What internal producers ask the tasks service for.
    TaskCommands,
    /// What happened to lists, tags and tasks.
    TaskEvents,
    /// What the views can answer from now on.
    TaskUpdates,
    /// Reminders that are due, or will not be.
    Reminders,
    /// What happened to accounts.
    UserEvents,
    /// How each user is to be addressed. Compacted.
    UserProfiles,
    /// Who belongs to each workspace. Compacted.
    WorkspaceMembers,
}

/// What becomes of messages after a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// They stay.
    Unlimited,
    /// They are deleted after so many hours.
    Hours(u32),
    /// The last one of each key stays.
    Compact,
}

impl Topic {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::TaskCommands,
        Self::TaskEvents,
        Self::TaskUpdates,
        Self::Reminders,
        Self::UserEvents,
        Self::UserProfiles,
        Self::WorkspaceMembers,
    ];

    /// Its name in documents and in a TodoApp.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TaskCommands => "task-commands",
            Self::TaskEvents => "task-events",
            Self::TaskUpdates => "task-updates",
            Self::Reminders => "reminders",
            Self::UserEvents => "user-events",
            Self::UserProfiles => "user-profiles",
            Self::WorkspaceMembers => "workspace-members",
        }
    }

    /// The topic of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.name() == name)
    }

    /// The environment variable with its name on the wire.
    #[must_use]
    pub const fn variable(self) -> &'static str {
        match self {
            Self::TaskCommands => "TOPIC_TASK_COMMANDS",
            Self::TaskEvents => "TOPIC_TASK_EVENTS",
            Self::TaskUpdates => "TOPIC_TASK_UPDATES",
            Self::Reminders => "TOPIC_REMINDERS",
            Self::UserEvents => "TOPIC_USER_EVENTS",
            Self::UserProfiles => "TOPIC_USER_PROFILES",
            Self::WorkspaceMembers => "TOPIC_WORKSPACE_MEMBERS",
        }
    }

    /// What it is for.
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::TaskCommands => "What internal producers ask the tasks service for.",
            Self::TaskEvents => "What happened to lists, tags and tasks.",
            Self::TaskUpdates => {
                "What changed in the views. Sent only after a view can answer with it."
            }
            Self::Reminders => "Reminders that are due, or will not be.",
            Self::UserEvents => "What happened to accounts.",
            Self::UserProfiles => {
                "How each user is to be addressed; the last message of a key counts."
            }
            Self::WorkspaceMembers => {
                "Who belongs to each workspace; the last message of a key counts."
            }
        }
    }

    /// What its messages are keyed by: those of one key stay in order.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::TaskCommands | Self::TaskEvents | Self::TaskUpdates | Self::Reminders => {
                "workspaceid"
            }
            Self::UserEvents | Self::UserProfiles => "subject, the user's id",
            Self::WorkspaceMembers => "workspaceid:subject, the subject being the user's id",
        }
    }

    /// The key of a message, if it has what the key is made of.
    #[must_use]
    pub fn key_of(self, message: &Envelope) -> Option<String> {
        let workspace = message.workspaceid.map(|id| id.to_string());
        match self {
            Self::TaskCommands | Self::TaskEvents | Self::TaskUpdates | Self::Reminders => {
                workspace
            }
            Self::UserEvents | Self::UserProfiles => message.subject.clone(),
            Self::WorkspaceMembers => Some(format!("{}:{}", workspace?, message.subject.as_ref()?)),
        }
    }

    /// Partitions in production. The number can never change: it says where a key is.
    #[must_use]
    pub const fn partitions(self) -> u32 {
        match self {
            Self::TaskCommands | Self::TaskEvents => 12,
            Self::TaskUpdates | Self::Reminders | Self::UserEvents => 6,
            Self::UserProfiles | Self::WorkspaceMembers => 3,
        }
    }

    /// What becomes of its messages in production.
    #[must_use]
    pub const fn retention(self) -> Retention {
        match self {
            Self::TaskCommands => Retention::Hours(24),
            Self::TaskEvents => Retention::Unlimited,
            Self::TaskUpdates => Retention::Hours(1),
            Self::Reminders => Retention::Hours(7 * 24),
            Self::UserEvents => Retention::Hours(30 * 24),
            Self::UserProfiles | Self::WorkspaceMembers => Retention::Compact,
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_found_by_its_name_and_its_variable_is_made_of_it() {
        for topic in Topic::ALL {
            assert_eq!(Topic::named(topic.name()), Some(topic));
            let variable = format!("TOPIC_{}", topic.name().replace('-', "_").to_uppercase());
            assert_eq!(topic.variable(), variable);
        }
        assert_eq!(Topic::named("tasks"), None);
    }

    #[test]
    fn a_message_without_what_its_key_is_made_of_has_none() {
        let message = crate::envelope::tests::message();
        let (workspace, subject) = (
            message.workspaceid.unwrap().to_string(),
            message.subject.clone().unwrap(),
        );
        assert_eq!(Topic::TaskEvents.key_of(&message), Some(workspace.clone()));
        assert_eq!(Topic::UserEvents.key_of(&message), Some(subject.clone()));
        assert_eq!(
            Topic::WorkspaceMembers.key_of(&message),
            Some(format!("{workspace}:{subject}"))
        );
        let message = Envelope {
            workspaceid: None,
            ..message
        };
        assert_eq!(Topic::TaskEvents.key_of(&message), None);
        assert_eq!(Topic::WorkspaceMembers.key_of(&message), None);
    }
}
