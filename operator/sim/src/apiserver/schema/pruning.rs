//! Dropping what a schema does not know (`pkg/apiserver/schema/pruning` of apiextensions-apiserver, and its
//! `unstructuredSchemaCoercer`).

use serde_json::{Map, Value};

use super::{Additional, Schema, TypeId};

/// The fields of every object, which pruning leaves to the coercion of metadata.
const META_FIELDS: [&str; 3] = ["apiVersion", "kind", "metadata"];

impl Schema {
    /// Brings a decoded object into the form that is stored: drops unknown fields and, of a custom resource, nulls that
    /// are neither allowed nor replaced by a default.
    ///
    /// Returns the paths of unknown fields, as strict decoding names them: `unknown field "spec.foo"`.
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        let mut unknown = Vec::new();
        if !self.is_custom() {
            self.drop_undeclared(self.root(), object, &mut String::new(), &mut unknown);
            return unknown;
        }
        if let Value::Object(fields) = object {
            self.coerce_metadata(self.root(), fields, "", &mut unknown);
        }
        let mut dropped = Vec::new();
        self.prune_at(Some(self.root()), object, &mut String::new(), &mut dropped);
        dropped.sort();
        unknown.append(&mut dropped);
        self.prune_nulls(Some(self.root()), object);
        self.coerce_embedded(self.root(), object, &mut String::new(), &mut dropped, true);
        dropped.sort();
        unknown.append(&mut dropped);
        unknown
    }

    /// What decoding into a Go type drops.
    pub(super) fn drop_undeclared(
        &self,
        ty: TypeId,
        value: &mut Value,
        path: &mut String,
        unknown: &mut Vec<String>,
    ) {
        let ty = self.at(ty);
        let length = path.len();
        match (value, &ty.map, &ty.list) {
            (Value::Object(fields), Some(map), _) => fields.retain(|name, value| {
                push_name(path, name);
                let below = map.fields.get(name.as_str()).map(|field| field.ty);
                let below = below.or(map.element);
                match below {
                    Some(below) => self.drop_undeclared(below, value, path, unknown),
                    None => unknown.push(path.clone()),
                }
                path.truncate(length);
                below.is_some()
            }),
            (Value::Array(items), _, Some(list)) => {
                for (index, item) in items.iter_mut().enumerate() {
                    path.push_str(&format!("[{index}]"));
                    self.drop_undeclared(list.element, item, path, unknown);
                    path.truncate(length);
                }
            }
            _ => {}
        }
    }

    /// `prune` and `skipPrune` of `algorithm.go`.
    fn prune_at(
        &self,
        ty: Option<TypeId>,
        value: &mut Value,
        path: &mut String,
        unknown: &mut Vec<String>,
    ) {
        let ty = ty.map(|ty| self.at(ty));
        let preserve = ty.is_some_and(|ty| ty.preserve_unknown);
        let length = path.len();
        match value {
            Value::Object(fields) => fields.retain(|name, value| {
                if ty.is_some_and(|ty| ty.embedded) && META_FIELDS.contains(&name.as_str()) {
                    return true;
                }
                push_name(path, name);
                let declared = ty
                    .and_then(|ty| ty.map.as_ref())
                    .and_then(|map| map.fields.get(name.as_str()))
                    .filter(|field| !field.injected);
                let kept = match (declared, ty.map(|ty| ty.additional)) {
                    (Some(field), _) => {
                        self.prune_at(Some(field.ty), value, path, unknown);
                        true
                    }
                    (None, Some(Additional::Type(additional))) => {
                        self.prune_at(Some(additional), value, path, unknown);
                        true
                    }
                    (None, Some(Additional::Any)) => {
                        self.prune_at(None, value, path, unknown);
                        true
                    }
                    _ if preserve => true,
                    _ => {
                        if length > 0 || !META_FIELDS.contains(&name.as_str()) {
                            unknown.push(path.clone());
                        }
                        false
                    }
                };
                path.truncate(length);
                kept
            }),
            Value::Array(items) => {
                let element = ty.and_then(|ty| ty.list.as_ref()).map(|list| list.element);
                for (index, item) in items.iter_mut().enumerate() {
                    path.push_str(&format!("[{index}]"));
                    if preserve {
                        self.prune_preserved(element, item, path, unknown);
                    } else {
                        self.prune_at(element, item, path, unknown);
                    }
                    path.truncate(length);
                }
            }
            _ => {}
        }
    }

    /// The items of a list that preserves unknown fields do so themselves, whatever their schema says.
    fn prune_preserved(
        &self,
        ty: Option<TypeId>,
        value: &mut Value,
        path: &mut String,
        unknown: &mut Vec<String>,
    ) {
        let length = path.len();
        let Some(id) = ty else { return };
        let ty = self.at(id);
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let declared = ty
                        .map
                        .as_ref()
                        .and_then(|map| map.fields.get(name.as_str()));
                    let declared = declared.filter(|field| !field.injected);
                    if ty.embedded && META_FIELDS.contains(&name.as_str()) {
                        continue;
                    }
                    let below = match (declared, ty.additional) {
                        (Some(field), _) => Some(field.ty),
                        (None, Additional::Type(additional)) => Some(additional),
                        (None, Additional::Any) => None,
                        (None, Additional::Unspecified) => continue,
                    };
                    push_name(path, name);
                    self.prune_at(below, value, path, unknown);
                    path.truncate(length);
                }
            }
            Value::Array(items) => {
                let element = ty.list.as_ref().map(|list| list.element);
                for (index, item) in items.iter_mut().enumerate() {
                    path.push_str(&format!("[{index}]"));
                    self.prune_preserved(element, item, path, unknown);
                    path.truncate(length);
                }
            }
            _ => {}
        }
    }

    /// `PruneNonNullableNullsWithoutDefaults` of `defaulting/prunenulls.go`.
    fn prune_nulls(&self, ty: Option<TypeId>, value: &mut Value) {
        let ty = ty.map(|ty| self.at(ty));
        match value {
            Value::Object(fields) => fields.retain(|name, value| {
                let below = ty.and_then(|ty| {
                    let declared = ty.map.as_ref()?.fields.get(name.as_str());
                    match (declared.filter(|field| !field.injected), ty.additional) {
                        (Some(field), _) => Some(field.ty),
                        (None, Additional::Type(additional)) => Some(additional),
                        _ => None,
                    }
                });
                if value.is_null()
                    && let Some(below) = below
                {
                    let below = self.at(below);
                    return below.nullable || below.default.is_some();
                }
                self.prune_nulls(below, value);
                true
            }),
            Value::Array(items) => {
                let element = ty.and_then(|ty| ty.list.as_ref()).map(|list| list.element);
                for item in items {
                    self.prune_nulls(element, item);
                }
            }
            _ => {}
        }
    }

    /// `coerce` of `objectmeta/algorithm.go`, for embedded resources.
    fn coerce_embedded(
        &self,
        ty: TypeId,
        value: &mut Value,
        path: &mut String,
        unknown: &mut Vec<String>,
        is_root: bool,
    ) {
        let length = path.len();
        let id = ty;
        let ty = self.at(ty);
        match value {
            Value::Object(fields) => {
                if ty.embedded && !is_root {
                    self.coerce_metadata(id, fields, path, unknown);
                }
                for (name, value) in fields {
                    let declared = ty
                        .map
                        .as_ref()
                        .and_then(|map| map.fields.get(name.as_str()));
                    let below = match (declared.filter(|f| !f.injected), ty.additional) {
                        (Some(field), _) => field.ty,
                        (None, Additional::Type(additional)) => additional,
                        _ => continue,
                    };
                    push_name(path, name);
                    self.coerce_embedded(below, value, path, unknown, false);
                    path.truncate(length);
                }
            }
            Value::Array(items) => {
                let Some(list) = &ty.list else { return };
                for (index, item) in items.iter_mut().enumerate() {
                    path.push_str(&format!("[{index}]"));
                    self.coerce_embedded(list.element, item, path, unknown, false);
                    path.truncate(length);
                }
            }
            _ => {}
        }
    }

    /// What a round trip through Go's `ObjectMeta` does to the metadata of an object (`objectmeta/coerce.go`).
    fn coerce_metadata(
        &self,
        ty: TypeId,
        object: &mut Map<String, Value>,
        path: &str,
        unknown: &mut Vec<String>,
    ) {
        let map = self.at(ty).map.as_ref();
        let ty = map.and_then(|map| map.fields.get("metadata"));
        let (Some(ty), Some(metadata)) = (ty, object.get_mut("metadata")) else {
            return;
        };
        if metadata.is_null() {
            *metadata = Value::Object(Map::new());
        }
        let mut path = path.to_owned();
        push_name(&mut path, "metadata");
        self.drop_undeclared(ty.ty, metadata, &mut path, unknown);
        let Value::Object(fields) = metadata else {
            return;
        };
        for name in ["labels", "annotations"] {
            for (_, value) in fields
                .get_mut(name)
                .and_then(Value::as_object_mut)
                .into_iter()
                .flatten()
            {
                if value.is_null() {
                    *value = Value::from("");
                }
            }
        }
        let references = fields
            .get_mut("ownerReferences")
            .and_then(Value::as_array_mut);
        for reference in references.into_iter().flatten() {
            let Value::Object(reference) = reference else {
                continue;
            };
            reference.retain(|_, value| !value.is_null());
            for name in ["apiVersion", "kind", "name", "uid"] {
                reference.entry(name).or_insert_with(|| Value::from(""));
            }
        }
        fields.retain(|name, value| match value {
            Value::Null => false,
            Value::String(text) => !text.is_empty(),
            Value::Array(items) => !items.is_empty(),
            Value::Object(fields) => !fields.is_empty(),
            Value::Number(number) => name != "generation" || number.as_i64() != Some(0),
            Value::Bool(_) => true,
        });
    }
}

fn push_name(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}
