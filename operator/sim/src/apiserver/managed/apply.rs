//! Server-side apply (`Apply` of `structuredmerge.go` and `merge/update.go`).

use serde_json::Value;

use super::fieldset::{FieldSet, Step, display_path, equal};
use super::managers::{self, Managed, ManagerId, Operation, Owned};
use super::{UpdateOptions, last_applied, managed_fields, typed};
use crate::apiserver::schema::Resource;

/// How an object is applied.
#[derive(Clone, Copy)]
pub struct ApplyOptions<'a> {
    /// The field manager.
    pub manager: &'a str,
    /// Whether to take what others own.
    pub force: bool,
    /// The subresource that is applied, or nothing.
    pub subresource: &'a str,
    /// The time of the write, as `metadata.managedFields` has it.
    pub time: &'a str,
    /// What the server does with the merged object before the strategy sees it. For a custom resource that is its
    /// schema's defaulting, without pruning. For a builtin one it is decoding into the Go type, which drops nulls and
    /// what is empty, and defaulting.
    pub normalize: &'a dyn Fn(&mut Value),
}

impl std::fmt::Debug for ApplyOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApplyOptions")
            .field("manager", &self.manager)
            .field("force", &self.force)
            .field("subresource", &self.subresource)
            .field("time", &self.time)
            .finish_non_exhaustive()
    }
}

/// A field that the applied object wants and another manager owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// `conflict with "kubectl" using apps/v1`.
    pub message: String,
    /// The path of the field.
    pub field: String,
}

/// Why an object is not applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Status 400, reason `BadRequest`.
    #[error("{0}")]
    BadRequest(String),
    /// Status 409, reason `Conflict`: other managers own what is applied.
    #[error("{message}")]
    Conflict {
        /// The message of the status.
        message: String,
        /// The causes in its details, all of type `FieldManagerConflict`.
        causes: Vec<Cause>,
    },
    /// Status 500 without a reason: the objects do not fit their schema.
    #[error("{0}")]
    Internal(String),
}

/// A conflict with every field in it.
pub(super) type Conflicts = Vec<(ManagerId, Vec<Step>)>;

/// Why the structured merge stops.
pub(super) enum Stop {
    Conflicts(Conflicts),
    Error(ApplyError),
}

impl From<Stop> for ApplyError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Error(error) => error,
            Stop::Conflicts(conflicts) => conflict_error(&conflicts),
        }
    }
}

/// Merges an applied object into the live one. The result has its `metadata.managedFields`; it equals the live object
/// where the apply changes nothing, but for times that [`super::keep_times`] takes back.
///
/// # Errors
///
/// Where the API server answers with a status.
pub fn apply(
    resource: &Resource,
    live: Option<&Value>,
    patch: &Value,
    options: &ApplyOptions<'_>,
) -> Result<Value, ApplyError> {
    let mut managed = Managed::decode(live.and_then(managed_fields)).map_err(|error| {
        ApplyError::Internal(format!("failed to decode managed fields: {error}"))
    })?;
    check_kind(resource, patch)?;
    if managed.is_empty()
        && let Some(live) = live
    {
        // What an object without managed fields has belongs to a manager of its own (`skipnonapplied.go`).
        let options = UpdateOptions {
            manager: "before-first-apply",
            subresource: options.subresource,
            time: options.time,
        };
        managed = super::update_managed(resource, &resource.empty, live, managed, &options);
    }
    let live = live.unwrap_or(&resource.empty);
    let applied = match merge(
        resource,
        live,
        patch,
        managed.clone(),
        options,
        options.force,
    ) {
        // An object that `kubectl apply` wrote on the client's side changes over without conflicts.
        Err(Stop::Conflicts(conflicts)) if options.manager == last_applied::MANAGER => {
            match last_applied::not_allowed(resource, live, conflicts) {
                Ok(()) => merge(resource, live, patch, managed, options, true)?,
                Err(conflicts) => return Err(conflict_error(&conflicts)),
            }
        }
        other => other?,
    };
    let (object, managed) = applied;
    let mut object = object.unwrap_or_else(|| live.clone());
    if options.manager == last_applied::MANAGER {
        last_applied::refresh(&mut object, patch);
    }
    super::put_managed_fields(&mut object, &managed);
    Ok(object)
}

/// The text of an object's group, version and kind as Go prints it.
fn display_kind(resource: &Resource) -> String {
    format!(
        "{}/{}, Kind={}",
        resource.group, resource.version, resource.kind
    )
}

/// `versioncheck.go`.
fn check_kind(resource: &Resource, patch: &Value) -> Result<(), ApplyError> {
    let text = |name: &str| patch.get(name).and_then(Value::as_str).unwrap_or("");
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    if api_version == resource.api_version() && kind == resource.kind {
        return Ok(());
    }
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    Err(ApplyError::BadRequest(format!(
        "invalid object type: {group}/{version}, Kind={kind}"
    )))
}

fn describe(resource: &Resource, object: &Value) -> String {
    let text = |name: &str| object["metadata"][name].as_str().unwrap_or("");
    let (namespace, name) = (text("namespace"), text("name"));
    format!("{namespace}/{name}; {}", display_kind(resource))
}

/// The merged and normalized object, or nothing when it is the live one, and who owns what of it.
type Applied = (Option<Value>, Managed);

fn merge(
    resource: &Resource,
    live: &Value,
    patch: &Value,
    managed: Managed,
    options: &ApplyOptions<'_>,
    force: bool,
) -> Result<Applied, Stop> {
    let schema = &resource.schema;
    let root = schema.root();
    if managed_fields(patch).is_some_and(Value::is_array) {
        let message = "metadata.managedFields must be nil".to_owned();
        return Err(Stop::Error(ApplyError::BadRequest(message)));
    }
    for (what, object, allow_duplicates) in [("patch", patch, false), ("live", live, true)] {
        let errors = typed::validate(schema, root, object, allow_duplicates);
        if !errors.is_empty() {
            return Err(Stop::Error(ApplyError::Internal(format!(
                "failed to create typed {what} object ({}): {}",
                describe(resource, object),
                typed::join_errors(&errors)
            ))));
        }
    }
    let mut managed = super::reconcile(resource, managed);
    let merged = typed::merge(schema, root, live, patch);
    let mut set = typed::field_set(schema, root, patch);
    set.subtract_recursively(resource.reset_fields(options.subresource));
    let id = ManagerId {
        manager: match options.manager {
            "" => "unknown".to_owned(),
            name => name.to_owned(),
        },
        operation: Operation::Apply,
        api_version: String::new(),
        subresource: options.subresource.to_owned(),
    };
    let last = managed.entries.remove(&id);
    let owned = Owned {
        set,
        api_version: resource.api_version(),
        time: last.as_ref().and_then(|last| last.time.clone()),
    };
    // Who applies all that they applied before gives nothing up. `prune` would find out by itself, but slowly.
    let given_up = last
        .map(|last| last.set)
        .filter(|last| !last.is_subset(&owned.set));
    managed.entries.insert(id.clone(), owned);
    let mut merged = prune(resource, merged, &managed, given_up);
    let comparison = managers::compare(resource, live, &merged, options.subresource);
    if !force {
        let conflicts = managers::conflicts(&managed, &comparison, &id);
        if !conflicts.is_empty() {
            return Err(Stop::Conflicts(conflicts));
        }
    }
    managers::take(&mut managed, &comparison, Some(&id));
    let changed = !equal(live, &merged);
    let mut stripped = false;
    if let Some(owned) = managed.entries.get_mut(&id) {
        super::strip_meta(&mut owned.set);
        stripped = owned.set.is_empty();
        if changed {
            owned.time = Some(options.time.to_owned());
        }
    }
    if stripped {
        managed.entries.remove(&id);
    }
    if !changed {
        return Ok((None, managed));
    }
    (options.normalize)(&mut merged);
    Ok((Some(merged), managed))
}

/// Removes what the manager applied last time, does not apply now and nobody else owns (`prune` of
/// `merge/update.go`).
fn prune(resource: &Resource, merged: Value, managed: &Managed, last: Option<FieldSet>) -> Value {
    let schema = &resource.schema;
    let root = schema.root();
    let Some(last) = last.filter(|last| !last.is_empty()) else {
        return merged;
    };
    let last = last.with_declared_fields(schema, Some(root));
    let fields = |value: &Value| {
        typed::field_set(schema, root, value).with_declared_fields(schema, Some(root))
    };
    let merged_set = fields(&merged);
    let pruned = typed::remove(schema, root, &merged, &last);

    // What others own, or the manager still applies, comes back.
    let mut owned = FieldSet::default();
    for other in managed.entries.values() {
        owned.unite(&other.set);
    }
    let mut unowned = merged_set.clone();
    unowned.subtract(&fields(&pruned));
    unowned.subtract(&owned.with_declared_fields(schema, Some(root)));
    let pruned = typed::remove(schema, root, &merged, &unowned);

    // So does what the manager did not own in the first place.
    let mut dropped = merged_set;
    dropped.subtract(&fields(&pruned));
    let dropped = dropped.intersection(&last);
    if dropped.is_empty() {
        merged
    } else {
        typed::remove(schema, root, &merged, &dropped)
    }
}

/// `conflict.go`.
fn conflict_error(conflicts: &Conflicts) -> ApplyError {
    let causes = conflicts
        .iter()
        .map(|(id, path)| Cause {
            message: format!("conflict with {}", id.display()),
            field: display_path(path),
        })
        .collect();
    let message = match conflicts.as_slice() {
        [(id, path)] => format!(
            "Apply failed with 1 conflict: conflict with {}: {}",
            id.display(),
            display_path(path)
        ),
        _ => {
            let mut lines = Vec::new();
            let mut last = None;
            for (id, path) in conflicts {
                if last != Some(id) {
                    lines.push(format!("conflicts with {}:", id.display()));
                    last = Some(id);
                }
                lines.push(format!("- {}", display_path(path)));
            }
            format!(
                "Apply failed with {} conflicts: {}",
                conflicts.len(),
                lines.join("\n")
            )
        }
    };
    ApplyError::Conflict { message, causes }
}
