//! The JSON Schemas of all messages.

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform as _};
use schemars::{JsonSchema as _, Schema, SchemaGenerator};
use serde_json::Value;

use crate::catalog::Entry;
use crate::{Envelope, catalog};

/// Where the schemas are said to be.
pub const BASE: &str = "https://todo-operator.dev/schemas/";
/// The name of the envelope's schema.
pub const ENVELOPE: &str = "envelope";

/// A schema by its name: the `type` whose data it describes, or [`ENVELOPE`].
#[derive(Clone, Debug)]
pub struct Named {
    /// The name.
    pub name: String,
    /// The schema, complete in itself.
    pub schema: Value,
}

/// The schemas of the envelope and of each type's data.
#[must_use]
pub fn schemas() -> Vec<Named> {
    let mut all = vec![complete(ENVELOPE, "Envelope", |generator| {
        Envelope::json_schema(generator)
    })];
    for Entry {
        kind, name, schema, ..
    } in catalog()
    {
        all.push(complete(kind, name, schema));
    }
    all
}

/// Settings under which definitions lie at `path`.
pub(crate) fn settings(path: &'static str) -> SchemaSettings {
    SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = path.into();
        // References are complete only if nothing is left to the generator's own root schema.
        settings.meta_schema = None;
    })
}

fn complete(name: &str, title: &str, make: impl Fn(&mut SchemaGenerator) -> Schema) -> Named {
    let mut generator = settings("/$defs").into_generator();
    let mut schema = make(&mut generator);
    schema.insert("title".to_owned(), title.into());
    let definitions = generator.take_definitions(true);
    if !definitions.is_empty() {
        schema.insert("$defs".to_owned(), definitions.into());
    }
    plain(&mut schema);
    let mut value = serde_json::json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": format!("{BASE}{name}.json"),
    });
    if let (Some(value), Some(schema)) = (value.as_object_mut(), schema.as_object()) {
        value.extend(schema.clone());
    }
    Named {
        name: name.to_owned(),
        schema: value,
    }
}

/// A field that is not there is left out, never `null`: there is one way to say nothing, and no union with null in other
/// languages.
pub(crate) fn plain(schema: &mut Schema) {
    RecursiveTransform(without_null).transform(schema);
}

fn without_null(schema: &mut Schema) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    let Some(Value::Array(choices)) = schema.get("anyOf") else {
        return;
    };
    let null = serde_json::json!({"type": "null"});
    let rest: Vec<_> = choices.iter().filter(|choice| **choice != null).collect();
    if let [Value::Object(only)] = rest.as_slice()
        && rest.len() < choices.len()
    {
        let only = only.clone();
        schema.remove("anyOf");
        for (name, value) in only {
            schema.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find<'a>(value: &'a Value, is_wanted: &impl Fn(&Value) -> bool, found: &mut Vec<&'a Value>) {
        if is_wanted(value) {
            found.push(value);
        }
        match value {
            Value::Array(items) => items.iter().for_each(|item| find(item, is_wanted, found)),
            Value::Object(fields) => fields
                .values()
                .for_each(|item| find(item, is_wanted, found)),
            _ => {}
        }
    }

    #[test]
    fn no_schema_holds_a_union() {
        for Named { name, schema } in schemas() {
            let mut unions = Vec::new();
            // An enum of texts is `oneOf` with `const`: its variants have descriptions.
            let is_union = |value: &Value| {
                value.get("anyOf").is_some()
                    || value.get("type").is_some_and(Value::is_array)
                    || value
                        .get("oneOf")
                        .and_then(Value::as_array)
                        .is_some_and(|choices| {
                            choices.iter().any(|choice| choice.get("const").is_none())
                        })
            };
            find(&schema, &is_union, &mut unions);
            assert!(unions.is_empty(), "{name}: {unions:?}");
        }
    }

    #[test]
    fn every_field_and_every_type_is_described() {
        for Named { name, schema } in schemas() {
            let mut objects = Vec::new();
            find(
                &schema,
                &|value| value.get("properties").is_some(),
                &mut objects,
            );
            for object in objects {
                assert!(object.get("description").is_some(), "{name}");
                for (field, schema) in object["properties"].as_object().unwrap() {
                    assert!(schema.get("description").is_some(), "{name}: {field}");
                }
            }
        }
    }

    #[test]
    fn references_lead_somewhere() {
        for Named { name, schema } in schemas() {
            let mut references = Vec::new();
            find(
                &schema,
                &|value| value.get("$ref").is_some(),
                &mut references,
            );
            for reference in references {
                let pointer = reference["$ref"].as_str().unwrap().trim_start_matches('#');
                assert!(schema.pointer(pointer).is_some(), "{name}: {pointer}");
            }
        }
    }
}
