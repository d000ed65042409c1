//! The scale subresource, which is an object of its own to those who write it (`ScaleREST` of the kinds' `storage.go` and
//! of `customresource/etcd.go`).

use serde_json::{Map, Value, json};

use super::schema::Resource;
use super::server::metadata;

const SCALE_VERSION: &str = "autoscaling/v1";
const REPLICAS: &str = ".spec.replicas";

/// Where an object has the replicas that are wanted.
pub fn replicas_path(resource: &Resource) -> &str {
    resource
        .scale
        .as_ref()
        .map_or(REPLICAS, |paths| &paths.spec_replicas)
}

/// The value at a path such as `.spec.replicas`.
fn at<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    object.pointer(&path.replace('.', "/"))
}

/// Whether the object says how many replicas are wanted. Kubernetes' own kinds always do.
pub fn has_replicas(resource: &Resource, object: &Value) -> bool {
    at(object, replicas_path(resource)).is_some()
}

/// The number of replicas of an object, as `autoscaling/v1` has it.
pub fn of(resource: &Resource, object: &Value) -> Value {
    let (status, selector) = match &resource.scale {
        Some(paths) => {
            let selector = paths
                .label_selector
                .as_deref()
                .and_then(|path| at(object, path));
            (
                paths.status_replicas.as_str(),
                selector.and_then(Value::as_str).map(str::to_owned),
            )
        }
        None => (
            ".status.replicas",
            Some(label_selector(&object["spec"]["selector"])),
        ),
    };
    let number = |path: &str| at(object, path).and_then(Value::as_i64).unwrap_or(0);
    let of = |field: &str| object["metadata"][field].clone();
    let replicas = number(replicas_path(resource));
    let mut scale = json!({
        "kind": "Scale", "apiVersion": SCALE_VERSION,
        "metadata": {
            "name": of("name"), "namespace": of("namespace"), "uid": of("uid"),
            "resourceVersion": of("resourceVersion"), "creationTimestamp": of("creationTimestamp"),
        },
        "spec": {"replicas": replicas},
        "status": {"replicas": number(status)},
    });
    if replicas == 0 {
        // `omitempty`.
        scale["spec"] = json!({});
    }
    if let Some(selector) = selector.filter(|selector| !selector.is_empty()) {
        scale["status"]["selector"] = json!(selector);
    }
    scale
}

/// `LabelSelectorAsSelector` of `pkg/apis/meta/v1/helpers.go`.
fn label_selector(selector: &Value) -> String {
    let labels = selector["matchLabels"].as_object().into_iter().flatten();
    let equal = labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
    let expressions = selector["matchExpressions"]
        .as_array()
        .into_iter()
        .flatten();
    let expressions = expressions.map(|expression| {
        let key = expression["key"].as_str().unwrap_or_default();
        let values = expression["values"].as_array().into_iter().flatten();
        let mut values: Vec<&str> = values.filter_map(Value::as_str).collect();
        values.sort_unstable();
        match expression["operator"].as_str() {
            Some("In") => format!("{key} in ({})", values.join(",")),
            Some("NotIn") => format!("{key} notin ({})", values.join(",")),
            Some("DoesNotExist") => format!("!{key}"),
            _ => key.to_owned(),
        }
    });
    let mut all: Vec<String> = equal.chain(expressions).collect();
    all.sort();
    all.join(",")
}

/// The scale with the managers of the replicas, as a write of it begins (`ToSubresource` of apimachinery's
/// `scalehandler.go`).
pub fn with_managers(resource: &Resource, object: &Value) -> Value {
    let mut scale = of(resource, object);
    let owners = entries(object)
        .filter(|entry| owns(entry, replicas_path(resource)))
        .map(|entry| {
            let mut entry = entry.clone();
            entry["apiVersion"] = json!(SCALE_VERSION);
            entry["fieldsV1"] = fields(REPLICAS);
            entry
        });
    let owners: Vec<Value> = owners.collect();
    if !owners.is_empty() {
        metadata(&mut scale).insert("managedFields".into(), json!(owners));
    }
    scale
}

/// Gives an object the replicas that a written scale asks for, and their managers (`ToParent`). Upstream does not know
/// those again that did not apply, for the scale has another version, and forgets their times.
pub fn write_back(resource: &Resource, object: &mut Value, scale: &Value) {
    let path = replicas_path(resource);
    let mut written: Vec<Value> = entries(scale).cloned().collect();
    let mut kept = Vec::new();
    for entry in entries(object) {
        let mut entry = entry.clone();
        if owns(&entry, path) {
            let applies = entry["operation"] == "Apply";
            let same = |other: &Value| {
                applies
                    && ["manager", "operation", "subresource"]
                        .iter()
                        .all(|field| other[*field] == entry[*field])
            };
            match written.iter().position(same) {
                Some(position) => {
                    written.remove(position);
                }
                None => {
                    let names: Vec<&str> = path.split('.').skip(1).collect();
                    remove(&mut entry["fieldsV1"], &names);
                    if entry["fieldsV1"].as_object().is_none_or(Map::is_empty) {
                        continue;
                    }
                }
            }
        }
        kept.push(entry);
    }
    let api_version = resource.api_version();
    kept.extend(
        written
            .into_iter()
            .filter(|entry| owns(entry, REPLICAS))
            .map(|mut entry| {
                entry["apiVersion"] = json!(api_version);
                entry["fieldsV1"] = fields(path);
                if let Some(entry) = entry.as_object_mut() {
                    entry.remove("time");
                }
                entry
            }),
    );
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    kept.sort_by_key(|entry| {
        ["operation", "time", "manager", "apiVersion", "subresource"]
            .map(|field| text(entry, field))
    });
    let managed = (!kept.is_empty()).then_some(Value::Array(kept));
    super::strategy::set(&mut object["metadata"], "managedFields", managed);

    let replicas = scale["spec"]["replicas"].as_i64().unwrap_or(0);
    if let Some((parent, name)) = path.rsplit_once('.')
        && let Some(parent) = object.pointer_mut(&parent.replace('.', "/"))
    {
        parent[name] = json!(replicas);
    }
    for field in ["resourceVersion", "uid"] {
        if let Some(value) = scale["metadata"].get(field) {
            metadata(object).insert(field.into(), value.clone());
        }
    }
}

fn entries(object: &Value) -> impl Iterator<Item = &Value> {
    object["metadata"]["managedFields"]
        .as_array()
        .into_iter()
        .flatten()
}

/// The set of the one field at a path.
fn fields(path: &str) -> Value {
    path.rsplit('.')
        .filter(|name| !name.is_empty())
        .fold(json!({}), |inner, name| json!({format!("f:{name}"): inner}))
}

fn owns(entry: &Value, path: &str) -> bool {
    let pointer: String = path
        .split('.')
        .skip(1)
        .map(|name| format!("/f:{name}"))
        .collect();
    entry["fieldsV1"].pointer(&pointer).is_some()
}

fn remove(set: &mut Value, path: &[&str]) {
    let (Some(set), [name, rest @ ..]) = (set.as_object_mut(), path) else {
        return;
    };
    let name = format!("f:{name}");
    let Some(inner) = set.get_mut(&name) else {
        return;
    };
    remove(inner, rest);
    if rest.is_empty() || inner.as_object().is_some_and(Map::is_empty) {
        set.remove(&name);
    }
}
