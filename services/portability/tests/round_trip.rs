//! A document that is written and read is the same, in JSON and in iCalendar.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends that way")]

use std::collections::{BTreeMap, BTreeSet};

use icalendar::{Calendar, CalendarComponent, Component as _};
use jiff::Timestamp;
use jiff::civil::{Date, Time};
use proptest::prelude::*;
use todo_contracts::task_commands::TaskCommand;
use todo_contracts::task_updates::{ListUpdated, TagUpdated, TaskUpdated};
use todo_contracts::values::{Anchor, Due, Priority, Recurrence, Reminder};
use todo_contracts::{ListId, ReminderId, TagId, TaskId, WorkspaceId};
use todo_portability::{Document, calendar, plan};
use uuid::Uuid;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn number(kind: u128, at: usize) -> Uuid {
    Uuid::from_u128((kind << 64) + at as u128)
}

/// Some text that a title may be. iCalendar knows one kind of line break.
fn text() -> impl Strategy<Value = String> {
    let odd = prop_oneof![
        "[a-zA-Z ,;:\\\\\"\n=^]{1,30}",
        "[^\r\u{0}]{1,20}",
        "BEGIN:VTODO\n.{0,5}"
    ];
    odd.prop_filter("blank", |text| {
        !text.trim().is_empty() && !text.contains('\r')
    })
}

fn name() -> impl Strategy<Value = String> {
    "[a-zA-Zäß,;\\\\ ]{1,12}"
        .prop_map(|name| name.trim().to_owned())
        .prop_filter("empty", |name| !name.is_empty())
}

fn moment() -> impl Strategy<Value = Timestamp> {
    (0..4_000_000_000_i64).prop_map(|second| Timestamp::from_second(second).unwrap())
}

fn due() -> impl Strategy<Value = Due> {
    let zone = proptest::sample::select(vec![
        "UTC",
        "Europe/Berlin",
        "America/Argentina/Buenos_Aires",
    ]);
    let date =
        (1_i16..9_999, 1_i8..=12, 1_i8..=28).prop_map(|(y, m, d)| Date::new(y, m, d).unwrap());
    let time = (0_i8..24, 0_i8..60, 0_i8..60).prop_map(|(h, m, s)| Time::new(h, m, s, 0).unwrap());
    (
        date,
        proptest::option::of((time, proptest::option::of(zone))),
    )
        .prop_map(|(date, time)| Due {
            date,
            time: time.map(|(time, _)| time),
            zone: time.and_then(|(_, zone)| zone).map(str::to_owned),
        })
}

fn reminder() -> impl Strategy<Value = (Option<Timestamp>, Option<i32>)> {
    prop_oneof![
        moment().prop_map(|at| (Some(at), None)),
        (0..527_040).prop_map(|minutes| (None, Some(minutes)))
    ]
}

prop_compose! {
    fn task(lists: usize, tags: usize)(
        (list, parent, tag_numbers) in (0..lists, proptest::option::of(0..6_usize), proptest::collection::btree_set(0..tags.max(1), 0..3)),
        (title, description) in (text(), proptest::option::of(text())),
        priority in proptest::option::of(proptest::sample::select(vec![Priority::P1, Priority::P2, Priority::P3, Priority::P4])),
        due in proptest::option::of(due()),
        rule in proptest::option::of((due(), any::<bool>())),
        reminders in proptest::collection::vec(reminder(), 0..3),
        states in proptest::array::uniform3(proptest::option::of(moment())),
        (created_at, updated_at, series) in (moment(), moment(), proptest::option::of(0..9_usize)),
    ) -> (Option<usize>, TaskUpdated) {
        let has_due = due.is_some();
        let reminders = reminders.into_iter().filter(|(at, _)| at.is_some() || has_due);
        let task = TaskUpdated {
            task_id: TaskId(Uuid::nil()),
            version: 1,
            list_id: ListId(number(1, list)),
            parent_id: None,
            order: "V".to_owned(),
            title,
            description,
            priority,
            tag_ids: tag_numbers.into_iter().filter(|_| tags > 0).map(|at| TagId(number(2, at))).collect(),
            reminders: reminders.map(|(at, minutes_before)| Reminder { reminder_id: ReminderId(Uuid::nil()), at, minutes_before }).collect(),
            recurrence: rule.filter(|_| has_due).map(|(start, after)| Recurrence {
                rule: "FREQ=WEEKLY;BYDAY=MO,TH".to_owned(),
                start: Some(start),
                anchor: if after { Anchor::Completion } else { Anchor::Due },
            }),
            due,
            series_id: series.map(|at| TaskId(number(4, at))),
            completed_at: states[0],
            archived_at: states[1],
            trashed_at: states[2],
            created_at,
            updated_at,
        };
        (parent, task)
    }
}

fn document() -> impl Strategy<Value = Document> {
    let parts = (1..4_usize, 0..4_usize);
    parts.prop_flat_map(|(lists, tags)| {
        let list = (
            name(),
            proptest::option::of(name()),
            proptest::array::uniform2(proptest::option::of(moment())),
            moment(),
        );
        let tag = (name(), proptest::option::of(name()));
        let all = (
            proptest::collection::vec(list, lists),
            proptest::collection::vec(tag, tags),
            proptest::collection::vec(task(lists, tags), 0..6),
        );
        all.prop_map(|(lists, tags, tasks)| assemble(lists, tags, tasks))
    })
}

type SomeList = (String, Option<String>, [Option<Timestamp>; 2], Timestamp);

fn assemble(
    lists: Vec<SomeList>,
    tags: Vec<(String, Option<String>)>,
    tasks: Vec<(Option<usize>, TaskUpdated)>,
) -> Document {
    let lists = lists
        .into_iter()
        .enumerate()
        .map(|(at, (name, color, states, updated_at))| ListUpdated {
            list_id: ListId(number(1, at)),
            version: 1,
            name,
            color,
            order: format!("a{at}"),
            archived_at: states[0],
            trashed_at: states[1],
            created_at: updated_at,
            updated_at,
        });
    let lists = lists.collect();
    let tags = tags
        .into_iter()
        .enumerate()
        .map(|(at, (name, color))| TagUpdated {
            tag_id: TagId(number(2, at)),
            version: 1,
            // No two tags have one name.
            name: format!("{at}{name}"),
            color,
        });
    let tags = tags.collect();
    let mut made: Vec<TaskUpdated> = Vec::new();
    for (at, (parent, mut task)) in tasks.into_iter().enumerate() {
        task.task_id = TaskId(number(3, at));
        for (which, reminder) in task.reminders.iter_mut().enumerate() {
            reminder.reminder_id = ReminderId(number(5 + at as u128, which));
        }
        // A parent is another task of the same list, and no task is its own ancestor.
        let parent = parent
            .and_then(|parent| made.get(parent))
            .filter(|parent| parent.list_id == task.list_id);
        task.parent_id = parent.map(|parent| parent.task_id);
        made.push(task);
    }
    // As they come, list by list.
    made.sort_by_key(|task| task.list_id);
    Document {
        lists,
        tags,
        tasks: made,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn json_loses_nothing(document in document()) {
        let text = serde_json::to_string(&document).unwrap();
        prop_assert_eq!(serde_json::from_str::<Document>(&text).unwrap(), document);
    }

    #[test]
    fn icalendar_loses_nothing_that_is_to_the_second(document in document()) {
        let text = calendar::write(&document);
        let read = calendar::read(&text, NOW).unwrap();
        prop_assert_eq!(&read.notes, &[]);
        prop_assert_eq!(read.document, document);
    }

    #[test]
    fn another_implementation_reads_the_same(document in document()) {
        let text = calendar::write(&document);
        let mut titles = Vec::new();
        for calendar in text.split_inclusive("END:VCALENDAR\r\n") {
            let calendar: Calendar = calendar.parse().map_err(TestCaseError::fail)?;
            for component in &calendar.components {
                if let CalendarComponent::Todo(todo) = component {
                    titles.push(todo.get_summary().unwrap_or_default().to_owned());
                }
            }
        }
        let expected: Vec<_> = document.tasks.iter().map(|task| task.title.clone()).collect();
        prop_assert_eq!(titles, expected);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "(BEGIN:V(CALENDAR|TODO|ALARM)\n|END:V(CALENDAR|TODO|ALARM)\r\n|(DUE|TRIGGER|RRULE|CATEGORIES|DTSTART|DURATION|SUMMARY|UID)(;[A-Z]{1,4}=.?)?:[-+PT0-9MZ,é\\\\]{0,17}\n|.{0,9}\n){0,20}") {
        let _ = calendar::read(&text, NOW);
    }

    #[test]
    fn a_plan_makes_everything_once_and_only_of_what_is_there_before(document in document()) {
        let workspace = WorkspaceId(number(9, 9));
        let steps = plan(&document, workspace, &[]);
        prop_assert_eq!(&steps, &plan(&document, workspace, &[]));
        let ids: BTreeSet<_> = steps.iter().map(|step| step.id).collect();
        prop_assert_eq!(ids.len(), steps.len());
        let (mut lists, mut tags, mut tasks) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
        for step in &steps {
            match &step.command {
                TaskCommand::CreateList(create) => prop_assert!(lists.insert(create.list_id)),
                TaskCommand::CreateTag(create) => prop_assert!(tags.insert(create.tag_id)),
                TaskCommand::CreateTask(create) => {
                    prop_assert!(lists.contains(&create.list_id.unwrap()));
                    prop_assert!(create.parent_id.is_none_or(|parent| tasks.contains_key(&parent)));
                    prop_assert!(create.tag_ids.iter().all(|tag| tags.contains(tag)));
                    prop_assert!(tasks.insert(create.task_id, (create.recurrence.clone(), false, 0)).is_none());
                }
                TaskCommand::CompleteTask(complete) => {
                    let task = tasks.get_mut(&complete.task_id).unwrap();
                    // Else the next one would be made.
                    prop_assert!(task.0.is_none());
                    task.1 = true;
                }
                TaskCommand::EditTask(edit) => tasks.get_mut(&edit.task_id).unwrap().0 = edit.recurrence.clone(),
                TaskCommand::ArchiveTask(archive) => tasks.get_mut(&archive.task_id).unwrap().2 += 1,
                TaskCommand::TrashTask(trash) => tasks.get_mut(&trash.task_id).unwrap().2 += 2,
                _ => {}
            }
        }
        prop_assert_eq!((lists.len(), tags.len(), tasks.len()), (document.lists.len(), document.tags.len(), document.tasks.len()));
        for task in &document.tasks {
            let state = i32::from(task.archived_at.is_some()) + 2 * i32::from(task.trashed_at.is_some());
            let made = &tasks[&TaskId(Uuid::new_v5(&workspace.0, task.task_id.0.as_bytes()))];
            prop_assert_eq!(made, &(task.recurrence.clone(), task.completed_at.is_some(), state));
        }
    }
}
