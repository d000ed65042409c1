//! Reminders that are due, or will not be.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::message::messages;
use crate::values::Due;
use crate::{ReminderId, TaskId, UserId};

messages! {
    /// A message of the topic `reminders`.
    pub enum ReminderMessage on Reminders {
        ReminderDue = "todo.reminder.due.v1",
        ReminderCancelled = "todo.reminder.cancelled.v1",
    }
}

/// Somebody is to be reminded now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReminderDue {
    /// The reminder.
    pub reminder_id: ReminderId,
    /// The task.
    pub task_id: TaskId,
    /// Who is to be reminded.
    pub user_ids: Vec<UserId>,
    /// The title of the task.
    #[schemars(length(min = 1, max = limits::TITLE))]
    pub title: String,
    /// When the task is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Due>,
    /// When the reminder was to come.
    pub scheduled_at: Timestamp,
    /// Seconds that it is late by, because nobody was there to send it.
    pub late_by: u32,
}

/// A reminder that was announced is no longer wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReminderCancelled {
    /// The reminder.
    pub reminder_id: ReminderId,
    /// The task.
    pub task_id: TaskId,
}
