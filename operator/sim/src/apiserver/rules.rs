//! Validation rules in CEL, of custom resources.

use std::collections::BTreeMap;

use serde_json::Value;

use super::failure::Cause;
use super::schema::Resource;

/// The rules of every custom resource that has some.
#[derive(Default)]
pub struct Rules(BTreeMap<String, kube_cel::CompiledSchema>);

impl Rules {
    /// Takes in the rules of a CustomResourceDefinition.
    pub fn add(&mut self, crd: &Value) {
        let spec = &crd["spec"];
        let versions = spec["versions"].as_array();
        let stored = versions
            .into_iter()
            .flatten()
            .find(|version| version["storage"] == true);
        let schema = stored.and_then(|version| version.pointer("/schema/openAPIV3Schema"));
        if let (Some(schema), Some(kind)) = (schema, spec["names"]["kind"].as_str()) {
            let group = spec["group"].as_str().unwrap_or_default();
            let compiled = kube_cel::compile_schema(schema);
            self.0.insert(format!("{kind}.{group}"), compiled);
        }
    }

    /// The rules that an object breaks.
    pub fn broken(&self, resource: &Resource, object: &Value, old: Option<&Value>) -> Vec<Cause> {
        let Some(rules) = self.0.get(&format!("{}.{}", resource.kind, resource.group)) else {
            return Vec::new();
        };
        let Err(errors) = kube_cel::Validator::new().validate_compiled(rules, object, old) else {
            return Vec::new();
        };
        errors
            .into_vec()
            .into_iter()
            .filter(|error| error.kind == kube_cel::ErrorKind::ValidationFailure)
            .map(|error| cause(&error, object))
            .collect()
    }
}

/// `fieldErrorForReason` of `pkg/apiserver/schema/cel/validation.go`. Objects and lists are not printed.
fn cause(error: &kube_cel::ValidationError, object: &Value) -> Cause {
    let reason = error.reason.as_deref().unwrap_or("FieldValueInvalid");
    let words = match reason {
        "FieldValueForbidden" => "Forbidden",
        "FieldValueRequired" => "Required value",
        "FieldValueDuplicate" => "Duplicate value",
        _ => "Invalid value",
    };
    let value = match at(object, &error.field_path) {
        Some(value @ (Value::String(_) | Value::Number(_) | Value::Bool(_))) if words == "Invalid value" => {
            format!("{value}: ")
        }
        _ => String::new(),
    };
    let field = match error.field_path.as_str() {
        "" => "<nil>",
        path => path,
    };
    Cause {
        reason: reason.to_owned(),
        message: format!("{words}: {value}{}", error.message),
        field: field.to_owned(),
    }
}

/// The value at a path such as `spec.items[0].name`.
fn at<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    path.split(['.', '[']).filter(|part| !part.is_empty()).try_fold(object, |value, part| {
        let part = part.trim_end_matches(']');
        match value {
            Value::Array(items) => items.get(part.parse::<usize>().ok()?),
            value => value.get(part),
        }
    })
}
