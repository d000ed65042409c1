//! Every object, every version that there was, and the one counter of versions.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::schema::Resource;
use super::selector::Selector;
use super::signal::{Listener, Signal};

/// A resource, by its place in the catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceId(usize);

/// An object. Keys have the order that they have in etcd, where a path of namespace and name is the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its resource.
    pub resource: ResourceId,
    /// Its namespace; empty for none.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_path = || {
            if self.namespace == other.namespace {
                return self.name.cmp(&other.name);
            }
            self.path().cmp(other.path())
        };
        self.resource.cmp(&other.resource).then_with(by_path)
    }
}

impl Key {
    fn path(&self) -> impl Iterator<Item = u8> {
        let (namespace, name) = (self.namespace.bytes(), self.name.bytes());
        namespace.chain(std::iter::once(b'/')).chain(name)
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// One change of one object.
#[derive(Clone, Debug)]
pub struct Change {
    /// The version that it made.
    pub revision: u64,
    /// Of which object.
    pub key: Key,
    /// The object before; `None` where it is new.
    pub before: Option<Arc<Value>>,
    /// The object after; `None` where it was deleted.
    pub after: Option<Arc<Value>>,
}

/// Every object and its past.
#[derive(Debug, Default)]
pub struct Store {
    catalog: Vec<Served>,
    objects: BTreeMap<Key, Arc<Value>>,
    revision: u64,
    changed: Signal,
}

#[derive(Debug)]
struct Served {
    resource: Arc<Resource>,
    is_served: bool,
    history: Vec<Change>,
    changed: Signal,
}

impl Store {
    /// Adds a resource, which is served from now on.
    pub fn add(&mut self, resource: Arc<Resource>) -> ResourceId {
        self.catalog.push(Served {
            resource,
            is_served: true,
            history: Vec::new(),
            changed: Signal::default(),
        });
        ResourceId(self.catalog.len() - 1)
    }

    /// A resource that is served, by group and plural.
    pub fn find(&self, group: &str, plural: &str) -> Option<ResourceId> {
        self.position(|resource| resource.group == group && resource.plural == plural)
            .filter(|id| self.catalog[id.0].is_served)
    }

    /// A resource by group and kind, served or not.
    pub fn of_kind(&self, group: &str, kind: &str) -> Option<ResourceId> {
        self.position(|resource| resource.group == group && resource.kind == kind)
    }

    fn position(&self, is_it: impl Fn(&Resource) -> bool) -> Option<ResourceId> {
        let at = self
            .catalog
            .iter()
            .position(|served| is_it(&served.resource))?;
        Some(ResourceId(at))
    }

    /// What is known of a resource.
    pub fn resource(&self, id: ResourceId) -> Arc<Resource> {
        Arc::clone(&self.catalog[id.0].resource)
    }

    /// Every resource.
    pub fn resources(&self) -> impl Iterator<Item = ResourceId> + use<> {
        (0..self.catalog.len()).map(ResourceId)
    }

    /// Whether a resource is served.
    pub fn is_served(&self, id: ResourceId) -> bool {
        self.catalog[id.0].is_served
    }

    /// Takes a resource away, with every object of it, or brings it back.
    pub fn set_served(&mut self, id: ResourceId, is_served: bool) {
        self.catalog[id.0].is_served = is_served;
        self.tell(id);
        if !is_served {
            let gone: Vec<Key> = self.objects(id).map(|(key, _)| key.clone()).collect();
            for key in gone {
                self.remove(&key);
            }
        }
    }

    /// The version of the newest change.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// An object.
    pub fn get(&self, key: &Key) -> Option<&Arc<Value>> {
        self.objects.get(key)
    }

    /// Every object of a resource.
    pub fn objects(&self, id: ResourceId) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        let first = Key {
            resource: id,
            namespace: "".into(),
            name: "".into(),
        };
        self.objects
            .range(first..)
            .take_while(move |(key, _)| key.resource == id)
    }

    /// Every object.
    pub fn all(&self) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        self.objects.iter()
    }

    /// Every object of a resource as it was at an earlier version.
    pub fn at(&self, id: ResourceId, revision: u64) -> BTreeMap<Key, Arc<Value>> {
        let mut objects: BTreeMap<_, _> = self
            .objects(id)
            .map(|(key, object)| (key.clone(), Arc::clone(object)))
            .collect();
        let later = self.catalog[id.0].history.iter().rev();
        for change in later.take_while(|change| change.revision > revision) {
            match &change.before {
                Some(before) => objects.insert(change.key.clone(), Arc::clone(before)),
                None => objects.remove(&change.key),
            };
        }
        objects
    }

    /// The changes of a resource after a version.
    pub fn changes_after(&self, id: ResourceId, revision: u64) -> &[Change] {
        let served = &self.catalog[id.0];
        let first = served
            .history
            .partition_point(|change| change.revision <= revision);
        &served.history[first..]
    }

    /// Stores an object, with the version that this makes.
    pub fn put(&mut self, key: Key, mut object: Value) -> Arc<Value> {
        self.revision += 1;
        set_version(&mut object, self.revision);
        let object = Arc::new(object);
        let before = self.objects.insert(key.clone(), Arc::clone(&object));
        self.note(key, before, Some(Arc::clone(&object)));
        object
    }

    /// Removes an object.
    pub fn remove(&mut self, key: &Key) {
        let Some(before) = self.objects.remove(key) else {
            return;
        };
        self.revision += 1;
        self.note(key.clone(), Some(before), None);
    }

    fn note(&mut self, key: Key, before: Option<Arc<Value>>, after: Option<Arc<Value>>) {
        let change = Change {
            revision: self.revision,
            key,
            before,
            after,
        };
        let id = change.key.resource;
        self.catalog[id.0].history.push(change);
        self.tell(id);
    }

    fn tell(&self, id: ResourceId) {
        self.catalog[id.0].changed.send();
        self.changed.send();
    }

    /// Hears of every change from now on.
    pub fn listen(&self) -> Listener {
        self.changed.listen()
    }

    /// Hears of the changes of one resource from now on.
    pub fn listen_to(&self, id: ResourceId) -> Listener {
        self.catalog[id.0].changed.listen()
    }
}

fn set_version(object: &mut Value, revision: u64) {
    object["metadata"]["resourceVersion"] = json!(revision.to_string());
}

impl Change {
    /// The event by which a watch with this selector hears of it: an object that comes into the selection is added, one
    /// that leaves it is deleted (`k8s.io/apiserver`, `storage/cacher`).
    pub fn event(&self, selector: &Selector) -> Option<Value> {
        let selected = |object: &&Arc<Value>| selector.selects(object);
        let before = self.before.as_ref().filter(selected);
        let after = self.after.as_ref().filter(selected);
        let (kind, object) = match (before, after) {
            (None, None) => return None,
            (None, Some(after)) => ("ADDED", Value::clone(after)),
            (Some(_), Some(after)) => ("MODIFIED", Value::clone(after)),
            (Some(before), None) => {
                let mut last = Value::clone(before);
                set_version(&mut last, self.revision);
                ("DELETED", last)
            }
        };
        Some(json!({"type": kind, "object": object}))
    }
}
