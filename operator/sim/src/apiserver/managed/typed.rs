//! Objects seen through their schema: validation, field sets, comparison, merging and removal (`typed/*.go` of
//! structured-merge-diff).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::fieldset::{FieldSet, Item, Node, Scalar, display_item, equal};
use crate::apiserver::schema::{ListType, MapType, Relation, ScalarKind, Schema, Type, TypeId};

/// What a value is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Map,
    Scalar,
    List,
    /// The type allows nothing.
    None,
}

/// Which of its kinds of values a type may still be, after a look at a value (`deduceAtom` of `typed/helpers.go`).
#[derive(Clone, Copy, PartialEq, Eq)]
struct Deduced {
    scalar: bool,
    list: bool,
    map: bool,
}

impl Deduced {
    fn new(ty: &Type, value: Option<&Value>) -> Self {
        let one = |scalar, list, map| Self { scalar, list, map };
        match value {
            Some(Value::Number(_) | Value::String(_) | Value::Bool(_)) if ty.scalar.is_some() => {
                one(true, false, false)
            }
            Some(Value::Array(_)) if ty.list.is_some() => one(false, true, false),
            Some(Value::Object(_)) if ty.map.is_some() => one(false, false, true),
            _ => one(ty.scalar.is_some(), ty.list.is_some(), ty.map.is_some()),
        }
    }

    /// `handleAtom` of `typed/helpers.go`.
    fn shape(self) -> Shape {
        if self.map {
            Shape::Map
        } else if self.scalar {
            Shape::Scalar
        } else if self.list {
            Shape::List
        } else {
            Shape::None
        }
    }
}

fn as_map(value: Option<&Value>) -> Option<&Map<String, Value>> {
    value.and_then(Value::as_object)
}

fn as_list(value: Option<&Value>) -> Option<&[Value]> {
    value.and_then(Value::as_array).map(Vec::as_slice)
}

/// The type of a field of a map, and whether the field is declared.
fn field_type(map: &MapType, name: &str) -> (Option<TypeId>, bool) {
    match map.fields.get(name) {
        Some(field) => (Some(field.ty), true),
        None => (map.element, false),
    }
}

/// What names an item of a list (`listItemToPathElement` of `typed/helpers.go`).
fn item_of(schema: &Schema, list: &ListType, child: &Value) -> Result<Item, String> {
    match &list.relation {
        Relation::Atomic => Err("invalid indexing of non-associative list".to_owned()),
        Relation::Set => match child {
            Value::Object(_) => {
                Err("associative list without keys has an element that's a map type".to_owned())
            }
            Value::Array(_) => {
                Err("not supported: associative list with lists as elements".to_owned())
            }
            Value::Null => {
                Err("associative list without keys has an element that's an explicit null".to_owned())
            }
            _ => Ok(Item::Value(Scalar(child.clone()))),
        },
        Relation::Keys(keys) => {
            let fields = match child {
                Value::Object(fields) => fields,
                Value::Null => {
                    return Err("associative list with keys may not have a null element".to_owned());
                }
                _ => {
                    return Err(
                        "associative list with keys may not have non-map elements".to_owned()
                    );
                }
            };
            let element = schema.at(list.element).map.as_ref();
            let mut key = Vec::with_capacity(keys.len());
            for name in keys {
                let default = || element?.fields.get(name)?.default.as_ref();
                if let Some(value) = fields.get(&**name).or_else(default) {
                    key.push((name.clone(), Scalar(value.clone())));
                }
            }
            if key.is_empty() && !keys.is_empty() {
                let names: Vec<String> = keys.iter().map(|k| super::fieldset::quote(k)).collect();
                return Err(format!(
                    "associative list with keys has an element that omits all key fields [{}] (and doesn't have \
                     default values for any key fields)",
                    names.join(" ")
                ));
            }
            key.sort_by(|(l, _), (r, _)| l.cmp(r));
            Ok(Item::Key(key))
        }
    }
}

/// Errors of a value that does not fit its schema (`typed/validate.go`), each with its path.
pub(super) fn validate(
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
pub(super) fn join_errors(errors: &[String]) -> String {
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
        Value::String(text) => super::fieldset::quote(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(go_syntax).collect();
            format!("[]interface {{}}{{{}}}", items.join(", "))
        }
        Value::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(name, value)| {
                    format!("{}:{}", super::fieldset::quote(name), go_syntax(value))
                })
                .collect();
            format!("map[string]interface {{}}{{{}}}", fields.join(", "))
        }
        _ => value.to_string(),
    }
}

/// Every leaf field and item of a value (`typed/tofieldset.go`).
pub(super) fn field_set(schema: &Schema, ty: TypeId, value: &Value) -> FieldSet {
    node_of(schema, ty, value).children
}

fn node_of(schema: &Schema, ty: TypeId, value: &Value) -> Node {
    let ty = schema.at(ty);
    let mut node = Node::default();
    match Deduced::new(ty, Some(value)).shape() {
        Shape::Scalar => node.member = true,
        Shape::Map => {
            let Some(map) = &ty.map else { return node };
            if map.atomic {
                node.member = true;
                return node;
            }
            for (name, child) in as_map(Some(value)).into_iter().flatten() {
                let (below, declared) = field_type(map, name);
                let mut child_node =
                    below.map_or_else(Node::default, |ty| node_of(schema, ty, child));
                child_node.member |= !declared
                    || child.is_null()
                    || child.as_object().is_some_and(Map::is_empty);
                node.children.put_field(name, child_node);
            }
        }
        Shape::List => {
            let Some(list) = &ty.list else { return node };
            if list.relation == Relation::Atomic {
                node.member = true;
                return node;
            }
            let items = as_list(Some(value)).unwrap_or_default();
            let mut counts: BTreeMap<Item, (usize, &Value)> = BTreeMap::new();
            for child in items {
                if let Ok(item) = item_of(schema, list, child) {
                    counts.entry(item).or_insert((0, child)).0 += 1;
                }
            }
            for (item, (count, child)) in counts {
                // Of items that are there more than once, none is owned in parts.
                let mut child_node = if count > 1 {
                    Node::default()
                } else {
                    node_of(schema, list.element, child)
                };
                child_node.member = true;
                node.children.put_item(item, child_node);
            }
        }
        Shape::None => {}
    }
    node
}

/// How two objects differ (`Comparison` of `typed/compare.go`).
#[derive(Clone, Debug, Default)]
pub(super) struct Comparison {
    pub removed: FieldSet,
    pub modified: FieldSet,
    pub added: FieldSet,
}

/// What a comparison says of the compared field itself.
#[derive(Clone, Copy, Default)]
struct Own {
    removed: bool,
    modified: bool,
    added: bool,
}

impl Own {
    fn leaf(left: Option<&Value>, right: Option<&Value>) -> Self {
        match (left, right) {
            (None, _) => Self {
                added: true,
                ..Self::default()
            },
            (_, None) => Self {
                removed: true,
                ..Self::default()
            },
            (Some(left), Some(right)) => Self {
                modified: !equal(left, right),
                ..Self::default()
            },
        }
    }
}

/// Compares two objects.
pub(super) fn compare(schema: &Schema, ty: TypeId, left: &Value, right: &Value) -> Comparison {
    let mut comparison = Comparison::default();
    compare_at(schema, ty, Some(left), Some(right), &mut comparison);
    comparison
}

fn compare_at(
    schema: &Schema,
    ty: TypeId,
    left: Option<&Value>,
    right: Option<&Value>,
    out: &mut Comparison,
) -> Own {
    let ty = schema.at(ty);
    let l = Deduced::new(ty, left);
    let r = Deduced::new(ty, right);
    let mut own = Own::default();
    let shape = if right.is_none() {
        l.shape()
    } else {
        if left.is_some() && l != r {
            // A field that changes its kind is compared as either.
            own = compare_shape(schema, ty, l.shape(), left, right, out).0;
        }
        r.shape()
    };
    let (second, leaf) = compare_shape(schema, ty, shape, left, right, out);
    own.removed |= second.removed || (!leaf && right.is_none());
    own.added |= second.added || (!leaf && left.is_none());
    own.modified |= second.modified;
    own
}

/// Compares as one kind of value. Also tells whether the value is a leaf.
fn compare_shape(
    schema: &Schema,
    ty: &Type,
    shape: Shape,
    left: Option<&Value>,
    right: Option<&Value>,
    out: &mut Comparison,
) -> (Own, bool) {
    let leaf = (Own::leaf(left, right), true);
    let inner = (Own::default(), false);
    match shape {
        Shape::Scalar => leaf,
        Shape::Map => {
            let (l, r) = (as_map(left), as_map(right));
            let empty = l.is_none_or(Map::is_empty) && r.is_none_or(Map::is_empty);
            let Some(map) = ty.map.as_ref().filter(|map| !map.atomic && !empty) else {
                return leaf;
            };
            let only_right = r.into_iter().flatten();
            let only_right = only_right
                .filter(|(name, _)| !l.is_some_and(|l| l.contains_key(*name)))
                .map(|(name, right)| (name, None, Some(right)));
            let of_left = l.into_iter().flatten();
            let of_left = of_left.map(|(name, left)| (name, Some(left), r.and_then(|r| r.get(name))));
            for (name, left, right) in of_left.chain(only_right) {
                let Some(below) = field_type(map, name).0 else {
                    continue;
                };
                let mut child = Comparison::default();
                let own = compare_at(schema, below, left, right, &mut child);
                let node = |member, children| Node { member, children };
                out.removed.put_field(name, node(own.removed, child.removed));
                out.modified
                    .put_field(name, node(own.modified, child.modified));
                out.added.put_field(name, node(own.added, child.added));
            }
            inner
        }
        Shape::List => {
            let (l, r) = (as_list(left), as_list(right));
            let empty = l.is_none_or(<[_]>::is_empty) && r.is_none_or(<[_]>::is_empty);
            let list = ty.list.as_ref();
            let Some(list) = list.filter(|list| list.relation != Relation::Atomic && !empty)
            else {
                return leaf;
            };
            compare_items(schema, list, l.unwrap_or_default(), r.unwrap_or_default(), out);
            inner
        }
        Shape::None => inner,
    }
}

fn compare_items(
    schema: &Schema,
    list: &ListType,
    left: &[Value],
    right: &[Value],
    out: &mut Comparison,
) {
    let mut items: BTreeMap<Item, (Vec<&Value>, Vec<&Value>)> = BTreeMap::new();
    for child in left {
        if let Ok(item) = item_of(schema, list, child) {
            items.entry(item).or_default().0.push(child);
        }
    }
    for child in right {
        if let Ok(item) = item_of(schema, list, child) {
            items.entry(item).or_default().1.push(child);
        }
    }
    for (item, (left, right)) in items {
        let mut child = Comparison::default();
        let own = match (left.as_slice(), right.as_slice()) {
            // Items that are there more than once are compared as one value.
            ([_, _, ..], [_, _, ..]) => Own {
                modified: left.len() != right.len()
                    || left.iter().zip(&right).any(|(l, r)| !equal(l, r)),
                ..Own::default()
            },
            ([_, _, ..], rest) => {
                let mut own = match rest.first() {
                    Some(right) => {
                        compare_at(schema, list.element, None, Some(right), &mut child)
                    }
                    None => Own::default(),
                };
                own.removed = true;
                own
            }
            (rest, [_, _, ..]) => {
                let mut own = match rest.first() {
                    Some(left) => compare_at(schema, list.element, Some(left), None, &mut child),
                    None => Own::default(),
                };
                own.added = true;
                own
            }
            (left, right) => compare_at(
                schema,
                list.element,
                left.first().copied(),
                right.first().copied(),
                &mut child,
            ),
        };
        let node = |member, children| Node { member, children };
        out.removed
            .put_item(item.clone(), node(own.removed, child.removed));
        out.modified
            .put_item(item.clone(), node(own.modified, child.modified));
        out.added.put_item(item, node(own.added, child.added));
    }
}

/// Merges an applied object into a live one (`typed/merge.go`). No field is removed; of a field that both have, the
/// applied value is kept.
pub(super) fn merge(schema: &Schema, ty: TypeId, live: &Value, applied: &Value) -> Value {
    merge_at(schema, ty, Some(live), Some(applied)).unwrap_or(Value::Null)
}

fn merge_at(
    schema: &Schema,
    ty: TypeId,
    live: Option<&Value>,
    applied: Option<&Value>,
) -> Option<Value> {
    // What only one side has, the result has as it is.
    let (Some(live), Some(applied)) = (live, applied) else {
        return applied.or(live).cloned();
    };
    let ty = schema.at(ty);
    match Deduced::new(ty, Some(applied)).shape() {
        Shape::Map => {
            let (l, r) = (as_map(Some(live)), as_map(Some(applied)));
            let empty = l.is_none_or(Map::is_empty) && r.is_none_or(Map::is_empty);
            let Some(map) = ty.map.as_ref().filter(|map| !map.atomic && !empty) else {
                return Some(applied.clone());
            };
            let mut out = Map::new();
            for (name, live) in l.into_iter().flatten() {
                let applied = r.and_then(|r| r.get(name));
                let merged = match field_type(map, name).0 {
                    Some(ty) => merge_at(schema, ty, Some(live), applied),
                    None => None,
                };
                if let Some(merged) = merged {
                    out.insert(name.clone(), merged);
                }
            }
            for (name, applied) in r.into_iter().flatten() {
                if !l.is_some_and(|l| l.contains_key(name)) {
                    out.insert(name.clone(), applied.clone());
                }
            }
            (!out.is_empty()).then_some(Value::Object(out))
        }
        Shape::List => {
            let (l, r) = (as_list(Some(live)), as_list(Some(applied)));
            let empty = l.is_none_or(<[_]>::is_empty) && r.is_none_or(<[_]>::is_empty);
            let list = ty.list.as_ref();
            let Some(list) = list.filter(|list| list.relation != Relation::Atomic && !empty)
            else {
                return Some(applied.clone());
            };
            merge_items(schema, list, l.unwrap_or_default(), r.unwrap_or_default())
        }
        Shape::Scalar | Shape::None => Some(applied.clone()),
    }
}

/// Merges lists of named items. Items that both lists have come in the order of the applied list, items that only the
/// live list has stay between their neighbours as well as that allows.
fn merge_items(
    schema: &Schema,
    list: &ListType,
    live: &[Value],
    applied: &[Value],
) -> Option<Value> {
    let named = |items: &[Value]| -> Vec<Option<Item>> {
        items
            .iter()
            .map(|child| item_of(schema, list, child).ok())
            .collect()
    };
    let live_items: Vec<Item> = named(live).into_iter().flatten().collect();
    let applied_items: Vec<Item> = named(applied).into_iter().flatten().collect();
    if live_items.len() != live.len() || applied_items.len() != applied.len() {
        // Validation has refused such lists.
        return None;
    }
    // Live items that are there more than once do not merge with the applied one.
    const NULL: &Value = &Value::Null;
    let mut in_live: BTreeMap<&Item, &Value> = BTreeMap::new();
    for (item, child) in live_items.iter().zip(live) {
        in_live
            .entry(item)
            .and_modify(|c| *c = NULL)
            .or_insert(child);
    }
    let in_applied: BTreeMap<&Item, &Value> = applied_items.iter().zip(applied).collect();
    let mut shared = applied_items.iter().filter(|i| in_live.contains_key(i));
    let mut next_shared = shared.next();
    let mut merged: BTreeSet<&Item> = BTreeSet::new();
    let mut out = Vec::with_capacity(live.len().max(applied.len()));
    let merge_one = |item: &Item| {
        merge_at(
            schema,
            list.element,
            in_live.get(item).copied(),
            in_applied.get(item).copied(),
        )
    };
    let (mut l, mut r) = (0, 0);
    while l < live.len() || r < applied.len() {
        if let (Some(item), Some(right)) = (live_items.get(l), applied_items.get(r)) {
            if item == right {
                merged.insert(item);
                out.extend(merge_one(item));
                l += 1;
                r += 1;
                next_shared = shared.next();
                continue;
            }
            if in_applied.contains_key(item) && next_shared.is_some_and(|next| next != item) {
                // A shared item, but not the one whose turn it is.
                l += 1;
                continue;
            }
        }
        if let Some(item) = live_items.get(l) {
            if !in_applied.contains_key(item) {
                out.extend(live.get(l).cloned());
                l += 1;
                continue;
            }
            if merged.contains(item) {
                l += 1;
            }
        }
        if let Some(item) = applied_items.get(r) {
            merged.insert(item);
            out.extend(merge_one(item));
            r += 1;
            if next_shared == Some(item) {
                next_shared = shared.next();
            }
        }
    }
    (!out.is_empty()).then_some(Value::Array(out))
}

/// The value without the items and fields of a set (`typed/remove.go`). What loses everything becomes null.
pub(super) fn remove(schema: &Schema, ty: TypeId, value: &Value, set: &FieldSet) -> Value {
    let ty = schema.at(ty);
    match Deduced::new(ty, Some(value)).shape() {
        Shape::Scalar => value.clone(),
        Shape::Map => {
            let (Some(map), Value::Object(fields)) = (&ty.map, value) else {
                return Value::Null;
            };
            if map.atomic || fields.is_empty() {
                return Value::Null;
            }
            let mut out = Map::new();
            for (name, child) in fields {
                let node = set.field(name);
                if node.is_some_and(|node| node.member) {
                    continue;
                }
                let below = node.filter(|node| !node.children.is_empty());
                let kept = match (below, field_type(map, name).0) {
                    (Some(node), Some(ty)) => remove(schema, ty, child, &node.children),
                    (Some(_), None) => Value::Null,
                    (None, _) => child.clone(),
                };
                out.insert(name.clone(), kept);
            }
            if out.is_empty() {
                Value::Null
            } else {
                Value::Object(out)
            }
        }
        Shape::List => {
            let (Some(list), Value::Array(items)) = (&ty.list, value) else {
                return Value::Null;
            };
            if list.relation == Relation::Atomic || items.is_empty() {
                return Value::Null;
            }
            let mut out = Vec::with_capacity(items.len());
            for child in items {
                let item = item_of(schema, list, child).ok();
                let node = item.and_then(|item| set.item(&item));
                if node.is_some_and(|node| node.member) {
                    continue;
                }
                out.push(match node.filter(|node| !node.children.is_empty()) {
                    Some(node) => remove(schema, list.element, child, &node.children),
                    None => child.clone(),
                });
            }
            if out.is_empty() {
                Value::Null
            } else {
                Value::Array(out)
            }
        }
        Shape::None => Value::Null,
    }
}

/// A field set after the schema has changed what is atomic (`typed/reconcile_schema.go`). Nothing when it stays as it
/// is.
pub(super) fn reconcile(schema: &Schema, ty: TypeId, set: &FieldSet) -> Option<FieldSet> {
    let mut atomic = FieldSet::default();
    let root = Node {
        member: false,
        children: set.clone(),
    };
    if collect_atomic(schema, ty, &root, false, &mut Vec::new(), &mut atomic) {
        let mut reconciled = set.clone();
        reconciled.subtract_recursively(&atomic);
        reconciled.unite(&atomic);
        Some(reconciled)
    } else {
        None
    }
}

/// Finds the fields that are owned in parts, but are atomic now.
fn collect_atomic<'s>(
    schema: &Schema,
    ty: TypeId,
    node: &'s Node,
    is_atomic: bool,
    path: &mut Vec<Place<'s>>,
    found: &mut FieldSet,
) -> bool {
    let ty = schema.at(ty);
    let shape = Deduced::new(ty, None).shape();
    let mut any = false;
    match (shape, &ty.map, &ty.list) {
        (Shape::Map, Some(map), _) => {
            let untyped = |ty: TypeId| schema.at(ty).scalar == Some(ScalarKind::Untyped);
            if map.fields.is_empty() && map.element.is_some_and(untyped) {
                return false;
            }
            if !is_atomic && map.atomic {
                if node.children.is_empty() {
                    return false;
                }
                insert(found, path);
                return true;
            }
            for (name, child) in node.children.fields() {
                let Some(below) = field_type(map, name).0 else {
                    continue;
                };
                path.push(Place::Field(name));
                let atomic = child.member && child.children.is_empty();
                any |= collect_atomic(schema, below, child, atomic, path, found);
                path.pop();
            }
            for (item, child) in node.children.items() {
                let Some(below) = map.element else { continue };
                path.push(Place::Item(item));
                let atomic = child.member && child.children.is_empty();
                any |= collect_atomic(schema, below, child, atomic, path, found);
                path.pop();
            }
        }
        (Shape::List, _, Some(list)) => {
            if !is_atomic && list.relation == Relation::Atomic {
                insert(found, path);
                return true;
            }
            for (name, child) in node.children.fields() {
                path.push(Place::Field(name));
                let atomic = child.member && child.children.is_empty();
                any |= collect_atomic(schema, list.element, child, atomic, path, found);
                path.pop();
            }
            for (item, child) in node.children.items() {
                path.push(Place::Item(item));
                let atomic = child.member && child.children.is_empty();
                any |= collect_atomic(schema, list.element, child, atomic, path, found);
                path.pop();
            }
        }
        _ => {}
    }
    any
}

/// A step of a path, borrowed from the set.
#[derive(Clone, Copy)]
enum Place<'a> {
    Field(&'a str),
    Item(&'a Item),
}

fn insert(set: &mut FieldSet, path: &[Place<'_>]) {
    let Some((first, rest)) = path.split_first() else {
        return;
    };
    let node = match first {
        Place::Field(name) => set.field_mut(name),
        Place::Item(item) => set.item_mut(item),
    };
    if rest.is_empty() {
        node.member = true;
    } else {
        insert(&mut node.children, rest);
    }
}
