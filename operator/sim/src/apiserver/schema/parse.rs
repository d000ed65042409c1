//! Making schemas of CustomResourceDefinitions and OpenAPI definitions.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value, json};

use super::builtin::definitions;
use super::validation::Check;
use super::{
    Additional, Field, ListType, MapType, Relation, Resource, ScalarKind, ScalePaths, Schema,
    SchemaError, Type, TypeId,
};
use crate::apiserver::managed::FieldSet;

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const RAW_EXTENSION: &str = "io.k8s.apimachinery.pkg.runtime.RawExtension";

/// The type of anything, which is one value (`__untyped_atomic_` of `schemaconv/smd.go`).
const UNTYPED: TypeId = TypeId(0);
/// The type of anything, of which maps merge (`__untyped_deduced_`).
const DEDUCED: TypeId = TypeId(1);

/// Makes an arena of types.
pub(super) struct Parser<'a> {
    definitions: &'a Map<String, Value>,
    types: Vec<Type>,
    named: HashMap<&'a str, TypeId>,
    /// Fields that refer to a definition and say themselves whether it is atomic. The copies are made last, when every
    /// definition is there.
    overrides: Vec<(TypeId, TypeId, bool)>,
}

impl<'a> Parser<'a> {
    pub(super) fn new(definitions: &'a Map<String, Value>) -> Self {
        let any = |element, atomic| Type {
            scalar: Some(ScalarKind::Untyped),
            list: Some(ListType {
                element: UNTYPED,
                relation: Relation::Atomic,
            }),
            map: Some(MapType {
                element: Some(element),
                atomic,
                ..MapType::default()
            }),
            ..Type::default()
        };
        Self {
            definitions,
            types: vec![any(UNTYPED, true), any(DEDUCED, false)],
            named: HashMap::new(),
            overrides: Vec::new(),
        }
    }

    fn add(&mut self, ty: Type) -> Result<TypeId, SchemaError> {
        let id = u32::try_from(self.types.len())
            .map_err(|_| invalid("", "the schema is too large".to_owned()))?;
        self.types.push(ty);
        Ok(TypeId(id))
    }

    fn set(&mut self, id: TypeId, ty: Type) {
        if let Some(slot) = self.types.get_mut(id.0 as usize) {
            *slot = ty;
        }
    }

    /// The type of a definition, made when it is first asked for.
    pub(super) fn named(&mut self, name: &str) -> Result<TypeId, SchemaError> {
        if let Some(id) = self.named.get(name) {
            return Ok(*id);
        }
        let (name, definition) = self
            .definitions
            .get_key_value(name)
            .ok_or_else(|| SchemaError::Unresolved(name.to_owned()))?;
        let id = self.add(Type::default())?;
        self.named.insert(name, id);
        let ty = match name.as_str() {
            QUANTITY => Type {
                scalar: Some(ScalarKind::Untyped),
                ..Type::default()
            },
            RAW_EXTENSION => self.types[UNTYPED.0 as usize].clone(),
            _ => self.inline(definition, false, name)?,
        };
        self.set(id, ty);
        Ok(id)
    }

    /// `makeOpenAPIRef` of `schemaconv/openapi.go`.
    fn reference(
        &mut self,
        schema: &Value,
        preserve: bool,
        path: &str,
    ) -> Result<TypeId, SchemaError> {
        let Some(reference) = schema.get("$ref").and_then(Value::as_str) else {
            let ty = self.inline(schema, preserve, path)?;
            return self.add(ty);
        };
        let id = self.named(reference)?;
        let Some(atomic) = map_type(schema, path)? else {
            return Ok(id);
        };
        let copy = self.add(Type::default())?;
        self.overrides.push((copy, id, atomic));
        Ok(copy)
    }

    /// `parseSchema` of `schemaconv/openapi.go`.
    fn inline(&mut self, schema: &Value, preserve: bool, path: &str) -> Result<Type, SchemaError> {
        let flag = |name: &str| schema.get(name).and_then(Value::as_bool).unwrap_or(false);
        let preserves = flag("x-kubernetes-preserve-unknown-fields");
        let preserve = preserve || preserves;
        let mut ty = Type {
            default: schema.get("default").filter(|d| !d.is_null()).cloned(),
            nullable: flag("nullable"),
            preserve_unknown: preserves,
            embedded: flag("x-kubernetes-embedded-resource"),
            ..Type::default()
        };
        let format = schema.get("format").and_then(Value::as_str).unwrap_or("");
        match schema.get("type").and_then(Value::as_str).unwrap_or("") {
            "" => {
                ty.scalar = Some(ScalarKind::Untyped);
                ty.list = Some(self.list(schema, preserve, path)?);
                self.map(schema, preserve, path, &mut ty)?;
            }
            "object" => self.map(schema, preserve, path, &mut ty)?,
            "array" => ty.list = Some(self.list(schema, preserve, path)?),
            "integer" | "number" => ty.scalar = Some(ScalarKind::Numeric),
            "boolean" => ty.scalar = Some(ScalarKind::Boolean),
            "string" => {
                ty.scalar = Some(match format {
                    "" | "byte" => ScalarKind::String,
                    _ => ScalarKind::Untyped,
                });
            }
            other => return Err(invalid(path, format!("unrecognized type: '{other}'"))),
        }
        Ok(ty)
    }

    fn list(
        &mut self,
        schema: &Value,
        preserve: bool,
        path: &str,
    ) -> Result<ListType, SchemaError> {
        let element = match schema.get("items") {
            Some(items) => self.reference(items, preserve, &format!("{path}[*]"))?,
            None => UNTYPED,
        };
        let text = |name: &str| schema.get(name).and_then(Value::as_str);
        let relation = match (
            text("x-kubernetes-list-type"),
            text("x-kubernetes-patch-strategy"),
        ) {
            (Some("atomic"), _) | (None, None | Some("retainKeys")) => Relation::Atomic,
            (Some("set"), _) => Relation::Set,
            (Some("map"), _) => {
                let keys = schema
                    .get("x-kubernetes-list-map-keys")
                    .and_then(Value::as_array)
                    .ok_or_else(|| invalid(path, "missing map keys".to_owned()))?;
                Relation::Keys(
                    keys.iter()
                        .filter_map(Value::as_str)
                        .map(Into::into)
                        .collect(),
                )
            }
            (Some(other), _) => {
                return Err(invalid(path, format!("unknown list type {other}")));
            }
            (None, Some("merge" | "merge,retainKeys")) => {
                match text("x-kubernetes-patch-merge-key") {
                    Some(key) => Relation::Keys(vec![key.into()]),
                    None => Relation::Set,
                }
            }
            (None, Some(other)) => {
                return Err(invalid(path, format!("unknown patch strategy {other}")));
            }
        };
        Ok(ListType { element, relation })
    }

    fn map(
        &mut self,
        schema: &Value,
        preserve: bool,
        path: &str,
        ty: &mut Type,
    ) -> Result<(), SchemaError> {
        let mut fields = BTreeMap::new();
        let empty = Map::new();
        let properties = schema
            .get("properties")
            .and_then(Value::as_object)
            .unwrap_or(&empty);
        for (name, property) in properties {
            let id = self.reference(property, preserve, &format!("{path}.{name}"))?;
            let field = Field {
                ty: id,
                default: property.get("default").filter(|d| !d.is_null()).cloned(),
                injected: false,
            };
            fields.insert(name.as_str().into(), field);
        }
        let element = match schema.get("additionalProperties") {
            None if preserve || properties.is_empty() => Some(DEDUCED),
            None | Some(Value::Bool(false)) => None,
            Some(Value::Bool(true)) => {
                ty.additional = Additional::Any;
                Some(DEDUCED)
            }
            Some(other) => {
                let id = self.reference(other, preserve, &format!("{path}.*"))?;
                ty.additional = Additional::Type(id);
                Some(id)
            }
        };
        if ty.embedded {
            self.add_embedded(&mut fields)?;
        }
        ty.map = Some(MapType {
            fields,
            element,
            atomic: map_type(schema, path)?.unwrap_or(false),
        });
        Ok(())
    }

    /// Gives an object the fields that every object has (`addTypeMetaProperties` and `addEmbeddedProperties` of
    /// `pkg/controller/openapi/builder/builder.go`).
    fn add_embedded(&mut self, fields: &mut BTreeMap<Box<str>, Field>) -> Result<(), SchemaError> {
        let text = self.add(Type {
            scalar: Some(ScalarKind::String),
            ..Type::default()
        })?;
        let metadata = self.named(OBJECT_META)?;
        for (name, ty) in [("apiVersion", text), ("kind", text), ("metadata", metadata)] {
            let field = Field {
                ty,
                default: None,
                injected: true,
            };
            fields.insert(name.into(), field);
        }
        Ok(())
    }

    /// The finished arena.
    pub(super) fn finish(mut self) -> Vec<Type> {
        for (copy, original, atomic) in std::mem::take(&mut self.overrides) {
            let Some(mut ty) = self.types.get(original.0 as usize).cloned() else {
                continue;
            };
            if let Some(map) = &mut ty.map {
                map.atomic = atomic;
            }
            self.set(copy, ty);
        }
        self.types
    }
}

fn invalid(path: &str, message: String) -> SchemaError {
    SchemaError::Invalid {
        path: path.to_owned(),
        message,
    }
}

/// Whether `x-kubernetes-map-type` says atomic, where it is there.
fn map_type(schema: &Value, path: &str) -> Result<Option<bool>, SchemaError> {
    match schema.get("x-kubernetes-map-type").and_then(Value::as_str) {
        None => Ok(None),
        Some("atomic") => Ok(Some(true)),
        Some("granular") => Ok(Some(false)),
        Some(other) => Err(invalid(path, format!("unknown map type {other}"))),
    }
}

/// The resource of a CustomResourceDefinition.
pub(super) fn custom_resource(crd: &Value) -> Result<Resource, SchemaError> {
    let spec = crd.get("spec").ok_or(SchemaError::Missing("spec"))?;
    let text = |value: &Value, pointer: &str| value.pointer(pointer)?.as_str().map(str::to_owned);
    let group = text(spec, "/group").ok_or(SchemaError::Missing("spec.group"))?;
    let kind = text(spec, "/names/kind").ok_or(SchemaError::Missing("spec.names.kind"))?;
    let plural = text(spec, "/names/plural").ok_or(SchemaError::Missing("spec.names.plural"))?;
    let versions = spec
        .get("versions")
        .and_then(Value::as_array)
        .ok_or(SchemaError::Missing("spec.versions"))?;
    let stored = versions
        .iter()
        .find(|version| version["storage"] == true)
        .ok_or(SchemaError::Missing("storage version"))?;
    let version = text(stored, "/name").ok_or(SchemaError::Missing("spec.versions[*].name"))?;

    let definitions = definitions()?;
    let mut parser = Parser::new(definitions);
    let schema = stored.pointer("/schema/openAPIV3Schema");
    let nothing = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let mut root = parser.inline(schema.unwrap_or(&nothing), false, "")?;
    let map = root
        .map
        .as_mut()
        .ok_or_else(|| invalid("", "must be an object".to_owned()))?;
    let mut fields = std::mem::take(&mut map.fields);
    parser.add_embedded(&mut fields)?;
    map.fields = fields;
    root.embedded = true;
    let root = parser.add(root)?;
    let checks = match schema {
        Some(schema) => Some(Check::parse(schema)?.into()),
        None => None,
    };

    let status = stored.pointer("/subresources/status").is_some();
    let scale = stored
        .pointer("/subresources/scale")
        .map(|scale| ScalePaths {
            spec_replicas: text(scale, "/specReplicasPath").unwrap_or_default(),
            status_replicas: text(scale, "/statusReplicasPath").unwrap_or_default(),
            label_selector: text(scale, "/labelSelectorPath"),
        });
    let api_version = format!("{group}/{version}");
    Ok(Resource {
        list_kind: text(spec, "/names/listKind").unwrap_or_else(|| format!("{kind}List")),
        singular: text(spec, "/names/singular").unwrap_or_else(|| kind.to_lowercase()),
        namespaced: spec["scope"] == "Namespaced",
        versions: versions
            .iter()
            .filter(|version| version["served"] == true)
            .filter_map(|version| text(version, "/name"))
            .collect(),
        empty: json!({"apiVersion": api_version, "kind": kind}),
        reset: if status {
            FieldSet::of(&[&["status"]])
        } else {
            FieldSet::default()
        },
        status_reset: FieldSet::of(&[&["metadata"], &["spec"]]),
        schema: Schema {
            types: parser.finish().into(),
            root,
            checks,
        },
        group,
        version,
        kind,
        plural,
        status,
        scale,
        is_custom: true,
    })
}
