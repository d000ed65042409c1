//! Small models of the controllers beside the operator: each acts on what it sees, late, and as its temper says.

mod analysis;
pub mod argocd;
mod client;
pub mod cnpg;
mod conditions;
mod deployment;
mod fields;
mod garbage;
mod gateway;
pub mod git;
mod hpa;
mod jobs;
pub mod kafka;
mod keda;
pub mod knobs;
mod kubelet;
mod namespace;
mod policy;
mod replicaset;
mod rollout;
mod strimzi;
pub mod temper;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::apiserver::server::ApiServer;
use crate::apiserver::store::Store;
use client::{Controller, Informed};
pub use knobs::{Behaviour, Fate, Knobs, Settings};

/// A controller: looks at everything it is about, and does what is to be done now.
pub trait Model: Send {
    /// Acts once. Returns when to look again although nothing changed; `None` where only a change can give it work.
    fn act(&mut self, now: Timestamp) -> Option<Duration>;
}

impl<M: Model + ?Sized> Model for Box<M> {
    fn act(&mut self, now: Timestamp) -> Option<Duration> {
        (**self).act(now)
    }
}

/// Every controller beside the operator, each with a chance of its own.
pub fn all(server: &Arc<ApiServer>, knobs: &Knobs, seed: u64) -> Vec<Box<dyn Model>> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut informed = Informing {
        server,
        knobs,
        random: &mut random,
    };
    vec![
        informed.with(deployment::Deployments),
        informed.with(replicaset::ReplicaSets),
        informed.with(kubelet::Kubelet),
        informed.with(jobs::Jobs),
        informed.with(rollout::Rollouts::default()),
        informed.with(analysis::AnalysisRuns),
        informed.with(keda::Keda),
        informed.with(hpa::Hpas::default()),
        informed.with(cnpg::CloudNativePg::default()),
        informed.with(strimzi::Strimzi),
        informed.with(gateway::Gateway),
        informed.with(policy::Budgets),
        informed.with(policy::Quotas),
        informed.with(namespace::Namespaces),
        Box::new(garbage::GarbageCollector::new(server, knobs)),
        Box::new(argocd::ArgoCd::new(server, knobs)),
    ]
}

struct Informing<'a> {
    server: &'a Arc<ApiServer>,
    knobs: &'a Knobs,
    random: &'a mut StdRng,
}

impl Informing<'_> {
    fn with(&mut self, controller: impl Controller + 'static) -> Box<dyn Model> {
        let seed = self.random.random();
        Box::new(Informed::new(self.server, controller, self.knobs, seed))
    }
}

/// Lets a model act whenever something has changed, after a delay that chance decides, for ever.
pub async fn drive(
    mut model: impl Model,
    server: Arc<ApiServer>,
    now: impl Fn() -> Timestamp,
    seed: u64,
    slowest: Duration,
) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut changed = server.read(Store::listen);
    loop {
        changed.catch_up();
        let again = model.act(now());
        match again {
            Some(again) => {
                let _ = tokio::time::timeout(again, changed.changed()).await;
            }
            None => {
                changed.changed().await;
            }
        }
        tokio::time::sleep(slowest.mul_f64(random.random())).await;
    }
}
