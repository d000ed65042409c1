//! How two objects differ (`typed/compare.go`).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Deduced, Shape, as_list, as_map, field_type, item_of};
use crate::apiserver::managed::fieldset::{FieldSet, Item, Node, equal};
use crate::apiserver::schema::{ListType, Relation, Schema, Type, TypeId};

/// How two objects differ (`Comparison` of `typed/compare.go`).
#[derive(Clone, Debug, Default)]
pub(in crate::apiserver::managed) struct Comparison {
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
pub(in crate::apiserver::managed) fn compare(
    schema: &Schema,
    ty: TypeId,
    left: &Value,
    right: &Value,
) -> Comparison {
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
            let of_left =
                of_left.map(|(name, left)| (name, Some(left), r.and_then(|r| r.get(name))));
            for (name, left, right) in of_left.chain(only_right) {
                let Some(below) = field_type(map, name).0 else {
                    continue;
                };
                let mut child = Comparison::default();
                let own = compare_at(schema, below, left, right, &mut child);
                let node = |member, children| Node { member, children };
                out.removed
                    .put_field(name, node(own.removed, child.removed));
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
            let Some(list) = list.filter(|list| list.relation != Relation::Atomic && !empty) else {
                return leaf;
            };
            compare_items(
                schema,
                list,
                l.unwrap_or_default(),
                r.unwrap_or_default(),
                out,
            );
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
                    Some(right) => compare_at(schema, list.element, None, Some(right), &mut child),
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
