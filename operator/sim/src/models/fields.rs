//! Fields of objects, as the models read them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// The text at `pointer`; empty where there is none.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The integer at `pointer`.
pub(crate) fn integer(object: &Value, pointer: &str) -> Option<i64> {
    object.pointer(pointer)?.as_i64()
}

/// The integer at `pointer`; 0 where there is none, as Go reads it.
pub(crate) fn count(object: &Value, pointer: &str) -> i64 {
    integer(object, pointer).unwrap_or_default()
}

/// Whether `true` stands at `pointer`.
pub(crate) fn is_true(object: &Value, pointer: &str) -> bool {
    object.pointer(pointer).and_then(Value::as_bool) == Some(true)
}

/// The items of the list at `pointer`.
pub(crate) fn items<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object
        .pointer(pointer)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// The time at `pointer`.
pub(crate) fn time(object: &Value, pointer: &str) -> Option<Timestamp> {
    text(object, pointer).parse().ok()
}

/// A time as objects have it: in whole seconds.
pub(crate) fn stamp(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

pub(crate) fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

pub(crate) fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace")
}

pub(crate) fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

pub(crate) fn generation(object: &Value) -> i64 {
    count(object, "/metadata/generation")
}

/// When it was made.
pub(crate) fn created(object: &Value) -> Timestamp {
    time(object, "/metadata/creationTimestamp").unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Whether its deletion was asked for.
pub(crate) fn is_deleting(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some()
}

pub(crate) fn label<'a>(object: &'a Value, key: &str) -> &'a str {
    entry(object, "/metadata/labels", key).unwrap_or_default()
}

pub(crate) fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    entry(object, "/metadata/annotations", key)
}

fn entry<'a>(object: &'a Value, map: &str, key: &str) -> Option<&'a str> {
    object.pointer(map)?.get(key)?.as_str()
}

/// The owner that controls it.
pub(crate) fn controller(object: &Value) -> Option<&Value> {
    items(object, "/metadata/ownerReferences")
        .iter()
        .find(|owner| is_true(owner, "/controller"))
}

/// Objects by the UID of what controls them.
pub(crate) fn by_controller(objects: &[Arc<Value>]) -> BTreeMap<&str, Vec<&Arc<Value>>> {
    let mut owned: BTreeMap<&str, Vec<&Arc<Value>>> = BTreeMap::new();
    for object in objects {
        if let Some(owner) = controller(object) {
            owned.entry(text(owner, "/uid")).or_default().push(object);
        }
    }
    owned
}

/// A reference to what controls a new object (`metav1.NewControllerRef`).
pub(crate) fn controlled_by(owner: &Value) -> Value {
    json!([{
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": name(owner),
        "uid": uid(owner),
        "controller": true,
        "blockOwnerDeletion": true,
    }])
}

/// A condition in `status.conditions`.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    items(object, "/status/conditions")
        .iter()
        .find(|condition| text(condition, "/type") == kind)
}

/// Whether a condition in `status.conditions` is `True`.
pub(crate) fn holds(object: &Value, kind: &str) -> bool {
    condition(object, kind).is_some_and(|condition| text(condition, "/status") == "True")
}

pub(crate) fn has_finalizer(object: &Value, finalizer: &str) -> bool {
    items(object, "/metadata/finalizers")
        .iter()
        .any(|known| known == finalizer)
}

/// The finalizers of an object with one more.
pub(crate) fn with_finalizer(object: &Value, finalizer: &str) -> Value {
    let mut finalizers = items(object, "/metadata/finalizers").to_vec();
    finalizers.push(json!(finalizer));
    json!({"metadata": {"finalizers": finalizers}})
}

/// The finalizers of an object without one of them.
pub(crate) fn without_finalizer(object: &Value, finalizer: &str) -> Value {
    let finalizers: Vec<&Value> = items(object, "/metadata/finalizers")
        .iter()
        .filter(|known| *known != finalizer)
        .collect();
    json!({"metadata": {"finalizers": finalizers}})
}

/// A duration as Argo Rollouts writes it: Go's notation, or a number of seconds.
pub(crate) fn duration(value: &Value) -> Option<Duration> {
    if let Some(seconds) = value.as_u64() {
        return Some(Duration::from_secs(seconds));
    }
    let text = value.as_str()?;
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let parsed: SignedDuration = text.parse().ok()?;
    parsed.try_into().ok()
}

/// How long it is until `at`; nothing where that is past.
pub(crate) fn until(at: Timestamp, now: Timestamp) -> Duration {
    at.duration_since(now).try_into().unwrap_or_default()
}

/// `at` and then `later`.
pub(crate) fn plus(at: Timestamp, later: Duration) -> Timestamp {
    at.checked_add(later).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (value, seconds) in [
            (json!("5m"), 300),
            (json!("1h30m"), 5_400),
            (json!(7), 7),
            (json!("7"), 7),
        ] {
            assert_eq!(
                duration(&value),
                Some(Duration::from_secs(seconds)),
                "{value}"
            );
        }
        assert_eq!(duration(&json!("soon")), None);
    }
}
