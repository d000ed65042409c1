//! Days, and moments that are some hours away.

use jiff::civil::{Date, Weekday};
use jiff::{Span, ToSpan as _, Zoned};

use crate::words::{Word, behind, day_of_month, first, number, ordinal};

/// Years after which every day of a calendar has come again, the 29th of February too.
const YEARS: i16 = 8;

/// `tomorrow`, `on friday`, `next week`, `in 3 days`, `24 dec`, `2026-12-24`: how many words it takes, and which day it is.
pub(crate) fn date(words: &[Word<'_>], today: Date) -> Option<(usize, Date)> {
    for preposition in ["on", "by", "due", "until"] {
        if let Some(rest) = behind(words, preposition) {
            // "by the 5th"
            let (article, rest) = behind(rest, "the").map_or((0, rest), |rest| (1, rest));
            let (length, date) = named_day(rest, today, Said::Clearly)
                .or_else(|| Some((1, next_day_of_month(ordinal(first(rest)?)?, today)?)))?;
            return Some((1 + article + length, date));
        }
    }
    named_day(words, today, Said::InPassing)
}

/// Whether a word like "on" says that a day follows. Without one, "sat" and "may" are other words.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Said {
    Clearly,
    InPassing,
}

fn named_day(words: &[Word<'_>], today: Date, said: Said) -> Option<(usize, Date)> {
    let word = first(words)?;
    match word {
        "today" => return Some((1, today)),
        "tomorrow" => return Some((1, today.checked_add(1.day()).ok()?)),
        "next" => {
            let date = match first(&words[1..])? {
                "week" => next(Weekday::Monday, today)?,
                "month" => today.checked_add(1.month()).ok()?.first_of_month(),
                "year" => Date::new(today.year().checked_add(1)?, 1, 1).ok()?,
                day => next(weekday(day)?, today)?,
            };
            return Some((2, date));
        }
        "in" => {
            let (amount, unit) = amount(&words[1..])?;
            let span = match unit {
                "day" | "days" => Span::new().try_days(amount),
                "week" | "weeks" => Span::new().try_weeks(amount),
                "month" | "months" => Span::new().try_months(amount),
                "year" | "years" => Span::new().try_years(amount),
                _ => return None,
            };
            return Some((3, today.checked_add(span.ok()?).ok()?));
        }
        _ => {}
    }
    if let Some(day) =
        full_weekday(word).or_else(|| weekday(word).filter(|_| said == Said::Clearly))
    {
        return Some((1, next(day, today)?));
    }
    iso(word)
        .map(|date| (1, date))
        .or_else(|| day_and_month(words, today))
}

/// `in 2 hours`: how many words it takes, and which moment it is.
pub(crate) fn moment(words: &[Word<'_>], now: &Zoned) -> Option<(usize, Zoned)> {
    let (amount, unit) = amount(behind(words, "in")?)?;
    let span = match unit {
        "hour" | "hours" => Span::new().try_hours(amount),
        "minute" | "minutes" | "min" => Span::new().try_minutes(amount),
        _ => return None,
    };
    Some((3, now.checked_add(span.ok()?).ok()?))
}

/// A number and what it counts.
fn amount<'w>(words: &'w [Word<'_>]) -> Option<(i64, &'w str)> {
    let amount = match first(words)? {
        "a" | "an" | "one" => 1,
        digits => number(digits)?,
    };
    Some((i64::from(amount), first(&words[1..])?))
}

/// `24 dec`, `24th of december 2027`, `dec 24`.
fn day_and_month(words: &[Word<'_>], today: Date) -> Option<(usize, Date)> {
    let word = first(words)?;
    let (length, day, month) = match month(word) {
        Some(month) => (2, day_or_ordinal(first(&words[1..])?)?, month),
        None => {
            let day = day_or_ordinal(word)?;
            let rest = &words[1..];
            match behind(rest, "of") {
                Some(rest) => (3, day, month(first(rest)?)?),
                None => (2, day, month(first(rest)?)?),
            }
        }
    };
    let year = words
        .get(length)
        .and_then(|word| number(&word.low).filter(|_| word.low.len() == 4));
    if let Some(year) = year {
        return Some((
            length + 1,
            Date::new(i16::try_from(year).ok()?, month, day).ok()?,
        ));
    }
    let years = today.year()..=today.year().saturating_add(YEARS);
    let mut dates = years.filter_map(|year| Date::new(year, month, day).ok());
    Some((length, dates.find(|date| *date >= today)?))
}

fn day_or_ordinal(word: &str) -> Option<i8> {
    ordinal(word).or_else(|| day_of_month(word))
}

/// The next such day of a month, today among them.
fn next_day_of_month(day: i8, today: Date) -> Option<Date> {
    let months = (0..=12).filter_map(|ahead| {
        let month = today
            .first_of_month()
            .checked_add(Span::new().try_months(ahead).ok()?)
            .ok()?;
        Date::new(month.year(), month.month(), day).ok()
    });
    months.into_iter().find(|date| *date >= today)
}

/// The next such weekday, today not among them.
fn next(day: Weekday, today: Date) -> Option<Date> {
    today.nth_weekday(1, day).ok()
}

/// `2026-12-24`, and no other of the forms that a parser of dates may know.
fn iso(word: &str) -> Option<Date> {
    let has_form = word.len() == 10
        && word.bytes().enumerate().all(|(at, b)| match at {
            4 | 7 => b == b'-',
            _ => b.is_ascii_digit(),
        });
    has_form.then(|| word.parse().ok()).flatten()
}

fn full_weekday(word: &str) -> Option<Weekday> {
    match word {
        "monday" => Some(Weekday::Monday),
        "tuesday" => Some(Weekday::Tuesday),
        "wednesday" => Some(Weekday::Wednesday),
        "thursday" => Some(Weekday::Thursday),
        "friday" => Some(Weekday::Friday),
        "saturday" => Some(Weekday::Saturday),
        "sunday" => Some(Weekday::Sunday),
        _ => None,
    }
}

/// A weekday, in full, in short, or as several of them.
pub(crate) fn weekday(word: &str) -> Option<Weekday> {
    match word.strip_suffix('s').unwrap_or(word) {
        "mon" => Some(Weekday::Monday),
        "tue" => Some(Weekday::Tuesday),
        "wed" => Some(Weekday::Wednesday),
        "thu" | "thur" => Some(Weekday::Thursday),
        "fri" => Some(Weekday::Friday),
        "sat" => Some(Weekday::Saturday),
        "sun" => Some(Weekday::Sunday),
        full => full_weekday(full),
    }
}

/// A month, in full or in short.
pub(crate) fn month(word: &str) -> Option<i8> {
    Some(match word {
        "jan" | "january" => 1,
        "feb" | "february" => 2,
        "mar" | "march" => 3,
        "apr" | "april" => 4,
        "may" => 5,
        "jun" | "june" => 6,
        "jul" | "july" => 7,
        "aug" | "august" => 8,
        "sep" | "sept" | "september" => 9,
        "oct" | "october" => 10,
        "nov" | "november" => 11,
        "dec" | "december" => 12,
        _ => return None,
    })
}
