//! What must hold at the end of every run, and at every moment of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use todo_operator_core::names::FIELD_MANAGER;

use crate::actor::text;
use crate::apiserver::server::metadata;
use crate::apiserver::store::{Change, Key, Store};
use crate::world::{PERSON, World};

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{oracle}: {what}")]
pub struct Violation {
    /// Which promise: the name that tables use.
    pub oracle: &'static str,
    /// How it was broken.
    pub what: String,
}

impl Violation {
    /// A violation.
    pub fn new(oracle: &'static str, what: impl Into<String>) -> Self {
        Self {
            oracle,
            what: what.into(),
        }
    }
}

/// The state that a run ended in, with what differs from run to run taken out; by kind, namespace and name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EndState {
    objects: BTreeMap<String, Value>,
    /// Pod templates that each workload ever had, by the hash in the names of its ReplicaSets.
    templates: BTreeMap<String, BTreeSet<String>>,
    /// How often each object that stays was made.
    made: BTreeMap<String, usize>,
    /// The images that each workload was told to run, one after the other.
    releases: BTreeMap<String, Vec<String>>,
    topics: Value,
}

/// Kinds that come and go by themselves, or tell of the way and not of the end.
const PASSING: [&str; 5] = ["Event", "Lease", "Pod", "ReplicaSet", "AnalysisRun"];

/// Takes the end state of a world.
pub fn end_state(world: &World) -> EndState {
    let mut end = world.server.read(|store| {
        let uids: BTreeMap<String, String> = store
            .all()
            .map(|(_, object)| (text(object, "uid").to_owned(), name(object)))
            .collect();
        let objects = store
            .all()
            .filter(|(_, object)| !is_passing(object))
            .map(|(_, object)| (name(object), masked(object, &uids)))
            .collect();
        EndState {
            objects,
            templates: templates(store),
            made: made(store),
            releases: releases(store),
            topics: Value::Null,
        }
    });
    end.topics = world.knobs.kafka.topics();
    end
}

fn is_passing(object: &Value) -> bool {
    PASSING.iter().any(|kind| object["kind"] == *kind)
}

fn name(object: &Value) -> String {
    let kind = object["kind"].as_str().unwrap_or_default();
    let namespace = text(object, "namespace");
    format!("{kind} {namespace}/{}", text(object, "name"))
}

/// An object without what chance and time decide.
fn masked(object: &Value, names: &BTreeMap<String, String>) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in ["uid", "resourceVersion", "creationTimestamp", "generation"] {
            metadata.remove(field);
        }
        // Who else wrote is part of the way: a controller owns what it once had to change.
        if let Some(managers) = metadata
            .get_mut("managedFields")
            .and_then(Value::as_array_mut)
        {
            managers.retain(|manager| manager["manager"] == FIELD_MANAGER);
            for manager in managers.iter_mut().filter_map(Value::as_object_mut) {
                manager.remove("time");
            }
        }
    }
    mask(&mut object, names);
    object
}

fn mask(value: &mut Value, names: &BTreeMap<String, String>) {
    match value {
        Value::String(string) => {
            if let Some(name) = names.get(string) {
                *string = format!("<uid of {name}>");
            } else if string.parse::<jiff::Timestamp>().is_ok() {
                "<time>".clone_into(string);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| mask(item, names)),
        Value::Object(fields) => {
            // An owner's UID is also in the names of managed fields.
            let keys: Vec<String> = fields
                .keys()
                .filter(|key| key.contains("uid"))
                .cloned()
                .collect();
            for key in keys {
                let masked = names
                    .iter()
                    .find(|(uid, _)| !uid.is_empty() && key.contains(uid.as_str()));
                if let (Some((uid, name)), Some(value)) = (masked, fields.remove(&key)) {
                    fields.insert(key.replace(uid, name), value);
                }
            }
            for (field, value) in fields.iter_mut() {
                match field.as_str() {
                    "observedGeneration" => *value = json!("<generation>"),
                    // The analysis may be seen before or after the abort that it caused.
                    "measurement" => *value = json!("<measurement>"),
                    "message" => cut_after(value, "was rejected: RolloutAborted: "),
                    "clusterIP" | "clusterIPs" => *value = json!("<address>"),
                    // How many templates a workload has had: those that it should not have had are told apart.
                    "deployment.kubernetes.io/revision" | "rollout.argoproj.io/revision" => {
                        *value = json!("<count>")
                    }
                    _ => mask(value, names),
                }
            }
        }
        _ => {}
    }
}

fn cut_after(value: &mut Value, words: &str) {
    if let Value::String(text) = value
        && let Some(at) = text.find(words)
    {
        text.truncate(at + words.len());
    }
}

/// The pod templates that each workload ever had.
fn templates(store: &Store) -> BTreeMap<String, BTreeSet<String>> {
    let mut templates: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let Some(id) = store.find("apps", "replicasets") else {
        return templates;
    };
    for change in store.changes_after(id, 0) {
        if let (None, Some(object)) = (&change.before, &change.after) {
            let name = text(object, "name");
            let (workload, hash) = name.rsplit_once('-').unwrap_or((name, ""));
            templates
                .entry(workload.to_owned())
                .or_default()
                .insert(hash.to_owned());
        }
    }
    templates
}

/// How often each object that stays was made.
fn made(store: &Store) -> BTreeMap<String, usize> {
    let mut made = BTreeMap::new();
    for change in store.resources().flat_map(|id| store.changes_after(id, 0)) {
        if let (None, Some(object)) = (&change.before, &change.after)
            && !is_passing(object)
        {
            *made.entry(name(object)).or_default() += 1;
        }
    }
    made
}

/// The images that each workload was told to run, one after the other.
fn releases(store: &Store) -> BTreeMap<String, Vec<String>> {
    let mut releases: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let kinds = [("apps", "deployments"), ("argoproj.io", "rollouts")];
    let ids = kinds
        .iter()
        .filter_map(|(group, plural)| store.find(group, plural));
    for object in ids
        .flat_map(|id| store.changes_after(id, 0))
        .filter_map(|change| change.after.as_deref())
    {
        let image = object.pointer("/spec/template/spec/containers/0/image");
        let image = image.and_then(Value::as_str).unwrap_or_default();
        let images = releases.entry(name(object)).or_default();
        if images.last().is_none_or(|last| last != image) {
            images.push(image.to_owned());
        }
    }
    releases
}

impl fmt::Display for EndState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.objects
            .iter()
            .try_for_each(|(name, object)| writeln!(f, "{name} {object}"))
    }
}

impl EndState {
    /// Compares with the state that the same scenario ends in when nothing goes wrong.
    pub fn compare(&self, expected: &Self) -> Result<(), Violation> {
        let names: BTreeSet<&String> = self.objects.keys().chain(expected.objects.keys()).collect();
        for name in names {
            match (self.objects.get(name), expected.objects.get(name)) {
                (Some(found), Some(wanted)) if found == wanted => {}
                (Some(found), Some(wanted)) => {
                    let difference = difference(found, wanted, String::new());
                    return Err(Violation::new("end state", format!("{name}{difference}")));
                }
                (None, _) => return Err(Violation::new("end state", format!("{name} is missing"))),
                (_, None) => {
                    return Err(Violation::new(
                        "end state",
                        format!("{name} should not be there"),
                    ));
                }
            }
        }
        if self.topics != expected.topics {
            let difference = difference(&self.topics, &expected.topics, String::new());
            return Err(Violation::new("end state", format!("topics{difference}")));
        }
        Ok(())
    }

    /// Without what is kept of former releases, and what other controllers say of the way.
    pub fn without_history(mut self) -> Self {
        let kept = ["ConfigMap", "ControllerRevision", "Job"];
        self.objects
            .retain(|_, object| !kept.iter().any(|kind| object["kind"] == *kind));
        for object in self.objects.values_mut() {
            metadata(object).remove("managedFields");
        }
        self.without_peers_words()
    }

    /// Without what other controllers say of how it came to be.
    pub fn without_peers_words(mut self) -> Self {
        for object in self.objects.values_mut() {
            let is_ours = object["apiVersion"]
                .as_str()
                .is_some_and(|version| version.starts_with("todo-operator.dev/"));
            if let (false, Some(object)) = (is_ours, object.as_object_mut()) {
                object.remove("status");
            }
        }
        self
    }

    /// No object that is there at the end was deleted and made anew.
    pub fn compare_made(&self, expected: &Self) -> Result<(), Violation> {
        let often = self.made.iter().find(|(name, times)| {
            let made = expected.made.get(*name);
            self.objects.contains_key(*name) && made.is_some_and(|expected| expected < times)
        });
        match often {
            Some((name, times)) => {
                let what = format!("{name} was made {times} times");
                Err(Violation::new("needless re-creation", what))
            }
            None => Ok(()),
        }
    }

    /// No pod had a template that it would not have had if nothing had gone wrong.
    pub fn compare_pods(&self, expected: &Self) -> Result<(), Violation> {
        for (workload, found) in &self.templates {
            let wanted = expected.templates.get(workload);
            if wanted != Some(found) {
                let what = format!(
                    "{workload} had the pod templates {found:?}, and {wanted:?} without faults"
                );
                return Err(Violation::new("needless restart", what));
            }
        }
        for (workload, found) in &self.releases {
            let wanted = expected.releases.get(workload);
            if wanted != Some(found) {
                let what =
                    format!("{workload} ran {found:?} in turn, and {wanted:?} without faults");
                return Err(Violation::new("needless release", what));
            }
        }
        Ok(())
    }
}

/// The first place where two values differ.
fn difference(found: &Value, wanted: &Value, path: String) -> String {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => {
            let fields: BTreeSet<&String> = found.keys().chain(wanted.keys()).collect();
            for field in fields {
                let path = format!("{path}.{field}");
                match (found.get(field), wanted.get(field)) {
                    (Some(found), Some(wanted)) if found == wanted => {}
                    (Some(found), Some(wanted)) => return difference(found, wanted, path),
                    (found, wanted) => return both(found, wanted, &path),
                }
            }
            String::new()
        }
        (Value::Array(found), Value::Array(wanted)) if found.len() == wanted.len() => found
            .iter()
            .zip(wanted)
            .enumerate()
            .find(|(_, (found, wanted))| found != wanted)
            .map(|(i, (found, wanted))| difference(found, wanted, format!("{path}[{i}]")))
            .unwrap_or_default(),
        (found, wanted) => both(Some(found), Some(wanted), &path),
    }
}

fn both(found: Option<&Value>, wanted: Option<&Value>, path: &str) -> String {
    let show = |value: Option<&Value>| value.map_or("nothing".to_owned(), Value::to_string);
    format!("{path} is {}, not {}", show(found), show(wanted))
}

/// Kinds that hold data.
const STATEFUL: [(&str, &str); 5] = [
    ("postgresql.cnpg.io", "clusters"),
    ("postgresql.cnpg.io", "databases"),
    ("postgresql.cnpg.io", "databaseroles"),
    ("kafka.strimzi.io", "kafkatopics"),
    ("", "namespaces"),
];

/// Nothing that holds data was deleted or shrunk.
pub fn keeps_data(world: &World) -> Result<(), Violation> {
    let violation = |what: String| Err(Violation::new("data kept", what));
    let lost = world.server.read(|store| {
        STATEFUL
            .iter()
            .filter_map(|(group, plural)| store.find(group, plural))
            .flat_map(|id| store.changes_after(id, 0))
            .find_map(|change| {
                let before = change.before.as_ref()?;
                let Some(after) = &change.after else {
                    return Some(format!("{} was deleted", name(before)));
                };
                shrunk(before, after).map(|field| format!("{field} of {} shrank", name(before)))
            })
    });
    if let Some(what) = lost {
        return violation(what);
    }
    let mut losses = world.knobs.kafka.losses();
    losses.extend(world.knobs.postgres.losses());
    losses.into_iter().next().map_or(Ok(()), violation)
}

fn shrunk(before: &Value, after: &Value) -> Option<&'static str> {
    ["/spec/storage/size", "/spec/partitions"]
        .into_iter()
        .find(
            |pointer| match (size(before, pointer), size(after, pointer)) {
                (Some(before), Some(after)) => after < before,
                _ => false,
            },
        )
}

fn size(object: &Value, pointer: &str) -> Option<i64> {
    match object.pointer(pointer)? {
        Value::Number(number) => number.as_i64(),
        Value::String(quantity) => quantity.trim_end_matches("Gi").parse().ok(),
        _ => None,
    }
}

/// Nothing of an application was written after a version.
pub fn untouched(world: &World, app: &str, since: u64) -> Result<(), Violation> {
    let touched = world.server.read(|store| {
        store.resources().find_map(|id| {
            store.changes_after(id, since).iter().find_map(|change| {
                let object = change.after.as_ref().or(change.before.as_ref())?;
                let is_of = |label: &str| object["metadata"]["labels"][label].as_str() == Some(app);
                let is_app = object["kind"] == "TodoApp" && text(object, "name") == app;
                (is_app || is_of(todo_operator_core::names::LABEL_APP)).then(|| {
                    let what = match (&change.before, &change.after) {
                        (Some(before), Some(after)) => difference(after, before, String::new()),
                        (None, _) => " was made".to_owned(),
                        (_, None) => " was deleted".to_owned(),
                    };
                    format!("{}{what}", name(object))
                })
            })
        })
    });
    match touched {
        Some(what) => Err(Violation::new("others unaffected", what)),
        None => Ok(()),
    }
}

/// At every moment since a Rollout's stable version first served, one of its pods is ready: also while a canary is on its
/// way, and when it is rejected.
pub fn stable_serves(world: &World) -> Result<(), Violation> {
    let gap = world.server.read(|store| {
        let kinds = [("argoproj.io", "rollouts"), ("", "pods")];
        let mut changes: Vec<&Change> = kinds
            .iter()
            .filter_map(|(group, plural)| store.find(group, plural))
            .flat_map(|id| store.changes_after(id, 0))
            .collect();
        changes.sort_by_key(|change| change.revision);
        let mut stable: BTreeMap<&Key, (String, bool)> = BTreeMap::new();
        let mut ready: BTreeMap<&Key, String> = BTreeMap::new();
        for change in changes {
            let key = &change.key;
            let after = change.after.as_ref();
            let hash = after.and_then(ready_hash);
            match after.and_then(|object| object.pointer("/status/stableRS")?.as_str()) {
                Some(now) => {
                    let served = stable.get(key).is_some_and(|(_, served)| *served);
                    stable.insert(key, (now.to_owned(), served));
                }
                None => drop(stable.remove(key)),
            }
            match hash {
                Some(hash) => drop(ready.insert(key, hash)),
                None => drop(ready.remove(key)),
            }
            for (rollout, (hash, served)) in &mut stable {
                let serves = ready
                    .iter()
                    .any(|(pod, of)| of == hash && pod.namespace == rollout.namespace);
                if *served && !serves {
                    return Some(format!("no pod of {} is ready", rollout.name));
                }
                *served = serves;
            }
        }
        None
    });
    gap.map_or(Ok(()), |what| Err(Violation::new("stable serves", what)))
}

/// The pod-template hash of a pod that is ready.
fn ready_hash(object: &Arc<Value>) -> Option<String> {
    let ready = condition(object, "Ready").is_some_and(|ready| ready["status"] == "True");
    let hash = object["metadata"]["labels"]["rollouts-pod-template-hash"].as_str()?;
    (ready && object["kind"] == "Pod").then(|| hash.to_owned())
}

/// Nobody is told of a correction where nobody had edited or deleted anything.
pub fn tells_true_corrections(world: &World) -> Result<(), Violation> {
    let untrue = world.server.read(|store| {
        let disturbed: BTreeSet<String> = store
            .resources()
            .flat_map(|id| store.changes_after(id, 0))
            .filter(|change| change.after.as_deref().is_none_or(is_edited_by_hand))
            .filter_map(|change| change.before.as_deref().map(name))
            .collect();
        store
            .all()
            .filter(|(_, event)| event["reason"] == "DriftCorrected")
            .map(|(_, event)| {
                let related = &event["related"];
                let of = |field: &str| related[field].as_str().unwrap_or_default();
                format!("{} {}/{}", of("kind"), of("namespace"), of("name"))
            })
            .find(|corrected| !disturbed.contains(corrected))
    });
    match untrue {
        Some(what) => Err(Violation::new("true corrections", what)),
        None => Ok(()),
    }
}

fn is_edited_by_hand(object: &Value) -> bool {
    let managers = object.pointer("/metadata/managedFields");
    let mut managers = managers.and_then(Value::as_array).into_iter().flatten();
    managers.any(|manager| manager["manager"] == PERSON)
}

/// Every owner that an object names is there.
pub fn owners_exist(world: &World) -> Result<(), Violation> {
    let orphan = world.server.read(|store| {
        let uids: BTreeSet<&str> = store.all().map(|(_, object)| text(object, "uid")).collect();
        store.all().find_map(|(_, object)| {
            let owners = object.pointer("/metadata/ownerReferences")?.as_array()?;
            let gone = owners
                .iter()
                .find(|owner| !owner["uid"].as_str().is_some_and(|uid| uids.contains(uid)))?;
            Some(format!(
                "{} is owned by {gone}, which is not there",
                name(object)
            ))
        })
    });
    match orphan {
        Some(what) => Err(Violation::new("owners", what)),
        None => Ok(()),
    }
}

/// A condition of an object.
pub fn condition(object: &Arc<Value>, kind: &str) -> Option<Map<String, Value>> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    let condition = conditions
        .iter()
        .find(|condition| condition["type"] == kind)?;
    condition.as_object().cloned()
}
