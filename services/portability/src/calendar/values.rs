//! Days, moments and durations, as RFC 5545 writes them.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use todo_contracts::values::Due;

use super::lines::Line;

/// A moment, to the second.
pub(super) fn moment(moment: Timestamp) -> String {
    moment
        .to_zoned(TimeZone::UTC)
        .strftime("%Y%m%dT%H%M%SZ")
        .to_string()
}

/// The moment of a value that is in UTC.
pub(super) fn read_moment(value: &str) -> Option<Timestamp> {
    let at = date_time(value.strip_suffix('Z')?)?;
    at.to_zoned(TimeZone::UTC)
        .ok()
        .map(|zoned| zoned.timestamp())
}

/// The parameters and the value of a day, with or without time and zone.
pub(super) fn due(due: &Due) -> (String, String) {
    let day = due.date.strftime("%Y%m%d").to_string();
    match (due.time, &due.zone) {
        (None, _) => (";VALUE=DATE".to_owned(), day),
        (Some(time), zone) => {
            let value = format!("{day}T{}", time.strftime("%H%M%S"));
            match zone.as_deref() {
                Some("UTC") => (String::new(), format!("{value}Z")),
                Some(zone) => (format!(";TZID={zone}"), value),
                None => (String::new(), value),
            }
        }
    }
}

/// What a day says, and the zone that is not known here, if there is one: the time is then meant wherever the reader is.
pub(super) fn read_due(line: &Line) -> Option<(Due, Option<String>)> {
    let value = line.value.trim();
    if value.len() == 8 {
        return Some((
            Due {
                date: date(value)?,
                time: None,
                zone: None,
            },
            None,
        ));
    }
    if let Some(utc) = value.strip_suffix('Z') {
        return Some((timed(date_time(utc)?, Some("UTC".to_owned())), None));
    }
    let at = date_time(value)?;
    match line.parameter("TZID") {
        None => Some((timed(at, None), None)),
        Some(named) => match zone(named) {
            Some(zone) => Some((timed(at, Some(zone)), None)),
            None => Some((timed(at, None), Some(named.to_owned()))),
        },
    }
}

/// The IANA name of a zone; other programs put something before it.
fn zone(named: &str) -> Option<String> {
    let parts: Vec<_> = named.split('/').filter(|part| !part.is_empty()).collect();
    (0..parts.len())
        .map(|from| parts[from..].join("/"))
        .find(|name| TimeZone::get(name).is_ok())
}

fn timed(at: DateTime, zone: Option<String>) -> Due {
    Due {
        date: at.date(),
        time: Some(at.time()),
        zone,
    }
}

fn date(value: &str) -> Option<Date> {
    let is_date = value.len() == 8 && value.bytes().all(|b| b.is_ascii_digit());
    let part = |from: usize, to: usize| value.get(from..to)?.parse::<i16>().ok();
    if !is_date {
        return None;
    }
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}

fn date_time(value: &str) -> Option<DateTime> {
    let (day, time) = value.split_once('T')?;
    if time.len() != 6 || !time.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, to: usize| time.get(from..to)?.parse::<i8>().ok();
    // A leap second is the one before it.
    let time = Time::new(part(0, 2)?, part(2, 4)?, part(4, 6)?.min(59), 0).ok()?;
    Some(date(day)?.to_datetime(time))
}

/// Seconds of a duration: `-PT15M`, `P1DT2H`, `P2W`.
pub(super) fn seconds(value: &str) -> Option<i64> {
    let (sign, rest) = match value.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, value.strip_prefix('+').unwrap_or(value)),
    };
    let mut rest = rest.strip_prefix('P').filter(|rest| !rest.is_empty())?;
    let mut total: i64 = 0;
    while !rest.is_empty() {
        rest = rest.strip_prefix('T').unwrap_or(rest);
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = rest.split_at(end);
        let of_unit = match unit.chars().next()? {
            'W' => 604_800,
            'D' => 86_400,
            'H' => 3_600,
            'M' => 60,
            'S' => 1,
            _ => return None,
        };
        total = total.checked_add(number.parse::<i64>().ok()?.checked_mul(of_unit)?)?;
        rest = unit.get(1..)?;
    }
    Some(sign * total)
}

/// The day that is so long after another.
pub(super) fn later(due: &Due, seconds: i64) -> Option<Due> {
    let at: Zoned = due
        .date
        .to_datetime(due.time.unwrap_or(Time::MIN))
        .to_zoned(TimeZone::UTC)
        .ok()?;
    let at = at
        .checked_add(jiff::SignedDuration::from_secs(seconds))
        .ok()?;
    let is_whole = due.time.is_none() && seconds % 86_400 == 0;
    Some(Due {
        date: at.date(),
        time: (!is_whole).then(|| at.time()),
        zone: due.zone.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        for (value, expected) in [
            ("-PT15M", Some(-900)),
            ("P1DT2H", Some(93_600)),
            ("+P2W", Some(1_209_600)),
            ("PT0S", Some(0)),
            ("P", None),
            ("15M", None),
            ("PT99999999999999999999H", None),
            ("PT9223372036854775807H", None),
            ("PTM", None),
        ] {
            assert_eq!(seconds(value), expected, "{value}");
        }
    }

    #[test]
    fn zones_of_other_programs_are_known_by_their_end() {
        assert_eq!(
            zone("/freeassociation.sourceforge.net/Europe/Berlin").as_deref(),
            Some("Europe/Berlin")
        );
        assert_eq!(zone("W. Europe Standard Time"), None);
        assert_eq!(zone(""), None);
    }

    #[test]
    fn days_that_are_none_are_refused() {
        let line = |value: &str| Line {
            number: 1,
            name: "DUE".to_owned(),
            parameters: Vec::new(),
            value: value.to_owned(),
        };
        for value in [
            "20260230",
            "20260101T250000",
            "20260101T1200",
            "2026-1-1",
            "",
            "+2026101",
        ] {
            assert_eq!(read_due(&line(value)), None, "{value}");
        }
    }
}
