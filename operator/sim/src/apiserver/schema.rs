//! Structural schemas with the merge semantics of server-side apply, and the resources that have them.
//!
//! A [`Schema`] is an arena of [`Type`]s, made either of a CustomResourceDefinition or of the API server's OpenAPI
//! document, as kube-openapi's `pkg/schemaconv/openapi.go` makes types for structured-merge-diff.

mod builtin;
mod defaulting;
mod generate;
mod parse;
mod pruning;
mod validation;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde_json::Value;

use crate::apiserver::managed::FieldSet;

pub use generate::{DOCUMENTS, generate};
pub use validation::{Problem, Reason};

/// The place of a type in its schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TypeId(u32);

/// What a schema cannot be made of.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The CustomResourceDefinition lacks something.
    #[error("CustomResourceDefinition has no {0}")]
    Missing(&'static str),
    /// A schema refers to a definition that is not there.
    #[error("definition {0} is missing")]
    Unresolved(String),
    /// A schema says something that no API server accepts.
    #[error("{path}: {message}")]
    Invalid {
        /// Where, from the root of the schema.
        path: String,
        /// What.
        message: String,
    },
    /// The file of builtin definitions is not JSON.
    #[error("builtin definitions: {0}")]
    Json(#[from] serde_json::Error),
}

/// Which scalars a type takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScalarKind {
    Numeric,
    String,
    Boolean,
    Untyped,
}

/// A list and how it merges.
#[derive(Clone, Debug)]
pub(crate) struct ListType {
    pub element: TypeId,
    pub relation: Relation,
}

/// How the items of a list relate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    /// The list is one value.
    Atomic,
    /// Every item is its own name.
    Set,
    /// Items are named by these fields.
    Keys(Vec<Box<str>>),
}

/// An object or a map, and how it merges.
#[derive(Clone, Debug, Default)]
pub(crate) struct MapType {
    pub fields: BTreeMap<Box<str>, Field>,
    /// The type of fields that are not declared. Without one, such fields are not allowed.
    pub element: Option<TypeId>,
    pub atomic: bool,
}

/// A declared field.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub ty: TypeId,
    /// The default that the key of a list item takes when the field is absent.
    pub default: Option<Value>,
    /// The schema of the CustomResourceDefinition does not declare the field, every object has it.
    pub injected: bool,
}

/// What a structural schema says of fields that it does not declare (`additionalProperties`).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Additional {
    #[default]
    Unspecified,
    /// `true`, which pruning takes for a schema that declares nothing.
    Any,
    Type(TypeId),
}

/// One type. Where several of `scalar`, `list` and `map` are there, the value tells which it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Type {
    pub scalar: Option<ScalarKind>,
    pub list: Option<ListType>,
    pub map: Option<MapType>,
    pub default: Option<Value>,
    pub nullable: bool,
    pub preserve_unknown: bool,
    pub embedded: bool,
    pub additional: Additional,
}

/// A structural schema with merge semantics. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Schema {
    types: Arc<[Type]>,
    root: TypeId,
    checks: Option<Arc<validation::Check>>,
}

impl Schema {
    /// Whether a CustomResourceDefinition has it.
    fn is_custom(&self) -> bool {
        self.checks.is_some()
    }

    /// The type of the whole object.
    pub(crate) fn root(&self) -> TypeId {
        self.root
    }

    /// The type at a place.
    pub(crate) fn at(&self, ty: TypeId) -> &Type {
        // The arena never shrinks, and only the parser makes places.
        self.types
            .get(ty.0 as usize)
            .unwrap_or_else(|| &self.types[0])
    }
}

/// Where the scale subresource of a custom resource has its fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScalePaths {
    /// The path of the wanted replicas, such as `.spec.replicas`.
    pub spec_replicas: String,
    /// The path of the current replicas.
    pub status_replicas: String,
    /// The path of the selector in its string form.
    pub label_selector: Option<String>,
}

/// One served resource.
#[derive(Clone, Debug)]
pub struct Resource {
    /// Its API group, empty for the core group.
    pub group: String,
    /// The version that is stored and served.
    pub version: String,
    /// Every version that is served.
    pub versions: Vec<String>,
    /// Its kind.
    pub kind: String,
    /// The kind of its list.
    pub list_kind: String,
    /// Its name in paths.
    pub plural: String,
    /// Its name in the singular.
    pub singular: String,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
    /// Whether it has the status subresource.
    pub status: bool,
    /// The fields of its scale subresource, where it is a custom resource that has one.
    pub scale: Option<ScalePaths>,
    /// Whether a CustomResourceDefinition defines it.
    pub is_custom: bool,
    /// Its schema.
    pub schema: Schema,
    /// The object before its creation: what Go's zero value of the kind is in JSON (`runtime.ObjectCreater`).
    pub empty: Value,
    /// What writes of the object itself do not own, for the server resets it (`GetResetFields` of its strategy).
    pub(crate) reset: FieldSet,
    /// What writes of the status subresource do not own.
    pub(crate) status_reset: FieldSet,
}

impl Resource {
    /// The resource of a CustomResourceDefinition at its storage version (`pkg/apiserver/customresource_handler.go` of
    /// apiextensions-apiserver).
    ///
    /// # Errors
    ///
    /// When it is not one that an API server accepts.
    pub fn from_crd(crd: &Value) -> Result<Self, SchemaError> {
        parse::custom_resource(crd)
    }

    /// The resources of the API server itself that the simulation serves, from `schemas/builtin.json`.
    #[must_use]
    pub fn builtin() -> Vec<Self> {
        builtin::resources()
    }

    /// What a write does not own, for the strategy resets it.
    pub(crate) fn reset_fields(&self, subresource: &str) -> &FieldSet {
        static NONE: LazyLock<FieldSet> = LazyLock::new(FieldSet::default);
        match subresource {
            "" => &self.reset,
            "status" => &self.status_reset,
            _ => &NONE,
        }
    }

    /// Its group and version as objects name them: `apps/v1`, or `v1`.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}
