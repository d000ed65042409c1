//! Lines, and the components that they stand in.

use std::borrow::Cow;

use thiserror::Error;

/// Components within components. A task has alarms, and nothing is within those.
const DEPTH: usize = 8;
/// Octets of a line, after which it goes on in the next.
const WIDTH: usize = 75;

/// A text that is no iCalendar.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {reason}")]
pub struct CalendarError {
    /// The line, beginning with 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// A property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Where it begins.
    pub(super) number: usize,
    /// In capitals.
    pub(super) name: String,
    /// Names in capitals.
    pub(super) parameters: Vec<(String, String)>,
    /// As it stands there, escapes and all.
    pub(super) value: String,
}

impl Line {
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let mut all = self.parameters.iter();
        all.find(|(other, _)| other == name)
            .map(|(_, value)| value.as_str())
    }
}

/// A component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Component {
    pub(super) name: String,
    pub(super) number: usize,
    pub(super) lines: Vec<Line>,
    pub(super) parts: Vec<Component>,
}

impl Component {
    pub(super) fn line(&self, name: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.name == name)
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Line> {
        self.lines.iter().filter(move |line| line.name == name)
    }

    /// The text of a property.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.line(name).map(|line| unescaped(&line.value))
    }
}

/// The components that a text has.
pub(super) fn read(text: &str) -> Result<Vec<Component>, CalendarError> {
    let mut done = Vec::new();
    let mut open: Vec<Component> = Vec::new();
    for (number, line) in unfolded(text) {
        let wrong = |reason: String| CalendarError {
            line: number,
            reason,
        };
        let line = parse(number, &line).map_err(wrong)?;
        match line.name.as_str() {
            "BEGIN" => {
                if open.len() >= DEPTH {
                    return Err(wrong(format!(
                        "components are nested more than {DEPTH} deep"
                    )));
                }
                open.push(Component {
                    name: line.value.to_uppercase(),
                    number,
                    ..Component::default()
                });
            }
            "END" => {
                let ended = open
                    .pop()
                    .filter(|ended| ended.name == line.value.to_uppercase());
                let ended =
                    ended.ok_or_else(|| wrong(format!("END:{} has no BEGIN", line.value)))?;
                match open.last_mut() {
                    Some(around) => around.parts.push(ended),
                    None => done.push(ended),
                }
            }
            _ => match open.last_mut() {
                Some(component) => component.lines.push(line),
                None => return Err(wrong("it stands before BEGIN:VCALENDAR".to_owned())),
            },
        }
    }
    match open.pop() {
        Some(component) => Err(CalendarError {
            line: component.number,
            reason: format!("BEGIN:{} has no END", component.name),
        }),
        None => Ok(done),
    }
}

/// Whole lines with the numbers at which they begin; empty ones are left out.
fn unfolded(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (at, line) in text.trim_start_matches('\u{feff}').split('\n').enumerate() {
        let line = line.strip_suffix('\r').unwrap_or(line);
        match (line.strip_prefix([' ', '\t']), lines.last_mut()) {
            (Some(rest), Some((_, before))) => before.push_str(rest),
            _ if line.is_empty() => {}
            _ => lines.push((at + 1, line.to_owned())),
        }
    }
    lines
}

fn parse(number: usize, line: &str) -> Result<Line, String> {
    let end = line
        .find([';', ':'])
        .ok_or_else(|| "it is no `NAME:value`".to_owned())?;
    let (name, mut rest) = line.split_at(end);
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if !is_name(name) {
        return Err(format!("{name:?} is no name of a property"));
    }
    let mut parameters = Vec::new();
    while let Some(parameter) = rest.strip_prefix(';') {
        let (name, behind) = parameter
            .split_once('=')
            .ok_or("a parameter has no value")?;
        if !is_name(name) {
            return Err(format!("{name:?} is no name of a parameter"));
        }
        let end = end_of_parameter(behind).ok_or("a parameter has no end")?;
        let (value, behind) = behind.split_at(end);
        parameters.push((name.to_uppercase(), value.replace('"', "")));
        rest = behind;
    }
    let value = rest.strip_prefix(':').ok_or("it has no value")?;
    Ok(Line {
        number,
        name: name.to_uppercase(),
        parameters,
        value: value.to_owned(),
    })
}

/// Where `;` or `:` stands, outside of quotes.
fn end_of_parameter(text: &str) -> Option<usize> {
    let mut is_quoted = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b';' | b':' if !is_quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// Writes lines.
#[derive(Debug, Default)]
pub(super) struct Writer(String);

impl Writer {
    /// A line whose value is written as it is; `name` may have parameters.
    pub(super) fn line(&mut self, name: &str, value: &str) {
        let line = format!("{name}:{value}");
        let mut width = 0;
        for c in line.chars() {
            if width + c.len_utf8() > WIDTH {
                self.0.push_str("\r\n ");
                width = 1;
            }
            width += c.len_utf8();
            self.0.push(c);
        }
        self.0.push_str("\r\n");
    }

    pub(super) fn text(&mut self, name: &str, text: &str) {
        self.line(name, &escaped(text));
    }

    pub(super) fn end(self) -> String {
        self.0
    }
}

/// A text as a value.
pub(super) fn escaped(text: &str) -> String {
    let text = match text.contains('\r') {
        true => Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n")),
        false => Cow::Borrowed(text),
    };
    let mut value = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | ';' | ',' => value.extend(['\\', c]),
            '\n' => value.push_str("\\n"),
            c => value.push(c),
        }
    }
    value
}

/// The text of a value.
pub(super) fn unescaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(c) = characters.next() {
        match (c, c == '\\') {
            (_, true) => match characters.next() {
                Some('n' | 'N') => text.push('\n'),
                Some(escaped) => text.push(escaped),
                None => text.push('\\'),
            },
            (c, false) => text.push(c),
        }
    }
    text
}

/// The texts of a value that has several, with commas between them.
pub(super) fn list(value: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut is_escaped = false;
    for c in value.chars() {
        if c == ',' && !is_escaped {
            parts.push(String::new());
        } else if let Some(last) = parts.last_mut() {
            last.push(c);
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    let texts = parts.iter().map(|part| unescaped(part).trim().to_owned());
    texts.filter(|text| !text.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        assert_eq!(
            error("BEGIN:VCALENDAR\r\nEND:VTODO\r\n"),
            "line 2: END:VTODO has no BEGIN"
        );
        assert_eq!(
            error("BEGIN:VCALENDAR\n\nBEGIN:VTODO\n"),
            "line 3: BEGIN:VTODO has no END"
        );
        assert_eq!(error("hello"), "line 1: it is no `NAME:value`");
        assert_eq!(error("A:b"), "line 1: it stands before BEGIN:VCALENDAR");
        assert!(error("BEGIN:A\nDUE;TZID=\"x:20260101\nEND:A").contains("has no end"));
        assert!(error("BEGIN:A\nDUE;TZID:1\nEND:A").contains("no value"));
    }

    #[test]
    fn components_nested_without_end_are_no_danger() {
        assert!(error(&"BEGIN:A\n".repeat(1_000_000)).contains("nested"));
    }

    #[test]
    fn a_long_line_goes_on_in_the_next_and_comes_back_whole() {
        let text = "Zoë; \"Größe\", 漢字\\ \n".repeat(40);
        let mut writer = Writer::default();
        writer.line("BEGIN", "A");
        writer.text("SUMMARY", &text);
        writer.line("END", "A");
        let written = writer.end();
        assert!(written.lines().all(|line| line.len() <= WIDTH), "{written}");
        assert_eq!(read(&written).unwrap()[0].text("SUMMARY"), Some(text));
    }

    #[test]
    fn parameters_may_be_quoted() {
        let read = read("BEGIN:A\nDUE;tzid=\"a;b:c\";VALUE=DATE-TIME:x:y\nEND:A").unwrap();
        let line = read[0].line("DUE").unwrap();
        assert_eq!(line.parameter("TZID"), Some("a;b:c"));
        assert_eq!(line.value, "x:y");
    }

    #[test]
    fn lists_are_split_at_commas_that_are_not_escaped() {
        assert_eq!(list(r"a\,b, c,,d\\,e"), ["a,b", "c", "d\\", "e"]);
    }
}
