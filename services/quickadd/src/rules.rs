//! How a task repeats.

use jiff::ToSpan as _;
use jiff::civil::{Date, Weekday};
use todo_contracts::values::Anchor;

use crate::dates::{month, weekday};
use crate::words::{Word, behind, day_of_month, first, number, ordinal};

/// Days in which every day of a calendar has come again.
const DAYS: i32 = 8 * 366;
/// The longest interval that means anything.
const LONGEST: i32 = 999;

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) anchor: Anchor,
    interval: i32,
    days: Days,
}

/// On which days.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Days {
    /// Each so many days, weeks, months or years after the first.
    Any(Unit),
    /// On weekdays.
    Weekdays(Vec<Weekday>),
    /// On days of a month.
    OfMonth(Vec<i8>),
    /// On the first, second, …, or last weekday of a month; -1 is the last.
    Nth(i8, Weekday),
    /// On a day of the year.
    OfYear(i8, i8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Day,
    Week,
    Month,
    Year,
}

/// `every day`, `every 2 weeks on mon`, `every 1st and 15th`, `every last friday`, `monthly`; `every!` counts from
/// completion. How many words it takes, and which rule it is.
pub(crate) fn rule(words: &[Word<'_>]) -> Option<(usize, Rule)> {
    let word = first(words)?;
    let alone = |unit| {
        Some((
            1,
            Rule {
                anchor: Anchor::Due,
                interval: 1,
                days: Days::Any(unit),
            },
        ))
    };
    let anchor = match word {
        "daily" => return alone(Unit::Day),
        "weekly" => return alone(Unit::Week),
        "monthly" => return alone(Unit::Month),
        "yearly" | "annually" => return alone(Unit::Year),
        "every" => Anchor::Due,
        "every!" => Anchor::Completion,
        _ => return None,
    };
    let rest = &words[1..];
    let counted = match first(rest)? {
        "other" => Some(2),
        digits => number(digits).filter(|n| (1..=LONGEST).contains(n)),
    };
    if let Some(interval) = counted
        && let Some((length, days)) = days(&rest[1..], true)
    {
        return Some((
            2 + length,
            Rule {
                anchor,
                interval,
                days,
            },
        ));
    }
    // A number may also be a day: "every 24 dec".
    let (length, days) = days(rest, false)?;
    Some((
        1 + length,
        Rule {
            anchor,
            interval: 1,
            days,
        },
    ))
}

fn days(words: &[Word<'_>], is_counted: bool) -> Option<(usize, Days)> {
    let any = |unit| Some((1, Days::Any(unit)));
    match first(words)? {
        "day" | "days" => return any(Unit::Day),
        "month" | "months" => return any(Unit::Month),
        "year" | "years" => return any(Unit::Year),
        "week" | "weeks" => {
            let named = behind(&words[1..], "on").and_then(several_weekdays);
            return match named {
                Some((length, days)) => Some((2 + length, Days::Weekdays(days))),
                None => any(Unit::Week),
            };
        }
        "weekday" | "weekdays" if !is_counted => {
            let days = [
                Weekday::Monday,
                Weekday::Tuesday,
                Weekday::Wednesday,
                Weekday::Thursday,
                Weekday::Friday,
            ];
            return Some((1, Days::Weekdays(days.into())));
        }
        "weekend" | "weekends" if !is_counted => {
            return Some((1, Days::Weekdays(vec![Weekday::Saturday, Weekday::Sunday])));
        }
        _ => {}
    }
    if let Some((length, days)) = several_weekdays(words) {
        return Some((length, Days::Weekdays(days)));
    }
    if is_counted {
        return None;
    }
    nth_weekday(words)
        .or_else(|| day_of_year(words))
        .or_else(|| {
            let (length, days) = several(words, ordinal)?;
            Some((length, Days::OfMonth(days)))
        })
}

/// `1st monday`, `last friday`.
fn nth_weekday(words: &[Word<'_>]) -> Option<(usize, Days)> {
    let nth = match first(words)? {
        "last" => -1,
        word => ordinal(word).filter(|nth| *nth <= 5)?,
    };
    Some((2, Days::Nth(nth, weekday(first(&words[1..])?)?)))
}

/// `dec 24`, `24 dec`, `24th of december`.
fn day_of_year(words: &[Word<'_>]) -> Option<(usize, Days)> {
    let day = |word: &str| ordinal(word).or_else(|| day_of_month(word));
    let rest = words.get(1..)?;
    let (length, month, day) = match month(first(words)?) {
        Some(month) => (2, month, day(first(rest)?)?),
        None => {
            let day = day(first(words)?)?;
            match behind(rest, "of") {
                Some(rest) => (3, month(first(rest)?)?, day),
                None => (2, month(first(rest)?)?, day),
            }
        }
    };
    // 2024 has a 29th of February: the day is one that comes in some year.
    Date::new(2024, month, day).ok()?;
    Some((length, Days::OfYear(month, day)))
}

fn several_weekdays(words: &[Word<'_>]) -> Option<(usize, Vec<Weekday>)> {
    let (length, mut days) = several(words, weekday)?;
    days.sort_by_key(|day| day.to_monday_zero_offset());
    Some((length, days))
}

/// `mon, wed and fri`: things of one kind, with commas and "and" between them.
fn several<T: PartialEq>(
    words: &[Word<'_>],
    one: impl Fn(&str) -> Option<T>,
) -> Option<(usize, Vec<T>)> {
    let mut all = vec![one(first(words)?)?];
    let mut length = 1;
    loop {
        let goes_on = words[length - 1].text.ends_with(',');
        let rest = &words[length..];
        let (between, rest) = match behind(rest, "and").or_else(|| behind(rest, "&")) {
            Some(rest) => (1, rest),
            None if goes_on => (0, rest),
            None => break,
        };
        let Some(next) = first(rest).and_then(&one) else {
            break;
        };
        length += between + 1;
        if !all.contains(&next) {
            all.push(next);
        }
    }
    Some((length, all))
}

impl Rule {
    /// As RFC 5545 writes it.
    pub(crate) fn text(&self) -> String {
        let join = |days: &[Weekday]| {
            days.iter()
                .map(|day| short(*day))
                .collect::<Vec<_>>()
                .join(",")
        };
        let (unit, by) = match &self.days {
            Days::Any(unit) => (*unit, String::new()),
            Days::Weekdays(days) => (Unit::Week, format!(";BYDAY={}", join(days))),
            Days::OfMonth(days) => {
                let days: Vec<_> = days.iter().map(ToString::to_string).collect();
                (Unit::Month, format!(";BYMONTHDAY={}", days.join(",")))
            }
            Days::Nth(nth, day) => (Unit::Month, format!(";BYDAY={nth}{}", short(*day))),
            Days::OfYear(month, day) => (Unit::Year, format!(";BYMONTH={month};BYMONTHDAY={day}")),
        };
        let unit = match unit {
            Unit::Day => "DAILY",
            Unit::Week => "WEEKLY",
            Unit::Month => "MONTHLY",
            Unit::Year => "YEARLY",
        };
        let interval = match self.interval {
            1 => String::new(),
            interval => format!(";INTERVAL={interval}"),
        };
        format!("FREQ={unit}{interval}{by}")
    }

    /// The first day that it allows, from a day on.
    pub(crate) fn first(&self, from: Date) -> Option<Date> {
        let days = (0..DAYS).map_while(|ahead| from.checked_add(ahead.days()).ok());
        days.into_iter().find(|day| self.allows(*day))
    }

    fn allows(&self, date: Date) -> bool {
        match &self.days {
            Days::Any(_) => true,
            Days::Weekdays(days) => days.contains(&date.weekday()),
            Days::OfMonth(days) => days.contains(&date.day()),
            Days::Nth(nth, day) => date
                .nth_weekday_of_month(*nth, *day)
                .is_ok_and(|nth| nth == date),
            Days::OfYear(month, day) => (date.month(), date.day()) == (*month, *day),
        }
    }
}

const fn short(day: Weekday) -> &'static str {
    match day {
        Weekday::Monday => "MO",
        Weekday::Tuesday => "TU",
        Weekday::Wednesday => "WE",
        Weekday::Thursday => "TH",
        Weekday::Friday => "FR",
        Weekday::Saturday => "SA",
        Weekday::Sunday => "SU",
    }
}
