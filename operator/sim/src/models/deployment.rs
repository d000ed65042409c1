//! Deployments (`k8s.io/kubernetes`, `pkg/controller/deployment`): rolling updates from ReplicaSet to ReplicaSet.
//!
//! Left out: `Recreate`, proportional scaling in the middle of an update, and adoption of orphans.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::client::{Client, Controller, Interrupted};
use super::conditions::{self, Condition};
use super::fields::{
    annotation, controlled_by, count, generation, integer, is_deleting, is_true, items, label,
    name, namespace, plus, text, time, until,
};
use super::replicaset::{
    REPLICA_SETS, Set, fenceposts, owned_by, replica_failure, short_hash, sum,
};
use crate::actor::{Resource, resource};

pub(crate) const DEPLOYMENTS: Resource = resource("apps", "deployments");
const REVISION: &str = "deployment.kubernetes.io/revision";
const HASH: &str = "pod-template-hash";
const PROGRESSING: &str = "Progressing";
const NEW_SET_AVAILABLE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const DEFAULT_DEADLINE: i64 = 600;
const DEFAULT_HISTORY: i64 = 10;

/// The controller of Deployments.
pub(crate) struct Deployments;

impl Controller for Deployments {
    const NAME: &'static str = "deployment";
    const MANAGER: &'static str = "kube-controller-manager";
    const WATCHES: &'static [Resource] = &[DEPLOYMENTS, REPLICA_SETS];

    fn sync(&mut self, client: &mut Client, now: Timestamp) {
        let deployments = client.list(DEPLOYMENTS);
        if deployments.is_empty() {
            return;
        }
        let sets = client.list(REPLICA_SETS);
        for deployment in deployments.iter().filter(|it| !is_deleting(it)) {
            let rolling = Rolling {
                client,
                now,
                deployment,
                sets: owned_by(deployment, &sets),
                conditions: items(deployment, "/status/conditions").to_vec(),
            };
            // What interrupts it is tried again.
            let _ = rolling.reconcile();
        }
    }
}

struct Rolling<'a> {
    client: &'a mut Client,
    now: Timestamp,
    deployment: &'a Value,
    sets: Vec<Set>,
    conditions: Vec<Value>,
}

impl Rolling<'_> {
    fn replicas(&self) -> i64 {
        integer(self.deployment, "/spec/replicas").unwrap_or(1)
    }

    fn fenceposts(&self) -> (i64, i64) {
        let rolling = &self.deployment["spec"]["strategy"]["rollingUpdate"];
        let or_quarter = |value: &Value| match value {
            Value::Null => json!("25%"),
            value => value.clone(),
        };
        fenceposts(
            &or_quarter(&rolling["maxSurge"]),
            &or_quarter(&rolling["maxUnavailable"]),
            self.replicas(),
        )
    }

    fn reconcile(mut self) -> Result<(), Interrupted> {
        let hash = short_hash(&self.deployment["spec"]["template"]);
        let known = self.sets.iter().position(|set| label(&set.0, HASH) == hash);
        let is_paused = is_true(self.deployment, "/spec/paused");
        let new = match known {
            Some(new) => new,
            // A new template waits until the pause ends.
            None if is_paused => return self.report(None),
            None => match self.create(&hash)? {},
        };
        self.number_revision(new)?;
        let scaled = self.scale_new(new)? || (!is_paused && self.scale_old(new)?);
        if !scaled && self.is_complete(&self.deployment["status"]) {
            self.forget_history(new)?;
        }
        self.report(Some(new))
    }

    /// Makes the ReplicaSet of the template (`getNewReplicaSet` in `sync.go`).
    fn create(&mut self, hash: &str) -> Result<Infallible, Interrupted> {
        let mut template = self.deployment["spec"]["template"].clone();
        template["metadata"]["labels"][HASH] = json!(hash);
        let mut selector = self.deployment["spec"]["selector"].clone();
        selector["matchLabels"][HASH] = json!(hash);
        let set_name = format!("{}-{hash}", name(self.deployment));
        let revision = self.last_revision(None) + 1;
        let set = json!({
            "metadata": {
                "name": set_name,
                "namespace": namespace(self.deployment),
                "labels": template["metadata"]["labels"],
                "annotations": {REVISION: revision.to_string()},
                "ownerReferences": controlled_by(self.deployment),
            },
            "spec": {
                "replicas": self.room(0),
                "minReadySeconds": count(self.deployment, "/spec/minReadySeconds"),
                "selector": selector,
                "template": template,
            },
        });
        self.client.create(REPLICA_SETS, set)?;
        let message = format!("Created new replica set {set_name:?}");
        self.say(PROGRESSING, "True", "NewReplicaSetCreated", &message);
        let mut status = self.deployment["status"].clone();
        status["conditions"] = json!(self.conditions);
        self.client
            .set_status(DEPLOYMENTS, self.deployment, status)?;
        // The deployment that we hold is no longer the stored one: the rest follows at the next round.
        Err(Interrupted)
    }

    fn last_revision(&self, except: Option<usize>) -> i64 {
        let others = self.sets.iter().enumerate();
        others
            .filter(|(index, _)| Some(*index) != except)
            .map(|(_, set)| set.revision(REVISION))
            .max()
            .unwrap_or_default()
    }

    fn number_revision(&mut self, new: usize) -> Result<(), Interrupted> {
        let next = self.last_revision(Some(new)) + 1;
        let patch =
            |revision: i64| json!({"metadata": {"annotations": {REVISION: revision.to_string()}}});
        if self.sets[new].revision(REVISION) < next {
            let set = Arc::clone(&self.sets[new].0);
            self.sets[new] = Set(self.client.merge(REPLICA_SETS, &set, patch(next))?);
        }
        let revision = self.sets[new].revision(REVISION);
        if annotation(self.deployment, REVISION) != Some(revision.to_string().as_str()) {
            self.client
                .merge(DEPLOYMENTS, self.deployment, patch(revision))?;
            // The deployment that we hold is no longer the stored one: the status follows at the next round.
            return Err(Interrupted);
        }
        if conditions::find(&self.conditions, PROGRESSING).is_none() {
            let message = format!("Found new replica set {:?}", self.sets[new].name());
            self.say(PROGRESSING, "True", "FoundNewReplicaSet", &message);
        }
        Ok(())
    }

    /// Pods that a ReplicaSet may have which has `has` (`NewRSNewReplicas` in `util/deployment_util.go`).
    fn room(&self, has: i64) -> i64 {
        let most = self.replicas() + self.fenceposts().0;
        let free = most - sum(&self.sets, Set::replicas);
        has + free.clamp(0, (self.replicas() - has).max(0))
    }

    fn scale_new(&mut self, new: usize) -> Result<bool, Interrupted> {
        let has = self.sets[new].replicas();
        let wanted = if has > self.replicas() {
            self.replicas()
        } else {
            self.room(has)
        };
        self.scale(new, wanted)
    }

    /// Old pods go as new ones are available (`reconcileOldReplicaSets` in `rolling.go`).
    fn scale_old(&mut self, new: usize) -> Result<bool, Interrupted> {
        let least = self.replicas() - self.fenceposts().1;
        let unavailable = self.sets[new].replicas() - self.sets[new].available();
        let mut may_go = sum(&self.sets, Set::replicas) - least - unavailable;
        let old: Vec<usize> = (0..self.sets.len()).filter(|set| *set != new).collect();
        let mut scaled = false;
        for index in &old {
            let set = &self.sets[*index];
            let sick = (set.replicas() - set.available()).min(may_go);
            if sick > 0 {
                may_go -= sick;
                scaled |= self.scale(*index, self.sets[*index].replicas() - sick)?;
            }
        }
        if may_go <= 0 && !scaled {
            return Ok(false);
        }
        let mut spare = sum(&self.sets, Set::available) - least;
        for index in old {
            let going = self.sets[index].replicas().min(spare);
            if going > 0 {
                spare -= going;
                scaled |= self.scale(index, self.sets[index].replicas() - going)?;
            }
        }
        Ok(scaled)
    }

    fn scale(&mut self, index: usize, replicas: i64) -> Result<bool, Interrupted> {
        let set = Arc::clone(&self.sets[index].0);
        if self.sets[index].replicas() == replicas {
            return Ok(false);
        }
        let patch = json!({"spec": {"replicas": replicas}});
        self.sets[index] = Set(self.client.merge(REPLICA_SETS, &set, patch)?);
        Ok(true)
    }

    fn forget_history(&mut self, new: usize) -> Result<(), Interrupted> {
        let kept =
            integer(self.deployment, "/spec/revisionHistoryLimit").unwrap_or(DEFAULT_HISTORY);
        let new = self.sets[new].name().to_owned();
        let mut old: Vec<Set> = self
            .sets
            .iter()
            .filter(|set| set.name() != new)
            .cloned()
            .collect();
        old.sort_by_key(|set| set.revision(REVISION));
        let surplus = old
            .len()
            .saturating_sub(usize::try_from(kept).unwrap_or_default());
        for set in old.iter().take(surplus).filter(|set| set.is_empty()) {
            self.client.delete(REPLICA_SETS, &set.0)?;
        }
        Ok(())
    }

    fn say(&mut self, kind: &str, status: &str, reason: &str, message: &str) {
        let condition = Condition {
            kind,
            status,
            reason,
            message,
        };
        conditions::set(&mut self.conditions, condition, self.now);
    }

    /// `DeploymentComplete` in `util/deployment_util.go`.
    fn is_complete(&self, status: &Value) -> bool {
        let all = ["updatedReplicas", "replicas", "availableReplicas"]
            .iter()
            .all(|field| status[*field].as_i64().unwrap_or_default() == self.replicas());
        let observed = status["observedGeneration"].as_i64().unwrap_or_default();
        all && observed >= generation(self.deployment)
    }

    /// `syncRolloutStatus` in `progress.go`.
    fn report(mut self, new: Option<usize>) -> Result<(), Interrupted> {
        let available = sum(&self.sets, Set::available);
        let updated = new.map_or(0, |new| self.sets[new].actual());
        let mut status = json!({"observedGeneration": generation(self.deployment)});
        for (field, number) in [
            ("replicas", sum(&self.sets, Set::actual)),
            ("updatedReplicas", updated),
            ("readyReplicas", sum(&self.sets, Set::ready)),
            ("availableReplicas", available),
            (
                "unavailableReplicas",
                sum(&self.sets, Set::replicas) - available,
            ),
        ] {
            if number > 0 {
                status[field] = json!(number);
            }
        }
        if available >= self.replicas() - self.fenceposts().1 {
            let message = "Deployment has minimum availability.";
            self.say("Available", "True", "MinimumReplicasAvailable", message);
        } else {
            let message = "Deployment does not have minimum availability.";
            self.say("Available", "False", "MinimumReplicasUnavailable", message);
        }
        let told = conditions::reason(&self.conditions, PROGRESSING);
        let is_done = told == NEW_SET_AVAILABLE && status["replicas"] == status["updatedReplicas"];
        if let Some(new) = new.filter(|_| !is_done) {
            self.tell_progress(new, &status);
        }
        let failure = new.and_then(|new| replica_failure(&self.sets[new], &self.sets).cloned());
        match failure {
            Some(failure) => {
                let (reason, message) = (text(&failure, "/reason"), text(&failure, "/message"));
                self.say("ReplicaFailure", "True", reason, message);
            }
            None => conditions::remove(&mut self.conditions, "ReplicaFailure"),
        }
        if let Some(collisions) = self.deployment.pointer("/status/collisionCount") {
            status["collisionCount"] = collisions.clone();
        }
        status["conditions"] = json!(self.conditions);
        self.client
            .set_status(DEPLOYMENTS, self.deployment, status)?;
        Ok(())
    }

    fn tell_progress(&mut self, new: usize, status: &Value) {
        let set = self.sets[new].name().to_owned();
        if self.is_complete(status) {
            let message = format!("ReplicaSet {set:?} has successfully progressed.");
            self.say(PROGRESSING, "True", NEW_SET_AVAILABLE, &message);
        } else if self.has_progressed(status) {
            let message = format!("ReplicaSet {set:?} is progressing.");
            let condition = Condition {
                kind: PROGRESSING,
                status: "True",
                reason: "ReplicaSetUpdated",
                message: &message,
            };
            conditions::renew(&mut self.conditions, condition, self.now);
        } else if self.has_timed_out() {
            let message = format!("ReplicaSet {set:?} has timed out progressing.");
            self.say(PROGRESSING, "False", TIMED_OUT, &message);
        }
    }

    /// `DeploymentProgressing` in `util/deployment_util.go`.
    fn has_progressed(&self, status: &Value) -> bool {
        let before = |field: &str| {
            self.deployment["status"][field]
                .as_i64()
                .unwrap_or_default()
        };
        let after = |field: &str| status[field].as_i64().unwrap_or_default();
        let old = |of: &dyn Fn(&str) -> i64| of("replicas") - of("updatedReplicas");
        after("updatedReplicas") > before("updatedReplicas")
            || old(&after) < old(&before)
            || after("readyReplicas") > before("readyReplicas")
            || after("availableReplicas") > before("availableReplicas")
    }

    /// `DeploymentTimedOut` in `util/deployment_util.go`.
    fn has_timed_out(&mut self) -> bool {
        let Some(condition) = conditions::find(&self.conditions, PROGRESSING) else {
            return false;
        };
        match text(condition, "/reason") {
            TIMED_OUT => return true,
            NEW_SET_AVAILABLE => return false,
            _ => {}
        }
        let seconds = integer(self.deployment, "/spec/progressDeadlineSeconds");
        let seconds = u64::try_from(seconds.unwrap_or(DEFAULT_DEADLINE)).unwrap_or_default();
        let since = time(condition, "/lastUpdateTime").unwrap_or(self.now);
        let deadline = plus(since, Duration::from_secs(seconds));
        if deadline < self.now {
            return true;
        }
        self.client
            .again_in(until(deadline, self.now) + Duration::from_secs(1));
        false
    }
}
