//! Validation of custom resources against their schema (`pkg/registry/customresource` and `pkg/apiserver/validation` of
//! apiextensions-apiserver). Rules in CEL are not looked at here.

mod check;
mod text;

use std::fmt;

use serde_json::{Map, Value, json};

use super::{Additional, Relation, Schema, TypeId};
pub(crate) use check::Check;
use check::Checked;
use text::{display, go_json, quote};

/// Why a field is not accepted, as the causes in a status name it (`ErrorType` of
/// `pkg/util/validation/field/errors.go`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// `FieldValueDuplicate`.
    Duplicate,
    /// `FieldValueInvalid`.
    Invalid,
    /// `FieldValueNotSupported`.
    NotSupported,
    /// `FieldValueRequired`.
    Required,
    /// `FieldValueTooLong`.
    TooLong,
    /// `FieldValueTooMany`.
    TooMany,
    /// `FieldValueTypeInvalid`.
    TypeInvalid,
}

impl Reason {
    /// The reason in the causes of a status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Duplicate => "FieldValueDuplicate",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Required => "FieldValueRequired",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::TypeInvalid => "FieldValueTypeInvalid",
        }
    }

    /// The reason in messages.
    fn words(self) -> &'static str {
        match self {
            Self::Duplicate => "Duplicate value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Required => "Required value",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A field that is not accepted. Its text is what the message of the status says: `spec.replicas: Invalid value: 11:
/// spec.replicas in body should be less than or equal to 10`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The path of the field, `<nil>` where upstream knows none.
    pub field: String,
    /// Why.
    pub reason: Reason,
    /// The message of the cause: all but the field.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

impl Problem {
    /// Whether rules in CEL are not run beside this problem (`hasBlockingErr` of `strategy.go`).
    #[must_use]
    pub fn blocks_rules(&self) -> bool {
        matches!(
            self.reason,
            Reason::NotSupported
                | Reason::Required
                | Reason::TooLong
                | Reason::TooMany
                | Reason::TypeInvalid
        )
    }

    fn new(field: &str, reason: Reason, value: Option<&Value>, detail: &str) -> Self {
        let mut message = reason.words().to_owned();
        if let Some(value) = value {
            message.push_str(": ");
            message.push_str(&match value {
                Value::String(text) => quote(text),
                Value::Number(_) | Value::Bool(_) => display(value),
                _ => go_json(value),
            });
        }
        if !detail.is_empty() {
            message.push_str(": ");
            message.push_str(detail);
        }
        Self {
            field: field.to_owned(),
            reason,
            message,
        }
    }
}

/// The path that upstream prints where it has none.
const NO_PATH: &str = "<nil>";

impl Schema {
    /// What of a custom resource its schema does not accept, in the order of the API server where that has one. With
    /// the old object of an update, what has not changed is accepted (`ratcheting.go`). A builtin resource has no
    /// problems here: its checks are Go functions.
    ///
    /// Where the schema has rules in CEL and a problem keeps them from being run, the last problem says so.
    #[must_use]
    pub fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<Problem> {
        let Some(check) = &self.checks else {
            return Vec::new();
        };
        let mut problems = problems(check.run(object, "", old), "");
        self.embedded(self.root(), object, &mut String::new(), true, &mut problems);
        self.validate_lists(object, old, &mut problems);
        note_blocked(check, &mut problems);
        problems
    }

    /// What of a custom resource's status its schema does not accept, on a write of the status subresource
    /// (`ValidateStatusUpdate` of `validator.go`).
    #[must_use]
    pub fn validate_status(&self, object: &Value, old: &Value) -> Vec<Problem> {
        let Some(check) = &self.checks else {
            return Vec::new();
        };
        let mut found = Vec::new();
        if let (Some(check), Some(status)) = (check.property("status"), object.get("status")) {
            found = problems(check.run(status, "", old.get("status")), "status");
        }
        self.validate_lists(object, Some(old), &mut found);
        note_blocked(check, &mut found);
        found
    }

    /// Uniqueness of items (`listtype/validation.go`). An old object that breaks it may go on doing so.
    fn validate_lists(&self, object: &Value, old: Option<&Value>, problems: &mut Vec<Problem>) {
        let mut found = Vec::new();
        self.lists(self.root(), object, &mut String::new(), &mut found);
        if found.is_empty() {
            return;
        }
        let mut before = Vec::new();
        if let Some(old) = old {
            self.lists(self.root(), old, &mut String::new(), &mut before);
        }
        if before.is_empty() {
            problems.append(&mut found);
        }
    }

    fn lists(&self, ty: TypeId, value: &Value, path: &mut String, problems: &mut Vec<Problem>) {
        let ty = self.at(ty);
        let length = path.len();
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let declared = ty.map.as_ref().and_then(|map| map.fields.get(&**name));
                    match (declared.filter(|field| !field.injected), ty.additional) {
                        (Some(field), _) => {
                            push_child(path, name);
                            self.lists(field.ty, value, path, problems);
                        }
                        (None, Additional::Type(additional)) => {
                            path.push_str(&format!("[{name}]"));
                            self.lists(additional, value, path, problems);
                        }
                        _ => {}
                    }
                    path.truncate(length);
                }
            }
            Value::Array(items) => {
                let Some(list) = &ty.list else { return };
                match &list.relation {
                    Relation::Atomic => {}
                    Relation::Set => duplicates(items, path, problems),
                    Relation::Keys(keys) => duplicate_keys(items, keys, path, problems),
                }
                for (index, item) in items.iter().enumerate() {
                    path.push_str(&format!("[{index}]"));
                    self.lists(list.element, item, path, problems);
                    path.truncate(length);
                }
            }
            _ => {}
        }
    }

    /// The kind of embedded resources (`objectmeta/validation.go`). Their metadata is not looked at.
    fn embedded(
        &self,
        ty: TypeId,
        value: &Value,
        path: &mut String,
        is_root: bool,
        problems: &mut Vec<Problem>,
    ) {
        let ty = self.at(ty);
        let length = path.len();
        match value {
            Value::Object(fields) => {
                if ty.embedded && !is_root {
                    embedded_kind(fields, path, problems);
                }
                for (name, value) in fields {
                    let declared = ty.map.as_ref().and_then(|map| map.fields.get(&**name));
                    match (declared.filter(|field| !field.injected), ty.additional) {
                        (Some(field), _) => {
                            push_child(path, name);
                            self.embedded(field.ty, value, path, false, problems);
                        }
                        (None, Additional::Type(additional)) => {
                            path.push_str(&format!("[{name}]"));
                            self.embedded(additional, value, path, false, problems);
                        }
                        _ => {}
                    }
                    path.truncate(length);
                }
            }
            Value::Array(items) => {
                let Some(list) = &ty.list else { return };
                for (index, item) in items.iter().enumerate() {
                    path.push_str(&format!("[{index}]"));
                    self.embedded(list.element, item, path, false, problems);
                    path.truncate(length);
                }
            }
            _ => {}
        }
    }
}

fn push_child(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}

/// `kubeOpenAPIResultToFieldErrors` of `validation.go`.
fn problems(checked: Checked, base: &str) -> Vec<Problem> {
    let place = |name: &str| match (base, name.trim_start_matches('.')) {
        ("", "") => NO_PATH.to_owned(),
        (base, "") => base.to_owned(),
        ("", name) => name.to_owned(),
        (base, name) => format!("{base}.{name}"),
    };
    checked
        .found
        .into_iter()
        .map(|found| {
            let detail = match (&found.detail, found.reason) {
                (Some(detail), _) => detail.as_str(),
                (None, Reason::Required) => "",
                (None, _) => &found.message,
            };
            let field = place(found.name.as_deref().unwrap_or(""));
            Problem::new(&field, found.reason, found.value.as_ref(), detail)
        })
        .collect()
}

fn note_blocked(check: &Check, problems: &mut Vec<Problem>) {
    if check.has_rules() && problems.iter().any(Problem::blocks_rules) {
        problems.push(Problem::new(
            NO_PATH,
            Reason::Invalid,
            Some(&Value::Null),
            "some validation rules were not checked because the object was invalid; correct the existing errors to \
             complete validation",
        ));
    }
}

/// The places of items that are there before, each said once however often it comes again.
fn repeated(items: &[Value]) -> Vec<usize> {
    let mut places = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let before = items.iter().take(index).filter(|other| *other == item);
        if before.count() == 1 {
            places.push(index);
        }
    }
    places
}

fn duplicates(items: &[Value], path: &str, problems: &mut Vec<Problem>) {
    for index in repeated(items) {
        let field = format!("{path}[{index}]");
        problems.push(Problem::new(
            &field,
            Reason::Duplicate,
            items.get(index),
            "",
        ));
    }
}

fn duplicate_keys(items: &[Value], keys: &[Box<str>], path: &str, problems: &mut Vec<Problem>) {
    for (index, item) in items.iter().enumerate() {
        if !item.is_null() && !item.is_object() {
            problems.push(Problem::new(
                &format!("{path}[{index}]"),
                Reason::Invalid,
                Some(item),
                "must be an object for an array of list-type map",
            ));
            return;
        }
    }
    let names: Vec<Value> = items
        .iter()
        .map(|item| {
            let named = keys
                .iter()
                .filter_map(|key| Some((key.to_string(), item.get(&**key)?.clone())));
            Value::Object(named.collect())
        })
        .collect();
    for index in repeated(&names) {
        let field = format!("{path}[{index}]");
        problems.push(Problem::new(
            &field,
            Reason::Duplicate,
            names.get(index),
            "",
        ));
    }
}

fn embedded_kind(fields: &Map<String, Value>, path: &str, problems: &mut Vec<Problem>) {
    for name in ["apiVersion", "kind"] {
        let field = format!("{path}.{name}");
        match fields.get(name) {
            None => problems.push(Problem::new(&field, Reason::Required, None, "")),
            Some(Value::String(text)) if text.is_empty() => {
                let value = json!("");
                problems.push(Problem::new(
                    &field,
                    Reason::Invalid,
                    Some(&value),
                    "must not be empty",
                ));
            }
            Some(Value::String(text)) if name == "apiVersion" && text.matches('/').count() > 1 => {
                let detail = format!("unexpected GroupVersion string: {text}");
                let value = json!(text);
                problems.push(Problem::new(&field, Reason::Invalid, Some(&value), &detail));
            }
            Some(Value::String(_)) => {}
            Some(other) => problems.push(Problem::new(
                &field,
                Reason::Invalid,
                Some(other),
                "must be a string",
            )),
        }
    }
}
