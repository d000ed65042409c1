//! Texts as Go reads and writes them: patterns, formats and printed values.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::OnceLock;

use regex::Regex;
use serde_json::Value;

pub(super) use crate::apiserver::managed::{go_json, quote};

/// A regular expression in Go's syntax, compiled when it is first used.
#[derive(Debug)]
pub(super) struct Pattern {
    text: String,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    pub(super) fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            compiled: OnceLock::new(),
        }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it matches. One that does not compile accepts everything.
    pub(super) fn matches(&self, text: &str) -> bool {
        let compiled = self
            .compiled
            .get_or_init(|| Regex::new(&translate(&self.text)).ok());
        compiled.as_ref().is_none_or(|regex| regex.is_match(text))
    }
}

/// A pattern of Go in the syntax of the regex crate. There, `\d`, `\w` and `\s` take all of Unicode, and a class may
/// nest others.
fn translate(pattern: &str) -> String {
    let mut translated = String::with_capacity(pattern.len());
    let mut chars = pattern.chars().peekable();
    let mut in_class = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                let Some(escaped) = chars.next() else { break };
                let class = match escaped {
                    'd' => "0-9",
                    'w' => "0-9A-Za-z_",
                    's' => r"\t\n\f\r ",
                    _ => {
                        translated.push('\\');
                        translated.push(escaped);
                        continue;
                    }
                };
                if in_class {
                    translated.push_str(class);
                } else {
                    translated.push('[');
                    translated.push_str(class);
                    translated.push(']');
                }
            }
            '[' if !in_class => {
                in_class = true;
                translated.push('[');
                if chars.peek() == Some(&'^') {
                    translated.push('^');
                    chars.next();
                }
                // A bracket at the beginning closes nothing.
                if chars.peek() == Some(&']') {
                    translated.push_str("\\]");
                    chars.next();
                }
            }
            '[' if chars.peek() == Some(&':') => {
                translated.push('[');
                for c in chars.by_ref() {
                    translated.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            '[' | '&' | '~' if in_class => {
                translated.push('\\');
                translated.push(c);
            }
            ']' if in_class => {
                in_class = false;
                translated.push(']');
            }
            c => translated.push(c),
        }
    }
    translated
}

/// String formats (`pkg/validation/strfmt` of kube-openapi).
pub(super) struct Format;

impl Format {
    /// Whether the API server knows a format (`pkg/apiserver/validation/formats.go`).
    pub(super) fn is_known(format: &str) -> bool {
        matches!(
            format.replace('-', "").as_str(),
            "bsonobjectid"
                | "uri"
                | "email"
                | "hostname"
                | "ipv4"
                | "ipv6"
                | "cidr"
                | "mac"
                | "uuid"
                | "uuid3"
                | "uuid4"
                | "uuid5"
                | "isbn"
                | "isbn10"
                | "isbn13"
                | "creditcard"
                | "ssn"
                | "hexcolor"
                | "rgbcolor"
                | "byte"
                | "password"
                | "date"
                | "duration"
                | "datetime"
                | "k8sshortname"
                | "k8slongname"
        )
    }

    /// Whether a text has a format. Those that no definition of ours or of our peers uses accept every text.
    pub(super) fn accepts(format: &str, text: &str) -> bool {
        match format.replace('-', "").as_str() {
            "datetime" => is_date_time(text),
            "date" => is_date(text),
            "byte" => is_base64(text),
            "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
            "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
            "uuid" => is_uuid(text),
            "k8sshortname" => text.len() <= 63 && is_label(text),
            "k8slongname" => text.len() <= 253 && text.split('.').all(is_label),
            _ => true,
        }
    }
}

/// A full date of RFC 3339, as Go parses `2006-01-02`.
fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts.as_slice() else {
        return false;
    };
    let number = |text: &str, digits: usize| -> Option<u32> {
        let all = text.len() == digits && text.bytes().all(|b| b.is_ascii_digit());
        all.then(|| text.parse().ok()).flatten()
    };
    let (Some(year), Some(month), Some(day)) = (number(year, 4), number(month, 2), number(day, 2))
    else {
        return false;
    };
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return false,
    };
    (1..=days).contains(&day)
}

/// `IsDateTime` of `time.go`.
fn is_date_time(text: &str) -> bool {
    static TIME: OnceLock<Option<Regex>> = OnceLock::new();
    let lower = text.to_lowercase();
    let mut parts = lower.split('t');
    let (Some(date), Some(time)) = (parts.next(), parts.next()) else {
        return false;
    };
    let pattern = r"^([0-9]{2}):([0-9]{2}):([0-9]{2})(.[0-9]+)?(z|([+-][0-9]{2}:[0-9]{2}))$";
    let time_pattern = TIME.get_or_init(|| Regex::new(pattern).ok());
    let Some(found) = time_pattern.as_ref().and_then(|regex| regex.captures(time)) else {
        return false;
    };
    let part = |index: usize| found.get(index).map_or("", |part| part.as_str());
    is_date(date) && part(1) <= "23" && part(2) <= "59" && part(3) <= "59"
}

/// `IsBase64` of govalidator: padded, and not empty.
fn is_base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    !text.is_empty()
        && text.len().is_multiple_of(4)
        && text.len() - body.len() <= 2
        && body
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
}

fn is_uuid(text: &str) -> bool {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    digits.len() == 32
        && digits.bytes().all(|b| b.is_ascii_hexdigit())
        && (lengths.len() == 1 || lengths == [8, 4, 4, 4, 12])
}

fn is_label(text: &str) -> bool {
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    edge(text.bytes().next())
        && edge(text.bytes().last())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Go's `%v` of a value.
pub(super) fn display(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "<nil>".to_owned(),
        Value::Number(number) if number.is_f64() => {
            display_float(number.as_f64().unwrap_or_default())
        }
        _ => value.to_string(),
    }
}

/// Go's `%v` of a float64: with an exponent from 1e6 on and below 1e-4.
pub(super) fn display_float(float: f64) -> String {
    let shortest = format!("{float:e}");
    let Some((digits, exponent)) = shortest.split_once('e') else {
        return shortest;
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        return format!("{float}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}
