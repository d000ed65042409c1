//! What holds for every text.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends that way")]

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use proptest::prelude::*;
use todo_quickadd::parse;

/// Words that mean something somewhere, and others.
fn word() -> impl Strategy<Value = String> {
    let known: Vec<String> = "every every! other 1st 2nd 31st last mon, wed and sunday day week on weekday in 3 9999 hours years \
        tomorrow next month dec february 29 29th of the at @ 9 9am 12:30 pm noon #home #Zoë #7 !p1 !p9 daily 2026-12-24 \
        2026-02-30 9999-12-31 & by due until a an one"
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    prop_oneof![4 => proptest::sample::select(known), 1 => "\\PC{0,6}", 1 => "[0-9:apm#!]{1,6}"]
}

fn text() -> impl Strategy<Value = String> {
    let space = prop_oneof![8 => Just(" "), 1 => Just("\u{3000}"), 1 => Just("\n\t")];
    proptest::collection::vec((word(), space), 0..14).prop_map(|parts| {
        parts
            .into_iter()
            .map(|(word, space)| word + space)
            .collect()
    })
}

fn now() -> impl Strategy<Value = Zoned> {
    let zones = [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Pacific/Apia",
        "Australia/Lord_Howe",
    ];
    let end = Timestamp::MAX.as_second();
    let second = prop_oneof![8 => 0..4_102_444_800_i64, 1 => end - 100_000_000..=end];
    (second, proptest::sample::select(zones.to_vec())).prop_map(|(second, zone)| {
        Timestamp::from_second(second)
            .unwrap()
            .to_zoned(TimeZone::get(zone).unwrap())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn parts_lie_in_the_text_one_behind_the_other_and_all_else_is_the_title(text in text(), now in now()) {
        let parsed = parse(&text, &now);
        let mut left = String::new();
        let mut end = 0;
        for part in &parsed.understood {
            prop_assert!(part.range.start >= end && part.range.start < part.range.end, "{:?}", parsed.understood);
            left.push_str(&text[end..part.range.start]);
            // No word is cut in two.
            prop_assert!(left.is_empty() || left.ends_with(char::is_whitespace));
            end = part.range.end;
        }
        left.push_str(&text[end..]);
        let left: Vec<_> = left.split_whitespace().collect();
        prop_assert_eq!(left.join(" "), parsed.title);
    }

    #[test]
    fn what_repeats_is_due_and_a_day_that_is_not_named_is_still_to_come(text in text(), now in now()) {
        let parsed = parse(&text, &now);
        if parsed.recurrence.is_some() && now.year() < 9_990 {
            prop_assert!(parsed.due.is_some(), "{parsed:?}");
        }
        let names_a_day = parsed.understood.iter().any(|part| part.kind == todo_quickadd::Kind::Date);
        if let (Some(due), false) = (&parsed.due, names_a_day) {
            prop_assert!(due.date >= now.date(), "{parsed:?}");
            if let Some(time) = due.time {
                prop_assert!(due.date.to_datetime(time) > now.datetime(), "{parsed:?}");
            }
        }
    }

    #[test]
    fn the_same_is_understood_each_time(text in text(), now in now()) {
        prop_assert_eq!(parse(&text, &now), parse(&text, &now));
    }
}
