//! A child as it should be.

use serde_json::Value;

use crate::kind::Kind;

/// Which object: kind, namespace (empty for a cluster-scoped one) and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChildKey {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; empty for a cluster-scoped kind.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
}

impl ChildKey {
    /// A key from its parts.
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Self {
            kind,
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl std::fmt::Display for ChildKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind.name(), self.name)
    }
}

/// A child as it should be: the fields that are ours, and no others.
///
/// `body` holds `apiVersion`, `kind`, `metadata` (name, namespace, labels, annotations, ownerReferences) and the rest of
/// the manifest, in the form in which the API server stores it (canonical quantities, ports with their protocol), so
/// that what is stored can be compared with what is wanted without a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Child {
    /// Which object.
    pub key: ChildKey,
    /// The component that it belongs to, where it belongs to one.
    pub component: Option<String>,
    /// The manifest.
    pub body: Value,
}
