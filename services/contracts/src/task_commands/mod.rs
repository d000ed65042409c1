//! What the tasks service can be asked for. The same commands come through gRPC.
//!
//! The envelope's `id` is the key by which a command is carried out once, however often it is sent; its `actorid` says who
//! wants it. `expected_version` lets it fail if what it is about was changed meanwhile.

mod lists;
mod tags;
mod tasks;

pub use lists::{
    ArchiveList, CreateList, DeleteList, EditList, RestoreList, TrashList, UnarchiveList,
};
pub use tags::{CreateTag, DeleteTag, EditTag};
pub use tasks::{
    AddTags, ArchiveTask, CompleteTask, CreateOccurrence, CreateTask, DeleteTask, EditTask,
    MoveTask, RemoveTags, ReopenTask, RestoreTask, TrashTask, UnarchiveTask,
};

use crate::message::messages;

messages! {
    /// A message of the topic `task-commands`.
    pub enum TaskCommand on TaskCommands {
        CreateList = "todo.list.create.v1",
        EditList = "todo.list.edit.v1",
        ArchiveList = "todo.list.archive.v1",
        UnarchiveList = "todo.list.unarchive.v1",
        TrashList = "todo.list.trash.v1",
        RestoreList = "todo.list.restore.v1",
        DeleteList = "todo.list.delete.v1",
        CreateTag = "todo.tag.create.v1",
        EditTag = "todo.tag.edit.v1",
        DeleteTag = "todo.tag.delete.v1",
        CreateTask = "todo.task.create.v1",
        CreateOccurrence = "todo.task.create-occurrence.v1",
        EditTask = "todo.task.edit.v1",
        AddTags = "todo.task.add-tags.v1",
        RemoveTags = "todo.task.remove-tags.v1",
        MoveTask = "todo.task.move.v1",
        CompleteTask = "todo.task.complete.v1",
        ReopenTask = "todo.task.reopen.v1",
        ArchiveTask = "todo.task.archive.v1",
        UnarchiveTask = "todo.task.unarchive.v1",
        TrashTask = "todo.task.trash.v1",
        RestoreTask = "todo.task.restore.v1",
        DeleteTask = "todo.task.delete.v1",
    }
}
