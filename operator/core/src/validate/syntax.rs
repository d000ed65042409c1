//! What a value must look like, whatever it is for: durations, quantities, cron expressions, names, addresses.
//!
//! The API server refuses most of this by schema. It is checked again here, because `todoctl` reads files that no API
//! server has seen, and because what is rendered must never depend on which schema was installed at the time.

use std::fmt::Display;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use todo_operator_api::scalar::{Duration, Quantity};

use super::Problems;

/// Longest duration: seconds must fit the 32-bit fields of the kinds that we render.
const LONGEST_DAYS: u64 = 365;
const LONGEST_MILLIS: u64 = LONGEST_DAYS * 86_400_000;
/// What both `robfig/cron`, which runs CronJobs, and `croner` know.
const NICKNAMES: [&str; 7] = [
    "@yearly",
    "@annually",
    "@monthly",
    "@weekly",
    "@daily",
    "@midnight",
    "@hourly",
];
const MONTHS: [&str; 12] = [
    "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// The shortest duration that makes sense for a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shortest {
    /// None at all.
    Zero,
    /// One millisecond.
    Millisecond,
    /// One second.
    Second,
}

/// A duration within its bounds.
pub(super) fn duration(
    problems: &mut Problems,
    path: &str,
    value: Option<&Duration>,
    shortest: Shortest,
) {
    let Some(value) = value else { return };
    let least = match shortest {
        Shortest::Zero => 0,
        Shortest::Millisecond => 1,
        Shortest::Second => 1_000,
    };
    match value.as_millis() {
        None => problems.add(
            path,
            value,
            "a duration is digits and a unit (ms, s, m, h, d), as 30s, 5m or 1h30m",
        ),
        Some(millis) if millis < least => {
            problems.add(path, value, format!("at least {least}ms"));
        }
        Some(millis) if millis > LONGEST_MILLIS => {
            problems.add(path, value, format!("at most {LONGEST_DAYS}d"));
        }
        Some(_) => {}
    }
}

/// A quantity that is not negative.
pub(super) fn quantity(problems: &mut Problems, path: &str, value: &Quantity) {
    match value.as_millis() {
        None => problems.add(
            path,
            value,
            "a quantity is a number with an optional suffix (m, k, M, G, T, Ki, Mi, Gi, Ti), as 100m, 0.5 or 128Mi",
        ),
        Some(millis) if millis < 0 => problems.add(path, value, "a quantity is not negative"),
        Some(_) => {}
    }
}

/// A number within bounds.
pub(super) fn range<T: PartialOrd + Display + Copy>(
    problems: &mut Problems,
    path: &str,
    value: Option<T>,
    bounds: RangeInclusive<T>,
) {
    if let Some(value) = value.filter(|value| !bounds.contains(value)) {
        problems.add(
            path,
            value,
            format!("between {} and {}", bounds.start(), bounds.end()),
        );
    }
}

/// A schedule of a CronJob, by the grammar of the controller that runs it (`robfig/cron`, standard parser).
///
/// Our own cron library is laxer here and stricter there: Kubernetes knows `0/15` and `@every 5m`, but neither `L` nor
/// weekday 7.
pub(super) fn cron(text: &str) -> Result<(), String> {
    let text = text.trim();
    if NICKNAMES.contains(&text) {
        return Ok(());
    }
    if let Some(interval) = text.strip_prefix("@every ") {
        let interval = Duration::from(interval.trim());
        return match interval.as_secs() {
            Some(1..) if !interval.0.contains('d') => Ok(()),
            _ => Err("@every takes a duration of h, m and s, as @every 1h30m".into()),
        };
    }
    if text.starts_with('@') {
        return Err(format!(
            "{text} is none of {}, @every",
            NICKNAMES.join(", ")
        ));
    }
    if text.contains("TZ=") {
        return Err("the time zone stands in timeZone".into());
    }
    let fields: Vec<&str> = text.split_whitespace().collect();
    let [minute, hour, day, month, weekday] = fields.as_slice() else {
        return Err(format!(
            "cron takes five fields (minute hour day month weekday), these are {}",
            fields.len()
        ));
    };
    cron_field("minute", minute, 0..=59, &[])?;
    cron_field("hour", hour, 0..=23, &[])?;
    cron_field("day", day, 1..=31, &[])?;
    cron_field("month", month, 1..=12, &MONTHS)?;
    cron_field("weekday", weekday, 0..=6, &WEEKDAYS)
}

fn cron_field(
    name: &str,
    text: &str,
    bounds: RangeInclusive<u32>,
    names: &[&str],
) -> Result<(), String> {
    let refused = |part: &str| {
        let (first, last) = (bounds.start(), bounds.end());
        format!(
            "{part:?} does not fit the {name}: *, {first}-{last}, a range a-b, a step */n, or several with commas"
        )
    };
    let number = |text: &str| {
        let named = names
            .iter()
            .position(|name| name.eq_ignore_ascii_case(text));
        named
            .and_then(|index| u32::try_from(index).ok())
            .map(|index| index + bounds.start())
            .or_else(|| {
                text.parse()
                    .ok()
                    .filter(|_| text.bytes().all(|b| b.is_ascii_digit()))
            })
            .filter(|number| bounds.contains(number))
    };
    for part in text.split(',') {
        let (range, step) = part
            .split_once('/')
            .map_or((part, None), |(range, step)| (range, Some(step)));
        let range_fits = match range.split_once('-') {
            _ if range == "*" || range == "?" => true,
            Some((from, to)) => {
                matches!((number(from), number(to)), (Some(from), Some(to)) if from <= to)
            }
            None => number(range).is_some(),
        };
        let step_fits = step.is_none_or(|step| matches!(step.parse::<u16>(), Ok(1..)));
        if !range_fits || !step_fits {
            return Err(refused(part));
        }
    }
    Ok(())
}

/// When a promotion window opens: what the promotion engine's own cron library evaluates.
pub(super) fn window(text: &str) -> Result<(), String> {
    let parser = CronParser::builder()
        .seconds(Seconds::Disallowed)
        .year(Year::Disallowed)
        .build();
    cron(text)?;
    parser
        .parse(text)
        .map(drop)
        .map_err(|error| error.to_string())
}

/// A time zone of the IANA database, spelled as there: CronJobs look it up by its exact name.
pub(super) fn time_zone(problems: &mut Problems, path: &str, name: Option<&str>) {
    let Some(name) = name else { return };
    match TimeZone::get(name) {
        Err(_) => problems.add(
            path,
            name,
            "a name of the IANA time zone database, as Europe/Berlin or UTC",
        ),
        Ok(zone) => {
            if let Some(exact) = zone.iana_name().filter(|exact| *exact != name) {
                problems.add(
                    path,
                    name,
                    format!("time zones are spelled exactly: write {exact}"),
                );
            }
        }
    }
}

/// Lower-case letters, digits and `-`, beginning with a letter: a DNS label that can also name a Service (RFC 1035).
pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase()) && is_label(text)
}

/// A DNS label (RFC 1123).
pub(super) fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// A DNS name in lower case: labels joined by dots.
pub(super) fn is_domain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

/// An address range such as `10.0.0.0/8`.
pub(super) fn cidr(problems: &mut Problems, path: &str, text: &str) {
    let rule = "an address range has an address and a prefix length, as 10.0.0.0/8 or fd00::/8";
    let Some((address, prefix)) = text.split_once('/') else {
        return problems.add(path, text, rule);
    };
    let longest = match address.parse() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return problems.add(path, text, rule),
    };
    let canonical = !prefix.is_empty()
        && prefix.bytes().all(|b| b.is_ascii_digit())
        && (prefix == "0" || !prefix.starts_with('0'));
    if !canonical || !prefix.parse::<u8>().is_ok_and(|prefix| prefix <= longest) {
        problems.add(path, text, rule);
    }
}

/// `host:port` pairs with commas between them.
pub(super) fn servers(problems: &mut Problems, path: &str, text: &str) {
    let fits = |server: &str| {
        server.rsplit_once(':').is_some_and(|(host, port)| {
            let host = host.to_ascii_lowercase();
            let bracketed = host
                .strip_prefix('[')
                .and_then(|host| host.strip_suffix(']'));
            let known = match bracketed {
                Some(address) => address.parse::<IpAddr>().is_ok(),
                None => is_domain(&host),
            };
            known && port.parse::<u16>().is_ok_and(|port| port > 0)
        })
    };
    if !text.split(',').all(|server| fits(server.trim())) {
        problems.add(path, text, "host:port, several with commas between them");
    }
}

/// The URL of a server that is reached over HTTP.
pub(super) fn url(problems: &mut Problems, path: &str, text: &str) {
    let rest = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"));
    let fits = rest.is_some_and(|rest| {
        !rest.is_empty() && !rest.contains(|c: char| c.is_whitespace() || c.is_control())
    });
    if !fits {
        problems.add(path, text, "a URL that begins with http:// or https://");
    }
}

/// The name of an object that is not ours, such as a Secret.
pub(super) fn object_name(problems: &mut Problems, path: &str, name: Option<&str>) {
    if let Some(name) = name.filter(|name| !is_domain(name)) {
        problems.add(
            path,
            name,
            "an object's name is lower-case letters, digits, '-' and '.'",
        );
    }
}

/// The name of a namespace.
pub(super) fn namespace(problems: &mut Problems, path: &str, name: Option<&str>) {
    if let Some(name) = name.filter(|name| !is_label(name)) {
        problems.add(
            path,
            name,
            "a namespace's name is lower-case letters, digits and '-', at most 63",
        );
    }
}

/// Entries that stand in a list more than once.
pub(super) fn once<'a>(
    problems: &mut Problems,
    path: &str,
    list: impl IntoIterator<Item = &'a str>,
) {
    let mut seen = std::collections::BTreeSet::new();
    for entry in list {
        if !seen.insert(entry) {
            problems.add(path, entry, "each stands once: remove the second");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cron_is_what_kubernetes_takes() {
        for text in [
            "*/5 * * * *",
            "0 2 * * MON-FRI",
            "0/15 1,13 1-7 jan,6 0",
            "@daily",
            "@every 90m",
            "? ? ? * *",
        ] {
            assert_eq!(cron(text), Ok(()), "{text}");
        }
        for text in [
            "",
            "* * * *",
            "0 0 2 * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 7",
            "*/0 * * * *",
            "5-1 * * * *",
            "a * * * *",
            "* * L * *",
            "* * * * MON#1",
            "1, * * * *",
            "+1 * * * *",
            "@often",
            "@every",
            "@every 1d",
            "@every 0s",
            "TZ=UTC 0 0 * * *",
            "CRON_TZ=UTC 0 0 * * *",
        ] {
            assert!(cron(text).is_err(), "{text}");
        }
        assert_eq!(
            cron("* 24 * * *").unwrap_err(),
            "\"24\" does not fit the hour: *, 0-23, a range a-b, a step */n, or several with commas"
        );
    }

    #[test]
    fn windows_are_what_our_engine_can_evaluate() {
        assert_eq!(window("0 9 * * MON-FRI"), Ok(()));
        assert_eq!(window("@daily"), Ok(()));
        assert!(window("@every 5m").is_err());
        assert!(window("0 9 * *").is_err());
    }

    #[test]
    fn names_are_dns_labels() {
        for name in ["a", "task-events", "a1"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "1a", "-a", "a-", "A", "a_b", "a.b"] {
            assert!(!is_name(name), "{name}");
        }
        assert!(is_label("1a"));
        assert!(is_label(&"a".repeat(63)));
        assert!(!is_label(&"a".repeat(64)));
        assert!(is_domain("todo.example.com"));
        assert!(!is_domain("todo..com"));
    }

    fn problems(check: impl Fn(&mut Problems, &str, &str), text: &str) -> usize {
        let mut problems = Problems::default();
        check(&mut problems, "field", text);
        problems.into_sorted().len()
    }

    #[test]
    fn address_ranges_have_a_prefix_that_fits() {
        for text in ["10.0.0.0/8", "0.0.0.0/0", "fd00::/8", "::1/128"] {
            assert_eq!(problems(cidr, text), 0, "{text}");
        }
        for text in [
            "10.0.0.0",
            "10.0.0/8",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "::/129",
            "example.com/8",
        ] {
            assert_eq!(problems(cidr, text), 1, "{text}");
        }
    }

    #[test]
    fn servers_have_a_port() {
        for text in [
            "kafka:9092",
            "a.example:9092, b.example:9093",
            "10.0.0.1:9092",
            "[fd00::1]:9092",
        ] {
            assert_eq!(problems(servers, text), 0, "{text}");
        }
        for text in [
            "",
            "kafka",
            "kafka:0",
            "kafka:99999",
            "kafka:9092,",
            "PLAINTEXT://kafka:9092",
        ] {
            assert_eq!(problems(servers, text), 1, "{text}");
        }
    }

    #[test]
    fn urls_are_http() {
        assert_eq!(problems(url, "http://prometheus.monitoring:9090"), 0);
        for text in ["prometheus:9090", "http://", "ftp://a", "http://a b"] {
            assert_eq!(problems(url, text), 1, "{text}");
        }
    }
}
