//! What people type, and what it says on Sunday, 22 November 2026, 08:30 in Berlin.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends that way")]

use jiff::Zoned;
use todo_contracts::values::{Anchor, Due, Priority};
use todo_quickadd::{Kind, Parsed, parse};

fn understand(text: &str) -> Parsed {
    let now: Zoned = "2026-11-22T08:30:15+01:00[Europe/Berlin]".parse().unwrap();
    parse(text, &now)
}

fn due(text: &str) -> String {
    let parsed = understand(text);
    let Due { date, time, zone } = parsed
        .due
        .unwrap_or_else(|| panic!("{text}: nothing is due"));
    let time = time
        .map(|time| format!(" {}", time.strftime("%H:%M")))
        .unwrap_or_default();
    let zone = zone.map(|zone| format!(" {zone}")).unwrap_or_default();
    format!("{date}{time}{zone}")
}

#[test]
fn all_of_it_at_once() {
    let text = "Pay rent every 1st at 9am #home !p1 tomorrow";
    let parsed = understand(text);
    assert_eq!(parsed.title, "Pay rent");
    assert_eq!(due(text), "2026-11-23 09:00");
    assert_eq!(parsed.recurrence.unwrap().rule, "FREQ=MONTHLY;BYMONTHDAY=1");
    assert_eq!(parsed.tags, ["home"]);
    assert_eq!(parsed.priority, Some(Priority::P1));
    let parts: Vec<_> = parsed
        .understood
        .iter()
        .map(|part| (&text[part.range.clone()], part.kind))
        .collect();
    assert_eq!(
        parts,
        [
            ("every 1st", Kind::Recurrence),
            ("at 9am", Kind::Time),
            ("#home", Kind::Tag),
            ("!p1", Kind::Priority),
            ("tomorrow", Kind::Date),
        ]
    );
}

#[test]
fn days() {
    for (text, expected) in [
        ("x today", "2026-11-22"),
        ("x Tomorrow.", "2026-11-23"),
        ("x monday", "2026-11-23"),
        ("x on Sun", "2026-11-29"),
        ("x next friday", "2026-11-27"),
        ("x next week", "2026-11-23"),
        ("x next month", "2026-12-01"),
        ("x next year", "2027-01-01"),
        ("x in 3 days", "2026-11-25"),
        ("x in a week", "2026-11-29"),
        ("x in 2 months", "2027-01-22"),
        ("x 2026-12-24", "2026-12-24"),
        ("x 24 dec", "2026-12-24"),
        ("x by Dec 24", "2026-12-24"),
        ("x 24th of December 2027", "2027-12-24"),
        ("x 3 march", "2027-03-03"),
        ("x 29 feb", "2028-02-29"),
        ("x on the 5th", "2026-12-05"),
        ("x on 31st", "2026-12-31"),
        ("x due friday", "2026-11-27"),
    ] {
        assert_eq!(due(text), expected, "{text}");
        assert_eq!(understand(text).title, "x", "{text}");
    }
}

#[test]
fn times() {
    for (text, expected) in [
        ("x at 9", "2026-11-22 09:00"),
        ("x at 8", "2026-11-23 08:00"),
        ("x 5pm", "2026-11-22 17:00"),
        ("x 12am", "2026-11-23 00:00"),
        ("x 12pm", "2026-11-22 12:00"),
        ("x 9:45 pm", "2026-11-22 21:45"),
        ("x @ 17:05", "2026-11-22 17:05"),
        ("x noon", "2026-11-22 12:00"),
        ("x tomorrow at 7:15", "2026-11-23 07:15"),
        ("x in 2 hours", "2026-11-22 10:30 Europe/Berlin"),
        ("x in 45 minutes", "2026-11-22 09:15 Europe/Berlin"),
    ] {
        assert_eq!(due(text), expected, "{text}");
        assert_eq!(understand(text).title, "x", "{text}");
    }
}

#[test]
fn an_hour_is_an_hour_where_the_clock_is_changed() {
    let now: Zoned = "2026-03-29T01:30:00+01:00[Europe/Berlin]".parse().unwrap();
    let due = parse("x in 1 hour", &now).due.unwrap();
    assert_eq!(due.time.unwrap().to_string(), "03:30:00");
}

#[test]
fn rules() {
    for (text, rule, first) in [
        ("x every day", "FREQ=DAILY", "2026-11-22"),
        ("x daily at 8", "FREQ=DAILY", "2026-11-23 08:00"),
        ("x every 3 days", "FREQ=DAILY;INTERVAL=3", "2026-11-22"),
        ("x every other week", "FREQ=WEEKLY;INTERVAL=2", "2026-11-22"),
        (
            "x every weekday",
            "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR",
            "2026-11-23",
        ),
        ("x every weekend", "FREQ=WEEKLY;BYDAY=SA,SU", "2026-11-22"),
        (
            "x every fri, mon and wed",
            "FREQ=WEEKLY;BYDAY=MO,WE,FR",
            "2026-11-23",
        ),
        (
            "x every 2 weeks on mon & thu",
            "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,TH",
            "2026-11-23",
        ),
        (
            "x every other tuesday",
            "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU",
            "2026-11-24",
        ),
        (
            "x every 1st and 15th",
            "FREQ=MONTHLY;BYMONTHDAY=1,15",
            "2026-12-01",
        ),
        ("x every 31st", "FREQ=MONTHLY;BYMONTHDAY=31", "2026-12-31"),
        (
            "x every last friday",
            "FREQ=MONTHLY;BYDAY=-1FR",
            "2026-11-27",
        ),
        ("x every 1st monday", "FREQ=MONTHLY;BYDAY=1MO", "2026-12-07"),
        (
            "x every 24 dec",
            "FREQ=YEARLY;BYMONTH=12;BYMONTHDAY=24",
            "2026-12-24",
        ),
        (
            "x every feb 29",
            "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29",
            "2028-02-29",
        ),
        ("x monthly", "FREQ=MONTHLY", "2026-11-22"),
    ] {
        let recurrence = understand(text)
            .recurrence
            .unwrap_or_else(|| panic!("{text}"));
        assert_eq!(recurrence.rule, rule, "{text}");
        assert_eq!(recurrence.anchor, Anchor::Due, "{text}");
        assert_eq!(due(text), first, "{text}");
        assert_eq!(understand(text).title, "x", "{text}");
    }
    let after = understand("Water plants every! 4 days").recurrence.unwrap();
    assert_eq!(
        (after.rule.as_str(), after.anchor),
        ("FREQ=DAILY;INTERVAL=4", Anchor::Completion)
    );
}

#[test]
fn other_words_stay_in_the_title() {
    for text in [
        "Buy milk",
        "He sat in the sun",
        "It may rain",
        "Fix issue #12",
        "Meet at the station",
        "Ratio 16:9",
        "Every",
        "in",
        "next",
        "at",
        "Priority !p5",
        "30 feb",
        "2026-02-30",
        "at 25:00",
        "13pm",
        "every 0 days",
        "every 30 feb",
        "C# and #",
    ] {
        let parsed = understand(text);
        assert_eq!(parsed.title, text);
        assert!(parsed.understood.is_empty(), "{text}: {parsed:?}");
    }
}

#[test]
fn what_is_said_twice_is_understood_once() {
    let parsed = understand("Call today tomorrow !p1 !p2 daily weekly #a #A 9am 10am");
    assert_eq!(parsed.title, "Call tomorrow !p2 weekly 10am");
    assert_eq!(parsed.tags, ["a"]);
}
