//! What changed in the views. A view can answer with it before it is told, so a client that asks gets no less.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::message::messages;
use crate::values::{Due, Priority, Recurrence, Reminder, order, tag_ids};
use crate::{ListId, TagId, TaskId};

messages! {
    /// A message of the topic `task-updates`.
    pub enum TaskUpdate on TaskUpdates {
        ListUpdated = "todo.list.updated.v1",
        ListRemoved = "todo.list.removed.v1",
        TagUpdated = "todo.tag.updated.v1",
        TagRemoved = "todo.tag.removed.v1",
        TaskUpdated = "todo.task.updated.v1",
        TaskRemoved = "todo.task.removed.v1",
    }
}

/// A list as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListUpdated {
    /// The list.
    pub list_id: ListId,
    /// Counts its changes.
    pub version: u32,
    /// Its name.
    #[schemars(length(min = 1, max = limits::NAME))]
    pub name: String,
    /// Its colour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub color: Option<String>,
    /// Its position among the lists.
    #[schemars(schema_with = "order")]
    pub order: String,
    /// When it was put aside, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archived_at: Option<Timestamp>,
    /// When it was put into the trash, if it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trashed_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// A list is gone, with its tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListRemoved {
    /// The list.
    pub list_id: ListId,
}

/// A tag as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TagUpdated {
    /// The tag.
    pub tag_id: TagId,
    /// Counts its changes.
    pub version: u32,
    /// Its name.
    #[schemars(length(min = 1, max = limits::NAME))]
    pub name: String,
    /// Its colour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub color: Option<String>,
}

/// A tag is gone, from all tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TagRemoved {
    /// The tag.
    pub tag_id: TagId,
}

/// A task as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskUpdated {
    /// The task.
    pub task_id: TaskId,
    /// Counts its changes.
    pub version: u32,
    /// Its list.
    pub list_id: ListId,
    /// The task that it is a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<TaskId>,
    /// Its position among its siblings.
    #[schemars(schema_with = "order")]
    pub order: String,
    /// What is to be done.
    #[schemars(length(min = 1, max = limits::TITLE))]
    pub title: String,
    /// More about it, in Markdown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// How urgent it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// When it is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Due>,
    /// Its tags.
    #[schemars(schema_with = "tag_ids")]
    pub tag_ids: Vec<TagId>,
    /// When to remind of it.
    pub reminders: Vec<Reminder>,
    /// How it repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recurrence: Option<Recurrence>,
    /// The first task of the series, if this one repeats it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series_id: Option<TaskId>,
    /// When it was done, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// When it was put aside, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archived_at: Option<Timestamp>,
    /// When it was put into the trash, if it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trashed_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// A task is gone, with its subtasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskRemoved {
    /// The task.
    pub task_id: TaskId,
}
