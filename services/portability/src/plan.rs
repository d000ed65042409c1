//! Which commands make a document again.

use std::collections::{BTreeMap, BTreeSet};

use todo_contracts::task_commands::{
    ArchiveList, ArchiveTask, CompleteTask, CreateList, CreateTag, CreateTask, EditTask,
    TaskCommand, TrashList, TrashTask,
};
use todo_contracts::task_updates::{ListUpdated, TagUpdated, TaskUpdated};
use todo_contracts::values::Reminder;
use todo_contracts::{ListId, ReminderId, TagId, TaskId, WorkspaceId};
use uuid::Uuid;

use crate::Document;

/// A command, and what of the document it is for.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The id of the command. The same document makes the same commands in the same workspace, so that who imports it
    /// again goes on where it ended.
    pub id: Uuid,
    /// What of the document it is for, as a JSON pointer.
    pub pointer: String,
    /// The command.
    pub command: TaskCommand,
}

/// The commands that make a document in a workspace, in the order in which they must be carried out.
///
/// Everything gets an id of its own, made of the workspace and of the id in the document: what was exported can be imported
/// beside what it was exported from, and once only. A tag that the workspace has by name is taken as it is.
#[must_use]
pub fn plan(document: &Document, workspace: WorkspaceId, tags: &[TagUpdated]) -> Vec<Step> {
    let place = Place {
        workspace,
        known: known(document, workspace, tags),
    };
    let mut steps = Vec::new();
    for (at, list) in document.lists.iter().enumerate() {
        place.list(at, list, &mut steps);
    }
    for (at, tag) in document.tags.iter().enumerate() {
        place.tag(at, tag, &mut steps);
    }
    let tasks = parents_first(&document.tasks);
    for (at, task) in &tasks {
        place.task(*at, task, &mut steps);
    }
    // What is done to a task is done to its subtasks, so these come first.
    for (at, task) in tasks.iter().rev() {
        place.put_aside(*at, task, &mut steps);
    }
    for (at, list) in document.lists.iter().enumerate() {
        place.put_list_aside(at, list, &mut steps);
    }
    steps
}

/// The tags that the workspace has already, by their ids in the document.
fn known(
    document: &Document,
    workspace: WorkspaceId,
    tags: &[TagUpdated],
) -> BTreeMap<TagId, TagId> {
    let mut by_name: BTreeMap<_, _> = tags
        .iter()
        .map(|tag| (tag.name.to_lowercase(), tag.tag_id))
        .collect();
    let mut known = BTreeMap::new();
    for tag in &document.tags {
        let own = TagId(fresh(workspace, tag.tag_id.0));
        // The second tag of a name is the first one again.
        let id = *by_name.entry(tag.name.to_lowercase()).or_insert(own);
        if id != own {
            known.insert(tag.tag_id, id);
        }
    }
    known
}

/// Parents before their subtasks. Whoever is its own ancestor comes at the end: nobody can make it, and that is told.
fn parents_first(tasks: &[TaskUpdated]) -> Vec<(usize, &TaskUpdated)> {
    let all: BTreeSet<_> = tasks.iter().map(|task| task.task_id).collect();
    let mut children: BTreeMap<TaskId, Vec<usize>> = BTreeMap::new();
    let mut ready = Vec::new();
    for (at, task) in tasks.iter().enumerate() {
        match task.parent_id.filter(|parent| all.contains(parent)) {
            Some(parent) => children.entry(parent).or_default().push(at),
            None => ready.push(at),
        }
    }
    let mut sorted = Vec::with_capacity(tasks.len());
    let mut next = 0;
    while let Some(at) = ready.get(next).copied() {
        next += 1;
        if let Some(task) = tasks.get(at) {
            sorted.push((at, task));
            ready.extend(children.remove(&task.task_id).unwrap_or_default());
        }
    }
    let rest: BTreeSet<usize> = children.into_values().flatten().collect();
    sorted.extend(rest.into_iter().filter_map(|at| Some((at, tasks.get(at)?))));
    sorted
}

/// The id that something has in a workspace, made of the one that it had.
fn fresh(workspace: WorkspaceId, id: Uuid) -> Uuid {
    Uuid::new_v5(&workspace.0, id.as_bytes())
}

struct Place {
    workspace: WorkspaceId,
    known: BTreeMap<TagId, TagId>,
}

impl Place {
    fn list_id(&self, id: ListId) -> ListId {
        ListId(fresh(self.workspace, id.0))
    }

    fn task_id(&self, id: TaskId) -> TaskId {
        TaskId(fresh(self.workspace, id.0))
    }

    fn tag_id(&self, id: TagId) -> TagId {
        self.known
            .get(&id)
            .copied()
            .unwrap_or_else(|| TagId(fresh(self.workspace, id.0)))
    }

    fn step(&self, pointer: String, command: TaskCommand) -> Step {
        let content = format!("{} {}", command.kind(), command.data());
        Step {
            id: Uuid::new_v5(&self.workspace.0, content.as_bytes()),
            pointer,
            command,
        }
    }

    fn list(&self, at: usize, list: &ListUpdated, steps: &mut Vec<Step>) {
        let create = CreateList {
            list_id: self.list_id(list.list_id),
            name: list.name.clone(),
            color: list.color.clone(),
            order: Some(list.order.clone()),
        };
        steps.push(self.step(format!("/lists/{at}"), create.into()));
    }

    fn put_list_aside(&self, at: usize, list: &ListUpdated, steps: &mut Vec<Step>) {
        let (list_id, pointer) = (self.list_id(list.list_id), format!("/lists/{at}"));
        if list.archived_at.is_some() {
            let archive = ArchiveList {
                list_id,
                expected_version: None,
            };
            steps.push(self.step(pointer.clone(), archive.into()));
        }
        if list.trashed_at.is_some() {
            let trash = TrashList {
                list_id,
                expected_version: None,
            };
            steps.push(self.step(pointer, trash.into()));
        }
    }

    fn tag(&self, at: usize, tag: &TagUpdated, steps: &mut Vec<Step>) {
        if self.known.contains_key(&tag.tag_id) {
            return;
        }
        let create = CreateTag {
            tag_id: self.tag_id(tag.tag_id),
            name: tag.name.clone(),
            color: tag.color.clone(),
        };
        steps.push(self.step(format!("/tags/{at}"), create.into()));
    }

    fn task(&self, at: usize, task: &TaskUpdated, steps: &mut Vec<Step>) {
        let (task_id, pointer) = (self.task_id(task.task_id), format!("/tasks/{at}"));
        let is_done = task.completed_at.is_some();
        // Tags of one name have become one tag.
        let mut seen = BTreeSet::new();
        let tag_ids = task
            .tag_ids
            .iter()
            .map(|id| self.tag_id(*id))
            .filter(|id| seen.insert(*id));
        let create = CreateTask {
            task_id,
            list_id: Some(self.list_id(task.list_id)),
            parent_id: task.parent_id.map(|id| self.task_id(id)),
            order: Some(task.order.clone()),
            after_id: None,
            before_id: None,
            title: task.title.clone(),
            description: task.description.clone(),
            priority: task.priority,
            due: task.due.clone(),
            tag_ids: tag_ids.collect(),
            reminders: task
                .reminders
                .iter()
                .map(|reminder| self.reminder(reminder))
                .collect(),
            // Done, a task that repeats would make the next one, which is in the document already.
            recurrence: task.recurrence.clone().filter(|_| !is_done),
        };
        steps.push(self.step(pointer.clone(), create.into()));
        if is_done {
            let complete = CompleteTask {
                task_id,
                expected_version: None,
            };
            steps.push(self.step(pointer.clone(), complete.into()));
            if let Some(recurrence) = &task.recurrence {
                let edit = EditTask {
                    task_id,
                    title: None,
                    description: None,
                    priority: None,
                    due: None,
                    tag_ids: None,
                    reminders: None,
                    recurrence: Some(recurrence.clone()),
                    clear: Vec::new(),
                    expected_version: None,
                };
                steps.push(self.step(pointer, edit.into()));
            }
        }
    }

    fn reminder(&self, reminder: &Reminder) -> Reminder {
        Reminder {
            reminder_id: ReminderId(fresh(self.workspace, reminder.reminder_id.0)),
            ..reminder.clone()
        }
    }

    fn put_aside(&self, at: usize, task: &TaskUpdated, steps: &mut Vec<Step>) {
        let (task_id, pointer) = (self.task_id(task.task_id), format!("/tasks/{at}"));
        if task.archived_at.is_some() {
            let archive = ArchiveTask {
                task_id,
                expected_version: None,
            };
            steps.push(self.step(pointer.clone(), archive.into()));
        }
        if task.trashed_at.is_some() {
            let trash = TrashTask {
                task_id,
                expected_version: None,
            };
            steps.push(self.step(pointer, trash.into()));
        }
    }
}
