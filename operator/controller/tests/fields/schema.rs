//! The fields of a custom resource, from the schema of its CRD.

use std::collections::BTreeSet;

use serde_json::Value;

/// The schema of `spec` in a CRD.
pub fn of_spec(crd: &impl serde::Serialize) -> Value {
    let crd = serde_json::to_value(crd).unwrap();
    crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec")
        .unwrap()
        .clone()
}

/// Every field that holds a value: `.*` stands for the keys of a map, `[]` for the items of a list.
pub fn fields(schema: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    walk(schema, "spec", &mut found);
    found
}

fn walk(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    if let Some(properties) = schema["properties"].as_object() {
        for (name, below) in properties {
            walk(below, &format!("{path}.{name}"), found);
        }
    } else if schema["additionalProperties"].is_object() {
        walk(&schema["additionalProperties"], &format!("{path}.*"), found);
    } else if schema["items"].is_object() {
        walk(&schema["items"], &format!("{path}[]"), found);
    } else {
        found.insert(path.to_owned());
    }
}

/// Every value in a spec, by its field and by where it stands.
pub fn values(schema: &Value, spec: &Value) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    collect(schema, spec, "spec", "", &mut found);
    found
}

fn collect(
    schema: &Value,
    value: &Value,
    field: &str,
    place: &str,
    found: &mut BTreeSet<(String, String)>,
) {
    match value {
        Value::Object(map) => {
            for (name, below) in map {
                let place = format!("{place}/{name}");
                match schema["properties"].get(name) {
                    Some(schema) => {
                        collect(schema, below, &format!("{field}.{name}"), &place, found)
                    }
                    None => collect(
                        &schema["additionalProperties"],
                        below,
                        &format!("{field}.*"),
                        &place,
                        found,
                    ),
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let place = format!("{place}/{index}");
                collect(&schema["items"], item, &format!("{field}[]"), &place, found);
            }
        }
        scalar => {
            found.insert((field.to_owned(), format!("{place} = {scalar}")));
        }
    }
}

/// The fields in which two specs differ.
pub fn changed(schema: &Value, before: &Value, after: &Value) -> BTreeSet<String> {
    let (before, after) = (values(schema, before), values(schema, after));
    let differ = before.symmetric_difference(&after);
    differ.map(|(field, _)| field.clone()).collect()
}
