//! Fields of an object, by JSON pointer, and its conditions.

use serde_json::Value;

/// The text at `pointer`; `None` where it is absent, empty or no text.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object
        .pointer(pointer)?
        .as_str()
        .filter(|text| !text.is_empty())
}

/// The integer at `pointer`.
pub(crate) fn integer(object: &Value, pointer: &str) -> Option<i64> {
    object.pointer(pointer)?.as_i64()
}

/// Whether `true` stands at `pointer`.
pub(crate) fn is_true(object: &Value, pointer: &str) -> bool {
    object.pointer(pointer).and_then(Value::as_bool) == Some(true)
}

/// The items of the list at `pointer`.
pub(crate) fn items<'a>(object: &'a Value, pointer: &str) -> std::slice::Iter<'a, Value> {
    object
        .pointer(pointer)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
}

/// The label of this name.
pub fn label<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.pointer("/metadata/labels")?.get(name)?.as_str()
}

/// An owned text of its exact length.
pub(crate) fn boxed(text: &str) -> Box<str> {
    text.into()
}

/// Generation of the spec; 0 where the kind has none.
pub(crate) fn generation(object: &Value) -> i64 {
    integer(object, "/metadata/generation").unwrap_or_default()
}

/// Whether `status.observedGeneration` has caught up with the spec.
pub(crate) fn is_observed(object: &Value) -> bool {
    integer(object, "/status/observedGeneration").is_some_and(|seen| seen >= generation(object))
}

/// Seconds since the epoch of the time at `pointer`.
pub(crate) fn seconds(object: &Value, pointer: &str) -> Option<i64> {
    let time: jiff::Timestamp = text(object, pointer)?.parse().ok()?;
    Some(time.as_second())
}

/// One entry of a list of conditions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Condition<'a>(&'a Value);

impl<'a> Condition<'a> {
    /// The condition of a type in the list at `pointer`.
    pub(crate) fn at(object: &'a Value, pointer: &str, kind: &str) -> Option<Self> {
        items(object, pointer)
            .find(|condition| text(condition, "/type") == Some(kind))
            .map(Self)
    }

    /// The condition of a type in `status.conditions`.
    pub(crate) fn of(object: &'a Value, kind: &str) -> Option<Self> {
        Self::at(object, "/status/conditions", kind)
    }

    /// Every condition in `status.conditions`.
    pub(crate) fn all(object: &'a Value) -> impl Iterator<Item = Self> {
        items(object, "/status/conditions").map(Self)
    }

    pub(crate) fn kind(self) -> &'a str {
        text(self.0, "/type").unwrap_or_default()
    }

    pub(crate) fn is_true(self) -> bool {
        text(self.0, "/status") == Some("True")
    }

    pub(crate) fn is_false(self) -> bool {
        text(self.0, "/status") == Some("False")
    }

    /// Its reason, else its type.
    pub(crate) fn reason(self) -> &'a str {
        text(self.0, "/reason").unwrap_or_else(|| self.kind())
    }

    /// Its message, else its reason.
    pub(crate) fn message(self) -> &'a str {
        text(self.0, "/message").unwrap_or_else(|| self.reason())
    }

    /// Whether it is about a generation of the spec, or a later one.
    pub(crate) fn is_about(self, generation: i64) -> bool {
        integer(self.0, "/observedGeneration").is_some_and(|seen| seen >= generation)
    }

    /// Since when it has its status, in seconds since the epoch.
    pub(crate) fn since(self) -> Option<i64> {
        seconds(self.0, "/lastTransitionTime")
    }

    /// It as a cause, in its own words.
    pub(crate) fn cause(self) -> crate::cause::Cause {
        crate::cause::Cause::new(self.reason(), self.message())
    }
}
