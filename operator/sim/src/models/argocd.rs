//! Argo CD (3.5): what stands in git stands in the cluster, by server-side apply.
//!
//! Applications are not objects here but entries of [`Gitops`], and so is what became of their last sync.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::Model;
use super::fields::{annotation, generation, name, namespace, text, uid};
use super::git::{Commit, Repository};
use super::knobs::Knobs;
use crate::actor::Actor;
use crate::apiserver::call::Propagation;
use crate::apiserver::server::ApiServer;
use crate::apiserver::store::Key;

/// Name by which a scenario stops it.
pub(crate) const NAME: &str = "argocd";
const TRACKING: &str = "argocd.argoproj.io/tracking-id";
/// How often git is looked at.
const POLL: Duration = Duration::from_secs(60);
/// When a sync that failed is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// One application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Application {
    /// Its name.
    pub name: String,
    /// The branch that it follows.
    pub branch: String,
    /// The folder whose manifests it applies.
    pub path: String,
    /// Namespace of manifests that name none.
    pub namespace: String,
    /// Whether what is changed in the cluster is changed back.
    pub self_heal: bool,
    /// Whether what has left the folder is deleted.
    pub prune: bool,
}

/// What became of an application's last sync.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Synced {
    /// The commit.
    pub revision: String,
    /// What was wrong with it; empty for nothing.
    pub failure: String,
}

#[derive(Debug, Default)]
struct State {
    repository: Repository,
    applications: Vec<Application>,
    synced: BTreeMap<String, Synced>,
}

/// Git, and what Argo CD makes of it. Every clone is the same.
#[derive(Clone, Debug, Default)]
pub struct Gitops(Arc<Mutex<State>>);

impl Gitops {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads or changes the repository.
    pub fn with_repository<T>(&self, with: impl FnOnce(&mut Repository) -> T) -> T {
        with(&mut self.lock().repository)
    }

    /// Lets Argo CD sync one more application.
    pub fn add(&self, application: Application) {
        self.lock().applications.push(application);
    }

    /// What became of the last sync of an application.
    pub fn synced(&self, application: &str) -> Option<Synced> {
        self.lock().synced.get(application).cloned()
    }
}

/// Argo CD's application controller.
pub(crate) struct ArgoCd {
    actor: Actor,
    knobs: Knobs,
    /// What was last seen of the objects of each application: identity and generation.
    seen: BTreeMap<String, BTreeMap<Key, (String, i64)>>,
}

impl ArgoCd {
    pub fn new(server: &Arc<ApiServer>, knobs: &Knobs) -> Self {
        Self {
            actor: Actor::new(server, "argocd-controller"),
            knobs: knobs.clone(),
            seen: BTreeMap::new(),
        }
    }

    /// The object of each manifest as it is; `None` where one is missing.
    fn look(&self, keys: impl Iterator<Item = Key>) -> Option<BTreeMap<Key, (String, i64)>> {
        self.actor.server().read(|store| {
            keys.map(|key| {
                let object = store.get(&key)?;
                let seen = (uid(object).to_owned(), generation(object));
                Some((key, seen))
            })
            .collect()
        })
    }

    fn is_drifted(&self, application: &str) -> bool {
        let Some(seen) = self.seen.get(application) else {
            return true;
        };
        self.look(seen.keys().cloned()).as_ref() != Some(seen)
    }

    fn key(&self, manifest: &Value) -> Option<Key> {
        let api_version = text(manifest, "/apiVersion");
        let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
        self.actor.server().read(|store| {
            Some(Key {
                resource: store.of_kind(group, text(manifest, "/kind"))?,
                namespace: namespace(manifest).into(),
                name: name(manifest).into(),
            })
        })
    }

    fn sync(&mut self, application: &Application, commit: &Commit) -> Result<(), String> {
        let mut keys = Vec::new();
        let mut failure = String::new();
        for mut manifest in manifests(application, commit)? {
            let key = self
                .key(&manifest)
                .ok_or_else(|| format!("{} is not served", manifest["kind"]))?;
            manifest["metadata"]["annotations"][TRACKING] = json!(tracking(application, &manifest));
            // One that is refused holds back no other.
            if let Err(refused) = self.actor.apply(manifest) {
                failure = refused.message().to_owned();
            }
            keys.push(key);
        }
        if application.prune {
            self.prune(application, &keys);
        }
        if !failure.is_empty() {
            return Err(failure);
        }
        let seen = self.look(keys.into_iter()).unwrap_or_default();
        self.seen.insert(application.name.clone(), seen);
        Ok(())
    }

    /// Deletes what is this application's and not in git.
    fn prune(&self, application: &Application, wanted: &[Key]) {
        let prefix = format!("{}:", application.name);
        let gone: Vec<(Key, Arc<Value>)> = self.actor.server().read(|store| {
            let tracked = store.all().filter(|(key, object)| {
                let is_its = annotation(object, TRACKING).is_some_and(|id| id.starts_with(&prefix));
                is_its && !wanted.contains(key)
            });
            tracked
                .map(|(key, object)| (key.clone(), Arc::clone(object)))
                .collect()
        });
        for (key, object) in gone {
            let keeps = annotation(&object, "argocd.argoproj.io/sync-options")
                .is_some_and(|options| options.contains("Prune=false"));
            if !keeps {
                let _ = self.actor.delete_at(&key, &object, Propagation::Foreground);
            }
        }
    }
}

/// `<application>:<group>/<kind>:<namespace>/<name>`
fn tracking(application: &Application, manifest: &Value) -> String {
    let api_version = text(manifest, "/apiVersion");
    let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
    format!(
        "{}:{group}/{}:{}/{}",
        application.name,
        text(manifest, "/kind"),
        namespace(manifest),
        name(manifest)
    )
}

fn manifests(application: &Application, commit: &Commit) -> Result<Vec<Value>, String> {
    let mut manifests = Vec::new();
    for (path, content) in commit.folder(&application.path) {
        if !path.ends_with(".yaml") && !path.ends_with(".yml") {
            continue;
        }
        for document in serde_yaml::Deserializer::from_str(content) {
            let mut manifest =
                Value::deserialize(document).map_err(|error| format!("{path}: {error}"))?;
            if manifest.is_null() {
                continue;
            }
            if namespace(&manifest).is_empty() {
                manifest["metadata"]["namespace"] = json!(application.namespace);
            }
            manifests.push(manifest);
        }
    }
    Ok(manifests)
}

impl Model for ArgoCd {
    fn act(&mut self, _now: Timestamp) -> Option<Duration> {
        let gitops = self.knobs.gitops.clone();
        if self.knobs.settings().stopped.contains(NAME) {
            return Some(RETRY);
        }
        let applications = gitops.lock().applications.clone();
        let mut again = (!applications.is_empty()).then_some(POLL);
        for application in &applications {
            let Some(head) = gitops.lock().repository.head(&application.branch).cloned() else {
                continue;
            };
            let is_new = gitops
                .synced(&application.name)
                .is_none_or(|synced| synced.revision != head.id || !synced.failure.is_empty());
            let heals = application.self_heal && self.is_drifted(&application.name);
            if !is_new && !heals {
                continue;
            }
            let failure = self.sync(application, &head).err().unwrap_or_default();
            if !failure.is_empty() {
                again = Some(RETRY);
            }
            let synced = Synced {
                revision: head.id,
                failure,
            };
            gitops
                .lock()
                .synced
                .insert(application.name.clone(), synced);
        }
        again
    }
}
