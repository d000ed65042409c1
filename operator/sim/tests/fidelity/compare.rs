//! Answers without what must differ: identities, times, versions and addresses.

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde_json::{Value, json};

static UID: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}").unwrap()
});
static TIME: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ").unwrap());
static VERSION: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(ResourceVersion[a-z ]*(?:: |\())(\d+)").unwrap());
static REGISTRY: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"Key: [^,]*,").unwrap());
static ADDRESS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^10\.96\.\d+\.\d+$").unwrap());
/// What Kubernetes prints of values of its own kinds is Go, not JSON.
static GO: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?s)Invalid value: .*: field is immutable").unwrap());
/// A time that a request names.
const GIVEN: &str = "2026-01-05T";

/// Names what a server decided by the order in which it was first seen.
#[derive(Default)]
pub struct Mask {
    uids: HashMap<String, usize>,
    versions: HashMap<String, usize>,
}

impl Mask {
    /// An answer that can be compared.
    pub fn mask(&mut self, value: &Value) -> Value {
        self.at("", value)
    }

    fn at(&mut self, name: &str, value: &Value) -> Value {
        match value {
            Value::Object(fields)
                if fields
                    .get("status")
                    .is_some_and(|status| status == "Failure") =>
            {
                let mut failure = sorted(value.clone());
                let message = failure["message"].as_str().unwrap_or_default();
                failure["message"] = json!(self.text("message", message));
                let causes = failure
                    .pointer_mut("/details/causes")
                    .and_then(Value::as_array_mut);
                for cause in causes.into_iter().flatten() {
                    *cause = self.at("", cause);
                }
                if let Some(uid) = failure.pointer_mut("/details/uid") {
                    *uid = self.at("uid", &uid.clone());
                }
                failure
            }
            Value::Object(fields) => {
                let is_list = fields.contains_key("items") && fields.contains_key("kind");
                let mut masked: serde_json::Map<String, Value> = fields
                    .iter()
                    .filter(|(name, _)| !is_list || *name != "metadata")
                    .map(|(name, value)| (name.clone(), self.at(name, value)))
                    .collect();
                if is_list {
                    let metadata = &fields["metadata"];
                    let rest = json!({"more": metadata.get("continue").is_some(), "left": metadata["remainingItemCount"]});
                    masked.insert("metadata".into(), rest);
                }
                Value::Object(masked)
            }
            Value::Array(items) => {
                let mut items: Vec<Value> = items.iter().map(|item| self.at(name, item)).collect();
                if name == "managedFields" {
                    // They are in the order of their times.
                    items.sort_by_key(|entry| {
                        let text =
                            |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
                        (text("operation"), text("manager"), text("subresource"))
                    });
                }
                if name == "finalizers" {
                    // The server takes those of namespaces out of a Go map.
                    items.sort_by_key(ToString::to_string);
                }
                Value::Array(items)
            }
            Value::String(text) => Value::from(self.text(name, text)),
            other => other.clone(),
        }
    }

    fn text(&mut self, name: &str, text: &str) -> String {
        match name {
            "resourceVersion" => {
                let next = self.versions.len();
                return format!(
                    "version {}",
                    self.versions.entry(text.to_owned()).or_insert(next)
                );
            }
            "clusterIP" | "clusterIPs" if ADDRESS.is_match(text) => return "an address".to_owned(),
            "creationTimestamp" | "deletionTimestamp" | "time" if !text.starts_with(GIVEN) => {
                return TIME.replace_all(text, "a time").into_owned();
            }
            _ => {}
        }
        let text = UID.replace_all(text, |uid: &Captures<'_>| {
            let next = self.uids.len();
            format!("uid {}", self.uids.entry(uid[0].to_owned()).or_insert(next))
        });
        if name != "message" {
            return text.into_owned();
        }
        let text = VERSION.replace_all(&text, |version: &Captures<'_>| format!("{}…", &version[1]));
        let text = REGISTRY.replace_all(&text, "Key: …,");
        let text = TIME.replace_all(&text, "a time");
        GO.replace_all(&text, "Invalid value: …: field is immutable")
            .into_owned()
    }
}

/// A refusal with its causes sorted: the server lists them in any order.
fn sorted(mut failure: Value) -> Value {
    if let Some(causes) = failure
        .pointer_mut("/details/causes")
        .and_then(Value::as_array_mut)
    {
        // Some are found twice, by the strategy and by what all strategies have in common.
        causes.sort_by_key(ToString::to_string);
        causes.dedup();
    }
    let message = failure["message"].as_str().unwrap_or_default().to_owned();
    let parts = |text: &str| {
        let parts: BTreeSet<&str> = text
            .trim_start_matches('[')
            .trim_end_matches(']')
            .split(", ")
            .collect();
        parts.into_iter().collect::<Vec<_>>().join(", ")
    };
    if let Some((head, _)) = message.split_once("field not declared in schema") {
        // Which others are said depends on the order in which Go takes the fields of a map.
        let head = head.split("): ").next().unwrap_or_default();
        failure["message"] = json!(format!("{head}): field not declared in schema"));
    } else if let Some((head, list)) = message.split_once(" is invalid: ") {
        failure["message"] = json!(format!("{head} is invalid: {}", parts(list)));
    } else if let Some((head, list)) = message.split_once(" conflicts: ") {
        failure["message"] = json!(format!(
            "{head} conflicts: {}",
            parts(&list.replace('\n', ", "))
        ));
    } else if let Some((head, list)) = message.split_once(" errors:\n") {
        failure["message"] = json!(format!(
            "{head} errors: {}",
            parts(&list.replace("\n  ", ", "))
        ));
    }
    failure
}

/// Where two answers differ, a line each.
pub fn differences(simulated: &Value, real: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    walk("", simulated, real, &mut lines);
    lines
}

fn walk(path: &str, simulated: &Value, real: &Value, lines: &mut Vec<String>) {
    match (simulated, real) {
        (Value::Object(left), Value::Object(right)) => {
            let names: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
            for name in names {
                let path = format!("{path}/{name}");
                match (left.get(name), right.get(name)) {
                    (Some(left), Some(right)) => walk(&path, left, right, lines),
                    (Some(left), None) => lines.push(format!("{path}: only simulated: {left}")),
                    (None, Some(right)) => lines.push(format!("{path}: only real: {right}")),
                    (None, None) => {}
                }
            }
        }
        (Value::Array(left), Value::Array(right)) => {
            for (index, (left, right)) in left.iter().zip(right).enumerate() {
                walk(&format!("{path}/{index}"), left, right, lines);
            }
            let common = left.len().min(right.len());
            let rest = |side: &str, items: &[Value]| {
                items[common..]
                    .iter()
                    .map(|item| format!("{path}: only {side}: {item}"))
                    .collect::<Vec<_>>()
            };
            lines.extend(rest("simulated", left));
            lines.extend(rest("real", right));
        }
        (left, right) if left == right => {}
        (left, right) => lines.push(format!(
            "{path}: simulated {left}\n{:width$}  real {right}",
            "",
            width = path.len()
        )),
    }
}
