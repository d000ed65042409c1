//! Writing `schemas/builtin.json` from the OpenAPI documents of a real API server.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::builtin::BUILTINS;

/// The paths below `/openapi/v3` of the documents that have the builtin resources.
pub const DOCUMENTS: &[&str] = &[
    "api/v1",
    "apis/admissionregistration.k8s.io/v1",
    "apis/apiextensions.k8s.io/v1",
    "apis/apps/v1",
    "apis/autoscaling/v1",
    "apis/autoscaling/v2",
    "apis/batch/v1",
    "apis/coordination.k8s.io/v1",
    "apis/events.k8s.io/v1",
    "apis/networking.k8s.io/v1",
    "apis/policy/v1",
];

/// What a schema keeps: what the parser reads.
const KEPT: &[&str] = &[
    "additionalProperties",
    "default",
    "format",
    "items",
    "properties",
    "required",
    "type",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
    "x-kubernetes-patch-merge-key",
    "x-kubernetes-patch-strategy",
    "x-kubernetes-preserve-unknown-fields",
];

/// The text of `schemas/builtin.json`: the definitions that builtin resources use, without their descriptions, one a
/// line.
#[must_use]
pub fn generate(openapi_documents: &[Value]) -> String {
    let mut all = BTreeMap::new();
    for document in openapi_documents {
        let schemas = document.pointer("/components/schemas");
        for (name, schema) in schemas.and_then(Value::as_object).into_iter().flatten() {
            all.insert(name.as_str(), schema);
        }
    }
    let mut used: BTreeSet<String> = BTreeSet::new();
    let mut lines: BTreeMap<String, String> = BTreeMap::new();
    let mut open: Vec<String> = BUILTINS
        .iter()
        .map(|builtin| builtin.definition.to_owned())
        .collect();
    while let Some(name) = open.pop() {
        if !used.insert(name.clone()) {
            continue;
        }
        if let Some(schema) = all.get(name.as_str()) {
            let kept = keep(schema, &mut open);
            lines.insert(name, kept.to_string());
        }
    }
    let lines: Vec<String> = lines
        .iter()
        .map(|(name, line)| format!("{}: {line}", Value::from(name.as_str())))
        .collect();
    format!("{{\n{}\n}}\n", lines.join(",\n"))
}

fn keep(schema: &Value, open: &mut Vec<String>) -> Value {
    let mut kept = Map::new();
    let reference = schema
        .get("$ref")
        .or_else(|| schema.pointer("/allOf/0/$ref"))
        .and_then(Value::as_str)
        .and_then(|reference| reference.rsplit('/').next());
    if let Some(name) = reference {
        open.push(name.to_owned());
        kept.insert("$ref".to_owned(), name.into());
    }
    for (key, value) in schema.as_object().into_iter().flatten() {
        let value = match key.as_str() {
            "items" => keep(value, open),
            "additionalProperties" if value.is_object() => keep(value, open),
            "properties" => {
                let properties = value.as_object().into_iter().flatten();
                properties
                    .map(|(name, property)| (name.clone(), keep(property, open)))
                    .collect()
            }
            key if KEPT.contains(&key) => value.clone(),
            _ => continue,
        };
        kept.insert(key.clone(), value);
    }
    Value::Object(kept)
}
