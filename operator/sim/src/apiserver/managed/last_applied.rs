//! The change from `kubectl apply` on the client's side to server-side apply (`lastappliedmanager.go` and
//! `lastappliedupdater.go`).

use serde_json::Value;

use super::apply::Conflicts;
use super::fieldset::FieldSet;
use super::typed;
use crate::apiserver::schema::Resource;

/// The only manager whose annotation is looked at.
pub(super) const MANAGER: &str = "kubectl";
const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// How large the annotations of an object may be together (`ValidateAnnotationsSize`).
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// The conflicts that the annotation of the live object does not allow. All of them without one.
pub(super) fn not_allowed(
    resource: &Resource,
    live: &Value,
    conflicts: Conflicts,
) -> Result<(), Conflicts> {
    let Some(allowed) = allowed(resource, live) else {
        return Err(conflicts);
    };
    let rest: Conflicts = conflicts
        .into_iter()
        .filter(|(_, path)| !allowed.has(path))
        .collect();
    if rest.is_empty() { Ok(()) } else { Err(rest) }
}

/// The fields that the object still has as the annotation says.
fn allowed(resource: &Resource, live: &Value) -> Option<FieldSet> {
    let text = live["metadata"]["annotations"][ANNOTATION].as_str()?;
    let last: Value = serde_json::from_str(text).ok()?;
    if last["apiVersion"].as_str()? != resource.api_version() {
        return None;
    }
    let schema = &resource.schema;
    let root = schema.root();
    for object in [live, &last] {
        if !typed::validate(schema, root, object, false).is_empty() {
            return None;
        }
    }
    let mut set = typed::field_set(schema, root, &last);
    let comparison = typed::compare(schema, root, &last, live);
    set.subtract(&comparison.modified);
    set.subtract(&comparison.added);
    set.subtract(&comparison.removed);
    Some(set)
}

/// Brings the annotation up to date, where the object has it.
pub(super) fn refresh(object: &mut Value, patch: &Value) {
    let Some(annotations) = object
        .get_mut("metadata")
        .and_then(|metadata| metadata.get_mut("annotations"))
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    let before = annotations.get(ANNOTATION).and_then(Value::as_str);
    if before.unwrap_or_default().is_empty() {
        return;
    }
    let mut patch = patch.clone();
    if let Some(annotations) = patch
        .get_mut("metadata")
        .and_then(|metadata| metadata.get_mut("annotations"))
        .and_then(Value::as_object_mut)
    {
        annotations.remove(ANNOTATION);
    }
    annotations.insert(ANNOTATION.to_owned(), format!("{patch}\n").into());
    let size: usize = annotations
        .iter()
        .map(|(name, value)| name.len() + value.as_str().map_or(0, str::len))
        .sum();
    if size > MAX_ANNOTATIONS {
        annotations.remove(ANNOTATION);
    }
}
