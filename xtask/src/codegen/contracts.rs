//! From the types of `services/contracts`: a JSON Schema per type of message, and the AsyncAPI document.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;
use todo_contracts::{asyncapi, schema};

use super::{Files, MARK};

pub(super) const FOLDER: &str = "services/contracts";
pub(super) const SCHEMAS: &str = "services/contracts/schemas";
const SOURCE: &str = "services/contracts/src. Do not edit.";

pub(super) fn generate() -> Result<Files> {
    let mut files = Files::new();
    for named in schema::schemas() {
        let path = Path::new(SCHEMAS).join(format!("{}.json", named.name));
        files.insert(path, json(named.schema, "$comment")?);
    }
    let document = json(asyncapi::document(), "x-generated")?;
    files.insert(Path::new(FOLDER).join("asyncapi.json"), document);
    Ok(files)
}

/// JSON text with sorted keys, and the mark first.
fn json(value: Value, comment: &str) -> Result<String> {
    let sorted = sorted(value);
    let text = serde_json::to_string_pretty(&sorted).context("cannot write JSON")?;
    let rest = text.strip_prefix("{\n").context("it is no JSON object")?;
    Ok(format!(
        "{{\n  \"{comment}\": \"{MARK} {SOURCE}\",\n{rest}\n"
    ))
}

/// The order of keys is the same whatever features of serde_json other crates ask for.
pub(super) fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields: BTreeMap<_, _> = fields.into_iter().collect();
            Value::Object(fields.into_iter().map(|(k, v)| (k, sorted(v))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_a_schema_that_is_marked_as_generated() {
        let files = generate().unwrap();
        for entry in todo_contracts::catalog() {
            let text = &files[&Path::new(SCHEMAS).join(format!("{}.json", entry.kind))];
            assert!(
                text.lines().nth(1).unwrap().contains(MARK),
                "{}",
                entry.kind
            );
            let schema: Value = serde_json::from_str(text).unwrap();
            assert_eq!(schema["title"], entry.name);
        }
    }

    #[test]
    fn keys_are_sorted_at_every_depth() {
        let value = serde_json::json!({"b": [{"d": 1, "c": 2}], "a": 0});
        let text = json(value, "$comment").unwrap();
        let order: Vec<_> = ["\"a\"", "\"b\"", "\"c\"", "\"d\""]
            .map(|key| text.find(key))
            .into();
        assert!(order.is_sorted(), "{text}");
    }
}
