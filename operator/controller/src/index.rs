//! Every object that the operator watches, as compact records, by the application or environment that it belongs to.

use std::borrow::Borrow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use todo_operator_core::child::ChildKey;
use todo_operator_core::kind::Kind;
use todo_operator_core::live::{Children, Detail, Live, Record, Whose};
use todo_operator_core::mutants::Mutant;

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
    objects: HashSet<ByKey>,
    by_concern: HashMap<Concern, Vec<Arc<Object>>>,
    missing: BTreeSet<Kind>,
    listed: BTreeSet<Kind>,
    /// The newest resourceVersion that the watch of a kind has brought. It brings them in order.
    watched: HashMap<Kind, u128>,
    /// Versions that our own writes made, until the watch has brought them.
    echoes: HashSet<(Kind, u128)>,
}

/// An object of somebody's.
#[derive(Debug)]
struct Object {
    key: ChildKey,
    concern: Concern,
    live: Arc<Live>,
}

/// An object as the one of its key.
#[derive(Debug)]
struct ByKey(Arc<Object>);

impl Borrow<ChildKey> for ByKey {
    fn borrow(&self) -> &ChildKey {
        &self.0.key
    }
}

impl Hash for ByKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.key.hash(state);
    }
}

impl PartialEq for ByKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for ByKey {}

impl Index {
    // Nothing between the two halves of a change can panic.
    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in an object as its watch brings it, unless a newer version of it is known; returns whom that concerns: also
    /// whose it was before, where its labels now name somebody else, or nobody.
    pub fn insert(&self, record: Record) -> Vec<Concern> {
        let mut inner = self.write();
        inner.note_watched_object(&record);
        inner.insert(record)
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
        let known = inner.objects.get(&record.key);
        if known.is_some_and(|known| known.0.live.uid == record.live.uid) {
            inner.forget(&record.key);
        }
        concern(record)
    }

    /// After a complete list of `kind`: forgets what was not in it; returns whom that concerns.
    pub fn retain(&self, kind: Kind, listed: &HashSet<ChildKey>) -> BTreeSet<Concern> {
        let mut inner = self.write();
        inner.listed.insert(kind);
        // The list may stand for their events.
        inner.echoes.retain(|(of, _)| *of != kind);
        let of_kind = inner.objects.iter().map(|object| &object.0.key);
        let gone: Vec<_> = of_kind
            .filter(|key| key.kind == kind && !listed.contains(key))
            .filter(|_| !Mutant::ForgetsNothing.is_on())
            .cloned()
            .collect();
        gone.iter().filter_map(|key| inner.forget(key)).collect()
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
        let mut children = inner.children(&Concern::App(app.clone()));
        let loose = inner.of(&Concern::Namespace(app.namespace.clone()));
        let related: Vec<_> = loose
            .iter()
            .filter(|object| {
                let namespace = &object.key.namespace;
                let about = match &object.live.detail {
                    Detail::Analysis { rollout, .. } => {
                        ChildKey::new(Kind::Rollout, namespace, rollout)
                    }
                    Detail::Event { about, .. } => ChildKey::new(Kind::Pod, namespace, about),
                    _ => return false,
                };
                children.contains_key(&about)
            })
            .map(|object| (object.key.clone(), Arc::clone(&object.live)))
            .collect();
        children.extend(related);
        children
    }

    /// What an environment owns.
    pub fn environment(&self, name: &str) -> Children {
        self.read().children(&Concern::Environment(name.into()))
    }

    /// The record of a Namespace.
    pub fn namespace(&self, name: &str) -> Option<Arc<Live>> {
        let inner = self.read();
        let object = inner
            .objects
            .get(&ChildKey::new(Kind::Namespace, "", name))?;
        Some(Arc::clone(&object.0.live))
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

    /// Takes in an object, unless a newer version of it is known; returns whom that concerns: nobody, where all that is new is
    /// its resourceVersion. (Whoever wrote with the old one as precondition tries again by himself.)
    fn insert(&mut self, record: Record) -> Vec<Concern> {
        let concern = concern(&record);
        let Record { key, live, .. } = record;
        let mut is_news = true;
        if let Some(ByKey(known)) = self.objects.get(&key) {
            // A late event, of this object or of one that had its name: resourceVersions rise across both.
            if is_older(&live.resource_version, &known.live.resource_version) {
                return Vec::new();
            }
            is_news =
                Some(&known.concern) != concern.as_ref() || !known.live.says_the_same_as(&live);
        }
        let before = self.forget(&key);
        if let Some(concern) = &concern {
            let object = Arc::new(Object {
                key,
                concern: concern.clone(),
                live: Arc::new(live),
            });
            let of_concern = self.by_concern.entry(concern.clone()).or_default();
            of_concern.push(Arc::clone(&object));
            self.objects.insert(ByKey(object));
        }
        if !is_news {
            return Vec::new();
        }
        let left = before.filter(|before| Some(before) != concern.as_ref());
        left.into_iter().chain(concern).collect()
    }

    /// Forgets an object; returns whom it concerned.
    fn forget(&mut self, key: &ChildKey) -> Option<Concern> {
        let ByKey(object) = self.objects.take(key)?;
        let concern = &object.concern;
        if let Some(of_concern) = self.by_concern.get_mut(concern) {
            of_concern.retain(|other| !Arc::ptr_eq(other, &object));
            if of_concern.is_empty() {
                self.by_concern.remove(concern);
            }
        }
        Some(concern.clone())
    }

    fn of(&self, concern: &Concern) -> &[Arc<Object>] {
        self.by_concern.get(concern).map_or(&[], Vec::as_slice)
    }

    fn children(&self, concern: &Concern) -> Children {
        self.of(concern)
            .iter()
            .map(|object| (object.key.clone(), Arc::clone(&object.live)))
            .collect()
    }
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
        assert!(index.insert(record).is_empty(), "a late event");
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
        let keys = |name: &str, index: &Index| index.app(&AppKey::new("todo", name)).len();
        for app in [json!("other"), json!(null)] {
            let index = Index::default();
            assert_eq!(index.insert(service("a", "5")), [of("demo")]);
            let concerned = index.insert(relabelled("6", app.clone()));
            assert_eq!(concerned[0], of("demo"));
            assert_eq!(concerned.get(1), app.as_str().map(of).as_ref());
            assert_eq!(known(&index), None);
            // Our own write takes it back.
            index.insert_applied(service("a", "7"));
            assert_eq!(known(&index).as_deref(), Some("7"));
            assert_eq!(keys("other", &index), 0);
        }
    }

    #[test]
    fn a_version_that_says_nothing_new_concerns_nobody_and_is_known_nevertheless() {
        let index = Index::default();
        let demo = [Concern::App(AppKey::new("todo", "demo"))];
        assert_eq!(index.insert(service("a", "5")), demo);
        assert_eq!(index.insert(service("a", "6")), []);
        assert_eq!(known(&index).as_deref(), Some("6"));
        let mut narrowed = service("a", "7");
        narrowed.live.detail = Detail::Service {
            hash: Some("abc".into()),
        };
        assert_eq!(index.insert(narrowed), demo);
        assert_eq!(index.insert(service("b", "8")), demo, "another object");
    }

    #[test]
    fn list_forgets_what_is_not_in_it() {
        let index = Index::default();
        let record = service("a", "5");
        let listed = HashSet::from([record.key.clone()]);
        index.insert(record);
        assert!(index.retain(Kind::Service, &listed).is_empty());
        let nothing = HashSet::new();
        assert!(
            index.retain(Kind::ConfigMap, &nothing).is_empty(),
            "of another kind"
        );
        assert!(known(&index).is_some());
        let demo = Concern::App(AppKey::new("todo", "demo"));
        assert_eq!(
            index.retain(Kind::Service, &nothing),
            BTreeSet::from([demo])
        );
        assert_eq!(known(&index), None);
        assert!(index.read().by_concern.is_empty());
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
