//! What every child has in common: labels, owner, and a body without anything empty.

use serde_json::{Map, Value, json};

use crate::child::{Child, ChildKey};
use crate::kind::Kind;
use crate::names;
use crate::validate::ValidApp;

/// Labels of a child; without a component it is named after the application.
pub(crate) fn labels(app: &str, component: Option<&str>) -> Value {
    let mut labels = json!({
        names::LABEL_NAME: component.unwrap_or(app),
        names::LABEL_PART_OF: app,
        names::LABEL_MANAGED_BY: names::FIELD_MANAGER,
        names::LABEL_APP: app,
    });
    if let Some(component) = component {
        labels[names::LABEL_COMPONENT] = component.into();
    }
    labels
}

/// What selects the pods of a component, and no others.
pub(crate) fn selector(app: &str, component: &str) -> Value {
    json!({names::LABEL_APP: app, names::LABEL_COMPONENT: component})
}

/// A child in the application's namespace, owned by the TodoApp unless it holds data.
pub(crate) fn child(
    app: &ValidApp<'_>,
    kind: Kind,
    name: &str,
    component: Option<&str>,
    content: Value,
) -> Child {
    let metadata = json!({
        "name": name,
        "namespace": app.namespace,
        "labels": labels(app.name, component),
        "ownerReferences": (!kind.is_stateful()).then(|| owner("TodoApp", app.name, app.uid)),
    });
    assemble(kind, app.namespace, name, component, metadata, content)
}

/// A child outside the application's namespace: no owner reference can reach it, so labels say whose it is.
pub(crate) fn child_elsewhere(
    app: &ValidApp<'_>,
    kind: Kind,
    namespace: &str,
    name: &str,
    content: Value,
) -> Child {
    let mut labels = labels(app.name, None);
    labels[names::LABEL_NAMESPACE] = app.namespace.into();
    labels[names::LABEL_ENVIRONMENT] = json!(app.environment.metadata.name);
    let metadata = json!({"name": name, "namespace": namespace, "labels": labels});
    assemble(kind, namespace, name, None, metadata, content)
}

/// The owner references of a child; none offline, where the owner has no UID yet.
pub(crate) fn owner(kind: &str, name: &str, uid: &str) -> Option<Value> {
    let api_version = format!(
        "{}/{}",
        todo_operator_api::GROUP,
        todo_operator_api::VERSION
    );
    (!uid.is_empty()).then(|| {
        json!([{"apiVersion": api_version, "kind": kind, "name": name, "uid": uid, "controller": true}])
    })
}

/// Puts a child together.
pub(crate) fn assemble(
    kind: Kind,
    namespace: &str,
    name: &str,
    component: Option<&str>,
    metadata: Value,
    content: Value,
) -> Child {
    let mut body = Map::new();
    body.insert("apiVersion".into(), kind.api_version().into());
    body.insert("kind".into(), kind.name().into());
    body.insert("metadata".into(), metadata);
    if let Value::Object(content) = content {
        body.extend(content);
    }
    Child {
        key: ChildKey::new(kind, namespace, name),
        component: component.map(str::to_owned),
        body: compact(Value::Object(body)),
    }
}

/// Leaves out nulls, empty objects and empty lists, however deep: `managedFields` cannot tell them from absent ones.
///
/// Renderers rely on it: an option that is `None` is a field that is not there.
pub(crate) fn compact(mut value: Value) -> Value {
    drop_empty(&mut value);
    value
}

/// Answers whether anything is left of the value.
fn drop_empty(value: &mut Value) -> bool {
    match value {
        Value::Null => false,
        Value::Object(map) => {
            map.retain(|_, value| drop_empty(value));
            !map.is_empty()
        }
        Value::Array(list) => {
            list.retain_mut(drop_empty);
            !list.is_empty()
        }
        _ => true,
    }
}

/// `name`, or where it is longer than `limit` its beginning and a hash of the whole.
pub(crate) fn bounded(name: String, limit: usize) -> String {
    if name.len() <= limit {
        return name;
    }
    let hash = crate::canonical::short(&name, 8);
    let kept: String = name
        .chars()
        .take(limit.saturating_sub(hash.len() + 1))
        .collect();
    format!("{}-{hash}", kept.trim_end_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_empty_is_left() {
        let value = json!({"a": null, "b": {"c": [], "d": {"e": null}}, "f": [{"g": {}}, 0, ""], "h": false});
        assert_eq!(compact(value), json!({"f": [0, ""], "h": false}));
    }

    #[test]
    fn long_names_stay_distinct() {
        let one = bounded("x".repeat(70), 63);
        let other = bounded(format!("{}y", "x".repeat(70)), 63);
        assert!(one.len() <= 63 && other.len() <= 63);
        assert_ne!(one, other);
        assert_eq!(bounded("short".into(), 63), "short");
    }
}
