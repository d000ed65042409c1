//! Reading what this or another program has written.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use todo_contracts::task_updates::{ListUpdated, TagUpdated, TaskUpdated};
use todo_contracts::values::{Anchor, Due, Priority, Recurrence, Reminder};
use todo_contracts::{ListId, ReminderId, TagId, TaskId, limits};
use uuid::Uuid;

use super::lines::{CalendarError, Component, Line, list};
use super::{lines, names, values};
use crate::Document;

/// What was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// The document.
    pub document: Document,
    /// What is not in it as it was written.
    pub notes: Vec<Note>,
}

/// Something that could not be taken over as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The line, beginning with 1.
    pub line: usize,
    /// What became of it.
    pub text: String,
}

/// Reads calendars that were written at a time which is not known: `now` is taken where they do not say.
///
/// # Errors
/// If the text is no iCalendar. What a single property has wrong is a note.
pub fn read(text: &str, now: Timestamp) -> Result<Read, CalendarError> {
    let components = lines::read(text)?;
    let mut reader = Reader {
        now,
        document: Document::default(),
        tags: BTreeMap::new(),
        notes: Vec::new(),
    };
    let calendars: Vec<_> = components
        .iter()
        .filter(|component| component.name == "VCALENDAR")
        .collect();
    if calendars.is_empty() {
        return Err(CalendarError {
            line: 1,
            reason: "there is no BEGIN:VCALENDAR".to_owned(),
        });
    }
    for calendar in &calendars {
        reader.tags_of(calendar);
    }
    for (at, calendar) in calendars.iter().enumerate() {
        reader.calendar(at, calendar);
    }
    reader.parents();
    Ok(Read {
        document: reader.document,
        notes: reader.notes,
    })
}

struct Reader {
    now: Timestamp,
    document: Document,
    /// By name, in small letters.
    tags: BTreeMap<String, TagId>,
    notes: Vec<Note>,
}

/// The id that a text names: itself, or one made of it.
fn id(text: &str) -> Uuid {
    text.parse()
        .unwrap_or_else(|_| Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes()))
}

/// The `at`th position of those that have none.
fn position(at: usize) -> String {
    // Texts of equal length sort as their numbers do, and none ends with the least digit.
    format!("a{at:08}V")
}

fn is_position(text: &str) -> bool {
    (1..=limits::ORDER).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

impl Reader {
    fn note(&mut self, line: usize, text: impl Into<String>) {
        self.notes.push(Note {
            line,
            text: text.into(),
        });
    }

    /// A text that is not longer than it may be.
    fn limited(&mut self, line: usize, what: &str, text: String, limit: usize) -> String {
        match text.char_indices().nth(limit) {
            Some((end, _)) => {
                self.note(line, format!("{what} is cut to {limit} characters"));
                text[..end].to_owned()
            }
            None => text,
        }
    }

    fn moment(&mut self, component: &Component, name: &str) -> Option<Timestamp> {
        let line = component.line(name)?;
        let moment = values::read_moment(&line.value);
        if moment.is_none() {
            self.note(
                line.number,
                format!("{name} is no moment in UTC, and is left out"),
            );
        }
        moment
    }

    /// The tags with their ids, as `write` puts them down.
    fn tags_of(&mut self, calendar: &Component) {
        for line in calendar.all(names::TAG) {
            let parts = list(&line.value);
            let [tag_id, name, color @ ..] = parts.as_slice() else {
                self.note(
                    line.number,
                    format!("{} is no tag, and is left out", names::TAG),
                );
                continue;
            };
            let tag = TagUpdated {
                tag_id: TagId(id(tag_id)),
                version: 1,
                name: name.clone(),
                color: color.first().cloned(),
            };
            self.tags.insert(name.to_lowercase(), tag.tag_id);
            self.document.tags.push(tag);
        }
    }

    fn tag(&mut self, name: &str) -> TagId {
        let key = name.to_lowercase();
        if let Some(known) = self.tags.get(&key) {
            return *known;
        }
        let tag_id = TagId(id(&format!("tag:{key}")));
        self.tags.insert(key, tag_id);
        self.document.tags.push(TagUpdated {
            tag_id,
            version: 1,
            name: name.to_owned(),
            color: None,
        });
        tag_id
    }

    fn calendar(&mut self, at: usize, calendar: &Component) {
        let named = calendar
            .line("NAME")
            .or_else(|| calendar.line("X-WR-CALNAME"));
        let name = named.map(|line| (line.number, lines::unescaped(&line.value)));
        let (number, name) = name
            .filter(|(_, name)| !name.trim().is_empty())
            .unwrap_or((0, "Imported".to_owned()));
        let name = self.limited(number, "the name of the list", name, limits::NAME);
        let list_id = match calendar.text("UID") {
            Some(uid) => ListId(id(&uid)),
            // Read again, it is the same list.
            None => ListId(id(&format!("list:{at}:{name}"))),
        };
        let updated_at = self.moment(calendar, "LAST-MODIFIED").unwrap_or(self.now);
        let list = ListUpdated {
            list_id,
            version: 1,
            name,
            color: calendar.text(names::COLOR),
            order: calendar
                .text(names::ORDER)
                .filter(|text| is_position(text))
                .unwrap_or_else(|| position(at)),
            archived_at: self.moment(calendar, names::ARCHIVED),
            trashed_at: self.moment(calendar, names::TRASHED),
            created_at: updated_at,
            updated_at,
        };
        self.document.lists.push(list);
        let mut others: BTreeMap<&str, usize> = BTreeMap::new();
        for component in &calendar.parts {
            match component.name.as_str() {
                "VTODO" => self.todo(component, list_id),
                // Zones are known by their names.
                "VTIMEZONE" => {}
                name => *others.entry(name).or_default() += 1,
            }
        }
        for (name, count) in others {
            self.note(
                calendar.number,
                format!("{count} of {name} are left out: only VTODO are tasks"),
            );
        }
    }

    fn todo(&mut self, todo: &Component, list_id: ListId) {
        let at = self.document.tasks.len();
        let title = todo
            .text("SUMMARY")
            .filter(|title| !title.trim().is_empty());
        let title = title.unwrap_or_else(|| "Untitled".to_owned());
        let title = self.limited(todo.number, "the title", title, limits::TITLE);
        let uid = todo
            .text("UID")
            .unwrap_or_else(|| format!("{list_id}:{at}:{title}"));
        let description = todo.text("DESCRIPTION").filter(|text| !text.is_empty());
        let description = description
            .map(|text| self.limited(todo.number, "the description", text, limits::DESCRIPTION));
        let start = self.day(todo, "DTSTART");
        let due = self.due(todo, start.as_ref());
        let recurrence = self.recurrence(todo, start, due.as_ref());
        let created_at = self.moment(todo, "CREATED");
        let updated_at = self
            .moment(todo, "LAST-MODIFIED")
            .or(created_at)
            .unwrap_or(self.now);
        let task = TaskUpdated {
            task_id: TaskId(id(&uid)),
            version: 1,
            list_id,
            parent_id: parent(todo).map(|uid| TaskId(id(&uid))),
            order: todo
                .text(names::ORDER)
                .filter(|text| is_position(text))
                .unwrap_or_else(|| position(at)),
            title,
            description,
            priority: priority(todo),
            reminders: self.reminders(todo, &uid, due.as_ref()),
            due,
            tag_ids: self.categories(todo),
            recurrence,
            series_id: todo.text(names::SERIES).map(|uid| TaskId(id(&uid))),
            completed_at: self.completed(todo, updated_at),
            archived_at: self.moment(todo, names::ARCHIVED),
            trashed_at: self.moment(todo, names::TRASHED),
            created_at: created_at.unwrap_or(updated_at),
            updated_at,
        };
        self.document.tasks.push(task);
    }

    fn day(&mut self, todo: &Component, name: &str) -> Option<Due> {
        let line = todo.line(name)?;
        match values::read_due(line) {
            Some((due, None)) => Some(due),
            Some((due, Some(zone))) => {
                self.note(
                    line.number,
                    format!("the zone {zone:?} is not known: the time is meant everywhere"),
                );
                Some(due)
            }
            None => {
                self.note(line.number, format!("{name} is no day, and is left out"));
                None
            }
        }
    }

    /// When it is due: as it says, or when it ends, or else when it begins.
    fn due(&mut self, todo: &Component, start: Option<&Due>) -> Option<Due> {
        if todo.line("DUE").is_some() {
            return self.day(todo, "DUE");
        }
        let start = start?;
        // What is only the beginning of a rule is not when the task is due; a rule of ours has a due date beside it.
        match todo
            .line("DURATION")
            .and_then(|line| values::seconds(&line.value))
        {
            Some(seconds) => values::later(start, seconds),
            None => Some(start.clone()),
        }
    }

    fn recurrence(
        &mut self,
        todo: &Component,
        start: Option<Due>,
        due: Option<&Due>,
    ) -> Option<Recurrence> {
        for name in ["RDATE", "EXDATE"] {
            if let Some(line) = todo.line(name) {
                self.note(
                    line.number,
                    format!("{name} is left out: a task has one rule"),
                );
            }
        }
        let line = todo.line("RRULE")?;
        if line.value.is_empty() || line.value.chars().count() > limits::RULE || due.is_none() {
            self.note(
                line.number,
                "the rule is left out: it is empty or too long, or nothing is due",
            );
            return None;
        }
        let after = todo
            .line(names::ANCHOR)
            .is_some_and(|line| line.value == "COMPLETION");
        let anchor = if after {
            Anchor::Completion
        } else {
            Anchor::Due
        };
        Some(Recurrence {
            rule: line.value.clone(),
            start,
            anchor,
        })
    }

    fn completed(&mut self, todo: &Component, updated_at: Timestamp) -> Option<Timestamp> {
        let is_done = todo
            .line("STATUS")
            .is_some_and(|line| line.value.eq_ignore_ascii_case("COMPLETED"));
        let moment = self.moment(todo, "COMPLETED");
        moment.or(is_done.then_some(updated_at))
    }

    fn categories(&mut self, todo: &Component) -> Vec<TagId> {
        let mut seen = BTreeSet::new();
        let mut tags = Vec::new();
        for line in todo.all("CATEGORIES") {
            for name in list(&line.value) {
                let name = self.limited(line.number, "the name of the tag", name, limits::NAME);
                let tag = self.tag(&name);
                if seen.insert(tag) {
                    tags.push(tag);
                }
            }
        }
        if tags.len() > limits::TAGS {
            self.note(
                todo.number,
                format!("all but {} tags are left out", limits::TAGS),
            );
            tags.truncate(limits::TAGS);
        }
        tags
    }

    fn reminders(&mut self, todo: &Component, uid: &str, due: Option<&Due>) -> Vec<Reminder> {
        let mut reminders = Vec::new();
        for (at, alarm) in todo
            .parts
            .iter()
            .filter(|part| part.name == "VALARM")
            .enumerate()
        {
            let Some(trigger) = alarm.line("TRIGGER") else {
                self.note(alarm.number, "an alarm without TRIGGER is left out");
                continue;
            };
            let reminder_id = ReminderId(
                alarm
                    .text("UID")
                    .map_or_else(|| id(&format!("{uid}:{at}")), |uid| id(&uid)),
            );
            match when(trigger, due.is_some()) {
                Some((at, minutes_before)) if reminders.len() < limits::REMINDERS => {
                    reminders.push(Reminder {
                        reminder_id,
                        at,
                        minutes_before,
                    });
                }
                _ => self.note(
                    trigger.number,
                    "an alarm is left out: it is after the task is due, or there are too many",
                ),
            }
        }
        reminders
    }

    /// Parents that are not in the document are nobody's.
    fn parents(&mut self) {
        let lists: BTreeMap<_, _> = self
            .document
            .tasks
            .iter()
            .map(|task| (task.task_id, task.list_id))
            .collect();
        let mut missing = 0;
        for task in &mut self.document.tasks {
            let parent = task.parent_id.and_then(|parent| lists.get(&parent));
            if task.parent_id.is_some() && parent != Some(&task.list_id) {
                task.parent_id = None;
                missing += 1;
            }
        }
        if missing > 0 {
            self.note(0, format!("{missing} tasks are no subtasks any more: their parents are not in the same calendar"));
        }
    }
}

fn priority(todo: &Component) -> Option<Priority> {
    match todo.line("PRIORITY")?.value.trim() {
        "1" | "2" => Some(Priority::P1),
        "3" | "4" => Some(Priority::P2),
        "5" => Some(Priority::P3),
        "6" | "7" | "8" | "9" => Some(Priority::P4),
        _ => None,
    }
}

/// What it is a part of. Without a type, a relation is to the parent.
fn parent(todo: &Component) -> Option<String> {
    let is_parent = |line: &&Line| {
        line.parameter("RELTYPE")
            .is_none_or(|kind| kind.eq_ignore_ascii_case("PARENT"))
    };
    todo.all("RELATED-TO")
        .find(is_parent)
        .map(|line| lines::unescaped(&line.value))
}

/// A moment, or minutes before the task is due.
fn when(trigger: &Line, is_due: bool) -> Option<(Option<Timestamp>, Option<i32>)> {
    if let Some(moment) = values::read_moment(&trigger.value) {
        return Some((Some(moment), None));
    }
    let seconds = values::seconds(&trigger.value)?;
    let minutes = i32::try_from(-seconds / 60).ok()?;
    (is_due && (0..=527_040).contains(&minutes) && seconds <= 0).then_some((None, Some(minutes)))
}
