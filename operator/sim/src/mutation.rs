//! Other values for every field of a manifest, taken from the schema: a field that is new is among them by itself.

use serde_json::{Map, Value, json};

/// A change of one field.
#[derive(Clone, Debug, PartialEq)]
pub struct Mutation {
    /// The field, from the object's root.
    pub path: String,
    /// The whole manifest with the field changed.
    pub manifest: Value,
}

/// A manifest with each field that its schema knows below `/spec` changed in turn, or set where it was absent.
pub fn of(schema: &Value, manifest: &Value) -> Vec<Mutation> {
    let mut values = Vec::new();
    let spec = &schema["properties"]["spec"];
    others(spec, &manifest["spec"], "/spec".to_owned(), &mut values);
    values
        .into_iter()
        .filter_map(|(path, value)| {
            let mut manifest = manifest.clone();
            set(&mut manifest, &path, value)?;
            Some(Mutation { path, manifest })
        })
        .collect()
}

/// Collects other values by JSON pointer.
fn others(schema: &Value, value: &Value, path: String, found: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(fields) => {
            let properties = schema["properties"].as_object();
            for (name, property) in properties.into_iter().flatten() {
                let path = format!("{path}/{}", escape(name));
                match fields.get(name) {
                    Some(value) => others(property, value, path, found),
                    None => found.extend(sample(property).map(|value| (path, value))),
                }
            }
            let items = &schema["additionalProperties"];
            if items.is_object() {
                for (name, value) in fields {
                    others(items, value, format!("{path}/{}", escape(name)), found);
                }
            }
        }
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                others(&schema["items"], item, format!("{path}/{i}"), found);
            }
            let without_last = items
                .split_last()
                .map(|(_, rest)| Value::from(rest.to_vec()));
            found.extend(without_last.map(|rest| (path, rest)));
        }
        scalar => found.extend(other(schema, scalar).map(|value| (path, value))),
    }
}

/// Another value for a scalar.
fn other(schema: &Value, value: &Value) -> Option<Value> {
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().find(|other| *other != value).cloned();
    }
    match value {
        Value::Bool(value) => Some(json!(!value)),
        Value::Number(number) => {
            let number = number.as_i64()?;
            let is_highest = schema["maximum"]
                .as_f64()
                .is_some_and(|most| number as f64 >= most);
            Some(json!(if is_highest { number - 1 } else { number + 1 }))
        }
        Value::String(text) => Some(json!(count_on(text).unwrap_or_else(|| format!("{text}x")))),
        _ => None,
    }
}

/// `5m` → `6m`, `registry.example/web:1.0.0` → `registry.example/web:1.0.1`: the last number in a text, plus one.
fn count_on(text: &str) -> Option<String> {
    let end = text.rfind(|c: char| c.is_ascii_digit())? + 1;
    let begin = text[..end]
        .rfind(|c: char| !c.is_ascii_digit())
        .map_or(0, |before| before + 1);
    let number: u64 = text[begin..end].parse().ok()?;
    Some(format!("{}{}{}", &text[..begin], number + 1, &text[end..]))
}

/// A value for a field that is absent. What is below an object comes with what the object requires.
fn sample(schema: &Value) -> Option<Value> {
    if let Some(values) = schema["enum"].as_array() {
        return values.first().cloned();
    }
    if let Some(default) = schema.get("default").filter(|default| !default.is_null()) {
        return other(schema, default);
    }
    match schema["type"].as_str()? {
        "boolean" => Some(json!(true)),
        "integer" | "number" => Some(json!(schema["minimum"].as_i64().unwrap_or(1).max(1))),
        "string" => Some(json!("5m")),
        "array" => Some(json!([sample(&schema["items"])?])),
        "object" => {
            let required = schema["required"].as_array();
            let fields: Option<Map<_, _>> = required
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(|name| Some((name.to_owned(), sample(&schema["properties"][name])?)))
                .collect();
            Some(Value::Object(fields?))
        }
        _ => None,
    }
}

fn set(manifest: &mut Value, path: &str, value: Value) -> Option<()> {
    let (parent, name) = path.rsplit_once('/')?;
    match manifest.pointer_mut(parent)? {
        Value::Object(fields) => {
            fields.insert(name.replace("~1", "/").replace("~0", "~"), value);
        }
        Value::Array(items) => *items.get_mut(name.parse::<usize>().ok()?)? = value,
        _ => return None,
    }
    Some(())
}

fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_changed_or_set() {
        let schema = json!({"properties": {"spec": {"properties": {
            "kind": {"type": "string", "enum": ["A", "B"]},
            "port": {"type": "integer", "maximum": 10},
            "wait": {"type": "string"},
            "names": {"type": "array", "items": {"type": "string"}},
            "env": {"type": "object", "additionalProperties": {"type": "string"}},
            "absent": {"type": "object", "required": ["on"], "properties": {"on": {"type": "boolean"}}},
        }}}});
        let manifest = json!({"spec": {
            "kind": "A", "port": 10, "wait": "5m", "names": ["a1"], "env": {"x/y": "z"},
        }});
        let changed: Vec<(String, Value)> = of(&schema, &manifest)
            .into_iter()
            .map(|mutation| {
                let value = mutation.manifest.pointer(&mutation.path).cloned();
                (mutation.path, value.unwrap_or(Value::Null))
            })
            .collect();
        let expected = [
            ("/spec/absent", json!({"on": true})),
            ("/spec/env/x~1y", json!("zx")),
            ("/spec/kind", json!("B")),
            ("/spec/names/0", json!("a2")),
            ("/spec/names", json!([])),
            ("/spec/port", json!(9)),
            ("/spec/wait", json!("6m")),
        ];
        assert_eq!(
            changed,
            expected.map(|(path, value)| (path.to_owned(), value))
        );
    }
}
