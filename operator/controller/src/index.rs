//! Every object that the operator watches, as compact records, by the application or environment that it belongs to.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use todo_operator_core::child::ChildKey;
use todo_operator_core::kind::Kind;
use todo_operator_core::live::{Detail, Live};
use todo_operator_core::plan::Children;

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
}

impl Index {
    // A panic while the lock is held cannot leave a half-written map behind: every change is a single insert or remove.
    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in an object, unless a newer version of it is known; returns whom it concerns.
    pub fn insert(&self, key: ChildKey, live: Live) -> Option<Concern> {
        let concern = concern(&key, &live)?;
        let mut inner = self.write();
        let children = inner.objects.entry(concern.clone()).or_default();
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

    /// Forgets an object that was deleted, unless a later one of the same name is known; returns whom it concerns.
    pub fn remove(&self, key: &ChildKey, live: &Live) -> Option<Concern> {
        let concern = concern(key, live)?;
        let mut inner = self.write();
        let children = inner.objects.get_mut(&concern)?;
        if children.get(key).is_some_and(|known| known.uid == live.uid) {
            children.remove(key);
            if children.is_empty() {
                inner.objects.remove(&concern);
            }
        }
        Some(concern)
    }

    /// After a complete list of `kind`: forgets what was not in it; returns whom that concerns.
    pub fn retain(&self, kind: Kind, listed: &HashSet<ChildKey>) -> BTreeSet<Concern> {
        let mut concerned = BTreeSet::new();
        let mut inner = self.write();
        inner.listed.insert(kind);
        inner.objects.retain(|concern, children| {
            let before = children.len();
            children.retain(|key, _| key.kind != kind || listed.contains(key));
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

/// Whom an object concerns, by its labels; `None` where it is nobody's.
fn concern(key: &ChildKey, live: &Live) -> Option<Concern> {
    match key.kind {
        Kind::Namespace => Some(Concern::Namespace(key.name.clone())),
        Kind::AnalysisRun | Kind::Event => Some(Concern::Namespace(key.namespace.clone())),
        _ => match (&live.app, &live.environment) {
            (Some(app), _) => Some(Concern::App(AppKey {
                namespace: live.app_namespace.clone(),
                name: app.clone(),
            })),
            (None, Some(environment)) => Some(Concern::Environment(environment.clone())),
            (None, None) => None,
        },
    }
}

/// Whether one resourceVersion is older than another of the same kind. Kubernetes compares them as integers
/// (KEP-5504); what is no integer is never called older.
fn is_older(version: &str, than: &str) -> bool {
    matches!((version.parse::<u128>(), than.parse::<u128>()), (Ok(version), Ok(than)) if version < than)
}
