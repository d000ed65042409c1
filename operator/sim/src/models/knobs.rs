//! Knobs: what a scenario decides about the world around the operator, at any time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::argocd::Gitops;
use super::cnpg::Postgres;
use super::kafka::Kafka;
use super::temper::Chances;

/// What a version of a component does, told by its image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It ends as soon as it starts, again and again.
    Crash,
    /// It is in no registry.
    Missing,
    /// It needs [`Settings::slow_after`] until it is ready.
    Slow,
    /// Its migration, or any other Job of it, fails.
    FailJob,
    /// Its measurements are bad.
    BadMetric,
    /// There is nothing to measure.
    NoData,
}

/// Which image has which fate: by a part of its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behaviour(pub Vec<(String, Fate)>);

impl Default for Behaviour {
    fn default() -> Self {
        let rules = [
            ("crash", Fate::Crash),
            ("missing", Fate::Missing),
            ("slow", Fate::Slow),
            ("fail", Fate::FailJob),
            ("badmetric", Fate::BadMetric),
            ("nodata", Fate::NoData),
        ];
        Self(rules.map(|(part, fate)| (part.to_owned(), fate)).into())
    }
}

impl Behaviour {
    /// Whether an image has a fate.
    pub fn is(&self, image: &str, fate: Fate) -> bool {
        self.0
            .iter()
            .any(|(part, of)| *of == fate && image.contains(part.as_str()))
    }
}

/// Every setting of the models.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// What versions do.
    pub behaviour: Behaviour,
    /// Time from a pod's creation until it is ready.
    pub ready_after: Duration,
    /// The same for [`Fate::Slow`].
    pub slow_after: Duration,
    /// How long the pod of a Job runs.
    pub job_runs: Duration,
    /// Whether a pod waits for the ConfigMaps and Secrets that it names, and for its ServiceAccount.
    pub needs_references: bool,
    /// Replicas that the load asks for, by the name of the workload; where there is none, it asks for no others.
    pub desired: BTreeMap<String, i64>,
    /// Namespaces in which no pod can be made, and what the API server says about it (a quota, an admission webhook).
    pub refused_pods: BTreeMap<String, String>,
    /// Models that do not run at all, by their name.
    pub stopped: BTreeSet<String>,
    /// Tempers of all models.
    pub chances: Chances,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            behaviour: Behaviour::default(),
            ready_after: Duration::from_secs(3),
            slow_after: Duration::from_secs(300),
            job_runs: Duration::from_secs(5),
            needs_references: true,
            desired: BTreeMap::new(),
            refused_pods: BTreeMap::new(),
            stopped: BTreeSet::new(),
            chances: Chances::default(),
        }
    }
}

/// The settings, and what stands beside Kubernetes. Every clone is the same.
#[derive(Clone, Debug, Default)]
pub struct Knobs {
    settings: Arc<Mutex<(u64, Arc<Settings>)>>,
    /// Kafka.
    pub kafka: Arc<Kafka>,
    /// PostgreSQL.
    pub postgres: Postgres,
    /// The git repository that Argo CD syncs, and its applications.
    pub gitops: Gitops,
}

impl Knobs {
    fn lock(&self) -> MutexGuard<'_, (u64, Arc<Settings>)> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The settings as they are now.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.lock().1)
    }

    /// Changes the settings. A model takes note when it acts the next time: `ApiServer::change` wakes all of them.
    pub fn change(&self, change: impl FnOnce(&mut Settings)) {
        let mut settings = self.lock();
        settings.0 += 1;
        change(Arc::make_mut(&mut settings.1));
    }

    /// Sets the replicas that the load of a workload asks for.
    pub fn set_load(&self, workload: &str, replicas: i64) {
        self.change(|settings| {
            settings.desired.insert(workload.to_owned(), replicas);
        });
    }

    /// A number that differs after each change.
    pub(crate) fn version(&self) -> u64 {
        self.lock().0
    }
}
