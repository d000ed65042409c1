//! Values against an OpenAPI schema (`pkg/validation/validate` of kube-openapi).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::super::SchemaError;
use super::Reason;
use super::text::{Format, Pattern, display, display_float, quote};

/// What a schema asks of a value.
#[derive(Clone, Debug, Default)]
pub(crate) struct Check {
    types: Vec<Box<str>>,
    nullable: bool,
    format: Option<Box<str>>,
    values: Option<Vec<Value>>,
    minimum: Option<(f64, bool)>,
    maximum: Option<(f64, bool)>,
    multiple_of: Option<f64>,
    min_length: Option<usize>,
    max_length: Option<usize>,
    pattern: Option<Arc<Pattern>>,
    min_items: Option<usize>,
    max_items: Option<usize>,
    min_properties: Option<usize>,
    max_properties: Option<usize>,
    required: Vec<Box<str>>,
    properties: BTreeMap<Box<str>, Check>,
    additional: AdditionalChecks,
    items: Option<Box<Check>>,
    all_of: Vec<Check>,
    any_of: Vec<Check>,
    one_of: Vec<Check>,
    not: Option<Box<Check>>,
    /// The fields that name an item of the list, where they do.
    keys: Option<Vec<Box<str>>>,
    has_rules: bool,
}

#[derive(Clone, Debug, Default)]
enum AdditionalChecks {
    #[default]
    Any,
    Forbidden,
    Check(Box<Check>),
}

/// The result of a check (`Result` of `result.go`).
#[derive(Debug, Default)]
pub(super) struct Checked {
    pub found: Vec<Found>,
    /// How many checks passed: of alternatives that all fail, the one where most pass is reported.
    matches: usize,
}

/// An error.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// The path of the value. Errors without one are not about a field, for upstream.
    pub name: Option<String>,
    pub reason: Reason,
    pub value: Option<Value>,
    /// The text of the error, by which errors are the same.
    pub message: String,
    /// What is reported in place of the text.
    pub detail: Option<String>,
}

impl Checked {
    fn error(found: Found) -> Self {
        Self {
            found: vec![found],
            matches: 0,
        }
    }

    fn is_valid(&self) -> bool {
        self.found.is_empty()
    }

    fn add(&mut self, found: Found) {
        if !self.found.iter().any(|f| f.message == found.message) {
            self.found.push(found);
        }
    }

    fn merge(&mut self, other: Self) {
        for found in other.found {
            self.add(found);
        }
        self.matches += other.matches;
    }
}

/// An error about a value.
fn about(path: &str, reason: Reason, value: Value, message: String) -> Found {
    Found {
        name: Some(path.to_owned()),
        reason,
        value: Some(value),
        message: format!("{path} in body {message}"),
        detail: None,
    }
}

/// An error without a field.
fn plain(message: String) -> Found {
    Found {
        name: None,
        reason: Reason::Invalid,
        value: Some(json!("")),
        message,
        detail: None,
    }
}

fn wrong_type(path: &str, wanted: &str, got: &str) -> Checked {
    Checked::error(about(
        path,
        Reason::TypeInvalid,
        json!(got),
        format!("must be of type {wanted}: {}", quote(got)),
    ))
}

/// Patterns by their text: schemas have the same ones often.
type Patterns = BTreeMap<String, Arc<Pattern>>;

impl Check {
    /// Reads the schema of a CustomResourceDefinition.
    pub(crate) fn parse(schema: &Value) -> Result<Self, SchemaError> {
        let mut check = Self::read(schema, "", &mut Patterns::new())?;
        check.has_rules = has_rules(schema);
        Ok(check)
    }

    fn read(schema: &Value, path: &str, patterns: &mut Patterns) -> Result<Self, SchemaError> {
        let flag = |name: &str| schema.get(name).and_then(Value::as_bool).unwrap_or(false);
        let number = |name: &str| schema.get(name).and_then(Value::as_f64);
        let size = |name: &str| {
            let size = schema.get(name).and_then(Value::as_u64);
            size.and_then(|size| usize::try_from(size).ok())
        };
        let text = |name: &str| schema.get(name).and_then(Value::as_str);
        let names = |name: &str| -> Option<Vec<Box<str>>> {
            let names = schema.get(name)?.as_array()?.iter();
            Some(names.filter_map(Value::as_str).map(Into::into).collect())
        };
        let types: Vec<Box<str>> = if flag("x-kubernetes-int-or-string") {
            vec!["integer".into(), "string".into()]
        } else {
            text("type").map(Into::into).into_iter().collect()
        };
        let only = match types.as_slice() {
            [one] => &**one,
            _ => "",
        };
        let format = text("format").filter(|format| match only {
            "" | "string" => Format::is_known(format),
            "integer" => matches!(*format, "int32" | "int64"),
            "number" => matches!(*format, "float" | "double"),
            _ => false,
        });
        let pattern = text("pattern").filter(|pattern| !pattern.is_empty());
        let pattern = match pattern {
            Some(text) => match patterns.get(text) {
                Some(pattern) => Some(Arc::clone(pattern)),
                None => {
                    let pattern = Arc::new(Pattern::new(text));
                    patterns.insert(text.to_owned(), Arc::clone(&pattern));
                    Some(pattern)
                }
            },
            None => None,
        };
        let mut properties = BTreeMap::new();
        let declared = schema.get("properties").and_then(Value::as_object);
        for (name, property) in declared.into_iter().flatten() {
            let check = Self::read(property, &format!("{path}.{name}"), patterns)?;
            properties.insert(name.as_str().into(), check);
        }
        let mut list = |name: &str| -> Result<Vec<Self>, SchemaError> {
            let checks = schema.get(name).and_then(Value::as_array);
            let checks = checks.into_iter().flatten();
            checks
                .map(|schema| Self::read(schema, path, patterns))
                .collect()
        };
        let (all_of, any_of, one_of) = (list("allOf")?, list("anyOf")?, list("oneOf")?);
        let mut one = |name: &str| -> Result<Option<Box<Self>>, SchemaError> {
            let schema = schema.get(name);
            let check = schema.map(|schema| Self::read(schema, path, patterns));
            Ok(check.transpose()?.map(Box::new))
        };
        let (items, not) = (one("items")?, one("not")?);
        let additional = match schema.get("additionalProperties") {
            None | Some(Value::Bool(true)) => AdditionalChecks::Any,
            Some(Value::Bool(false)) => AdditionalChecks::Forbidden,
            Some(_) => {
                one("additionalProperties")?.map_or(AdditionalChecks::Any, AdditionalChecks::Check)
            }
        };
        Ok(Self {
            nullable: flag("nullable"),
            format: format.map(Into::into),
            values: schema.get("enum").and_then(Value::as_array).cloned(),
            minimum: number("minimum").map(|limit| (limit, flag("exclusiveMinimum"))),
            maximum: number("maximum").map(|limit| (limit, flag("exclusiveMaximum"))),
            multiple_of: number("multipleOf"),
            min_length: size("minLength"),
            max_length: size("maxLength"),
            pattern,
            min_items: size("minItems"),
            max_items: size("maxItems"),
            min_properties: size("minProperties"),
            max_properties: size("maxProperties"),
            required: names("required").unwrap_or_default(),
            properties,
            additional,
            items,
            all_of,
            any_of,
            one_of,
            not,
            keys: match text("x-kubernetes-list-type") {
                Some("map") => names("x-kubernetes-list-map-keys"),
                _ => None,
            },
            has_rules: false,
            types,
        })
    }

    /// Whether rules in CEL are anywhere in the schema.
    pub(super) fn has_rules(&self) -> bool {
        self.has_rules
    }

    /// The check of a declared field.
    pub(super) fn property(&self, name: &str) -> Option<&Self> {
        self.properties.get(name)
    }

    /// Checks a value. An old value that equals it makes its errors vanish.
    pub(super) fn run(&self, value: &Value, path: &str, old: Option<&Value>) -> Checked {
        let mut checked = self.run_all(value, path, old);
        if !checked.is_valid() && old.is_some_and(|old| self.same(old, value)) {
            checked.found.clear();
        }
        checked
    }

    /// `Validate` of `schema.go`.
    fn run_all(&self, value: &Value, path: &str, old: Option<&Value>) -> Checked {
        let mut checked = Checked::default();
        if value.is_null() {
            checked.merge(self.check_type(value, path));
            checked.merge(self.check_enum(value, path));
            return checked;
        }
        let mut apply = |result: Checked| {
            checked.merge(result);
            checked.matches += 1;
        };
        if !self.types.is_empty() || self.format.is_some() {
            apply(self.check_type(value, path));
        }
        apply(self.check_alternatives(value, path));
        if let Value::String(text) = value {
            apply(self.check_string(text, path));
            if let Some(format) = self.format.as_deref().filter(|f| Format::is_known(f)) {
                apply(if Format::accepts(format, text) {
                    Checked::default()
                } else {
                    wrong_type(path, format, text)
                });
            }
        }
        if value.is_number() {
            apply(self.check_number(value, path));
        }
        if let Value::Array(items) = value {
            apply(self.check_items(items, path, old));
        }
        apply(self.check_enum(value, path));
        if let Value::Object(fields) = value {
            apply(self.check_object(fields, path, old));
        }
        checked.matches += 1;
        checked
    }

    /// `type.go`.
    fn check_type(&self, value: &Value, path: &str) -> Checked {
        let passed = Checked {
            found: Vec::new(),
            matches: 1,
        };
        let has = |name: &str| self.types.iter().any(|ty| &**ty == name);
        let wanted = || {
            let names: Vec<&str> = self.types.iter().map(|ty| &**ty).collect();
            names.join(",")
        };
        let (name, format) = match value {
            Value::Null if self.types.is_empty() || self.nullable => return passed,
            Value::Null => return wrong_type(path, &wanted(), "null"),
            Value::Bool(_) => ("boolean", ""),
            Value::String(_) => ("string", ""),
            Value::Number(n) if n.is_i64() || n.is_u64() => ("integer", "int64"),
            Value::Number(_) => ("number", "float64"),
            Value::Array(_) => ("array", ""),
            Value::Object(_) => ("object", ""),
        };
        let float = value.as_f64();
        let whole = name == "number" && float.is_some_and(|f| f.fract() == 0.0) && has("integer");
        let fits = has(name) || whole || (name == "integer" && has("number"));
        if let Some(wanted) = self.format.as_deref() {
            let textual = matches!(value, Value::String(_) | Value::Array(_));
            if !textual && !fits && format != wanted {
                return wrong_type(path, wanted, format);
            }
            if textual && !has("number") && !has("integer") {
                return passed;
            }
        }
        if fits {
            passed
        } else {
            wrong_type(path, &wanted(), name)
        }
    }

    /// `schema_props.go`.
    fn check_alternatives(&self, value: &Value, path: &str) -> Checked {
        let mut checked = Checked::default();
        let better = |best: &Option<Checked>, result: &Checked| {
            best.as_ref().is_none_or(|b| result.matches > b.matches)
        };
        if !self.any_of.is_empty() {
            let mut best: Option<Checked> = None;
            for check in &self.any_of {
                let result = check.run_all(value, path, None);
                if result.is_valid() {
                    best = Some(result);
                    break;
                }
                if better(&best, &result) {
                    best = Some(result);
                }
            }
            if best.as_ref().is_some_and(|best| !best.is_valid()) {
                checked.add(plain(format!(
                    "{} must validate at least one schema (anyOf)",
                    quote(path)
                )));
            }
            checked.merge(best.unwrap_or_default());
        }
        if !self.one_of.is_empty() {
            let mut best: Option<Checked> = None;
            let mut success: Option<Checked> = None;
            let mut valid = 0;
            for check in &self.one_of {
                let result = check.run_all(value, path, None);
                if result.is_valid() {
                    valid += 1;
                    best = None;
                    success.get_or_insert(result);
                } else if valid == 0 && better(&best, &result) {
                    best = Some(result);
                }
            }
            if valid == 1 {
                checked.merge(success.unwrap_or_default());
            } else {
                let how = match valid {
                    0 => "Found none valid".to_owned(),
                    n => format!("Found {n} valid alternatives"),
                };
                checked.add(plain(format!(
                    "{} must validate one and only one schema (oneOf). {how}",
                    quote(path)
                )));
                checked.merge(best.unwrap_or_default());
            }
        }
        if !self.all_of.is_empty() {
            let mut valid = 0;
            for check in &self.all_of {
                let result = check.run_all(value, path, None);
                valid += usize::from(result.is_valid());
                checked.merge(result);
            }
            if valid != self.all_of.len() {
                let how = if valid == 0 { ". None validated" } else { "" };
                checked.add(plain(format!(
                    "{} must validate all the schemas (allOf){how}",
                    quote(path)
                )));
            }
        }
        if let Some(not) = &self.not
            && not.run_all(value, path, None).is_valid()
        {
            checked.add(plain(format!(
                "{} must not validate the schema (not)",
                quote(path)
            )));
        }
        checked.matches += 1;
        checked
    }

    fn check_string(&self, text: &str, path: &str) -> Checked {
        let length = text.chars().count();
        let invalid =
            |message: String| Checked::error(about(path, Reason::Invalid, json!(text), message));
        if let Some(max) = self.max_length.filter(|max| length > *max) {
            let bytes = if max == 1 { "byte" } else { "bytes" };
            return Checked::error(Found {
                name: Some(path.to_owned()),
                reason: Reason::TooLong,
                value: None,
                message: format!("{path} in body should be at most {max} chars long"),
                detail: Some(format!("may not be more than {max} {bytes}")),
            });
        }
        if let Some(min) = self.min_length.filter(|min| length < *min) {
            return invalid(format!("should be at least {min} chars long"));
        }
        match &self.pattern {
            Some(pattern) if !pattern.matches(text) => {
                invalid(format!("should match '{}'", pattern.text()))
            }
            _ => Checked::default(),
        }
    }

    /// `numberValidator` of `validator.go`.
    fn check_number(&self, value: &Value, path: &str) -> Checked {
        let mut checked = Checked {
            found: Vec::new(),
            matches: 1,
        };
        let Some(float) = value.as_f64() else {
            return checked;
        };
        let integer = value.as_i64();
        let (ty, format) = match self.types.as_slice() {
            [one] if matches!(&**one, "integer" | "number") => {
                (&**one, self.format.as_deref().unwrap_or(""))
            }
            _ => ("", ""),
        };
        let in_range = match (ty, format) {
            ("integer", "int32") => {
                float.fract() == 0.0 && (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&float)
            }
            ("integer", _) => float.fract() == 0.0 && float.abs() < 9.3e18,
            ("number", "float") => float.abs() <= f64::from(f32::MAX),
            _ => true,
        };
        if !in_range {
            let how = match format {
                "" => "(default format)".to_owned(),
                format => format!("with format {format}"),
            };
            checked.add(plain(format!(
                "Checked value must be of type {ty} {how} in {path}"
            )));
        }
        let mut invalid = |value: Value, message: String| {
            checked.add(about(path, Reason::Invalid, value, message));
        };
        // A limit is printed as a number of the value's type.
        #[allow(
            clippy::cast_possible_truncation,
            reason = "upstream truncates limits of integers"
        )]
        let whole = |limit: f64| limit as i64;
        let print = |limit: f64| match integer {
            Some(_) => whole(limit).to_string(),
            None => display_float(limit),
        };
        if let Some(factor) = self.multiple_of {
            let multiple = match integer {
                Some(_) if whole(factor) <= 0 => None,
                Some(integer) => Some(integer % whole(factor) == 0),
                None if factor < 1.0 => Some((1.0 / factor * float).fract() == 0.0),
                None => Some((float / factor).fract() == 0.0),
            };
            if multiple == Some(false) {
                let message = format!("should be a multiple of {}", print(factor));
                invalid(value.clone(), message);
            }
        }
        if let Some((limit, exclusive)) = self.minimum {
            let order = match integer {
                Some(integer) => integer.cmp(&whole(limit)),
                None => float.total_cmp(&limit),
            };
            if order.is_lt() || (exclusive && order.is_eq()) {
                let how = if exclusive {
                    "greater than"
                } else {
                    "greater than or equal to"
                };
                invalid(value.clone(), format!("should be {how} {}", print(limit)));
            }
        }
        if let Some((limit, exclusive)) = self.maximum {
            let order = match integer {
                Some(integer) => integer.cmp(&whole(limit)),
                None => float.total_cmp(&limit),
            };
            if order.is_gt() || (exclusive && order.is_eq()) {
                let how = if exclusive {
                    "less than"
                } else {
                    "less than or equal to"
                };
                invalid(value.clone(), format!("should be {how} {}", print(limit)));
            }
        }
        checked
    }

    /// `slice_validator.go`.
    fn check_items(&self, items: &[Value], path: &str, old: Option<&Value>) -> Checked {
        let mut checked = Checked::default();
        if let Some(check) = &self.items {
            for (index, item) in items.iter().enumerate() {
                let old = self.old_item(item, old);
                checked.merge(check.run(item, &format!("{path}[{index}]"), old));
            }
        }
        let size = items.len();
        if let Some(min) = self.min_items.filter(|min| size < *min) {
            let message = format!("should have at least {min} items");
            checked.add(about(path, Reason::Invalid, json!(size), message));
        }
        if let Some(max) = self.max_items.filter(|max| size > *max) {
            checked.add(too_many(path, size, max, "items"));
        }
        checked.matches += 1;
        checked
    }

    /// `object_validator.go`.
    fn check_object(
        &self,
        fields: &Map<String, Value>,
        path: &str,
        old: Option<&Value>,
    ) -> Checked {
        let mut checked = Checked::default();
        let size = fields.len();
        if let Some(min) = self.min_properties.filter(|min| size < *min) {
            let message = format!("should have at least {min} properties");
            checked.add(about(path, Reason::Invalid, json!(size), message));
        }
        if let Some(max) = self.max_properties.filter(|max| size > *max) {
            checked.add(too_many(path, size, max, "properties"));
        }
        let others = fields
            .iter()
            .filter(|(name, _)| !self.properties.contains_key(name.as_str()));
        match &self.additional {
            AdditionalChecks::Any => {}
            AdditionalChecks::Forbidden => {
                for (name, _) in others {
                    checked.add(Found {
                        name: Some(path.to_owned()),
                        reason: Reason::Invalid,
                        value: Some(json!(name)),
                        message: format!("{path}.{name} in body is a forbidden property"),
                        detail: None,
                    });
                }
            }
            AdditionalChecks::Check(check) => {
                for (name, value) in others {
                    let old = old.and_then(|old| old.get(name));
                    checked.merge(check.run(value, &format!("{path}.{name}"), old));
                }
            }
        }
        for (name, check) in &self.properties {
            let Some(value) = fields.get(&**name) else {
                continue;
            };
            // The kind of an object is never taken as it was.
            let old =
                old.filter(|_| !(path.is_empty() && matches!(&**name, "kind" | "apiVersion")));
            let old = old.and_then(|old| old.get(&**name));
            let path = if path.is_empty() {
                name.to_string()
            } else {
                format!("{path}.{name}")
            };
            checked.merge(check.run(value, &path, old));
        }
        for name in &self.required {
            if !fields.contains_key(&**name) {
                let name = format!("{path}.{name}");
                checked.add(Found {
                    message: format!("{name} in body is required"),
                    name: Some(name),
                    reason: Reason::Required,
                    value: None,
                    detail: None,
                });
            }
        }
        checked
    }

    /// `basicCommonValidator` of `validator.go`.
    fn check_enum(&self, value: &Value, path: &str) -> Checked {
        let Some(values) = self.values.as_ref().filter(|values| !values.is_empty()) else {
            return Checked::default();
        };
        let same = |allowed: &Value| match (value, allowed) {
            (Value::Number(l), Value::Number(r)) => l.as_f64() == r.as_f64(),
            (Value::Null, _) => false,
            _ => value == allowed,
        };
        if values.iter().any(same) {
            return Checked::default();
        }
        let names: Vec<String> = values
            .iter()
            .map(|value| match value {
                Value::String(text) => quote(text),
                other => quote(&other.to_string()),
            })
            .collect();
        let words: Vec<String> = values.iter().map(display).collect();
        Checked::error(Found {
            name: Some(path.to_owned()),
            reason: Reason::NotSupported,
            value: Some(value.clone()),
            message: format!("{path} in body should be one of [{}]", words.join(" ")),
            detail: Some(format!("supported values: {}", names.join(", "))),
        })
    }

    /// The item of the old list that has the same keys (`correlateOldValueForChildAtNewIndex` of
    /// `pkg/cel/common/equality.go`). Items of other lists are compared with nothing.
    fn old_item<'o>(&self, item: &Value, old: Option<&'o Value>) -> Option<&'o Value> {
        let keys = self.keys.as_ref()?;
        let old = old?.as_array()?;
        let same = |old: &&Value| {
            keys.iter().all(|key| {
                item.get(&**key)
                    .is_some_and(|value| old.get(&**key) == Some(value))
            })
        };
        old.iter().find(same)
    }

    /// `CachedDeepEqual` of `pkg/cel/common/equality.go`: lists with keys may have their items in any order.
    fn same(&self, old: &Value, new: &Value) -> bool {
        match (old, new) {
            (Value::Array(o), Value::Array(n)) if self.keys.is_some() => {
                let Some(items) = &self.items else {
                    return old == new;
                };
                o.len() == n.len()
                    && n.iter().all(|item| {
                        self.old_item(item, Some(old))
                            .is_some_and(|old| items.same(old, item))
                    })
            }
            (Value::Object(o), Value::Object(n)) => {
                o.len() == n.len()
                    && n.iter().all(|(name, new)| {
                        let check = self.properties.get(name.as_str());
                        let check = check.or(match &self.additional {
                            AdditionalChecks::Check(check) => Some(&**check),
                            _ => None,
                        });
                        match (o.get(name), check) {
                            (Some(old), Some(check)) => check.same(old, new),
                            _ => false,
                        }
                    })
            }
            _ => old == new,
        }
    }
}

fn too_many(path: &str, size: usize, max: usize, what: &str) -> Found {
    let items = if max == 1 { "item" } else { "items" };
    Found {
        name: Some(path.to_owned()),
        reason: Reason::TooMany,
        value: Some(json!(size)),
        message: format!("{path} in body should have at most {max} {what}"),
        detail: Some(format!("must have at most {max} {items}")),
    }
}

fn has_rules(schema: &Value) -> bool {
    match schema {
        Value::Object(fields) => {
            fields.contains_key("x-kubernetes-validations") || fields.values().any(has_rules)
        }
        Value::Array(items) => items.iter().any(has_rules),
        _ => false,
    }
}
