//! Commands about tasks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::values::{
    Due, Priority, Recurrence, Reminder, TaskField, optional_order, optional_tag_ids, tag_ids,
};
use crate::{ListId, TagId, TaskId};

/// Make a task. Its place is `order`; without it between the two siblings that are named; without those the last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CreateTask {
    /// The task.
    pub task_id: TaskId,
    /// Its list. May be left out for a subtask, which is in the list of its parent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list_id: Option<ListId>,
    /// The task that it is a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<TaskId>,
    /// Its position among its siblings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "optional_order")]
    pub order: Option<String>,
    /// The sibling behind which it comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_id: Option<TaskId>,
    /// The sibling before which it comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_id: Option<TaskId>,
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
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "tag_ids")]
    pub tag_ids: Vec<TagId>,
    /// When to remind of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::REMINDERS))]
    pub reminders: Vec<Reminder>,
    /// How it repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recurrence: Option<Recurrence>,
}

/// Make the next task of a series: as the one before it, not done, due at another time. Asked for again it changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CreateOccurrence {
    /// The new task. Whoever computes it from the series and the day gets the same id each time.
    pub task_id: TaskId,
    /// The task that it repeats.
    pub previous_id: TaskId,
    /// When it is due.
    pub due: Due,
}

/// Change a task. Fields that are neither given nor cleared stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EditTask {
    /// The task.
    pub task_id: TaskId,
    /// What is to be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = limits::TITLE))]
    pub title: Option<String>,
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
    /// All tags that it is to have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "optional_tag_ids")]
    pub tag_ids: Option<Vec<TagId>>,
    /// All reminders that it is to have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::REMINDERS))]
    pub reminders: Option<Vec<Reminder>>,
    /// How it repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recurrence: Option<Recurrence>,
    /// Fields to empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clear: Vec<TaskField>,
    /// The version that the change is meant for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_version: Option<u32>,
}

/// Put more tags on a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AddTags {
    /// The task.
    pub task_id: TaskId,
    /// The tags.
    #[schemars(schema_with = "tag_ids")]
    pub tag_ids: Vec<TagId>,
}

/// Take tags off a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RemoveTags {
    /// The task.
    pub task_id: TaskId,
    /// The tags.
    #[schemars(schema_with = "tag_ids")]
    pub tag_ids: Vec<TagId>,
}

/// Put a task elsewhere, with its subtasks: into a list, or below another task. Its place is `order`; without it between the
/// two siblings that are named; without those the last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MoveTask {
    /// The task.
    pub task_id: TaskId,
    /// The list. Without it the list of the new parent; without that too, the task stays in its list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list_id: Option<ListId>,
    /// The task that it is to be a part of. Without it the task becomes a part of none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<TaskId>,
    /// Its position among its siblings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "optional_order")]
    pub order: Option<String>,
    /// The sibling behind which it comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_id: Option<TaskId>,
    /// The sibling before which it comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_id: Option<TaskId>,
    /// The version that the change is meant for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_version: Option<u32>,
}

macro_rules! about_a_task {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        pub struct $name {
            /// The task.
            pub task_id: TaskId,
            /// The version that is meant.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub expected_version: Option<u32>,
        }
    )+};
}

about_a_task! {
    /// Mark a task as done. If it repeats, the next one is made.
    CompleteTask;
    /// Mark a task as not done.
    ReopenTask;
    /// Put a task aside, with its subtasks.
    ArchiveTask;
    /// Put a task aside no longer.
    UnarchiveTask;
    /// Put a task into the trash, with its subtasks.
    TrashTask;
    /// Take a task out of the trash, with its subtasks.
    RestoreTask;
    /// Remove a task that is in the trash for good, with its subtasks.
    DeleteTask;
}
