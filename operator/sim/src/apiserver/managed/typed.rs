//! Objects seen through their schema: validation, field sets, comparison, merging and removal (`typed/*.go` of
//! structured-merge-diff).

mod compare;
mod merge;
mod reconcile;
mod validate;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::fieldset::{FieldSet, Item, Node, Scalar, quote};
use crate::apiserver::schema::{ListType, MapType, Relation, Schema, Type, TypeId};

pub(super) use compare::{Comparison, compare};
pub(super) use merge::{merge, remove};
pub(super) use reconcile::reconcile;
pub(super) use validate::{join_errors, validate};

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
            Value::Null => Err(
                "associative list without keys has an element that's an explicit null".to_owned(),
            ),
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
                let names: Vec<String> = keys.iter().map(|k| quote(k)).collect();
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
                child_node.member |=
                    !declared || child.is_null() || child.as_object().is_some_and(Map::is_empty);
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
