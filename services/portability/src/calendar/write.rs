//! Writing a document.

use std::collections::BTreeMap;

use todo_contracts::task_updates::{ListUpdated, TagUpdated, TaskUpdated};
use todo_contracts::values::{Anchor, Priority, Reminder};
use todo_contracts::{ListId, TagId};

use super::lines::{Writer, escaped};
use super::{names, values};
use crate::Document;

/// One `VCALENDAR` for each list, with a `VTODO` for each of its tasks.
#[must_use]
pub fn write(document: &Document) -> String {
    let tags: BTreeMap<TagId, &TagUpdated> =
        document.tags.iter().map(|tag| (tag.tag_id, tag)).collect();
    let mut tasks: BTreeMap<ListId, Vec<&TaskUpdated>> = BTreeMap::new();
    for task in &document.tasks {
        tasks.entry(task.list_id).or_default().push(task);
    }
    let mut writer = Writer::default();
    for (at, list) in document.lists.iter().enumerate() {
        // Tags that no task has stand somewhere, too.
        let all_tags = if at == 0 {
            document.tags.as_slice()
        } else {
            &[]
        };
        calendar(&mut writer, list, all_tags);
        for task in tasks.get(&list.list_id).into_iter().flatten() {
            todo(&mut writer, task, &tags);
        }
        writer.line("END", "VCALENDAR");
    }
    writer.end()
}

fn calendar(writer: &mut Writer, list: &ListUpdated, tags: &[TagUpdated]) {
    writer.line("BEGIN", "VCALENDAR");
    writer.line("VERSION", "2.0");
    writer.line("PRODID", "-//todo-operator.dev//todo//EN");
    writer.line("UID", &list.list_id.to_string());
    writer.line("LAST-MODIFIED", &values::moment(list.updated_at));
    writer.text("NAME", &list.name);
    // What programs read that are older than NAME.
    writer.text("X-WR-CALNAME", &list.name);
    if let Some(color) = &list.color {
        writer.text(names::COLOR, color);
    }
    writer.text(names::ORDER, &list.order);
    for (name, moment) in [
        (names::ARCHIVED, list.archived_at),
        (names::TRASHED, list.trashed_at),
    ] {
        if let Some(moment) = moment {
            writer.line(name, &values::moment(moment));
        }
    }
    for tag in tags {
        let color = tag.color.iter().map(|color| format!(",{}", escaped(color)));
        let value = format!(
            "{},{}{}",
            tag.tag_id,
            escaped(&tag.name),
            color.collect::<String>()
        );
        writer.line(names::TAG, &value);
    }
}

fn todo(writer: &mut Writer, task: &TaskUpdated, tags: &BTreeMap<TagId, &TagUpdated>) {
    writer.line("BEGIN", "VTODO");
    writer.line("UID", &task.task_id.to_string());
    writer.line("DTSTAMP", &values::moment(task.updated_at));
    writer.line("CREATED", &values::moment(task.created_at));
    writer.line("LAST-MODIFIED", &values::moment(task.updated_at));
    writer.text("SUMMARY", &task.title);
    if let Some(description) = &task.description {
        writer.text("DESCRIPTION", description);
    }
    if let Some(priority) = task.priority {
        writer.line("PRIORITY", number(priority));
    }
    if let Some(due) = &task.due {
        let (parameters, value) = values::due(due);
        writer.line(&format!("DUE{parameters}"), &value);
    }
    if let Some(recurrence) = &task.recurrence {
        if let Some(start) = &recurrence.start {
            let (parameters, value) = values::due(start);
            writer.line(&format!("DTSTART{parameters}"), &value);
        }
        writer.line("RRULE", &recurrence.rule);
        if recurrence.anchor == Anchor::Completion {
            writer.line(names::ANCHOR, "COMPLETION");
        }
    }
    let names: Vec<_> = task
        .tag_ids
        .iter()
        .filter_map(|id| tags.get(id))
        .map(|tag| escaped(&tag.name))
        .collect();
    if !names.is_empty() {
        writer.line("CATEGORIES", &names.join(","));
    }
    if let Some(parent) = task.parent_id {
        writer.line("RELATED-TO;RELTYPE=PARENT", &parent.to_string());
    }
    match task.completed_at {
        Some(moment) => {
            writer.line("STATUS", "COMPLETED");
            writer.line("COMPLETED", &values::moment(moment));
        }
        None => writer.line("STATUS", "NEEDS-ACTION"),
    }
    writer.text(names::ORDER, &task.order);
    if let Some(series) = task.series_id {
        writer.line(names::SERIES, &series.to_string());
    }
    for (name, moment) in [
        (names::ARCHIVED, task.archived_at),
        (names::TRASHED, task.trashed_at),
    ] {
        if let Some(moment) = moment {
            writer.line(name, &values::moment(moment));
        }
    }
    for reminder in &task.reminders {
        alarm(writer, reminder, &task.title);
    }
    writer.line("END", "VTODO");
}

fn alarm(writer: &mut Writer, reminder: &Reminder, title: &str) {
    writer.line("BEGIN", "VALARM");
    writer.line("UID", &reminder.reminder_id.to_string());
    writer.line("ACTION", "DISPLAY");
    writer.text("DESCRIPTION", title);
    match (reminder.at, reminder.minutes_before) {
        (Some(at), _) => writer.line("TRIGGER;VALUE=DATE-TIME", &values::moment(at)),
        (None, minutes) => writer.line(
            "TRIGGER;RELATED=END",
            &format!("-PT{}M", minutes.unwrap_or(0)),
        ),
    }
    writer.line("END", "VALARM");
}

/// 1 is the highest, 5 the middle, 9 the lowest.
const fn number(priority: Priority) -> &'static str {
    match priority {
        Priority::P1 => "1",
        Priority::P2 => "3",
        Priority::P3 => "5",
        Priority::P4 => "9",
    }
}
