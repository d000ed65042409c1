//! What other programs write, and what a workspace has already.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends that way")]

use jiff::Timestamp;
use serde_json::json;
use todo_contracts::task_commands::TaskCommand;
use todo_contracts::task_updates::TagUpdated;
use todo_contracts::values::Priority;
use todo_contracts::{TagId, WorkspaceId};
use todo_portability::calendar::{Read, read};
use todo_portability::plan;
use uuid::Uuid;

/// As Nextcloud, tasks.org and others write it.
const FOREIGN: &str = "\u{feff}BEGIN:VCALENDAR\r
VERSION:2.0\r
X-WR-CALNAME:Home\r
BEGIN:VTIMEZONE\r
TZID:Europe/Berlin\r
END:VTIMEZONE\r
BEGIN:VEVENT\r
SUMMARY:no task\r
END:VEVENT\r
BEGIN:VTODO\r
UID:child\r
SUMMARY:Paint the\r
  fence\\, twice\r
RELATED-TO:parent\r
DUE;TZID=/mozilla.org/20050126_1/Europe/Berlin:20261124T090000\r
PRIORITY:6\r
CATEGORIES:Garden,Wood\\, oak\r
CATEGORIES:garden\r
RRULE:FREQ=YEARLY\r
EXDATE:20271124\r
BEGIN:VALARM\r
ACTION:DISPLAY\r
TRIGGER;RELATED=END:-P1D\r
END:VALARM\r
BEGIN:VALARM\r
ACTION:AUDIO\r
TRIGGER:PT5M\r
END:VALARM\r
END:VTODO\r
BEGIN:VTODO\r
UID:parent\r
STATUS:COMPLETED\r
DUE;TZID=Customized Time Zone:20261124T090000\r
END:VTODO\r
END:VCALENDAR\r
";

fn foreign() -> Read {
    read(FOREIGN, "2026-11-22T09:00:00Z".parse().unwrap()).unwrap()
}

#[test]
fn another_programs_tasks_are_read_and_what_is_not_is_told() {
    let Read { document, notes } = foreign();
    assert_eq!(document.lists[0].name, "Home");
    let [child, parent] = document.tasks.as_slice() else {
        panic!("{document:?}")
    };
    assert_eq!(child.title, "Paint the fence, twice");
    assert_eq!(child.parent_id, Some(parent.task_id));
    assert_eq!(child.priority, Some(Priority::P4));
    assert_eq!(
        serde_json::to_value(&child.due).unwrap(),
        json!({"date": "2026-11-24", "time": "09:00:00", "zone": "Europe/Berlin"})
    );
    assert_eq!(child.reminders.len(), 1);
    assert_eq!(child.reminders[0].minutes_before, Some(1_440));
    let tags: Vec<_> = document.tags.iter().map(|tag| tag.name.as_str()).collect();
    assert_eq!(tags, ["Garden", "Wood, oak"]);
    assert_eq!(child.tag_ids.len(), 2);
    assert_eq!(parent.title, "Untitled");
    assert!(parent.completed_at.is_some());
    let notes: Vec<_> = notes
        .iter()
        .map(|note| format!("{}: {}", note.line, note.text))
        .collect();
    assert_eq!(
        notes,
        [
            "20: EXDATE is left out: a task has one rule",
            "27: an alarm is left out: it is after the task is due, or there are too many",
            "33: the zone \"Customized Time Zone\" is not known: the time is meant everywhere",
            "1: 1 of VEVENT are left out: only VTODO are tasks",
        ]
    );
}

#[test]
fn read_again_it_is_the_same() {
    assert_eq!(foreign(), foreign());
    let later = read(FOREIGN, Timestamp::UNIX_EPOCH).unwrap().document;
    assert_eq!(later.tasks[0].task_id, foreign().document.tasks[0].task_id);
}

#[test]
fn a_tag_that_the_workspace_has_by_name_is_taken() {
    let garden = TagUpdated {
        tag_id: TagId(Uuid::from_u128(7)),
        version: 3,
        name: "GARDEN".to_owned(),
        color: None,
    };
    let steps = plan(
        &foreign().document,
        WorkspaceId(Uuid::from_u128(1)),
        &[garden],
    );
    let made = steps
        .iter()
        .filter(|step| matches!(step.command, TaskCommand::CreateTag(_)))
        .count();
    assert_eq!(made, 1);
    let tags = steps.iter().find_map(|step| match &step.command {
        TaskCommand::CreateTask(create) if !create.tag_ids.is_empty() => {
            Some(create.tag_ids.clone())
        }
        _ => None,
    });
    assert_eq!(tags.unwrap()[0], TagId(Uuid::from_u128(7)));
}

#[test]
fn what_is_no_calendar_is_refused() {
    let error = read("{}", Timestamp::UNIX_EPOCH).unwrap_err();
    assert!(error.to_string().starts_with("line 1: "), "{error}");
    let error = read("BEGIN:VCARD\nEND:VCARD", Timestamp::UNIX_EPOCH).unwrap_err();
    assert!(error.to_string().contains("VCALENDAR"), "{error}");
}
