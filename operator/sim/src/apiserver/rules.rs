//! Validation rules in CEL, of custom resources.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::failure::Cause;
use super::schema::{Resource, Schema};

/// The rules of every custom resource that has some.
#[derive(Default)]
pub struct Rules {
    compiled: BTreeMap<String, kube_cel::CompiledSchema>,
    /// Rules that speak of another field than the one that has them.
    elsewhere: BTreeSet<String>,
}

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
            self.compiled.insert(format!("{kind}.{group}"), compiled);
            self.note_elsewhere(schema);
        }
    }

    fn note_elsewhere(&mut self, schema: &Value) {
        let rules = schema["x-kubernetes-validations"]
            .as_array()
            .into_iter()
            .flatten();
        let texts = rules
            .filter(|rule| rule.get("fieldPath").is_some())
            .filter_map(|rule| rule["rule"].as_str());
        self.elsewhere.extend(texts.map(str::to_owned));
        match schema {
            Value::Object(fields) => fields.values().for_each(|field| self.note_elsewhere(field)),
            Value::Array(items) => items.iter().for_each(|item| self.note_elsewhere(item)),
            _ => {}
        }
    }

    /// The rules that an object breaks.
    pub fn broken(&self, resource: &Resource, object: &Value, old: Option<&Value>) -> Vec<Cause> {
        // What an update leaves as it was is not judged anew (KEP-4008, CRD validation ratcheting); status has no rules.
        if old.is_some_and(|old| old.get("spec") == object.get("spec")) {
            return Vec::new();
        }
        let Some(rules) = self
            .compiled
            .get(&format!("{}.{}", resource.kind, resource.group))
        else {
            return Vec::new();
        };
        let Err(errors) = kube_cel::Validator::new().validate_compiled(rules, object, old) else {
            return Vec::new();
        };
        errors
            .into_vec()
            .into_iter()
            .filter(|error| error.kind == kube_cel::ErrorKind::ValidationFailure)
            .map(|error| self.cause(resource, &error, object))
            .collect()
    }
    /// `fieldErrorForReason` of `pkg/apiserver/schema/cel/validation.go`. Objects and lists are not printed.
    fn cause(
        &self,
        resource: &Resource,
        error: &kube_cel::ValidationError,
        object: &Value,
    ) -> Cause {
        let reason = error.reason.as_deref().unwrap_or("FieldValueInvalid");
        let words = match reason {
            "FieldValueForbidden" => "Forbidden",
            "FieldValueRequired" => "Required value",
            "FieldValueDuplicate" => "Duplicate value",
            _ => "Invalid value",
        };
        let (field, value) = resource.schema.locate(object, &error.field_path);
        let value = match value {
            Some(value @ (Value::String(_) | Value::Number(_) | Value::Bool(_)))
                if words == "Invalid value" && !self.elsewhere.contains(&error.rule) =>
            {
                format!("{value}: ")
            }
            _ => String::new(),
        };
        Cause {
            reason: reason.to_owned(),
            message: format!("{words}: {value}{}", error.message),
            field: if field.is_empty() {
                "<nil>".to_owned()
            } else {
                field
            },
        }
    }
}

impl Schema {
    /// The path of a field as messages have it, with the keys of maps in brackets, and its value. Given is a path with
    /// every name after a dot.
    fn locate<'a>(&self, object: &'a Value, path: &str) -> (String, Option<&'a Value>) {
        let mut found = String::new();
        let (mut rest, mut value, mut ty) = (
            path.trim_start_matches('.'),
            Some(object),
            Some(self.root()),
        );
        while !rest.is_empty() {
            if let Some((index, after)) =
                rest.strip_prefix('[').and_then(|rest| rest.split_once(']'))
            {
                found.push_str(&format!("[{index}]"));
                value = value.and_then(|value| value.get(index.parse::<usize>().ok()?));
                ty = ty.and_then(|ty| Some(self.at(ty).list.as_ref()?.element));
                rest = after.trim_start_matches('.');
                continue;
            }
            let map = ty.and_then(|ty| self.at(ty).map.as_ref());
            let declared = |name: &str| map.and_then(|map| map.fields.get(name));
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            // A key of a map may have dots in it.
            let keys = value
                .and_then(Value::as_object)
                .into_iter()
                .flat_map(Map::keys);
            let key = keys
                .filter(|key| rest.starts_with(key.as_str()))
                .max_by_key(|key| key.len());
            let name = match declared(&rest[..end]) {
                Some(_) => &rest[..end],
                None => key.map_or(&rest[..end], |key| &rest[..key.len()]),
            };
            match declared(name) {
                None if map.is_some_and(|map| map.element.is_some()) => {
                    found.push_str(&format!("[{name}]"))
                }
                _ if found.is_empty() => found.push_str(name),
                _ => found.push_str(&format!(".{name}")),
            }
            ty = match declared(name) {
                Some(field) => Some(field.ty),
                None => map.and_then(|map| map.element),
            };
            value = value.and_then(|value| value.get(name));
            rest = rest[name.len()..].trim_start_matches('.');
        }
        (found, value)
    }
}
