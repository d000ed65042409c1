//! Merging objects, and removing from them (`typed/merge.go` and `typed/remove.go`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{Deduced, Shape, as_list, as_map, field_type, item_of};
use crate::apiserver::managed::fieldset::{FieldSet, Item};
use crate::apiserver::schema::{ListType, Relation, Schema, TypeId};

/// Merges an applied object into a live one (`typed/merge.go`). No field is removed; of a field that both have, the
/// applied value is kept.
pub(in crate::apiserver::managed) fn merge(
    schema: &Schema,
    ty: TypeId,
    live: &Value,
    applied: &Value,
) -> Value {
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
            let Some(list) = list.filter(|list| list.relation != Relation::Atomic && !empty) else {
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
pub(in crate::apiserver::managed) fn remove(
    schema: &Schema,
    ty: TypeId,
    value: &Value,
    set: &FieldSet,
) -> Value {
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
