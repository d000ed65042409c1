//! The kinds that requests are about, read from `kinds.yaml`.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::random::Random;

/// A kind, and what its objects may be like.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kind {
    /// Where its objects are.
    pub path: String,
    fixture: Option<String>,
    #[serde(default)]
    pub body: Value,
    #[serde(default)]
    with: Vec<Value>,
    #[serde(default)]
    status: Vec<Value>,
    #[serde(default)]
    pub scale: bool,
    /// Whether its objects are never changed but by the operator's own events.
    #[serde(default)]
    plain: bool,
}

const METADATA: [&str; 11] = [
    r#"{"labels": {"team": "a", "run": "$NS"}}"#,
    r#"{"labels": {"team": "b", "run": "$NS"}}"#,
    r#"{"labels": {"team": "a", "tier": "1"}}"#,
    r#"{"labels": null}"#,
    r#"{"annotations": {"note.test/a": "1"}}"#,
    r#"{"annotations": {"note.test/a": "2", "note.test/b": ""}}"#,
    r#"{"annotations": {}}"#,
    r#"{"finalizers": ["todo.test/one"]}"#,
    r#"{"finalizers": ["todo.test/two", "todo.test/one"]}"#,
    r#"{"finalizers": []}"#,
    r#"{"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "o1", "controller": true, "blockOwnerDeletion": false}]}"#,
];

impl Kind {
    /// Every kind.
    pub fn all() -> Vec<Self> {
        let mut kinds: Vec<Self> = serde_yaml::from_str(include_str!("kinds.yaml")).unwrap();
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/tests/fixtures/settled");
        for kind in &mut kinds {
            if let Some(fixture) = &kind.fixture {
                let text =
                    std::fs::read_to_string(fixtures.join(format!("{fixture}.json"))).unwrap();
                let fixture: Value = serde_json::from_str(&text).unwrap();
                kind.body = fixture["body"].clone();
            }
            // What a namespace's own fixture says of where it belongs does not hold here.
            let metadata = kind.body["metadata"].as_object_mut().unwrap();
            metadata.remove("namespace");
            metadata.remove("ownerReferences");
        }
        kinds
    }

    /// Whether it has a status that can be written.
    pub fn has_status(&self) -> bool {
        !self.status.is_empty()
    }

    /// Whether its objects are in a namespace.
    pub fn is_namespaced(&self) -> bool {
        self.path.contains("/namespaces/")
    }

    /// Where its objects of all namespaces are.
    pub fn everywhere(&self) -> String {
        self.path
            .replace("/namespaces/$NS-policy/", "/")
            .replace("/namespaces/$NS/", "/")
    }

    /// The name of its objects' resource.
    pub fn plural(&self) -> &str {
        self.path.rsplit('/').next().unwrap()
    }

    /// A random object, without a name.
    pub fn object(&self, random: &mut Random) -> Value {
        let mut object = self.body.clone();
        for with in &self.with {
            if random.once_in(4) {
                json_patch::merge(&mut object, with);
            }
        }
        if !self.plain {
            if random.once_in(2) {
                object["metadata"]["labels"]["run"] = json!("$NS");
            }
            for with in METADATA {
                if random.once_in(8) {
                    let with: Value = serde_json::from_str(with).unwrap();
                    json_patch::merge(&mut object["metadata"], &with);
                }
            }
        }
        object
    }

    /// A random merge patch.
    pub fn change(&self, random: &mut Random) -> Value {
        let mut change = json!({});
        if !self.with.is_empty() && !random.once_in(3) {
            change = random.pick(&self.with).clone();
        }
        if !self.plain && random.once_in(2) {
            let with: Value = random.json(&METADATA);
            // A merge patch keeps its nulls: it is joined, not merged.
            join(&mut change, &json!({"metadata": with}));
        }
        change
    }

    /// A random status.
    pub fn status(&self, random: &mut Random) -> Value {
        let mut status = json!({});
        for with in &self.status {
            if random.once_in(2) {
                join(&mut status, with);
            }
        }
        status
    }

    /// Whether it is written but once.
    pub fn is_plain(&self) -> bool {
        self.plain
    }
}

/// Puts the fields of an object beside those of another, nulls included.
fn join(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                join(into.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}
