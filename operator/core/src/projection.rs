//! Which fields of an object are ours, and what they hold.
//!
//! Whether a child must be written is one comparison: [`project`] of the live object against [`neutral`] of the rendered
//! body. It holds when the body is in the form in which the API server stores it; in particular lists and maps that the
//! schema treats as one value (`atomic`) must hold the server's defaults too, and a body must not hold an empty map that
//! others fill.

use serde_json::{Map, Value};

use crate::kind::Kind;
use crate::names;

/// What of `metadata` a manifest may set.
const METADATA: [&str; 4] = ["labels", "annotations", "ownerReferences", "finalizers"];

/// Prefixes of the labels and annotations that Argo Rollouts keeps on objects of ours.
const ROLLOUTS_MARKS: [&str; 3] = [
    "rollout.argoproj.io/",
    "rollouts.argoproj.io/",
    "argo-rollouts.argoproj.io/",
];

/// The fields of `object` that our field manager owns, by its `managedFields` entry for [`names::FIELD_MANAGER`]
/// (operation `Apply`, no subresource), with their values, and nothing else; as [`neutral`] leaves them.
/// `null`, which no manifest equals, where we own nothing.
///
/// Format of `fieldsV1`: `f:<name>` a field, `k:{…}` an item of a list by its keys, `v:<value>` an item of a set,
/// `.` the thing itself (<https://github.com/kubernetes-sigs/structured-merge-diff>, `fieldpath/serialize.go`).
/// Fields that a peer rewrites as a whole (see [`neutral`]) are included whoever owns them.
pub fn project(kind: Kind, object: &Value) -> Value {
    let Some(fields) = our_entry(object).and_then(|entry| entry.get("fieldsV1")?.as_object())
    else {
        return Value::Null;
    };
    if fields.is_empty() {
        return Value::Null;
    }
    let mut owned = owned(fields, object);
    if let Some(field) = shared_field(kind)
        && let Some(value) = object.pointer(&format!("/spec/{field}"))
        && let Some(root) = owned.as_object_mut()
        && let Some(spec) = root
            .entry("spec")
            .or_insert_with(|| Value::Object(Map::new()))
            .as_object_mut()
    {
        spec.insert(field.to_owned(), value.clone());
    }
    neutralise(kind, owned)
}

/// `body`, as rendered or as projected, in the one form in which the two are compared: without `apiVersion`, `kind`,
/// `metadata.name`, `metadata.namespace`, `metadata.resourceVersion`, and with what peers rewrite taken out:
/// the pod-template hash in a Service's selector, weights of an HTTPRoute's `backendRefs` and of a TraefikService's
/// services, annotations and labels of Argo Rollouts, `spec.replicas` of a workload (compared on its own).
///
/// Values that the API server would fill in by itself are left out where people leave them out (an HTTPRoute's groups,
/// kinds and matches, the API version of a `fieldRef`), and so are nulls and, in Kubernetes' own kinds, empty objects,
/// lists and values of variables, which the server does not store. A peer's empty object (`pause: {}`) and a network
/// policy's empty selector (everything) do mean something and stay.
pub fn neutral(kind: Kind, body: &Value) -> Value {
    neutralise(kind, body.clone())
}

/// The `managedFields` entry of our server-side applies.
pub(crate) fn our_entry(object: &Value) -> Option<&Value> {
    managed_fields(object).find(|entry| {
        text(entry, "manager") == Some(names::FIELD_MANAGER)
            && text(entry, "operation") == Some("Apply")
            && text(entry, "subresource").is_none_or(str::is_empty)
    })
}

/// Every `managedFields` entry of an object.
pub(crate) fn managed_fields(object: &Value) -> impl Iterator<Item = &Value> {
    object
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field)?.as_str()
}

/// The field of `spec` that we want, but whose ownership a peer takes when it writes its part of it, because the schema
/// treats the whole as one value.
fn shared_field(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Service => Some("selector"),
        Kind::HttpRoute => Some("rules"),
        Kind::TraefikService => Some("weighted"),
        _ => None,
    }
}

/// What `fields` names of `value`.
fn owned(fields: &Map<String, Value>, value: &Value) -> Value {
    match value {
        // A leaf of the field set: a scalar, or a list or map that is one value to the server.
        _ if fields.is_empty() => value.clone(),
        Value::Object(live) => Value::Object(
            fields
                .iter()
                .filter_map(|(path, below)| {
                    let name = path.strip_prefix("f:")?;
                    Some((name.to_owned(), owned(below.as_object()?, live.get(name)?)))
                })
                .collect(),
        ),
        Value::Array(live) => {
            let members: Vec<_> = fields.iter().filter_map(Member::parse).collect();
            Value::Array(
                live.iter()
                    .filter_map(|item| {
                        let member = members.iter().find(|member| member.is(item))?;
                        Some(owned(member.below, item))
                    })
                    .collect(),
            )
        }
        scalar => scalar.clone(),
    }
}

/// One item of a list in a field set.
struct Member<'a> {
    identity: Identity,
    below: &'a Map<String, Value>,
}

enum Identity {
    /// `k:{"containerPort":8080,"protocol":"TCP"}`
    Keys(Map<String, Value>),
    /// `v:"todo-operator.dev/cleanup"`
    Value(Value),
}

impl<'a> Member<'a> {
    fn parse((path, below): (&String, &'a Value)) -> Option<Self> {
        let identity = match path.split_once(':')? {
            ("k", keys) => Identity::Keys(serde_json::from_str(keys).ok()?),
            ("v", value) => Identity::Value(serde_json::from_str(value).ok()?),
            _ => return None,
        };
        Some(Self {
            identity,
            below: below.as_object()?,
        })
    }

    /// Whether a live item is this one. A key that the item lacks has the schema's default and is taken to match.
    fn is(&self, item: &Value) -> bool {
        match &self.identity {
            Identity::Value(value) => value == item,
            Identity::Keys(keys) => keys
                .iter()
                .all(|(key, value)| item.get(key).is_none_or(|live| live == value)),
        }
    }
}

fn neutralise(kind: Kind, mut body: Value) -> Value {
    let Some(root) = body.as_object_mut() else {
        return body;
    };
    root.remove("apiVersion");
    root.remove("kind");
    if let Some(metadata) = root.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|field, _| METADATA.contains(&field.as_str()));
        for marks in ["labels", "annotations"] {
            if let Some(marks) = metadata.get_mut(marks).and_then(Value::as_object_mut) {
                marks.retain(|name, _| !ROLLOUTS_MARKS.iter().any(|mark| name.starts_with(mark)));
            }
        }
        metadata.retain(|_, value| !is_empty(value));
    }
    root.retain(|field, value| field != "metadata" || !is_empty(value));
    if let Some(spec) = root.get_mut("spec").and_then(Value::as_object_mut) {
        neutralise_spec(kind, spec);
    }
    drop_absent(kind, &mut body);
    body
}

fn neutralise_spec(kind: Kind, spec: &mut Map<String, Value>) {
    match kind {
        Kind::Deployment | Kind::Rollout => {
            spec.remove("replicas");
        }
        Kind::Service => {
            if let Some(selector) = spec.get_mut("selector").and_then(Value::as_object_mut) {
                selector.remove(names::ROLLOUTS_POD_TEMPLATE_HASH);
            }
        }
        Kind::TraefikService => {
            for service in spec
                .get_mut("weighted")
                .into_iter()
                .flat_map(|weighted| items(weighted, "services"))
            {
                service.remove("weight");
            }
        }
        Kind::HttpRoute => neutralise_route(spec),
        _ => {}
    }
}

/// An HTTPRoute without weights and without what the Gateway API's schema fills in.
fn neutralise_route(spec: &mut Map<String, Value>) {
    for parent in list(spec, "parentRefs") {
        default(parent, "group", "gateway.networking.k8s.io");
        default(parent, "kind", "Gateway");
    }
    for rule in list(spec, "rules") {
        for back_end in list(rule, "backendRefs") {
            back_end.remove("weight");
            default_reference(back_end);
        }
        for filter in list(rule, "filters") {
            if let Some(back_end) = filter
                .get_mut("requestMirror")
                .and_then(|mirror| mirror.get_mut("backendRef")?.as_object_mut())
            {
                default_reference(back_end);
            }
        }
        let mut everything = true;
        for matched in list(rule, "matches") {
            if let Some(path) = matched.get_mut("path").and_then(Value::as_object_mut) {
                default(path, "type", "PathPrefix");
                default(path, "value", "/");
            }
            matched.retain(|_, value| !is_empty(value));
            for field in ["headers", "queryParams"] {
                for condition in list(matched, field) {
                    default(condition, "type", "Exact");
                }
            }
            everything &= matched.is_empty();
        }
        if everything {
            rule.remove("matches");
        }
    }
}

fn default_reference(reference: &mut Map<String, Value>) {
    default(reference, "group", "");
    default(reference, "kind", "Service");
}

/// Takes a field out that holds its default.
fn default(object: &mut Map<String, Value>, field: &str, value: &str) {
    if object.get(field).and_then(Value::as_str) == Some(value) {
        object.remove(field);
    }
}

fn list<'a>(
    object: &'a mut Map<String, Value>,
    field: &str,
) -> impl Iterator<Item = &'a mut Map<String, Value>> {
    object
        .get_mut(field)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
}

fn items<'a>(
    value: &'a mut Value,
    field: &str,
) -> impl Iterator<Item = &'a mut Map<String, Value>> {
    value
        .as_object_mut()
        .into_iter()
        .flat_map(move |object| list(object, field))
}

/// Takes out, from the leaves up, what the server does not store or fills in by itself at any depth.
fn drop_absent(kind: Kind, value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| drop_absent(kind, item)),
        Value::Object(object) => {
            if kind.peer().is_some() {
                object.retain(|_, value| !value.is_null());
                object
                    .values_mut()
                    .for_each(|value| drop_absent(kind, value));
                return;
            }
            if let Some(field) = object.get_mut("fieldRef").and_then(Value::as_object_mut) {
                default(field, "apiVersion", "v1");
            }
            // An environment variable without a value is one with an empty value.
            if object.contains_key("name") {
                default(object, "value", "");
            }
            object
                .values_mut()
                .for_each(|value| drop_absent(kind, value));
            object.retain(|field, value| {
                !is_empty(value) || (!value.is_null() && means_everything(kind, field))
            });
        }
        _ => {}
    }
}

/// A network policy's empty selector selects everything; an absent one does not.
fn means_everything(kind: Kind, field: &str) -> bool {
    kind == Kind::NetworkPolicy && matches!(field, "podSelector" | "namespaceSelector")
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(object) => object.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Recorded answers of an API server: `body` is what is wanted, `live` what the server held (after
    /// `kubectl apply --server-side --field-manager todo-operator --show-managed-fields -o json` and what others did).
    fn recorded(folder: &str) -> Vec<(String, Kind, Value, Value)> {
        let folder = format!("{}/tests/fixtures/{folder}", env!("CARGO_MANIFEST_DIR"));
        let mut all = Vec::new();
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            let mut fixture: Value = serde_json::from_str(&text).unwrap();
            let body = fixture["body"].take();
            let kind = Kind::CHILDREN
                .into_iter()
                .find(|kind| body["kind"] == kind.name())
                .unwrap();
            all.push((name, kind, body, fixture["live"].take()));
        }
        all
    }

    #[test]
    fn what_the_server_holds_need_not_be_written_again() {
        let recorded = recorded("settled");
        for kind in Kind::CHILDREN {
            assert!(recorded.iter().any(|(_, of, ..)| *of == kind), "{kind:?}");
        }
        for (name, kind, body, live) in recorded {
            assert_eq!(project(kind, &live), neutral(kind, &body), "{name}");
        }
    }

    #[test]
    fn what_differs_from_what_is_wanted_is_seen() {
        let recorded = recorded("drifted");
        assert!(!recorded.is_empty());
        for (name, kind, body, live) in recorded {
            assert_ne!(project(kind, &live), neutral(kind, &body), "{name}");
        }
    }

    #[test]
    fn neutral_form_is_its_own_neutral_form() {
        for (name, kind, body, _) in recorded("settled") {
            let once = neutral(kind, &body);
            assert_eq!(neutral(kind, &once), once, "{name}");
        }
    }

    fn applied(fields: Value, spec: Value) -> Value {
        json!({
            "metadata": {"managedFields": [
                {"manager": "todo-operator", "operation": "Update", "fieldsV1": {"f:spec": {"f:b": {}}}},
                {"manager": "todo-operator", "operation": "Apply", "subresource": "status",
                 "fieldsV1": {"f:spec": {"f:b": {}}}},
                {"manager": "todo-operator", "operation": "Apply", "fieldsV1": {"f:spec": fields}},
            ]},
            "spec": spec,
        })
    }

    #[test]
    fn field_sets_are_read() {
        for (what, fields, live, ours) in [
            (
                "a field, and not its neighbour",
                json!({"f:a": {}}),
                json!({"a": 1, "b": 2}),
                json!({"a": 1}),
            ),
            (
                "an atomic map as a whole",
                json!({"f:a": {}}),
                json!({"a": {"x": 1, "y": 2}}),
                json!({"a": {"x": 1, "y": 2}}),
            ),
            (
                "a map itself, without others' keys",
                json!({"f:a": {".": {}, "f:x": {}}}),
                json!({"a": {"x": 1, "y": 2}}),
                json!({"a": {"x": 1}}),
            ),
            (
                "a field that is gone",
                json!({"f:a": {}, "f:b": {}}),
                json!({"b": 2}),
                json!({"b": 2}),
            ),
            (
                "items by key in the live order",
                json!({"f:a": {
                    "k:{\"n\":\"x\"}": {".": {}, "f:n": {}, "f:v": {}},
                    "k:{\"n\":\"y\"}": {".": {}, "f:n": {}},
                }}),
                json!({"a": [{"n": "z", "v": 3}, {"n": "y", "v": 2}, {"n": "x", "v": 1}]}),
                json!({"a": [{"n": "y"}, {"n": "x", "v": 1}]}),
            ),
            (
                "an item by two keys, of which one is defaulted",
                json!({"f:a": {"k:{\"p\":80,\"protocol\":\"TCP\"}": {".": {}, "f:p": {}}}}),
                json!({"a": [{"p": 80, "protocol": "UDP"}, {"p": 80, "protocol": "TCP"}]}),
                json!({"a": [{"p": 80}]}),
            ),
            (
                "values of a set",
                json!({"f:a": {"v:\"x\"": {}, "v:7": {}}}),
                json!({"a": [7, "y", "x"]}),
                json!({"a": [7, "x"]}),
            ),
        ] {
            // As a peer's kind: there, empty objects are kept.
            assert_eq!(
                project(Kind::Cluster, &applied(fields, live)),
                json!({"spec": ours}),
                "{what}"
            );
        }
    }

    #[test]
    fn owning_nothing_equals_no_manifest() {
        for object in [
            json!({}),
            json!({"metadata": {"managedFields": []}, "spec": {"selector": {"a": "b"}}}),
            json!({"metadata": {"managedFields": [
                {"manager": "todo-operator", "operation": "Apply", "fieldsV1": {}},
            ]}}),
        ] {
            assert_eq!(project(Kind::Service, &object), Value::Null);
        }
        let smallest =
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "a"}});
        assert_eq!(neutral(Kind::ServiceAccount, &smallest), json!({}));
    }

    #[test]
    fn keda_pauses_are_ours_and_marks_of_rollouts_are_not() {
        let body = json!({"metadata": {"name": "w", "annotations": {
            "autoscaling.keda.sh/paused-scale-in": "true",
            "rollout.argoproj.io/revision": "3",
            "argo-rollouts.argoproj.io/managed-by-rollouts": "w",
        }, "labels": {"rollouts.argoproj.io/gatewayapi-canary": "in-progress"}}});
        assert_eq!(
            neutral(Kind::ScaledObject, &body),
            json!({"metadata": {"annotations": {"autoscaling.keda.sh/paused-scale-in": "true"}}})
        );
    }

    #[test]
    fn mirrored_back_ends_and_explicit_matches_are_kept_without_their_defaults() {
        let body = json!({"spec": {"rules": [{
            "filters": [{"type": "RequestMirror", "requestMirror": {
                "backendRef": {"group": "", "kind": "Service", "name": "m", "port": 80}}}],
            "matches": [{"path": {"type": "Exact", "value": "/"}, "method": "GET",
                         "headers": [{"type": "Exact", "name": "x", "value": "y"}]}],
        }]}});
        assert_eq!(
            neutral(Kind::HttpRoute, &body),
            json!({"spec": {"rules": [{
                "filters": [{"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "m", "port": 80}}}],
                "matches": [{"path": {"type": "Exact"}, "method": "GET", "headers": [{"name": "x", "value": "y"}]}],
            }]}})
        );
    }
}
