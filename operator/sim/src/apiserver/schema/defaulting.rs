//! Structural defaulting (`pkg/apiserver/schema/defaulting` of apiextensions-apiserver).

use serde_json::Value;

use super::{Additional, Schema, TypeId};

impl Schema {
    /// Fills in the defaults of a custom resource's schema. The schema of a builtin resource has none: what its Go
    /// functions default is not in the OpenAPI document.
    pub fn default(&self, object: &mut Value) {
        if self.is_custom() {
            self.default_at(self.root(), object);
        }
    }

    fn default_at(&self, ty: TypeId, value: &mut Value) {
        let ty = self.at(ty);
        match value {
            Value::Object(fields) => {
                let Some(map) = &ty.map else { return };
                for (name, field) in map.fields.iter().filter(|(_, field)| !field.injected) {
                    let field = self.at(field.ty);
                    let Some(default) = &field.default else {
                        continue;
                    };
                    match fields.get_mut(&**name) {
                        Some(value) if value.is_null() && !field.nullable => {
                            *value = default.clone();
                        }
                        Some(_) => {}
                        None => {
                            fields.insert(name.to_string(), default.clone());
                        }
                    }
                }
                for (name, value) in fields.iter_mut() {
                    match (map.fields.get(name.as_str()), ty.additional) {
                        (Some(field), _) if !field.injected => self.default_at(field.ty, value),
                        (_, Additional::Type(additional)) => {
                            self.default_item(additional, value);
                        }
                        _ => {}
                    }
                }
            }
            Value::Array(items) => {
                let Some(list) = &ty.list else { return };
                for item in items {
                    self.default_item(list.element, item);
                }
            }
            _ => {}
        }
    }

    fn default_item(&self, ty: TypeId, value: &mut Value) {
        let item = self.at(ty);
        if value.is_null()
            && !item.nullable
            && let Some(default) = &item.default
        {
            *value = default.clone();
        }
        self.default_at(ty, value);
    }
}
