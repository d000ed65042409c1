//! Times of day.

use jiff::civil::Time;

use crate::words::{Word, behind, first, number};

/// `9am`, `9 am`, `9:30`, `at 17:00`, `at 9`, `noon`: how many words it takes, and which time it is.
pub(crate) fn time(words: &[Word<'_>]) -> Option<(usize, Time)> {
    match behind(words, "at").or_else(|| behind(words, "@")) {
        Some(rest) => {
            let (length, time) = clock(rest).or_else(|| Some((1, hour_alone(first(rest)?)?)))?;
            Some((length + 1, time))
        }
        None => clock(words),
    }
}

fn clock(words: &[Word<'_>]) -> Option<(usize, Time)> {
    let word = first(words)?;
    if word == "noon" {
        return Some((1, Time::midnight().with().hour(12).build().ok()?));
    }
    if let Some(half) = words.get(1).and_then(|next| Half::of(&next.low))
        && let Some(time) = twelve(word, half)
    {
        return Some((2, time));
    }
    let split = word
        .len()
        .checked_sub(2)
        .filter(|at| word.is_char_boundary(*at));
    if let Some((digits, half)) = split.map(|at| word.split_at(at))
        && let Some(half) = Half::of(half)
    {
        return Some((1, twelve(digits, half)?));
    }
    let (hour, minute) = hour_and_minute(word)?;
    Some((1, of(hour, minute)?))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    Morning,
    Afternoon,
}

impl Half {
    fn of(text: &str) -> Option<Self> {
        match text {
            "am" => Some(Self::Morning),
            "pm" => Some(Self::Afternoon),
            _ => None,
        }
    }
}

/// A time of the clock with twelve hours, on which 12 comes before 1.
fn twelve(digits: &str, half: Half) -> Option<Time> {
    let (hour, minute) = hour_and_minute(digits).or_else(|| Some((two_digits(digits)?, 0)))?;
    if !(1..=12).contains(&hour) {
        return None;
    }
    of(
        hour % 12 + if half == Half::Afternoon { 12 } else { 0 },
        minute,
    )
}

fn hour_and_minute(text: &str) -> Option<(i32, i32)> {
    let (hour, minute) = text.split_once(':')?;
    Some((
        two_digits(hour)?,
        number(minute).filter(|_| minute.len() == 2)?,
    ))
}

fn hour_alone(text: &str) -> Option<Time> {
    of(two_digits(text)?, 0)
}

fn two_digits(text: &str) -> Option<i32> {
    number(text).filter(|_| text.len() <= 2)
}

fn of(hour: i32, minute: i32) -> Option<Time> {
    Time::new(i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, 0, 0).ok()
}
