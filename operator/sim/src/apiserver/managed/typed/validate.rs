//! Whether a value fits its schema (`typed/validate.go`).

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{Deduced, Shape, field_type, item_of};
use crate::apiserver::managed::fieldset::{display_item, quote};
use crate::apiserver::schema::{ListType, MapType, Relation, ScalarKind, Schema, TypeId};

/// Errors of a value that does not fit its schema (`typed/validate.go`), each with its path.
pub(in crate::apiserver::managed) fn validate(
    schema: &Schema,
    ty: TypeId,
    value: &Value,
    allow_duplicates: bool,
) -> Vec<String> {
    let mut errors = Vec::new();
    let mut walker = Validator {
        schema,
        allow_duplicates,
        path: String::new(),
        errors: &mut errors,
    };
    walker.visit(ty, value);
    errors
}

/// Joins errors as `ValidationErrors.Error` of `typed/helpers.go`.
pub(in crate::apiserver::managed) fn join_errors(errors: &[String]) -> String {
    match errors {
        [one] => one.clone(),
        _ => format!("errors:\n  {}", errors.join("\n  ")),
    }
}

struct Validator<'a> {
    schema: &'a Schema,
    allow_duplicates: bool,
    path: String,
    errors: &'a mut Vec<String>,
}

impl Validator<'_> {
    fn error(&mut self, message: &str) {
        self.errors.push(if self.path.is_empty() {
            message.to_owned()
        } else {
            format!("{}: {message}", self.path)
        });
    }

    fn visit(&mut self, ty: TypeId, value: &Value) {
        let schema = self.schema;
        let ty = schema.at(ty);
        match Deduced::new(ty, Some(value)).shape() {
            Shape::Map => {
                if let (Some(map), Some(fields)) = (&ty.map, self.map(value)) {
                    self.fields(map, fields);
                }
            }
            Shape::Scalar => self.scalar(ty.scalar.unwrap_or(ScalarKind::Untyped), value),
            Shape::List => {
                if let Some(list) = &ty.list {
                    self.items(list, value);
                }
            }
            Shape::None => self.error("schema error: invalid atom: inlined"),
        }
    }

    fn map<'v>(&mut self, value: &'v Value) -> Option<&'v Map<String, Value>> {
        match value {
            Value::Object(fields) => Some(fields),
            Value::Null => None,
            _ => {
                self.error(&format!("expected map, got &{{{}}}", go_value(value)));
                None
            }
        }
    }

    fn fields(&mut self, map: &MapType, fields: &Map<String, Value>) {
        let length = self.path.len();
        for (name, child) in fields {
            self.path.push('.');
            self.path.push_str(name);
            match field_type(map, name).0 {
                Some(ty) => self.visit(ty, child),
                None => {
                    self.error("field not declared in schema");
                    self.path.truncate(length);
                    // The walk over this object ends at the first such field.
                    return;
                }
            }
            self.path.truncate(length);
        }
    }

    fn items(&mut self, list: &ListType, value: &Value) {
        let items = match value {
            Value::Array(items) => items,
            Value::Null => return,
            _ => {
                self.error(&format!("expected list, got &{{{}}}", go_value(value)));
                return;
            }
        };
        let length = self.path.len();
        let mut seen = BTreeSet::new();
        for (index, child) in items.iter().enumerate() {
            let step = if list.relation == Relation::Atomic {
                format!("[{index}]")
            } else {
                let item = match item_of(self.schema, list, child) {
                    Ok(item) => item,
                    Err(message) => {
                        self.error(&format!("element {index}: {message}"));
                        return;
                    }
                };
                let step = display_item(&item);
                if !seen.insert(item) && !self.allow_duplicates {
                    self.error(&format!("duplicate entries for key {step}"));
                }
                step
            };
            self.path.push_str(&step);
            self.visit(list.element, child);
            self.path.truncate(length);
        }
    }

    fn scalar(&mut self, kind: ScalarKind, value: &Value) {
        let message = match (kind, value) {
            (_, Value::Null)
            | (ScalarKind::Numeric | ScalarKind::Untyped, Value::Number(_))
            | (ScalarKind::String | ScalarKind::Untyped, Value::String(_))
            | (ScalarKind::Boolean | ScalarKind::Untyped, Value::Bool(_)) => return,
            (ScalarKind::Numeric, value) => {
                format!("expected numeric (int or float), got {}", go_type(value))
            }
            (ScalarKind::String, value) => {
                format!(
                    "expected string, got &value.valueUnstructured{{Value:{}}}",
                    go_syntax(value)
                )
            }
            (ScalarKind::Boolean, value) => {
                format!("expected boolean, got &{{{}}}", go_value(value))
            }
            (ScalarKind::Untyped, value) => {
                format!("expected any scalar, got &{{{}}}", go_value(value))
            }
        };
        self.error(&message);
    }
}

/// Go's `%T` of a decoded value.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// Go's `%v` of a decoded value.
fn go_value(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(go_value).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(name, value)| format!("{name}:{}", go_value(value)))
                .collect();
            format!("map[{}]", fields.join(" "))
        }
        _ => value.to_string(),
    }
}

/// Go's `%#v` of a decoded value.
fn go_syntax(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".to_owned(),
        Value::String(text) => quote(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(go_syntax).collect();
            format!("[]interface {{}}{{{}}}", items.join(", "))
        }
        Value::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(name, value)| format!("{}:{}", quote(name), go_syntax(value)))
                .collect();
            format!("map[string]interface {{}}{{{}}}", fields.join(", "))
        }
        _ => value.to_string(),
    }
}
