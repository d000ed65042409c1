//! Managed fields: who owns which field of an object, and server-side apply.
//!
//! The order of work is that of apimachinery's `pkg/util/managedfields/internal`, the rules of merging and ownership
//! are those of `merge/update.go` of structured-merge-diff. Time comes from the caller.

mod apply;
mod fieldset;
mod last_applied;
mod managers;
mod typed;

use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::apiserver::schema::Resource;

pub use apply::{ApplyError, ApplyOptions, Cause, apply};
pub use fieldset::{FieldSet, Item, Node, Scalar, Step, display_path, go_json, quote};
use managers::{Managed, ManagerId, Operation, Owned};

/// How a write that is not an apply is made.
#[derive(Clone, Copy, Debug)]
pub struct UpdateOptions<'a> {
    /// The field manager.
    pub manager: &'a str,
    /// The subresource that is written, or nothing.
    pub subresource: &'a str,
    /// The time of the write, as `metadata.managedFields` has it.
    pub time: &'a str,
}

/// Gives an object that was created, put or patched its `metadata.managedFields`: the writer takes what differs from
/// the live object (`Update` of `fieldmanager.go`). Without a live object, the write is a creation.
///
/// The new object has been defaulted, and pruned, but the strategy has not yet reset what the write may not touch:
/// those fields are left to their owners here too.
#[must_use]
pub fn update(
    resource: &Resource,
    live: Option<&Value>,
    mut new: Value,
    options: &UpdateOptions<'_>,
) -> Value {
    let requested = take_managed_fields(&mut new);
    let kept = live.and_then(managed_fields);
    let of_live = || Managed::decode(kept).unwrap_or_default();
    // A client may set managed fields itself, but not through a subresource (`decodeLiveOrNew`).
    let managed = if !options.subresource.is_empty() {
        of_live()
    } else if requested.as_ref().is_some_and(is_reset) {
        Managed::default()
    } else {
        match Managed::decode(requested.as_ref()) {
            Ok(managed) if !managed.is_empty() => managed,
            _ => of_live(),
        }
    };
    // An object whose managed fields were removed stays without until somebody applies it (`skipnonapplied.go`).
    if managed.is_empty() && live.is_some() {
        return new;
    }
    let before = live.unwrap_or(&resource.empty);
    // Objects that do not fit the schema lose their managed fields (`UpdateNoErrors`). Most are refused later, but not
    // those in which only what is reset is wrong.
    let (schema, root) = (&resource.schema, resource.schema.root());
    let fits = |object: &Value| typed::validate(schema, root, object, true).is_empty();
    if fits(&new) && fits(before) {
        let managed = update_managed(resource, before, &new, managed, options);
        put_managed_fields(&mut new, &managed);
    }
    new
}

/// Takes back changed times where nothing else has changed, so that a write without effect is none
/// (`IgnoreManagedFieldsTimestampsTransformer` of `pkg/endpoints/handlers/fieldmanager/equality.go`). The server does
/// so after the strategy has prepared the object, before it is validated.
pub fn keep_times(live: &Value, new: &mut Value) {
    let (Some(Value::Array(old)), Some(Value::Array(current))) =
        (managed_fields(live), managed_fields(new))
    else {
        return;
    };
    let same_but_time = |old: &Value, new: &Value| match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let count =
                |entry: &Map<String, Value>| entry.len() - usize::from(entry.contains_key("time"));
            count(old) == count(new)
                && old
                    .iter()
                    .all(|(key, value)| key == "time" || new.get(key) == Some(value))
        }
        _ => false,
    };
    let same = old.len() == current.len()
        && !old.is_empty()
        && old != current
        && old.iter().zip(current).all(|(o, n)| same_but_time(o, n))
        && same_but_managed_fields(live, new);
    if same {
        let old = Value::Array(old.clone());
        if let Some(metadata) = new.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("managedFields".to_owned(), old);
        }
    }
}

fn same_but_managed_fields(left: &Value, right: &Value) -> bool {
    let (Value::Object(l), Value::Object(r)) = (left, right) else {
        return false;
    };
    let same = |l: &Map<String, Value>, r: &Map<String, Value>, but: &str| {
        l.len() == r.len()
            && l.iter()
                .all(|(key, value)| key == but || r.get(key) == Some(value))
    };
    let metadata = match (l.get("metadata"), r.get("metadata")) {
        (Some(Value::Object(l)), Some(Value::Object(r))) => same(l, r, "managedFields"),
        _ => false,
    };
    metadata && same(l, r, "metadata")
}

/// What the chain of managers below the field manager does on an update: `capmanagers.go`, `buildmanagerinfo.go`,
/// `managedfieldsupdater.go`, `stripmeta.go` and `structuredmerge.go`.
fn update_managed(
    resource: &Resource,
    live: &Value,
    new: &Value,
    managed: Managed,
    options: &UpdateOptions<'_>,
) -> Managed {
    let api_version = resource.api_version();
    let id = ManagerId {
        manager: match options.manager {
            "" => "unknown".to_owned(),
            name => name.to_owned(),
        },
        operation: Operation::Update,
        api_version: api_version.clone(),
        subresource: options.subresource.to_owned(),
    };
    let mut managed = reconcile(resource, managed);
    let comparison = managers::compare(resource, live, new, options.subresource);
    managers::take(&mut managed, &comparison, None);
    let mut changed = comparison.modified;
    changed.unite(&comparison.added);
    strip_meta(&mut changed);
    if !changed.is_empty() {
        match managed.entries.get_mut(&id) {
            Some(owned) => {
                owned.set.unite(&changed);
                owned.time = Some(options.time.to_owned());
            }
            None => {
                let owned = Owned {
                    set: changed,
                    api_version,
                    time: Some(options.time.to_owned()),
                };
                managed.entries.insert(id, owned);
            }
        }
    }
    managed.cap();
    managed
}

/// Brings the field sets in line with the schema, and drops those of another group
/// (`reconcileManagedFieldsWithSchemaChanges` of `merge/update.go`).
fn reconcile(resource: &Resource, mut managed: Managed) -> Managed {
    managed.entries.retain(|_, owned| {
        let group = owned.api_version.rsplit_once('/').map_or("", |(g, _)| g);
        group == resource.group
    });
    for owned in managed.entries.values_mut() {
        if let Some(set) = typed::reconcile(&resource.schema, resource.schema.root(), &owned.set) {
            owned.set = set;
        }
    }
    managed
}

/// Removes what nobody owns (`stripmeta.go`).
fn strip_meta(set: &mut FieldSet) {
    static STRIPPED: LazyLock<FieldSet> = LazyLock::new(|| {
        FieldSet::of(&[
            &["apiVersion"],
            &["kind"],
            &["metadata"],
            &["metadata", "name"],
            &["metadata", "namespace"],
            &["metadata", "creationTimestamp"],
            &["metadata", "selfLink"],
            &["metadata", "uid"],
            &["metadata", "clusterName"],
            &["metadata", "generation"],
            &["metadata", "managedFields"],
            &["metadata", "resourceVersion"],
        ])
    });
    set.subtract(&STRIPPED);
}

fn managed_fields(object: &Value) -> Option<&Value> {
    object.get("metadata")?.get("managedFields")
}

fn take_managed_fields(object: &mut Value) -> Option<Value> {
    object
        .get_mut("metadata")?
        .as_object_mut()?
        .remove("managedFields")
}

fn put_managed_fields(object: &mut Value, managed: &Managed) {
    take_managed_fields(object);
    let (Some(encoded), Value::Object(object)) = (managed.encode(), object) else {
        return;
    };
    let metadata = object
        .entry("metadata")
        .or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(metadata) = metadata {
        metadata.insert("managedFields".to_owned(), encoded);
    }
}

/// Whether a client asks for managed fields to be forgotten (`isResetManagedFields` of `fieldmanager.go`).
fn is_reset(managed_fields: &Value) -> bool {
    match managed_fields {
        Value::Array(entries) => match entries.as_slice() {
            [] => true,
            [Value::Object(entry)] => entry.is_empty(),
            _ => false,
        },
        _ => false,
    }
}
