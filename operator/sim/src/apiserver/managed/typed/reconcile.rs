//! Field sets after a change of their schema (`typed/reconcile_schema.go`).

use super::{Deduced, Shape, field_type};
use crate::apiserver::managed::fieldset::{FieldSet, Item};
use crate::apiserver::schema::{Relation, ScalarKind, Schema, TypeId};

/// A field set after the schema has changed what is atomic (`typed/reconcile_schema.go`). Nothing when it stays as it
/// is.
pub(in crate::apiserver::managed) fn reconcile(
    schema: &Schema,
    ty: TypeId,
    set: &FieldSet,
) -> Option<FieldSet> {
    let mut atomic = FieldSet::default();
    if collect_atomic(schema, ty, set, false, &mut Vec::new(), &mut atomic) {
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
    set: &'s FieldSet,
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
                if set.is_empty() {
                    return false;
                }
                insert(found, path);
                return true;
            }
            for (name, child) in set.fields() {
                let Some(below) = field_type(map, name).0 else {
                    continue;
                };
                path.push(Place::Field(name));
                let atomic = child.member && child.children.is_empty();
                any |= collect_atomic(schema, below, &child.children, atomic, path, found);
                path.pop();
            }
            for (item, child) in set.items() {
                let Some(below) = map.element else { continue };
                path.push(Place::Item(item));
                let atomic = child.member && child.children.is_empty();
                any |= collect_atomic(schema, below, &child.children, atomic, path, found);
                path.pop();
            }
        }
        (Shape::List, _, Some(list)) => {
            if !is_atomic && list.relation == Relation::Atomic {
                insert(found, path);
                return true;
            }
            for (name, child) in set.fields() {
                path.push(Place::Field(name));
                let atomic = child.member && child.children.is_empty();
                any |= collect_atomic(schema, list.element, &child.children, atomic, path, found);
                path.pop();
            }
            for (item, child) in set.items() {
                path.push(Place::Item(item));
                let atomic = child.member && child.children.is_empty();
                any |= collect_atomic(schema, list.element, &child.children, atomic, path, found);
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
