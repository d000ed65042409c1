//! Names of topics on the wire.

use clap::Args;
use todo_contracts::{Envelope, Topic};

use crate::{BusError, Outgoing};

/// Names of the topics on the wire. Without a variable a topic has its own name.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Topics")]
pub struct Topics {
    /// Name of the topic of commands to the tasks service.
    #[arg(long, env = Topic::TaskCommands.variable(), value_name = "NAME", default_value = Topic::TaskCommands.name())]
    topic_task_commands: String,
    /// Name of the topic of what happened to lists, tags and tasks.
    #[arg(long, env = Topic::TaskEvents.variable(), value_name = "NAME", default_value = Topic::TaskEvents.name())]
    topic_task_events: String,
    /// Name of the topic of what the views can answer.
    #[arg(long, env = Topic::TaskUpdates.variable(), value_name = "NAME", default_value = Topic::TaskUpdates.name())]
    topic_task_updates: String,
    /// Name of the topic of reminders.
    #[arg(long, env = Topic::Reminders.variable(), value_name = "NAME", default_value = Topic::Reminders.name())]
    topic_reminders: String,
    /// Name of the topic of what happened to accounts.
    #[arg(long, env = Topic::UserEvents.variable(), value_name = "NAME", default_value = Topic::UserEvents.name())]
    topic_user_events: String,
    /// Name of the topic of users' profiles.
    #[arg(long, env = Topic::UserProfiles.variable(), value_name = "NAME", default_value = Topic::UserProfiles.name())]
    topic_user_profiles: String,
    /// Name of the topic of the members of workspaces.
    #[arg(long, env = Topic::WorkspaceMembers.variable(), value_name = "NAME", default_value = Topic::WorkspaceMembers.name())]
    topic_workspace_members: String,
}

impl Topics {
    /// The name of a topic on the wire.
    #[must_use]
    pub fn name(&self, topic: Topic) -> &str {
        match topic {
            Topic::TaskCommands => &self.topic_task_commands,
            Topic::TaskEvents => &self.topic_task_events,
            Topic::TaskUpdates => &self.topic_task_updates,
            Topic::Reminders => &self.topic_reminders,
            Topic::UserEvents => &self.topic_user_events,
            Topic::UserProfiles => &self.topic_user_profiles,
            Topic::WorkspaceMembers => &self.topic_workspace_members,
        }
    }

    /// The topic that has that name on the wire.
    #[must_use]
    pub fn of(&self, name: &str) -> Option<Topic> {
        Topic::ALL
            .into_iter()
            .find(|topic| self.name(*topic) == name)
    }

    /// A message for a topic, with the key that messages of the topic have.
    ///
    /// # Errors
    /// If the message lacks what the key is made of.
    pub fn outgoing(&self, topic: Topic, message: Envelope) -> Result<Outgoing, BusError> {
        let name = self.name(topic).to_owned();
        match topic.key_of(&message) {
            Some(key) => Ok(Outgoing {
                topic: name,
                key,
                message,
            }),
            None => Err(BusError::NoKey {
                topic: name,
                hint: topic.key(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        topics: Topics,
    }

    #[test]
    fn a_topic_has_its_own_name_or_the_one_it_is_given() {
        let words = ["test", "--topic-reminders", "todo-test.reminders"];
        let topics = Arguments::try_parse_from(words).unwrap().topics;
        assert_eq!(topics.name(Topic::Reminders), "todo-test.reminders");
        assert_eq!(topics.of("todo-test.reminders"), Some(Topic::Reminders));
        assert_eq!(topics.of("reminders"), None);
        for topic in Topic::ALL
            .into_iter()
            .filter(|topic| *topic != Topic::Reminders)
        {
            assert_eq!(topics.name(topic), topic.name());
        }
    }
}
