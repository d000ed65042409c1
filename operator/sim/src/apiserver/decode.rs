//! What a round trip through Kubernetes' own Go types makes of an object: nulls and what is empty are left out, fields
//! without `omitempty` are written even so, quantities and times have one form.
//!
//! The types are those of the OpenAPI document (`schemas/builtin.json`); what it does not tell stands in
//! `schemas/go-types.txt`.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::quantity;
use super::schema::Resource;

const DEFINITIONS: &str = include_str!("../../schemas/builtin.json");
const GO_TYPES: &str = include_str!("../../schemas/go-types.txt");

static TYPES: LazyLock<Types> = LazyLock::new(Types::read);

/// Brings an object of one of Kubernetes' own kinds into the form that decoding and encoding it has; others stay.
pub fn round_trip(resource: &Resource, object: &mut Value) {
    if !resource.is_custom {
        let package = resource.group.split('.').next().unwrap_or_default();
        let package = if package.is_empty() { "core" } else { package };
        round_trip_as(
            &format!(
                "io.k8s.api.{package}.{}.{}",
                resource.version, resource.kind
            ),
            object,
        );
    }
}

/// As [`round_trip`], for the type that has this name in the OpenAPI document.
pub fn round_trip_as(definition: &str, object: &mut Value) {
    if let Some(id) = TYPES.named.get(definition) {
        TYPES.structure(*id, object);
    }
}

enum Type {
    Any,
    Text,
    Number,
    Boolean,
    Quantity,
    Time,
    List(Box<Type>),
    Map(Box<Type>),
    Struct(usize),
}

struct Field {
    of: Type,
    /// What is written where it is absent.
    absent: Absent,
    /// Whether it is written even where it is zero.
    pointer: bool,
}

enum Absent {
    Nothing,
    Value(Value),
    /// The struct's own zero value.
    Zero,
}

#[derive(Default)]
struct Types {
    named: HashMap<String, usize>,
    structs: Vec<BTreeMap<String, Field>>,
}

impl Types {
    fn read() -> Self {
        let definitions: Map<String, Value> = serde_json::from_str(DEFINITIONS).unwrap_or_default();
        let more: HashMap<&str, Vec<&str>> = GO_TYPES
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once(' '))
            .map(|(name, fields)| (name, fields.split(' ').collect()))
            .collect();
        let mut types = Self::default();
        let structs = definitions
            .iter()
            .filter(|(_, definition)| definition.get("properties").is_some());
        for (index, (name, _)) in structs.clone().enumerate() {
            types.named.insert(name.clone(), index);
        }
        for (name, definition) in structs {
            let more = more
                .get(name.as_str())
                .map(Vec::as_slice)
                .unwrap_or_default();
            let properties = definition["properties"].as_object().into_iter().flatten();
            let fields =
                properties.map(|(field, schema)| (field.clone(), types.field(field, schema, more)));
            let fields = fields.collect();
            types.structs.push(fields);
        }
        types
    }

    fn field(&self, name: &str, schema: &Value, more: &[&str]) -> Field {
        let of = self.of(schema);
        let is_always_written = more.iter().any(|one| one.strip_suffix('!') == Some(name));
        let is_left_out = more.iter().any(|one| one.strip_suffix('-') == Some(name));
        let default = &schema["default"];
        let absent = match &of {
            Type::Struct(_) if default.is_object() => Absent::Zero,
            Type::Quantity if is_always_written => Absent::Value(json!("0")),
            _ if is_always_written => Absent::Value(Value::Null),
            _ if is_left_out => Absent::Nothing,
            Type::Text if default == "" => Absent::Value(default.clone()),
            Type::Number if default.as_f64() == Some(0.0) => Absent::Value(default.clone()),
            Type::Boolean if default == false => Absent::Value(default.clone()),
            _ => Absent::Nothing,
        };
        Field {
            of,
            absent,
            pointer: more.contains(&name),
        }
    }

    fn of(&self, schema: &Value) -> Type {
        if let Some(reference) = schema["$ref"].as_str() {
            return match reference.rsplit('.').next().unwrap_or_default() {
                "Quantity" => Type::Quantity,
                "Time" => Type::Time,
                _ => self
                    .named
                    .get(reference)
                    .map_or(Type::Any, |id| Type::Struct(*id)),
            };
        }
        match schema["type"].as_str() {
            Some("string") => Type::Text,
            Some("integer" | "number") => Type::Number,
            Some("boolean") => Type::Boolean,
            Some("array") => Type::List(Box::new(self.of(&schema["items"]))),
            Some("object") if schema.get("additionalProperties").is_some() => {
                Type::Map(Box::new(self.of(&schema["additionalProperties"])))
            }
            _ => Type::Any,
        }
    }

    fn structure(&self, id: usize, value: &mut Value) {
        let (Value::Object(object), Some(fields)) = (value, self.structs.get(id)) else {
            return;
        };
        object.retain(|name, value| {
            if value.is_null() {
                return false;
            }
            let Some(field) = fields.get(name) else {
                return true;
            };
            self.value(&field.of, value);
            field.pointer || !is_empty(&field.of, value)
        });
        for (name, field) in fields {
            if object.contains_key(name) {
                continue;
            }
            let zero = match (&field.absent, &field.of) {
                (Absent::Value(zero), _) => zero.clone(),
                (Absent::Zero, Type::Struct(id)) => {
                    let mut zero = Value::Object(Map::new());
                    self.structure(*id, &mut zero);
                    zero
                }
                _ => continue,
            };
            object.insert(name.clone(), zero);
        }
    }

    fn value(&self, of: &Type, value: &mut Value) {
        match (of, value) {
            (Type::Struct(id), value) => self.structure(*id, value),
            (Type::List(item), Value::Array(items)) => {
                for value in items {
                    self.value(item, value);
                }
            }
            (Type::Map(item), Value::Object(map)) => {
                for (_, value) in map {
                    self.value(item, value);
                }
            }
            (Type::Quantity, value) => quantity::canonicalize(value),
            (Type::Time, value) => rewrite_time(value),
            (Type::Text, value @ Value::Null) => *value = json!(""),
            _ => {}
        }
    }
}

/// Whether `omitempty` leaves a value out, once it is no pointer. Structs are never empty.
fn is_empty(of: &Type, value: &Value) -> bool {
    match (of, value) {
        (Type::Text, Value::String(text)) => text.is_empty(),
        (Type::Number, Value::Number(number)) => number.as_f64() == Some(0.0),
        (Type::Boolean, Value::Bool(flag)) => !flag,
        (Type::List(_), Value::Array(items)) => items.is_empty(),
        (Type::Map(_), Value::Object(map)) => map.is_empty(),
        _ => false,
    }
}

/// Times are in UTC and whole seconds.
fn rewrite_time(value: &mut Value) {
    let Some(text) = value.as_str() else { return };
    if text.len() == "2026-01-05T09:00:00Z".len() && text.ends_with('Z') {
        return;
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        *value = json!(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    }
}
