//! Every object that the operator watches, as compact records, by the application or environment that it belongs to.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use todo_operator_core::child::ChildKey;
use todo_operator_core::kind::Kind;
use todo_operator_core::live::{Children, Detail, Live, Record, Whose};

/// A TodoApp, by namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppKey {
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
}

impl AppKey {
    /// A key from its parts.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

/// Who an object concerns.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Concern {
    /// One application.
    App(AppKey),
    /// One environment.
    Environment(Box<str>),
    /// Whoever has something to do with this namespace.
    Namespace(Box<str>),
}

/// Every object that the operator watches. Cheap to share, short to lock.
#[derive(Debug, Default)]
pub struct Index {
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    objects: HashMap<Concern, Children>,
    missing: BTreeSet<Kind>,
    listed: BTreeSet<Kind>,
    /// The newest resourceVersion that the watch of a kind has brought. It brings them in order.
    watched: HashMap<Kind, u128>,
    /// Versions that our own writes made, until the watch has brought them.
    echoes: HashSet<(Kind, u128)>,
}

impl Index {
    // A panic while the lock is held cannot leave a half-written map behind: every change is a single insert or remove.
    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in an object as its watch brings it, unless a newer version of it is known; returns whom it concerns.
    pub fn insert(&self, record: Record) -> Option<Concern> {
        let mut inner = self.write();
        inner.note_watched_object(&record);
        inner.insert(record)
    }

    /// Takes in an object that has changed, as [`Self::insert`]; returns also whom it concerned before, where its labels now
    /// name somebody else, or nobody.
    pub fn insert_changed(&self, record: Record) -> Vec<Concern> {
        let mut inner = self.write();
        inner.note_watched_object(&record);
        let left = inner.take_from_others(&record.key, concern(&record).as_ref());
        left.into_iter().chain(inner.insert(record)).collect()
    }

    /// Takes in an object as the API server's answer to our write has it, before the watch brings it.
    ///
    /// Where the watch has passed that version already, it has brought this one or a later one, or the deletion: the
    /// answer is old, and must not bring back what is gone.
    pub fn insert_applied(&self, record: Record) {
        let mut inner = self.write();
        let kind = record.key.kind;
        let watched = inner.watched.get(&kind).copied().unwrap_or_default();
        match version(&record.live.resource_version) {
            Some(version) if version <= watched => {}
            version => {
                inner.echoes.extend(version.map(|version| (kind, version)));
                inner.insert(record);
            }
        }
    }

    /// Whether the watch brings, with this version, what our own write made and [`Self::insert_applied`] took in: then
    /// there is nothing to take in. Answers so once.
    pub fn is_echo(&self, kind: Kind, resource_version: &str) -> bool {
        let Some(version) = version(resource_version) else {
            return false;
        };
        let mut inner = self.write();
        let is_echo = inner.echoes.remove(&(kind, version));
        if is_echo {
            inner.note_watched(kind, version);
        }
        is_echo
    }

    /// Forgets an object that was deleted, unless a later one of the same name is known; returns whom it concerns.
    pub fn remove(&self, record: &Record) -> Option<Concern> {
        let mut inner = self.write();
        inner.note_watched_object(record);
        let concern = concern(record)?;
        let Record { key, live, .. } = record;
        let children = inner.objects.get_mut(&concern)?;
        if children.get(key).is_some_and(|known| known.uid == live.uid) {
            children.remove(key);
            if children.is_empty() {
                inner.objects.remove(&concern);
            }
        }
        Some(concern)
    }

    /// After a complete list of `kind`: forgets what was not in it, as [`listed`] names it; returns whom that concerns.
    pub fn retain(&self, kind: Kind, listed: &HashSet<(ChildKey, Concern)>) -> BTreeSet<Concern> {
        let mut concerned = BTreeSet::new();
        let mut inner = self.write();
        inner.listed.insert(kind);
        // The list may stand for their events.
        inner.echoes.retain(|(of, _)| *of != kind);
        inner.objects.retain(|concern, children| {
            let before = children.len();
            children.retain(|key, _| {
                key.kind != kind || listed.contains(&(key.clone(), concern.clone()))
            });
            if children.len() != before {
                concerned.insert(concern.clone());
            }
            !children.is_empty()
        });
        concerned
    }

    /// Notes whether the API server serves a kind; returns whether that is news.
    pub fn set_missing(&self, kind: Kind, missing: bool) -> bool {
        let mut inner = self.write();
        if missing {
            inner.listed.insert(kind);
            inner.missing.insert(kind)
        } else {
            inner.missing.remove(&kind)
        }
    }

    /// Kinds that the API server does not serve.
    pub fn missing(&self) -> BTreeSet<Kind> {
        self.read().missing.clone()
    }

    /// Whether every kind was listed once, or is known to be missing: before that, absence means nothing.
    pub fn is_complete(&self) -> bool {
        let inner = self.read();
        Kind::CHILDREN
            .iter()
            .chain(&Kind::READ)
            .all(|kind| inner.listed.contains(kind))
    }

    /// Everything that concerns an application, with the analyses of its Rollouts and the events about its pods.
    pub fn app(&self, app: &AppKey) -> Children {
        let inner = self.read();
        let mut children = inner
            .objects
            .get(&Concern::App(app.clone()))
            .cloned()
            .unwrap_or_default();
        let loose = inner
            .objects
            .get(&Concern::Namespace(app.namespace.clone()));
        let related: Vec<_> = loose
            .into_iter()
            .flatten()
            .filter(|(key, live)| {
                let about = match &live.detail {
                    Detail::Analysis { rollout, .. } => {
                        ChildKey::new(Kind::Rollout, &key.namespace, rollout)
                    }
                    Detail::Event { about, .. } => ChildKey::new(Kind::Pod, &key.namespace, about),
                    _ => return false,
                };
                children.contains_key(&about)
            })
            .map(|(key, live)| (key.clone(), Arc::clone(live)))
            .collect();
        children.extend(related);
        children
    }

    /// What an environment owns.
    pub fn environment(&self, name: &str) -> Children {
        self.read()
            .objects
            .get(&Concern::Environment(name.into()))
            .cloned()
            .unwrap_or_default()
    }

    /// The record of a Namespace.
    pub fn namespace(&self, name: &str) -> Option<Arc<Live>> {
        let inner = self.read();
        inner
            .objects
            .get(&Concern::Namespace(name.into()))
            .and_then(|children| children.get(&ChildKey::new(Kind::Namespace, "", name)))
            .cloned()
    }
}

impl Inner {
    fn note_watched_object(&mut self, record: &Record) {
        if let Some(version) = version(&record.live.resource_version) {
            self.note_watched(record.key.kind, version);
        }
    }

    fn note_watched(&mut self, kind: Kind, version: u128) {
        let watched = self.watched.entry(kind).or_default();
        *watched = version.max(*watched);
    }

    /// Forgets an object that is on record for somebody else than `concern`; returns for whom.
    fn take_from_others(&mut self, key: &ChildKey, concern: Option<&Concern>) -> Option<Concern> {
        let known = |concern| self.objects.get(concern)?.get(key);
        if concern.and_then(known).is_some() {
            return None;
        }
        let mut all = self.objects.iter_mut();
        let other = all.find_map(|(other, children)| {
            children.remove(key)?;
            Some(other.clone())
        })?;
        if self.objects.get(&other).is_some_and(BTreeMap::is_empty) {
            self.objects.remove(&other);
        }
        Some(other)
    }

    fn insert(&mut self, record: Record) -> Option<Concern> {
        let concern = concern(&record)?;
        let Record { key, live, .. } = record;
        let children = self.objects.entry(concern.clone()).or_default();
        match children.get(&key) {
            // A late event, of this object or of one that had its name: resourceVersions rise across both.
            Some(known) if is_older(&live.resource_version, &known.resource_version) => None,
            Some(known) if **known == live => None,
            _ => {
                children.insert(key, Arc::new(live));
                Some(concern)
            }
        }
    }
}

/// How [`Index::retain`] knows an object that is in a list; `None` where it is nobody's.
pub fn listed(record: &Record) -> Option<(ChildKey, Concern)> {
    Some((record.key.clone(), concern(record)?))
}

/// Whom an object concerns; `None` where it is nobody's.
fn concern(record: &Record) -> Option<Concern> {
    let key = &record.key;
    match key.kind {
        Kind::Namespace => Some(Concern::Namespace(key.name.clone())),
        Kind::AnalysisRun | Kind::Event => Some(Concern::Namespace(key.namespace.clone())),
        _ => match &record.whose {
            Whose::App { namespace, name } => Some(Concern::App(AppKey {
                namespace: namespace.clone(),
                name: name.clone(),
            })),
            Whose::Environment(environment) => Some(Concern::Environment(environment.clone())),
            Whose::Nobody => None,
        },
    }
}

/// A resourceVersion as a number: Kubernetes compares those of one kind as integers (KEP-5504).
fn version(text: &str) -> Option<u128> {
    text.parse().ok()
}

/// Whether one resourceVersion is older than another of the same kind. What is no integer is never called older.
fn is_older(one: &str, than: &str) -> bool {
    matches!((version(one), version(than)), (Some(one), Some(than)) if one < than)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panic")]
mod tests {
    use serde_json::{Value, json};
    use todo_operator_core::observe;

    use super::*;

    fn service(uid: &str, version: &str) -> Record {
        let object = json!({"metadata": {
            "name": "demo-api", "namespace": "todo", "uid": uid, "resourceVersion": version,
            "labels": {"todo-operator.dev/app": "demo"},
        }});
        observe::read(Kind::Service, &object).unwrap()
    }

    fn known(index: &Index) -> Option<Box<str>> {
        let children = index.app(&AppKey::new("todo", "demo"));
        let live = children.get(&ChildKey::new(Kind::Service, "todo", "demo-api"))?;
        Some(live.resource_version.clone())
    }

    #[test]
    fn answer_to_a_write_counts_before_its_watch_event() {
        let index = Index::default();
        let record = service("a", "5");
        index.insert_applied(record);
        assert_eq!(known(&index).as_deref(), Some("5"));
        let record = service("a", "4");
        assert_eq!(index.insert(record), None, "a late event");
        assert_eq!(known(&index).as_deref(), Some("5"));
    }

    #[test]
    fn object_whose_labels_name_another_is_no_longer_on_record_for_the_first() {
        let relabelled = |version: &str, app: Value| {
            let object = json!({"metadata": {
                "name": "demo-api", "namespace": "todo", "uid": "a", "resourceVersion": version,
                "labels": {"todo-operator.dev/app": app},
            }});
            observe::read(Kind::Service, &object).unwrap()
        };
        let of = |name: &str| Concern::App(AppKey::new("todo", name));
        for app in [json!("other"), json!(null)] {
            let index = Index::default();
            let record = service("a", "5");
            assert_eq!(index.insert_changed(record), [of("demo")]);
            let record = relabelled("6", app.clone());
            let concerned = index.insert_changed(record.clone());
            assert_eq!(concerned[0], of("demo"));
            assert_eq!(concerned.get(1), app.as_str().map(of).as_ref());
            assert_eq!(known(&index), None);
        }
        let index = Index::default();
        let record = service("a", "5");
        index.insert(record);
        let record = relabelled("6", json!("other"));
        let list = HashSet::from_iter(listed(&record));
        index.insert(record);
        assert_eq!(
            index.retain(Kind::Service, &list),
            BTreeSet::from([of("demo")])
        );
        assert_eq!(known(&index), None);
    }

    #[test]
    fn watch_event_of_our_own_write_is_an_echo_once() {
        let index = Index::default();
        let record = service("a", "5");
        index.insert_applied(record);
        assert!(!index.is_echo(Kind::ConfigMap, "5"), "of another kind");
        assert!(!index.is_echo(Kind::Service, "6"), "of another version");
        assert!(index.is_echo(Kind::Service, "5"));
        assert!(!index.is_echo(Kind::Service, "5"), "for the second time");
        let record = service("b", "4");
        index.insert_applied(record);
        assert!(
            !index.is_echo(Kind::Service, "4"),
            "the watch has passed it"
        );
    }

    #[test]
    fn answer_that_comes_after_the_deletion_does_not_bring_the_object_back() {
        let index = Index::default();
        let record = service("a", "5");
        index.insert(record);
        // Written at 6, deleted at 7; the answer to the write comes last.
        let record = service("a", "7");
        assert!(index.remove(&record).is_some());
        let record = service("a", "6");
        index.insert_applied(record);
        assert_eq!(known(&index), None);
        // One that was made anew does count.
        let record = service("b", "8");
        index.insert_applied(record);
        assert_eq!(known(&index).as_deref(), Some("8"));
    }
}
