//! The managers of an object and what each owns (`managedfields.go`, `capmanagers.go` and `buildmanagerinfo.go` of
//! apimachinery).

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::fieldset::{FieldSet, Step, quote};
use super::typed::{self, Comparison};
use crate::apiserver::schema::Resource;

/// How many managers that update an object are told apart.
const MAX_UPDATE_MANAGERS: usize = 10;

/// How a manager writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

impl Operation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// What tells entries of managed fields apart (`BuildManagerIdentifier` of `managedfields.go`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ManagerId {
    pub manager: String,
    pub operation: Operation,
    /// Empty for those that apply: an applier stays the same when it changes version.
    pub api_version: String,
    pub subresource: String,
}

impl Ord for ManagerId {
    /// The order of the identifiers' JSON, in which the object goes on where there is a subresource, and a comma comes
    /// before a closing brace.
    fn cmp(&self, other: &Self) -> Ordering {
        let plain = |id: &Self| id.subresource.is_empty();
        self.manager
            .cmp(&other.manager)
            .then(self.operation.cmp(&other.operation))
            .then_with(|| self.api_version.cmp(&other.api_version))
            .then(plain(self).cmp(&plain(other)))
            .then_with(|| self.subresource.cmp(&other.subresource))
    }
}

impl PartialOrd for ManagerId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl ManagerId {
    /// `printManager` of `conflict.go`.
    pub(super) fn display(&self) -> String {
        let mut text = quote(&self.manager);
        if !self.subresource.is_empty() {
            text.push_str(&format!(" with subresource {}", quote(&self.subresource)));
        }
        if self.operation == Operation::Update {
            text.push_str(&format!(" using {}", self.api_version));
        }
        text
    }
}

/// What a manager owns.
#[derive(Clone, Debug)]
pub(super) struct Owned {
    pub set: FieldSet,
    pub api_version: String,
    pub time: Option<String>,
}

/// All managers of an object.
#[derive(Clone, Debug, Default)]
pub(super) struct Managed {
    pub entries: BTreeMap<ManagerId, Owned>,
}

impl Managed {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Reads `metadata.managedFields`.
    pub(super) fn decode(managed_fields: Option<&Value>) -> Result<Self, String> {
        let mut managed = Self::default();
        let entries = managed_fields.and_then(Value::as_array);
        for (index, entry) in entries.into_iter().flatten().enumerate() {
            let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or("");
            let operation = match text("operation") {
                "Apply" => Operation::Apply,
                "Update" => Operation::Update,
                _ => return Err("operation must be `Apply` or `Update`".to_owned()),
            };
            let api_version = text("apiVersion");
            if api_version.is_empty() {
                return Err("apiVersion must not be empty".to_owned());
            }
            match text("fieldsType") {
                "FieldsV1" => {}
                "" => {
                    return Err(format!(
                        "missing fieldsType in managed fields entry {index}"
                    ));
                }
                other => {
                    return Err(format!(
                        "invalid fieldsType {} in managed fields entry {index}",
                        quote(other)
                    ));
                }
            }
            let set = match entry.get("fieldsV1") {
                None | Some(Value::Null) => FieldSet::default(),
                Some(fields) => FieldSet::from_json(fields)
                    .map_err(|error| format!("error decoding versioned set: {error}"))?,
            };
            let id = ManagerId {
                manager: text("manager").to_owned(),
                operation,
                api_version: match operation {
                    Operation::Apply => String::new(),
                    Operation::Update => api_version.to_owned(),
                },
                subresource: text("subresource").to_owned(),
            };
            let owned = Owned {
                set,
                api_version: api_version.to_owned(),
                time: entry.get("time").and_then(Value::as_str).map(str::to_owned),
            };
            managed.entries.insert(id, owned);
        }
        Ok(managed)
    }

    /// Writes `metadata.managedFields`, sorted by operation, time and manager.
    pub(super) fn encode(&self) -> Option<Value> {
        if self.entries.is_empty() {
            return None;
        }
        let mut entries: Vec<(&ManagerId, &Owned)> = self.entries.iter().collect();
        entries.sort_by(|(l, lo), (r, ro)| {
            l.operation
                .cmp(&r.operation)
                .then_with(|| lo.time.cmp(&ro.time))
                .then_with(|| l.manager.cmp(&r.manager))
                .then_with(|| lo.api_version.cmp(&ro.api_version))
                .then_with(|| l.subresource.cmp(&r.subresource))
        });
        let entries = entries.into_iter().map(|(id, owned)| {
            let mut entry = Map::new();
            let mut put = |name: &str, value: &str| {
                if !value.is_empty() {
                    entry.insert(name.to_owned(), value.into());
                }
            };
            put("manager", &id.manager);
            put("operation", id.operation.as_str());
            put("apiVersion", &owned.api_version);
            put("time", owned.time.as_deref().unwrap_or(""));
            put("fieldsType", "FieldsV1");
            put("subresource", &id.subresource);
            entry.insert("fieldsV1".to_owned(), owned.set.to_json());
            Value::Object(entry)
        });
        Some(entries.collect())
    }

    /// Merges the oldest of too many managers that update (`capmanagers.go`).
    pub(super) fn cap(&mut self) {
        let updaters = self.entries.iter();
        let updaters = updaters.filter(|(id, _)| id.operation == Operation::Update);
        let mut updaters: Vec<(Option<String>, ManagerId)> = updaters
            .map(|(id, owned)| (owned.time.clone(), id.clone()))
            .collect();
        let mut count = updaters.len();
        if count <= MAX_UPDATE_MANAGERS {
            return;
        }
        updaters.sort();
        let mut first_of_version: BTreeMap<String, ManagerId> = BTreeMap::new();
        for (time, id) in updaters {
            if count <= MAX_UPDATE_MANAGERS {
                break;
            }
            let version = id.api_version.clone();
            let Some(first) = first_of_version.get(&version) else {
                first_of_version.insert(version, id);
                continue;
            };
            let bucket = ManagerId {
                manager: "ancient-changes".to_owned(),
                operation: Operation::Update,
                api_version: version,
                subresource: String::new(),
            };
            if !self.entries.contains_key(&bucket)
                && let Some(owned) = self.entries.remove(first)
            {
                self.entries.insert(bucket.clone(), owned);
            }
            let merged = self.entries.remove(&id);
            count -= 1;
            // Where the bucket itself is not the oldest, upstream merges it into itself and loses it; so do we.
            if let (Some(merged), Some(owned)) = (merged, self.entries.get_mut(&bucket)) {
                owned.set.unite(&merged.set);
                // The entry that is merged is the younger one.
                owned.time = time;
            }
        }
    }
}

/// Compares two objects, without what the strategy resets.
pub(super) fn compare(
    resource: &Resource,
    live: &Value,
    new: &Value,
    subresource: &str,
) -> Comparison {
    let mut comparison = typed::compare(&resource.schema, resource.schema.root(), live, new);
    let reset = resource.reset_fields(subresource);
    if !reset.is_empty() {
        comparison.removed.subtract_recursively(reset);
        comparison.modified.subtract_recursively(reset);
        comparison.added.subtract_recursively(reset);
    }
    comparison
}

/// Takes from every other manager what a write changes (`update` of `merge/update.go`).
pub(super) fn take(managed: &mut Managed, comparison: &Comparison, but: Option<&ManagerId>) {
    managed.entries.retain(|id, owned| {
        if Some(id) != but {
            owned.set.subtract(&comparison.modified);
            owned.set.subtract(&comparison.added);
            owned.set.subtract(&comparison.removed);
        }
        !owned.set.is_empty()
    });
}

/// What of a write belongs to other managers, sorted by manager.
pub(super) fn conflicts(
    managed: &Managed,
    comparison: &Comparison,
    id: &ManagerId,
) -> Vec<(ManagerId, Vec<Step>)> {
    let mut changed = comparison.modified.clone();
    changed.unite(&comparison.added);
    let mut conflicts = Vec::new();
    for (other, owned) in &managed.entries {
        if other != id {
            let paths = owned.set.intersection(&changed).paths();
            conflicts.extend(paths.into_iter().map(|path| (other.clone(), path)));
        }
    }
    conflicts
}
