//! ReplicaSets (`k8s.io/kubernetes`, `pkg/controller/replicaset`): as many pods as are asked for, made of the template.

use std::cmp::Reverse;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::client::{Client, Controller};
use super::fields::{
    annotation, by_controller, condition, controlled_by, count, created, generation, holds,
    integer, is_deleting, items, name, namespace, plus, stamp, text, time, uid, until,
};
use crate::actor::{Resource, resource};

pub(crate) const REPLICA_SETS: Resource = resource("apps", "replicasets");
pub(crate) const PODS: Resource = resource("", "pods");
const SERVICE_ACCOUNTS: Resource = resource("", "serviceaccounts");
const FAILURE: &str = "ReplicaFailure";

/// A ReplicaSet, as its owner sees it.
#[derive(Clone, Debug)]
pub(crate) struct Set(pub Arc<Value>);

impl Set {
    pub fn name(&self) -> &str {
        name(&self.0)
    }

    /// How many pods it is to have.
    pub fn replicas(&self) -> i64 {
        integer(&self.0, "/spec/replicas").unwrap_or(1)
    }

    /// How many pods it has.
    pub fn actual(&self) -> i64 {
        count(&self.0, "/status/replicas")
    }

    pub fn ready(&self) -> i64 {
        count(&self.0, "/status/readyReplicas")
    }

    pub fn available(&self) -> i64 {
        count(&self.0, "/status/availableReplicas")
    }

    pub fn created(&self) -> Timestamp {
        created(&self.0)
    }

    /// The number of its revision, in the annotation of its owner.
    pub fn revision(&self, key: &str) -> i64 {
        annotation(&self.0, key)
            .and_then(|revision| revision.parse().ok())
            .unwrap_or_default()
    }

    /// Whether its status is about what it is asked for, and it has no pods.
    pub fn is_empty(&self) -> bool {
        self.replicas() == 0
            && self.actual() == 0
            && count(&self.0, "/status/observedGeneration") >= generation(&self.0)
    }
}

/// A number of all of some ReplicaSets.
pub(crate) fn sum<'a>(
    sets: impl IntoIterator<Item = &'a Set>,
    number: impl Fn(&Set) -> i64,
) -> i64 {
    sets.into_iter().map(number).sum()
}

/// The ReplicaSets that an object controls, the oldest first.
pub(crate) fn owned_by(owner: &Value, sets: &[Arc<Value>]) -> Vec<Set> {
    let is_its = |set: &&Arc<Value>| {
        super::fields::controller(set).is_some_and(|owned| text(owned, "/uid") == uid(owner))
    };
    let mut owned: Vec<Set> = sets
        .iter()
        .filter(is_its)
        .map(|set| Set(Arc::clone(set)))
        .collect();
    owned.sort_by(|a, b| (a.created(), a.name()).cmp(&(b.created(), b.name())));
    owned
}

/// FNV-1a, with which Kubernetes and Argo Rollouts make short names of templates and steps.
struct Fnv(u64);

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The hash that stands for a pod template, or for steps, in names, labels and statuses.
pub(crate) fn short_hash<T: Hash + ?Sized>(value: &T) -> String {
    let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
    value.hash(&mut hasher);
    format!("{:010x}", hasher.finish() & 0xff_ffff_ffff)
}

/// The condition by which a ReplicaSet says that it cannot make pods: the newest one's first.
pub(crate) fn replica_failure<'a>(new: &'a Set, all: &'a [Set]) -> Option<&'a Value> {
    std::iter::once(new)
        .chain(all)
        .find_map(|set| condition(&set.0, FAILURE))
}

/// How many pods there may be beside the wanted ones, and how many may lack (`ResolveFenceposts` in
/// `pkg/controller/deployment/util/deployment_util.go`).
pub(crate) fn fenceposts(surge: &Value, unavailable: &Value, replicas: i64) -> (i64, i64) {
    let percent = |value: &Value| -> Option<i64> {
        let text = value.as_str()?;
        text.strip_suffix('%')?.parse().ok()
    };
    let of = |value: &Value, round_up: bool| match percent(value) {
        Some(percent) if round_up => (percent * replicas + 99) / 100,
        Some(percent) => percent * replicas / 100,
        None => value.as_i64().unwrap_or_default(),
    };
    let (surge, unavailable) = (of(surge, true), of(unavailable, false));
    match (surge, unavailable) {
        (0, 0) => (0, 1),
        both => both,
    }
}

/// The controller of ReplicaSets.
pub(crate) struct ReplicaSets;

impl Controller for ReplicaSets {
    const NAME: &'static str = "replicaset";
    const MANAGER: &'static str = "kube-controller-manager";
    const WATCHES: &'static [Resource] = &[REPLICA_SETS, PODS, SERVICE_ACCOUNTS];

    fn sync(&mut self, client: &mut Client, now: Timestamp) {
        let sets = client.list(REPLICA_SETS);
        if sets.is_empty() {
            return;
        }
        let pods = client.list(PODS);
        let pods = by_controller(&pods);
        for set in sets.iter().filter(|set| !is_deleting(set)) {
            let mine = pods.get(uid(set)).map(Vec::as_slice).unwrap_or_default();
            let active: Vec<&Value> = mine
                .iter()
                .map(|pod| pod.as_ref())
                .filter(|pod| is_active(pod))
                .collect();
            reconcile(client, set, &active, now);
        }
    }
}

fn is_active(pod: &Value) -> bool {
    !is_deleting(pod) && !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
}

fn reconcile(client: &mut Client, set: &Value, pods: &[&Value], now: Timestamp) {
    let wanted = integer(set, "/spec/replicas").unwrap_or(1);
    let surplus = pods.len() as i64 - wanted;
    let failure = if surplus < 0 {
        create(client, set, -surplus)
    } else {
        delete(client, pods, usize::try_from(surplus).unwrap_or_default());
        None
    };
    // Pods that were made or deleted just now show at the next round.
    if surplus == 0 || failure.is_some() {
        let status = status(client, set, pods, failure, now);
        let _ = client.set_status(REPLICA_SETS, set, status);
    }
}

/// Makes pods. Returns why one could not be made.
fn create(client: &mut Client, set: &Value, number: i64) -> Option<String> {
    let template = &set["spec"]["template"];
    if let Some(refusal) = refusal(client, set, template) {
        return Some(refusal);
    }
    let pod = json!({
        "metadata": {
            "generateName": format!("{}-", name(set)),
            "namespace": namespace(set),
            "labels": template["metadata"]["labels"],
            "annotations": template["metadata"].get("annotations").cloned().unwrap_or_else(|| json!({})),
            "ownerReferences": controlled_by(set),
        },
        "spec": template["spec"],
    });
    (0..number).find_map(|_| {
        client
            .create(PODS, pod.clone())
            .err()
            .map(|refused| refused.message().to_owned())
    })
}

/// What admission says against a pod.
fn refusal(client: &mut Client, set: &Value, template: &Value) -> Option<String> {
    let settings = Arc::clone(client.settings());
    let namespace = namespace(set);
    if let Some(refused) = settings.refused_pods.get(namespace) {
        return Some(format!("pods \"{}-\" is forbidden: {refused}", name(set)));
    }
    let account = text(template, "/spec/serviceAccountName");
    let is_default = matches!(account, "" | "default");
    let is_there = || client.get(SERVICE_ACCOUNTS, namespace, account).is_some();
    (settings.needs_references && !is_default && !is_there()).then(|| {
        format!(
            "pods \"{}-\" is forbidden: error looking up service account {namespace}/{account}: serviceaccount \
             \"{account}\" not found",
            name(set)
        )
    })
}

/// Deletes pods: those that serve least first (`ActivePodsWithRanks` in `pkg/controller/controller_utils.go`).
fn delete(client: &mut Client, pods: &[&Value], number: usize) {
    let mut ranked = pods.to_vec();
    ranked.sort_by_key(|pod| {
        (
            text(pod, "/status/phase") == "Running",
            holds(pod, "Ready"),
            Reverse(created(pod)),
            name(pod).to_owned(),
        )
    });
    for pod in ranked.into_iter().take(number) {
        let _ = client.delete(PODS, pod);
    }
}

fn status(
    client: &mut Client,
    set: &Value,
    pods: &[&Value],
    failure: Option<String>,
    now: Timestamp,
) -> Value {
    let patience = u64::try_from(count(set, "/spec/minReadySeconds")).unwrap_or_default();
    let (mut ready, mut available) = (0, 0);
    for pod in pods {
        let Some(condition) = condition(pod, "Ready").filter(|it| text(it, "/status") == "True")
        else {
            continue;
        };
        ready += 1;
        let since = time(condition, "/lastTransitionTime").unwrap_or(now);
        let counts = plus(since, std::time::Duration::from_secs(patience));
        if counts <= now {
            available += 1;
        } else {
            client.again_in(until(counts, now));
        }
    }
    let mut status = json!({
        "observedGeneration": generation(set),
        "replicas": pods.len(),
    });
    for (field, number) in [
        ("fullyLabeledReplicas", pods.len()),
        ("readyReplicas", ready),
        ("availableReplicas", available),
    ] {
        if number > 0 {
            status[field] = json!(number);
        }
    }
    if let Some(message) = failure {
        let known = items(set, "/status/conditions");
        status["conditions"] = match condition(set, FAILURE) {
            Some(_) => json!(known),
            None => json!([{
                "type": FAILURE, "status": "True", "reason": "FailedCreate", "message": message,
                "lastTransitionTime": stamp(now),
            }]),
        };
        client.again_in(std::time::Duration::from_secs(10));
    }
    status
}
