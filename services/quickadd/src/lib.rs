//! Understands a task as people type it: `Pay rent every 1st at 9am #home !p1` is a title with a rule, a time, a tag and a
//! priority.
//!
//! [`parse`] is pure: the same text at the same time in the same zone is understood in the same way. Whatever is not
//! understood stays in the title, and what is said twice is understood once: there is no text that is refused.

mod dates;
mod rules;
mod times;
mod words;

use std::ops::Range;

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{ToSpan as _, Zoned};
use todo_contracts::limits;
use todo_contracts::values::{Due, Priority, Recurrence};

use self::rules::Rule;
use self::words::Word;

/// What a text says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// The words that were not understood, in their order. Empty, if all of them were.
    pub title: String,
    /// When the task is due.
    pub due: Option<Due>,
    /// How it repeats.
    pub recurrence: Option<Recurrence>,
    /// The names of its tags, as they were typed.
    pub tags: Vec<String>,
    /// How urgent it is.
    pub priority: Option<Priority>,
    /// The parts of the text that were understood, in their order.
    pub understood: Vec<Understood>,
}

/// A part of a text that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Understood {
    /// Where it is, in bytes.
    pub range: Range<usize>,
    /// As what.
    pub kind: Kind,
}

/// What a part of a text says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A day, or a moment.
    Date,
    /// A time of day.
    Time,
    /// How the task repeats.
    Recurrence,
    /// A tag.
    Tag,
    /// A priority.
    Priority,
}

/// Understands a text that is typed `now`, in the zone of that.
#[must_use]
pub fn parse(text: &str, now: &Zoned) -> Parsed {
    let words = words::of(text);
    let mut found = Found::default();
    let mut title: Vec<&str> = Vec::new();
    let mut understood = Vec::new();
    let mut rest = words.as_slice();
    while let Some(word) = rest.first() {
        let (length, kind) = found.take(rest, now).unzip();
        let length: usize = length.unwrap_or(1);
        let (taken, behind) = rest.split_at(length.min(rest.len()));
        match kind {
            Some(kind) => understood.push(Understood {
                range: word.range.start..taken.last().map_or(word.range.end, |last| last.range.end),
                kind,
            }),
            None => title.push(word.text),
        }
        rest = behind;
    }
    let due = found.due(now);
    Parsed {
        title: title.join(" "),
        due,
        recurrence: found.rule.map(|rule| Recurrence {
            rule: rule.text(),
            start: None,
            anchor: rule.anchor,
        }),
        tags: found.tags,
        priority: found.priority,
        understood,
    }
}

/// What was understood so far.
#[derive(Debug, Default)]
struct Found {
    date: Option<Date>,
    time: Option<Time>,
    /// A moment that is so many hours away: the day and the time are said by it.
    moment: Option<Zoned>,
    rule: Option<Rule>,
    tags: Vec<String>,
    priority: Option<Priority>,
}

impl Found {
    /// Understands what stands first: how many words it takes, and what they say.
    fn take(&mut self, words: &[Word<'_>], now: &Zoned) -> Option<(usize, Kind)> {
        let first = words.first()?;
        if let Some(tag) = tag(first.plain()) {
            return self.add_tag(tag).then_some((1, Kind::Tag));
        }
        if let Some(priority) = priority(&first.low) {
            return first_time(&mut self.priority, priority).then_some((1, Kind::Priority));
        }
        if let Some((length, rule)) = rules::rule(words) {
            return first_time(&mut self.rule, rule).then_some((length, Kind::Recurrence));
        }
        if self.moment.is_some() {
            return None;
        }
        if self.date.is_none()
            && self.time.is_none()
            && let Some((length, moment)) = dates::moment(words, now)
        {
            self.moment = Some(moment);
            return Some((length, Kind::Date));
        }
        if let Some((length, date)) = dates::date(words, now.date()) {
            return first_time(&mut self.date, date).then_some((length, Kind::Date));
        }
        let (length, time) = times::time(words)?;
        first_time(&mut self.time, time).then_some((length, Kind::Time))
    }

    fn add_tag(&mut self, tag: &str) -> bool {
        let known = self
            .tags
            .iter()
            .any(|known| known.to_lowercase() == tag.to_lowercase());
        if !known && self.tags.len() < limits::TAGS {
            self.tags.push(tag.to_owned());
            return true;
        }
        known
    }

    fn due(&self, now: &Zoned) -> Option<Due> {
        if let Some(moment) = &self.moment {
            return Some(zoned(moment));
        }
        let date = self.date.or_else(|| self.first_day(now))?;
        Some(Due {
            date,
            time: self.time,
            zone: None,
        })
    }

    /// The day that is meant where none is named: the first that the rule allows, and on which the time is still to come.
    fn first_day(&self, now: &Zoned) -> Option<Date> {
        if self.rule.is_none() && self.time.is_none() {
            return None;
        }
        let today = now.date();
        let is_over = self.time.is_some_and(|time| time <= now.time());
        let from = if is_over {
            today.checked_add(1.day()).ok()?
        } else {
            today
        };
        match &self.rule {
            Some(rule) => rule.first(from),
            None => Some(from),
        }
    }
}

/// Notes what was not said before.
fn first_time<T>(place: &mut Option<T>, value: T) -> bool {
    let is_new = place.is_none();
    if is_new {
        *place = Some(value);
    }
    is_new
}

/// A moment, to the minute.
fn zoned(moment: &Zoned) -> Due {
    let (moment, zone) = match moment.time_zone().iana_name() {
        Some(name) => (moment.clone(), name.to_owned()),
        // An offset alone is no zone that others know.
        None => (moment.with_time_zone(TimeZone::UTC), "UTC".to_owned()),
    };
    let time = Time::constant(moment.hour(), moment.minute(), 0, 0);
    Due {
        date: moment.date(),
        time: Some(time),
        zone: Some(zone),
    }
}

/// `#home`. A number behind `#` is that of an issue or a house.
fn tag(word: &str) -> Option<&str> {
    let name = word.strip_prefix('#')?;
    let is_name = name
        .chars()
        .all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '/'));
    let says_something = name.chars().any(|c| c.is_alphabetic());
    (is_name && says_something && name.chars().count() <= limits::NAME).then_some(name)
}

/// `!p1`.
fn priority(word: &str) -> Option<Priority> {
    match word {
        "!p1" => Some(Priority::P1),
        "!p2" => Some(Priority::P2),
        "!p3" => Some(Priority::P3),
        "!p4" => Some(Priority::P4),
        _ => None,
    }
}
