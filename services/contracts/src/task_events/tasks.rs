//! Events of tasks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::values::{
    Due, Priority, Recurrence, Reminder, TaskField, optional_tag_ids, order, tag_ids,
};
use crate::{ListId, TagId, TaskId};

/// A task was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskCreated {
    /// The task.
    pub task_id: TaskId,
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
    #[schemars(length(min = 1, max = limits::DESCRIPTION))]
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
    #[schemars(length(max = limits::REMINDERS))]
    pub reminders: Vec<Reminder>,
    /// How it repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recurrence: Option<Recurrence>,
    /// The first task of the series, if this one repeats it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series_id: Option<TaskId>,
}

/// Something about a task is different. Fields that are neither given nor cleared are as they were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskEdited {
    /// The task.
    pub task_id: TaskId,
    /// What is to be done now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = limits::TITLE))]
    pub title: Option<String>,
    /// More about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = limits::DESCRIPTION))]
    pub description: Option<String>,
    /// How urgent it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// When it is due now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Due>,
    /// All tags that it has now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "optional_tag_ids")]
    pub tag_ids: Option<Vec<TagId>>,
    /// All reminders that it has now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::REMINDERS))]
    pub reminders: Option<Vec<Reminder>>,
    /// How it repeats now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recurrence: Option<Recurrence>,
    /// Fields that are empty now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cleared: Vec<TaskField>,
}

/// A task is elsewhere. Each of its subtasks that comes into another list by that has an event of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskMoved {
    /// The task.
    pub task_id: TaskId,
    /// Its list now.
    pub list_id: ListId,
    /// The task that it is a part of now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<TaskId>,
    /// Its position among its siblings now.
    #[schemars(schema_with = "order")]
    pub order: String,
}

macro_rules! about_a_task {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        pub struct $name {
            /// The task.
            pub task_id: TaskId,
        }
    )+};
}

about_a_task! {
    /// A task is done.
    TaskCompleted;
    /// A task is not done after all.
    TaskReopened;
    /// A task was put aside, with its subtasks.
    TaskArchived;
    /// A task is no longer put aside.
    TaskUnarchived;
    /// A task was put into the trash, with its subtasks.
    TaskTrashed;
    /// A task was taken out of the trash, with its subtasks.
    TaskRestored;
    /// A task is gone for good, with its subtasks.
    TaskDeleted;
}
