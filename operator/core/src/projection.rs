//! Which fields of an object are ours, and what they hold.

use serde_json::Value;

use crate::kind::Kind;

/// The fields of `object` that our field manager owns, by its `managedFields` entry for [`crate::names::FIELD_MANAGER`]
/// (operation `Apply`, no subresource), with their values, and nothing else; as [`neutral`] leaves them.
///
/// Format of `fieldsV1`: `f:<name>` a field, `k:{…}` an item of a list by its keys, `v:<value>` an item of a set,
/// `.` the thing itself (<https://github.com/kubernetes-sigs/structured-merge-diff>, `fieldpath/serialize.go`).
/// Fields of kinds that a peer rewrites (see [`neutral`]) are included whoever owns them.
pub fn project(kind: Kind, object: &Value) -> Value {
    let _ = (kind, object);
    Value::Null
}

/// `body`, as rendered or as projected, in the one form in which the two are compared: without `apiVersion`, `kind`,
/// `metadata.name`, `metadata.namespace`, `metadata.resourceVersion`, and with what peers rewrite taken out:
/// the pod-template hash in a Service's selector, weights of an HTTPRoute's `backendRefs` and of a TraefikService's
/// services, annotations and labels of Argo Rollouts, `spec.replicas` of a workload (compared on its own).
/// Empty objects and lists, and nulls, are left out: managedFields cannot tell them from absent ones.
pub fn neutral(kind: Kind, body: &Value) -> Value {
    let _ = kind;
    body.clone()
}
