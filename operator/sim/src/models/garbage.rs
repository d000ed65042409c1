//! The garbage collector (`k8s.io/kubernetes`, `pkg/controller/garbagecollector`): what has lost its owners goes, what is
//! deleted in the foreground waits for its dependents, and what is deleted as an orphanage lets them go free.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Model;
use super::fields::{has_finalizer, is_deleting, is_true, items, text, uid, without_finalizer};
use crate::actor::Actor;
use crate::apiserver::call::Propagation;
use crate::apiserver::server::ApiServer;
use crate::apiserver::store::{Key, Store};
use crate::models::knobs::Knobs;

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";
const RETRY: Duration = Duration::from_secs(2);
/// Name by which a scenario stops it.
pub(crate) const NAME: &str = "garbage";

/// The garbage collector, with its graph of owners.
pub(crate) struct GarbageCollector {
    actor: Actor,
    knobs: Knobs,
    seen: u64,
    /// Dependents by the UID of each owner.
    dependents: BTreeMap<String, BTreeSet<Key>>,
    /// Owners' UIDs of each dependent.
    owners: BTreeMap<Key, Vec<String>>,
    /// UID of everything that there is.
    uids: BTreeMap<Key, String>,
    /// And the other way round.
    keys: BTreeMap<String, Key>,
    /// What is to be looked at.
    queue: BTreeSet<Key>,
}

impl GarbageCollector {
    pub fn new(server: &Arc<ApiServer>, knobs: &Knobs) -> Self {
        Self {
            actor: Actor::new(server, "kube-controller-manager"),
            knobs: knobs.clone(),
            seen: 0,
            dependents: BTreeMap::new(),
            owners: BTreeMap::new(),
            uids: BTreeMap::new(),
            keys: BTreeMap::new(),
            queue: BTreeSet::new(),
        }
    }

    /// Takes the changes since the last time into the graph.
    fn observe(&mut self) {
        let server = Arc::clone(self.actor.server());
        server.read(|store| {
            for id in store.resources() {
                for change in store.changes_after(id, self.seen) {
                    self.take(&change.key, change.after.as_deref());
                }
            }
            self.seen = store.revision();
        });
    }

    fn take(&mut self, key: &Key, object: Option<&Value>) {
        let known = self.uids.get(key).cloned();
        let now = object.map(|object| uid(object).to_owned());
        if let Some(known) = known.filter(|known| now.as_ref() != Some(known)) {
            // Whoever was owned by it has one owner less.
            let orphans = self.dependents.remove(&known).unwrap_or_default();
            self.queue.extend(orphans);
            self.uids.remove(key);
            self.keys.remove(&known);
        }
        let owners: Vec<String> = object
            .map(|object| items(object, "/metadata/ownerReferences"))
            .unwrap_or_default()
            .iter()
            .map(|owner| text(owner, "/uid").to_owned())
            .collect();
        let former = self.owners.remove(key).unwrap_or_default();
        for owner in former.iter().filter(|owner| !owners.contains(owner)) {
            if let Some(dependents) = self.dependents.get_mut(owner) {
                dependents.remove(key);
            }
        }
        if object.is_none_or(is_deleting) {
            // An owner may wait for this dependent.
            let waiting = former.iter().filter_map(|owner| self.keys.get(owner));
            self.queue.extend(waiting.cloned());
        }
        let Some(object) = object else {
            self.queue.remove(key);
            return;
        };
        for owner in &owners {
            self.dependents
                .entry(owner.clone())
                .or_default()
                .insert(key.clone());
        }
        let is_new_dependent = !owners.is_empty() && owners != former;
        let is_waiting = is_deleting(object)
            && (has_finalizer(object, FOREGROUND) || has_finalizer(object, ORPHAN));
        if is_new_dependent || is_waiting {
            self.queue.insert(key.clone());
        }
        if !owners.is_empty() {
            self.owners.insert(key.clone(), owners);
        }
        self.keys.insert(uid(object).to_owned(), key.clone());
        self.uids.insert(key.clone(), uid(object).to_owned());
    }

    fn object(&self, key: &Key) -> Option<Arc<Value>> {
        self.actor.server().read(|store| store.get(key).cloned())
    }

    fn dependents_of(&self, object: &Value) -> Vec<(Key, Arc<Value>)> {
        let keys = self.dependents.get(uid(object)).into_iter().flatten();
        keys.filter_map(|key| Some((key.clone(), self.object(key)?)))
            .collect()
    }

    /// `attemptToDeleteItem` in `garbagecollector.go`. Returns whether it must be looked at again.
    fn attend(&self, key: &Key) -> bool {
        let Some(object) = self.object(key) else {
            return false;
        };
        if is_deleting(&object) {
            return if has_finalizer(&object, ORPHAN) {
                self.set_free(key, &object)
            } else if has_finalizer(&object, FOREGROUND) {
                self.wait_for_dependents(key, &object)
            } else {
                false
            };
        }
        let owners = items(&object, "/metadata/ownerReferences");
        if owners.is_empty() {
            return false;
        }
        let states: Vec<Owner> = self.actor.server().read(|store| {
            owners
                .iter()
                .map(|owner| find_owner(store, key, owner))
                .collect()
        });
        if states.contains(&Owner::Unknown) {
            // `attemptToDeleteWorker`: an owner of an unknown kind is tried again.
            return true;
        }
        if states.contains(&Owner::Solid) {
            let kept: Vec<&Value> = owners
                .iter()
                .zip(&states)
                .filter(|(_, state)| **state == Owner::Solid)
                .map(|(owner, _)| owner)
                .collect();
            if kept.len() == owners.len() {
                return false;
            }
            let patch = json!({"metadata": {"uid": uid(&object), "ownerReferences": kept}});
            return self.actor.merge_at(key, patch).is_err();
        }
        let waits = states.contains(&Owner::Waiting) && !self.dependents_of(&object).is_empty();
        let propagation = if waits || has_finalizer(&object, FOREGROUND) {
            Propagation::Foreground
        } else if has_finalizer(&object, ORPHAN) {
            Propagation::Orphan
        } else {
            Propagation::Background
        };
        self.actor.delete_at(key, &object, propagation).is_err()
    }

    /// `processDeletingDependentsItem`.
    fn wait_for_dependents(&self, key: &Key, object: &Value) -> bool {
        let mut is_blocked = false;
        for (dependent, state) in self.dependents_of(object) {
            let blocks = items(&state, "/metadata/ownerReferences")
                .iter()
                .any(|owner| {
                    text(owner, "/uid") == uid(object) && is_true(owner, "/blockOwnerDeletion")
                });
            if blocks {
                is_blocked = true;
                self.attend(&dependent);
            }
        }
        if is_blocked {
            return true;
        }
        let patch = without_finalizer(object, FOREGROUND);
        self.actor.merge_at(key, patch).is_err()
    }

    /// `attemptToOrphanWorker`.
    fn set_free(&self, key: &Key, object: &Value) -> bool {
        for (dependent, state) in self.dependents_of(object) {
            let kept: Vec<&Value> = items(&state, "/metadata/ownerReferences")
                .iter()
                .filter(|owner| text(owner, "/uid") != uid(object))
                .collect();
            let patch = json!({"metadata": {"uid": uid(&state), "ownerReferences": kept}});
            if self.actor.merge_at(&dependent, patch).is_err() {
                return true;
            }
        }
        let patch = without_finalizer(object, ORPHAN);
        self.actor.merge_at(key, patch).is_err()
    }
}

/// What became of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// It is there.
    Solid,
    /// It is gone, or another object has its name.
    Dangling,
    /// It waits for its dependents.
    Waiting,
    /// Nobody serves its kind: nothing is decided yet.
    Unknown,
}

fn find_owner(store: &Store, dependent: &Key, owner: &Value) -> Owner {
    let api_version = text(owner, "/apiVersion");
    let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
    let Some(resource) = store
        .of_kind(group, text(owner, "/kind"))
        .filter(|id| store.is_served(*id))
    else {
        return Owner::Unknown;
    };
    let namespace = if store.resource(resource).namespaced {
        dependent.namespace.clone()
    } else {
        "".into()
    };
    let key = Key {
        resource,
        namespace,
        name: text(owner, "/name").into(),
    };
    match store.get(&key) {
        Some(live) if uid(live) != text(owner, "/uid") => Owner::Dangling,
        Some(live) if is_deleting(live) && has_finalizer(live, FOREGROUND) => Owner::Waiting,
        Some(_) => Owner::Solid,
        None => Owner::Dangling,
    }
}

impl Model for GarbageCollector {
    fn act(&mut self, _now: Timestamp) -> Option<Duration> {
        if self.knobs.settings().stopped.contains(NAME) {
            return Some(RETRY);
        }
        self.observe();
        let queue = std::mem::take(&mut self.queue);
        let undone: BTreeSet<Key> = queue.into_iter().filter(|key| self.attend(key)).collect();
        let again = (!undone.is_empty()).then_some(RETRY);
        self.queue = undone;
        again
    }
}
