//! What happened to lists, tags and tasks, as the tasks service has decided it.
//!
//! A task, list or tag that is archived or in the trash takes what is below it along: tasks of a list, subtasks of a task.
//! Nothing is said of those one by one, so bringing it back restores exactly what was there.

mod lists;
mod tags;
mod tasks;

pub use lists::{
    ListArchived, ListCreated, ListDeleted, ListEdited, ListRestored, ListTrashed, ListUnarchived,
};
pub use tags::{TagCreated, TagDeleted, TagEdited};
pub use tasks::{
    TaskArchived, TaskCompleted, TaskCreated, TaskDeleted, TaskEdited, TaskMoved, TaskReopened,
    TaskRestored, TaskTrashed, TaskUnarchived,
};

use crate::message::messages;

messages! {
    /// A message of the topic `task-events`.
    pub enum TaskEvent on TaskEvents {
        ListCreated = "todo.list.created.v1",
        ListEdited = "todo.list.edited.v1",
        ListArchived = "todo.list.archived.v1",
        ListUnarchived = "todo.list.unarchived.v1",
        ListTrashed = "todo.list.trashed.v1",
        ListRestored = "todo.list.restored.v1",
        ListDeleted = "todo.list.deleted.v1",
        TagCreated = "todo.tag.created.v1",
        TagEdited = "todo.tag.edited.v1",
        TagDeleted = "todo.tag.deleted.v1",
        TaskCreated = "todo.task.created.v1",
        TaskEdited = "todo.task.edited.v1",
        TaskMoved = "todo.task.moved.v1",
        TaskCompleted = "todo.task.completed.v1",
        TaskReopened = "todo.task.reopened.v1",
        TaskArchived = "todo.task.archived.v1",
        TaskUnarchived = "todo.task.unarchived.v1",
        TaskTrashed = "todo.task.trashed.v1",
        TaskRestored = "todo.task.restored.v1",
        TaskDeleted = "todo.task.deleted.v1",
    }
}
