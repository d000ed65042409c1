//! What the simulation makes of a write: the flow of the API server around schemas and managed fields.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use todo_operator_sim::apiserver::managed::{
    ApplyError, ApplyOptions, UpdateOptions, apply, keep_times, update,
};
use todo_operator_sim::apiserver::schema::Resource;

use crate::server::{Call, Failure, Write};

/// What is done with decoded objects of a kind.
pub struct Kind<'a> {
    pub resource: &'a Resource,
    /// Decoding, defaulting included.
    pub decode: &'a dyn Fn(&mut Value),
    /// What is done with an object that was applied.
    pub normalize: &'a dyn Fn(&mut Value),
    /// What the strategy changes beside resetting.
    pub prepare: &'a dyn Fn(&mut Value),
}

/// The object that a write stores. A custom resource is pruned and defaulted when it is read back, not before.
pub fn write(
    kind: &Kind<'_>,
    live: Option<&Value>,
    write: &Write,
    time: &str,
) -> Result<Value, Failure> {
    let resource = kind.resource;
    let subresource = if write.status { "status" } else { "" };
    let options = UpdateOptions {
        manager: write.manager,
        subresource,
        time,
    };
    let mut new = match &write.call {
        Call::Apply { force, object } => {
            let options = ApplyOptions {
                manager: write.manager,
                force: *force,
                subresource,
                time,
                normalize: kind.normalize,
            };
            apply(resource, live, object, &options).map_err(apply_failure)?
        }
        Call::Create { object } | Call::Put { object } => {
            let mut new = object.clone();
            (kind.decode)(&mut new);
            dedup_owner_references(&mut new);
            update(resource, live, new, &options)
        }
        Call::Merge { patch } => {
            let mut new = live.unwrap().clone();
            merge_patch(&mut new, patch);
            (kind.decode)(&mut new);
            update(resource, live, new, &options)
        }
    };
    dedup_owner_references(&mut new);
    prepare(resource, live, &mut new, write.status);
    (kind.prepare)(&mut new);
    if let Some(live) = live {
        keep_times(live, &mut new);
    }
    let problems = match live {
        Some(live) if write.status => resource.schema.validate_status(&new, live),
        _ => resource.schema.validate(&new, live),
    };
    if !problems.is_empty() {
        let mut lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        lines.dedup();
        let lines = match lines.as_slice() {
            [one] => one.clone(),
            _ => format!("[{}]", lines.join(", ")),
        };
        let qualified = if resource.group.is_empty() {
            resource.kind.clone()
        } else {
            format!("{}.{}", resource.kind, resource.group)
        };
        let name = new["metadata"]["name"].as_str().unwrap();
        return Err(Failure {
            code: 422,
            reason: "Invalid".to_owned(),
            message: format!("{qualified} \"{name}\" is invalid: {lines}"),
            causes: problems
                .iter()
                .map(|p| (p.reason.to_string(), p.message.clone(), p.field.clone()))
                .collect(),
        });
    }
    Ok(new)
}

/// The strategies' part.
fn prepare(resource: &Resource, live: Option<&Value>, new: &mut Value, status: bool) {
    let Some(live) = live else {
        if resource.status {
            set(new, "status", resource.empty.get("status"));
        }
        return;
    };
    let managed = new["metadata"]["managedFields"].take();
    if status {
        let status = new.get("status").cloned();
        if resource.is_custom {
            *new = live.clone();
        } else {
            new["spec"] = live["spec"].clone();
            if resource.kind == "Deployment" {
                set(
                    &mut new["metadata"],
                    "labels",
                    live["metadata"].get("labels"),
                );
            }
        }
        set(new, "status", status.as_ref());
    } else if resource.status {
        set(new, "status", live.get("status"));
    }
    for name in ["uid", "creationTimestamp", "resourceVersion", "generation"] {
        if let Some(value) = live["metadata"].get(name) {
            new["metadata"][name] = value.clone();
        }
    }
    let metadata = new["metadata"].as_object_mut().unwrap();
    metadata.remove("managedFields");
    if !managed.is_null() {
        metadata.insert("managedFields".to_owned(), managed);
    }
    let without = |object: &Value| {
        let mut object = object.clone();
        object.as_object_mut().unwrap().remove("metadata");
        object
    };
    if resource.is_custom && !status && without(new) != without(live) {
        let generation = live["metadata"]["generation"].as_i64().unwrap();
        new["metadata"]["generation"] = json!(generation + 1);
    }
}

/// `dedupOwnerReferencesAndAddWarning` of `pkg/endpoints/handlers/rest.go`.
fn dedup_owner_references(object: &mut Value) {
    if let Some(Value::Array(references)) = object["metadata"].get_mut("ownerReferences") {
        let all = std::mem::take(references);
        for reference in all {
            if !references.contains(&reference) {
                references.push(reference);
            }
        }
    }
}

fn set(object: &mut Value, name: &str, value: Option<&Value>) {
    let object = object.as_object_mut().unwrap();
    match value {
        Some(value) => object.insert(name.to_owned(), value.clone()),
        None => object.remove(name),
    };
}

fn apply_failure(error: ApplyError) -> Failure {
    let (code, reason, causes) = match &error {
        ApplyError::BadRequest(_) => (400, "BadRequest", Vec::new()),
        ApplyError::Internal(_) => (500, "", Vec::new()),
        ApplyError::Conflict { causes, .. } => {
            let cause = |c: &todo_operator_sim::apiserver::managed::Cause| {
                (
                    "FieldManagerConflict".to_owned(),
                    c.message.clone(),
                    c.field.clone(),
                )
            };
            (409, "Conflict", causes.iter().map(cause).collect())
        }
    };
    Failure {
        code,
        reason: reason.to_owned(),
        message: error.to_string(),
        causes,
    }
}

/// RFC 7386.
pub fn merge_patch(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let target = target.as_object_mut().unwrap();
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            merge_patch(target.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

/// A failure with its causes and the parts of its message sorted: the server lists them in any order.
pub fn sorted(mut failure: Failure) -> Failure {
    failure.causes.sort();
    // The server walks over an object in any order and ends at the first field that is not declared.
    if failure.message.contains("field not declared in schema") {
        let head = failure.message.split("): ").next().unwrap_or_default();
        failure.message = format!("{head}): field not declared in schema");
    }
    for (before, between) in [(" is invalid: ", ", "), (" errors:\n", "\n")] {
        let Some((head, list)) = failure.message.split_once(before) else {
            continue;
        };
        let inner = list.strip_prefix('[').and_then(|l| l.strip_suffix(']'));
        let list = inner.unwrap_or(list);
        let parts: BTreeSet<&str> = list.split(between).map(str::trim).collect();
        let parts: Vec<&str> = parts.into_iter().collect();
        failure.message = format!("{head}{before}{}", parts.join(between));
        break;
    }
    failure
}

/// The latest time in an object's managed fields, which is that of the last write that changed something.
pub fn latest_time(object: &Value) -> String {
    let entries = object["metadata"]["managedFields"].as_array();
    let times = entries.into_iter().flatten();
    times
        .filter_map(|entry| entry["time"].as_str())
        .max()
        .unwrap_or("1970-01-01T00:00:00Z")
        .to_owned()
}
