//! CloudNativePG (1.30): clusters of pods, and the databases and roles in them.
//!
//! A Cluster's status does not say which generation it is about (cloudnative-pg#11390): it stays "healthy" until the
//! operator gets to work, and `status.image` moves before the phase does (`internal/controller/cluster_image.go`).

mod declared;
mod postgres;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

pub use postgres::{Postgres, Sql};

use super::client::{Client, Controller, Interrupted};
use super::fields::{
    by_controller, condition, controlled_by, holds, integer, is_deleting, items, name, namespace,
    stamp, text, uid,
};
use super::kubelet::SECRETS;
use super::replicaset::PODS;
use crate::actor::{Resource, resource};

const CLUSTERS: Resource = resource("postgresql.cnpg.io", "clusters");
const DATABASES: Resource = resource("postgresql.cnpg.io", "databases");
const ROLES: Resource = resource("postgresql.cnpg.io", "databaseroles");
const DEFAULT_IMAGE: &str = "ghcr.io/cloudnative-pg/postgresql:18.4-system-trixie";
const HEALTHY: &str = "Cluster in healthy state";

/// CloudNativePG's operator and the instance managers of its clusters.
#[derive(Default)]
pub(crate) struct CloudNativePg {
    /// The clusters that there are: namespace and name by UID.
    known: BTreeMap<String, (String, String)>,
}

impl Controller for CloudNativePg {
    const NAME: &'static str = "cnpg";
    const MANAGER: &'static str = "manager";
    const WATCHES: &'static [Resource] = &[CLUSTERS, DATABASES, ROLES, PODS, SECRETS];

    fn sync(&mut self, client: &mut Client, now: Timestamp) {
        let clusters = client.list(CLUSTERS);
        self.notice_deletions(client, &clusters);
        if clusters.is_empty() {
            return;
        }
        let pods = client.list(PODS);
        let pods = by_controller(&pods);
        for cluster in clusters.iter().filter(|cluster| !is_deleting(cluster)) {
            let instances = pods
                .get(uid(cluster))
                .map(Vec::as_slice)
                .unwrap_or_default();
            // What interrupts it is tried again.
            let _ = ensure_secrets(client, cluster);
            let _ = reconcile(client, cluster, instances, now);
            let _ = declared::reconcile(client, cluster, instances);
        }
    }
}

impl CloudNativePg {
    fn notice_deletions(&mut self, client: &mut Client, clusters: &[Arc<Value>]) {
        let live: BTreeMap<String, (String, String)> = clusters
            .iter()
            .map(|it| {
                (
                    uid(it).to_owned(),
                    (namespace(it).to_owned(), name(it).to_owned()),
                )
            })
            .collect();
        for (uid, (namespace, name)) in &self.known {
            if !live.contains_key(uid) {
                client.knobs().postgres.lose(uid);
                declared::release(client, namespace, name);
            }
        }
        self.known = live;
    }
}

/// The Secrets that pods mount, and the application's password, which nobody here uses.
fn ensure_secrets(client: &mut Client, cluster: &Value) -> Result<(), Interrupted> {
    for (suffix, keys) in [
        ("ca", &["ca.crt", "ca.key"][..]),
        ("server", &["tls.crt", "tls.key"]),
        ("replication", &["tls.crt", "tls.key"]),
        ("app", &["username", "password"]),
    ] {
        let secret = format!("{}-{suffix}", name(cluster));
        ensure_secret(client, cluster, &secret, keys)?;
    }
    Ok(())
}

fn ensure_secret(
    client: &mut Client,
    owner: &Value,
    secret: &str,
    keys: &[&str],
) -> Result<(), Interrupted> {
    if client.get(SECRETS, namespace(owner), secret).is_some() {
        return Ok(());
    }
    let data: BTreeMap<&str, &str> = keys.iter().map(|key| (*key, "c2ltdWxhdGVk")).collect();
    let secret = json!({
        "metadata": {
            "name": secret,
            "namespace": namespace(owner),
            "ownerReferences": controlled_by(owner),
        },
        "type": "Opaque",
        "data": data,
    });
    client.create(SECRETS, secret)?;
    Ok(())
}

fn image(cluster: &Value) -> &str {
    match text(cluster, "/spec/imageName") {
        "" => DEFAULT_IMAGE,
        image => image,
    }
}

/// What is to be done next, and the phase that it makes.
enum Next {
    Nothing,
    Wait(&'static str),
    Create(String, &'static str),
    Replace(String, &'static str),
    Remove(String, &'static str),
    Promote(String, &'static str),
}

/// A cluster and its pods.
struct Instances<'a> {
    cluster: &'a Value,
    pods: &'a [&'a Arc<Value>],
    /// Names of the instances, whether their pods are there or not.
    names: Vec<String>,
}

impl<'a> Instances<'a> {
    fn pod(&self, instance: &str) -> Option<&'a Arc<Value>> {
        self.pods.iter().find(|pod| name(pod) == instance).copied()
    }

    fn is_ready(&self, instance: &str) -> bool {
        self.pod(instance).is_some_and(|pod| holds(pod, "Ready"))
    }

    fn ready(&self) -> usize {
        self.names
            .iter()
            .filter(|instance| self.is_ready(instance))
            .count()
    }

    fn is_outdated(&self, instance: &str) -> bool {
        self.pod(instance)
            .is_some_and(|pod| text(pod, "/spec/containers/0/image") != image(self.cluster))
    }

    fn new_name(&self) -> String {
        let serial = |instance: &String| instance.rsplit_once('-')?.1.parse::<u32>().ok();
        let last = self
            .names
            .iter()
            .filter_map(serial)
            .max()
            .unwrap_or_default();
        format!("{}-{}", name(self.cluster), last + 1)
    }

    fn next(&self) -> Next {
        let wanted =
            usize::try_from(integer(self.cluster, "/spec/instances").unwrap_or(1)).unwrap_or(1);
        let (current, target) = (
            text(self.cluster, "/status/currentPrimary"),
            text(self.cluster, "/status/targetPrimary"),
        );
        if self.names.is_empty() {
            return Next::Create(self.new_name(), "Setting up primary");
        }
        if current.is_empty() {
            return if self.is_ready(target) {
                Next::Promote(
                    target.to_owned(),
                    "Waiting for the instances to become active",
                )
            } else {
                self.recreate("Setting up primary")
            };
        }
        if current != target {
            return Next::Promote(target.to_owned(), "Switchover in progress");
        }
        let standby = || {
            let others = self.names.iter().filter(|instance| *instance != current);
            others.filter(|instance| self.is_ready(instance))
        };
        if self.pod(current).is_none()
            && let Some(heir) = standby().next()
        {
            return Next::Promote(heir.clone(), "Failing over");
        }
        if self.ready() < self.names.len() {
            return self.recreate("Waiting for the instances to become active");
        }
        let outdated = |instance: &&String| self.is_outdated(instance);
        if let Some(old) = standby().find(outdated) {
            return Next::Replace(old.clone(), "Upgrading cluster");
        }
        if self.is_outdated(current) {
            return match standby().next() {
                Some(heir) => Next::Promote(heir.clone(), "Switchover in progress"),
                None => Next::Replace(current.to_owned(), "Upgrading cluster"),
            };
        }
        if self.names.len() < wanted {
            return Next::Create(self.new_name(), "Creating a new replica");
        }
        if self.names.len() > wanted
            && let Some(last) = self
                .names
                .iter()
                .rev()
                .find(|instance| *instance != current)
        {
            return Next::Remove(last.clone(), "Scaling down");
        }
        Next::Nothing
    }

    /// Makes a pod anew that is not there, else waits.
    fn recreate(&self, phase: &'static str) -> Next {
        let gone = self
            .names
            .iter()
            .find(|instance| self.pod(instance).is_none());
        match gone {
            Some(instance) => Next::Create(instance.clone(), phase),
            None => Next::Wait(phase),
        }
    }
}

fn reconcile(
    client: &mut Client,
    cluster: &Value,
    pods: &[&Arc<Value>],
    now: Timestamp,
) -> Result<(), Interrupted> {
    let mut status = match cluster.get("status") {
        Some(status) if status.is_object() => status.clone(),
        _ => json!({}),
    };
    let known = text(cluster, "/status/image");
    if !known.is_empty() && known != image(cluster) {
        status["image"] = json!(image(cluster));
        client.set_status(CLUSTERS, cluster, status)?;
        return Ok(());
    }
    let known = items(cluster, "/status/instanceNames")
        .iter()
        .filter_map(Value::as_str);
    let names: BTreeSet<&str> = known.chain(pods.iter().map(|pod| name(pod))).collect();
    let mut instances = Instances {
        cluster,
        pods,
        names: names.into_iter().map(str::to_owned).collect(),
    };
    let phase = match instances.next() {
        Next::Nothing => HEALTHY,
        Next::Wait(phase) => phase,
        Next::Create(instance, phase) => {
            client.create(PODS, pod(cluster, &instance))?;
            if !instances.names.contains(&instance) {
                instances.names.push(instance);
            }
            phase
        }
        Next::Replace(instance, phase) => {
            if let Some(pod) = instances.pod(&instance) {
                client.delete(PODS, pod)?;
            }
            phase
        }
        Next::Remove(instance, phase) => {
            if let Some(pod) = instances.pod(&instance) {
                client.delete(PODS, pod)?;
            }
            instances.names.retain(|known| *known != instance);
            phase
        }
        Next::Promote(instance, phase) => {
            if text(cluster, "/status/targetPrimary") == instance {
                status["currentPrimary"] = json!(instance);
                client.knobs().postgres.initialise(cluster);
            } else {
                status["targetPrimary"] = json!(instance);
            }
            phase
        }
    };
    if status.get("targetPrimary").is_none() {
        status["targetPrimary"] = json!(instances.names.first());
    }
    status["phase"] = json!(phase);
    status["image"] = json!(image(cluster));
    status["instances"] = json!(instances.names.len());
    status["readyInstances"] = json!(instances.ready());
    status["instanceNames"] = json!(instances.names);
    status["conditions"] = conditions(cluster, phase == HEALTHY, now);
    client.set_status(CLUSTERS, cluster, status)?;
    Ok(())
}

fn conditions(cluster: &Value, is_ready: bool, now: Timestamp) -> Value {
    let said = |kind: &str, holds: bool, reason: &str, message: &str| {
        let status = if holds { "True" } else { "False" };
        let known = condition(cluster, kind).filter(|known| text(known, "/status") == status);
        json!({
            "type": kind, "status": status, "reason": reason, "message": message,
            "lastTransitionTime": known.map_or_else(|| json!(stamp(now)), |known| known["lastTransitionTime"].clone()),
        })
    };
    let ready = if is_ready {
        said("Ready", true, "ClusterIsReady", "Cluster is Ready")
    } else {
        said("Ready", false, "ClusterIsNotReady", "Cluster Is Not Ready")
    };
    let archiving = "Continuous archiving is working";
    json!([
        said(
            "ContinuousArchiving",
            true,
            "ContinuousArchivingSuccess",
            archiving
        ),
        ready,
    ])
}

fn pod(cluster: &Value, instance: &str) -> Value {
    json!({
        "metadata": {
            "name": instance,
            "namespace": namespace(cluster),
            "labels": {
                "cnpg.io/cluster": name(cluster),
                "cnpg.io/instanceName": instance,
                "cnpg.io/podRole": "instance",
            },
            "ownerReferences": controlled_by(cluster),
        },
        "spec": {"containers": [{"name": "postgres", "image": image(cluster)}]},
    })
}
