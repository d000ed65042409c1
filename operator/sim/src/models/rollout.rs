//! Argo Rollouts (v1.9.1): canaries. Follows `rollout/canary.go`, `rollout/sync.go` and what they call, function by
//! function, so that what surprises there surprises here.
//!
//! Left out: blue-green, experiments, plugins of steps, `dynamicStableScale`, `workloadRef`, restarts, ephemeral metadata.

mod analysis;
mod progress;
mod replicas;
mod traffic;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::analysis::{ANALYSIS_RUNS, ANALYSIS_TEMPLATES};
use super::client::{Client, Controller, Interrupted};
use super::fields::{
    annotation, by_controller, controlled_by, count, duration, generation, integer, is_deleting,
    is_true, items, label, name, namespace, plus, stamp, text, time, uid, until,
};
use super::gateway::{HTTP_ROUTES, SERVICES};
use super::replicaset::{REPLICA_SETS, Set, owned_by, short_hash, sum};
use crate::actor::{Resource, resource};

pub(crate) const ROLLOUTS: Resource = resource("argoproj.io", "rollouts");
const HASH: &str = "rollouts-pod-template-hash";
const REVISION: &str = "rollout.argoproj.io/revision";
const DESIRED: &str = "rollout.argoproj.io/desired-replicas";
/// Time after a write of its own in which the controller may overlook what somebody else writes.
const BLIND: Duration = Duration::from_secs(2);

/// The controller of Rollouts.
#[derive(Default)]
pub(crate) struct Rollouts {
    /// What it wrote last: generation and time, by UID; it may put this over what came in meanwhile.
    written: BTreeMap<String, (i64, Timestamp)>,
    /// Versions of Rollouts that it has overlooked, by UID.
    overlooked: BTreeMap<String, String>,
}

impl Controller for Rollouts {
    const NAME: &'static str = "rollouts";
    const MANAGER: &'static str = "rollouts-controller";
    const WATCHES: &'static [Resource] = &[
        ROLLOUTS,
        REPLICA_SETS,
        ANALYSIS_RUNS,
        ANALYSIS_TEMPLATES,
        SERVICES,
        HTTP_ROUTES,
        traffic::TRAEFIK_SERVICES,
    ];

    fn sync(&mut self, client: &mut Client, now: Timestamp) {
        let rollouts = client.list(ROLLOUTS);
        if rollouts.is_empty() {
            return;
        }
        let sets = client.list(REPLICA_SETS);
        let runs = client.list(ANALYSIS_RUNS);
        let runs = by_controller(&runs);
        for rollout in &rollouts {
            if is_deleting(rollout) || self.overlooks(client, rollout, now) {
                continue;
            }
            let mine = runs
                .get(uid(rollout))
                .map(Vec::as_slice)
                .unwrap_or_default();
            let runs = mine.iter().map(|run| Arc::clone(run)).collect();
            // What interrupts it is tried again.
            let _ = Canary::begin(client, rollout, owned_by(rollout, &sets), runs, now)
                .and_then(|mut canary| canary.reconcile());
            let after = client.get(ROLLOUTS, namespace(rollout), name(rollout));
            if after.is_some_and(|after| after != *rollout) {
                let written = (generation(rollout), now);
                self.written.insert(uid(rollout).to_owned(), written);
            }
        }
    }
}

impl Rollouts {
    /// Whether it does not see what was written just after a write of its own (`writeBackToInformer` in `controller.go`).
    fn overlooks(&mut self, client: &mut Client, rollout: &Value, now: Timestamp) -> bool {
        let version = text(rollout, "/metadata/resourceVersion");
        if let Some(overlooked) = self.overlooked.get(uid(rollout)) {
            if overlooked == version {
                return true;
            }
            self.overlooked.remove(uid(rollout));
        }
        let Some((written, at)) = self.written.remove(uid(rollout)) else {
            return false;
        };
        let is_meanwhile = generation(rollout) > written && plus(at, BLIND) > now;
        let chance = client.settings().chances.overlook;
        let overlooks = is_meanwhile && client.temper().happens(chance);
        if overlooks {
            self.overlooked
                .insert(uid(rollout).to_owned(), version.to_owned());
        }
        overlooks
    }
}

/// What one round decides about pauses and aborts (`rollout/pause.go`).
#[derive(Default)]
struct Pause {
    add: Vec<&'static str>,
    completes_step: bool,
    clear: bool,
    abort: Option<String>,
    remove_abort: bool,
}

/// A Rollout in one round.
struct Canary<'a> {
    client: &'a mut Client,
    now: Timestamp,
    /// As it was when the round began.
    rollout: &'a Value,
    sets: Vec<Set>,
    new: usize,
    stable: Option<usize>,
    runs: Vec<Arc<Value>>,
    conditions: Vec<Value>,
    weights: Option<Value>,
    background_run: Option<Value>,
    step_run: Option<Value>,
    pause: Pause,
}

const PAUSE_STEP: &str = "CanaryPauseStep";
const INCONCLUSIVE: &str = "InconclusiveAnalysis";

impl<'a> Canary<'a> {
    /// `newRolloutContext` in `controller.go`.
    fn begin(
        client: &'a mut Client,
        rollout: &'a Value,
        mut sets: Vec<Set>,
        runs: Vec<Arc<Value>>,
        now: Timestamp,
    ) -> Result<Self, Interrupted> {
        if rollout.pointer("/spec/replicas").is_none() {
            client.merge(ROLLOUTS, rollout, json!({"spec": {"replicas": 1}}))?;
            return Err(Interrupted);
        }
        if let Some(invalid) = traffic::missing_reference(client, rollout) {
            progress::report_invalid(client, rollout, &invalid, now)?;
            return Err(Interrupted);
        }
        let hash = short_hash(&rollout["spec"]["template"]);
        let mut conditions = items(rollout, "/status/conditions").to_vec();
        super::conditions::remove(&mut conditions, "InvalidSpec");
        let known = sets.iter().position(|set| label(&set.0, HASH) == hash);
        let new = match known {
            Some(new) => new,
            None => {
                let set = create_set(client, rollout, &sets, &hash)?;
                let message = format!("Created new replica set {:?}", name(&set));
                progress::say(
                    &mut conditions,
                    "Progressing",
                    "True",
                    "NewReplicaSetCreated",
                    &message,
                    now,
                );
                sets.push(Set(set));
                sets.len() - 1
            }
        };
        let stable_hash = text(rollout, "/status/stableRS");
        let stable = (!stable_hash.is_empty())
            .then(|| {
                sets.iter()
                    .position(|set| label(&set.0, HASH) == stable_hash)
            })
            .flatten();
        let mut canary = Self {
            weights: rollout.pointer("/status/canary/weights").cloned(),
            client,
            now,
            rollout,
            sets,
            new,
            stable,
            runs,
            conditions,
            background_run: None,
            step_run: None,
            pause: Pause::default(),
        };
        canary.pause.remove_abort = canary.is_fully_promoted() && is_true(rollout, "/status/abort");
        Ok(canary)
    }

    fn replicas(&self) -> i64 {
        integer(self.rollout, "/spec/replicas").unwrap_or(1)
    }

    fn strategy(&self) -> &'a Value {
        &self.rollout["spec"]["strategy"]["canary"]
    }

    fn is_routed(&self) -> bool {
        self.strategy().get("trafficRouting").is_some()
    }

    fn steps(&self) -> &'a [Value] {
        items(self.rollout, "/spec/strategy/canary/steps")
    }

    /// The index of the step under way; `None` where there are no steps.
    fn step_index(&self) -> Option<usize> {
        let index = count(self.rollout, "/status/currentStepIndex");
        (!self.steps().is_empty()).then(|| usize::try_from(index).unwrap_or_default())
    }

    fn step(&self) -> Option<&'a Value> {
        self.steps().get(self.step_index()?)
    }

    fn new_set(&self) -> &Set {
        &self.sets[self.new]
    }

    fn stable_set(&self) -> Option<&Set> {
        self.stable.map(|stable| &self.sets[stable])
    }

    fn new_hash(&self) -> &str {
        label(&self.new_set().0, HASH)
    }

    /// The stable ReplicaSet, where it is not the new one.
    fn former(&self) -> Option<usize> {
        self.stable.filter(|stable| *stable != self.new)
    }

    /// Neither new nor stable.
    fn others(&self) -> Vec<usize> {
        (0..self.sets.len())
            .filter(|set| *set != self.new && Some(*set) != self.stable)
            .collect()
    }

    fn is_fully_promoted(&self) -> bool {
        text(self.rollout, "/status/stableRS") == text(self.rollout, "/status/currentPodHash")
    }

    fn is_aborted(&self) -> bool {
        let told = self.pause.abort.is_some() || is_true(self.rollout, "/status/abort");
        told && !self.pause.remove_abort
    }

    fn pause_conditions(&self) -> &'a [Value] {
        items(self.rollout, "/status/pauseConditions")
    }

    fn pause_condition(&self, reason: &str) -> Option<&'a Value> {
        let mut conditions = self.pause_conditions().iter();
        conditions.find(|condition| text(condition, "/reason") == reason)
    }

    /// `reconcile` in `context.go`.
    fn reconcile(&mut self) -> Result<(), Interrupted> {
        progress::check_paused(self);
        self.number_revision()?;
        let active = [Some(self.new), self.stable].into_iter().flatten();
        let desired = self.replicas().to_string();
        let is_scaled = active.map(|index| &self.sets[index]).any(|set| {
            set.replicas() > 0 && annotation(&set.0, DESIRED).is_some_and(|known| known != desired)
        });
        if is_scaled {
            return self.sync_replicas_only();
        }
        self.roll()
    }

    /// A change of the number of replicas (`syncReplicasOnly` in `sync.go`). The status keeps all that it said, and
    /// claims to be about the current generation.
    fn sync_replicas_only(&mut self) -> Result<(), Interrupted> {
        self.reconcile_sets()?;
        let mut status = self.rollout["status"]
            .as_object()
            .cloned()
            .unwrap_or_default();
        self.put_counts(&mut status);
        self.persist(status)
    }

    /// `rolloutCanary` in `canary.go`.
    fn roll(&mut self) -> Result<(), Interrupted> {
        if self.has_changed() {
            return self.sync_status();
        }
        self.forget_history()?;
        self.reconcile_services()?;
        self.reconcile_routing()?;
        self.reconcile_runs()?;
        if !self.pause.add.is_empty() {
            return self.sync_status();
        }
        if !self.reconcile_sets()? {
            self.reconcile_pause();
        }
        self.sync_status()
    }

    /// Whether template or steps are others than before (`PodTemplateOrStepsChanged`).
    fn has_changed(&self) -> bool {
        let known = text(self.rollout, "/status/currentPodHash");
        text(self.rollout, "/status/currentStepHash") != self.steps_hash()
            || (!known.is_empty() && known != self.new_hash())
    }

    fn steps_hash(&self) -> String {
        short_hash(self.steps())
    }

    /// `syncReplicaSetRevision` in `sync.go`.
    fn number_revision(&mut self) -> Result<(), Interrupted> {
        let others = self
            .sets
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != self.new);
        let next = others
            .map(|(_, set)| set.revision(REVISION))
            .max()
            .unwrap_or_default()
            + 1;
        let patch =
            |revision: i64| json!({"metadata": {"annotations": {REVISION: revision.to_string()}}});
        if self.new_set().revision(REVISION) < next {
            let set = Arc::clone(&self.new_set().0);
            self.sets[self.new] = Set(self.client.merge(REPLICA_SETS, &set, patch(next))?);
        }
        let revision = self.new_set().revision(REVISION);
        if annotation(self.rollout, REVISION) != Some(revision.to_string().as_str()) {
            self.client.merge(ROLLOUTS, self.rollout, patch(revision))?;
            // The rollout that we hold is no longer the stored one: the rest follows at the next round.
            return Err(Interrupted);
        }
        Ok(())
    }

    fn revision(&self) -> i64 {
        annotation(self.rollout, REVISION)
            .and_then(|revision| revision.parse().ok())
            .unwrap_or_default()
    }

    /// `reconcileRevisionHistoryLimit` in `sync.go`.
    fn forget_history(&mut self) -> Result<(), Interrupted> {
        let kept = integer(self.rollout, "/spec/revisionHistoryLimit").unwrap_or(10);
        let others = self.others();
        let surplus = others
            .len()
            .saturating_sub(usize::try_from(kept).unwrap_or_default());
        for index in others.into_iter().take(surplus) {
            if self.sets[index].is_empty() {
                let set = Arc::clone(&self.sets[index].0);
                self.client.delete(REPLICA_SETS, &set)?;
            }
        }
        Ok(())
    }

    /// `reconcileCanaryPause` in `canary.go`.
    fn reconcile_pause(&mut self) {
        if is_true(self.rollout, "/spec/paused") || is_true(self.rollout, "/status/promoteFull") {
            return;
        }
        let Some(pause) = self.step().and_then(|step| step.get("pause")) else {
            return;
        };
        let Some(condition) = self.pause_condition(PAUSE_STEP) else {
            if !is_true(self.rollout, "/status/controllerPause") {
                self.pause.add.push(PAUSE_STEP);
                if let Some(wait) = pause.get("duration").and_then(duration) {
                    self.client.again_in(wait + Duration::from_millis(1));
                }
            }
            return;
        };
        if let Some(end) = self.pause_end(condition, pause)
            && end >= self.now
        {
            self.client
                .again_in(until(end, self.now) + Duration::from_millis(1));
        }
    }

    fn pause_end(&self, condition: &Value, pause: &Value) -> Option<Timestamp> {
        let wait = pause.get("duration").and_then(duration)?;
        let begun = time(condition, "/startTime").unwrap_or(self.now);
        Some(plus(begun, wait))
    }

    /// `completedCurrentCanaryStep` in `canary.go`.
    fn has_completed_step(&self) -> bool {
        let Some(step) = self
            .step()
            .filter(|_| !is_true(self.rollout, "/spec/paused"))
        else {
            return false;
        };
        if let Some(pause) = step.get("pause") {
            let condition = self.pause_condition(PAUSE_STEP);
            if is_true(self.rollout, "/status/controllerPause") && condition.is_none() {
                return true;
            }
            let end = condition.and_then(|condition| self.pause_end(condition, pause));
            return end.is_some_and(|end| self.now > end);
        }
        if step.get("setCanaryScale").is_some() || step.get("setWeight").is_some() {
            return self.is_at_desired_counts();
        }
        if step.get("analysis").is_some() {
            return self
                .step_run
                .as_ref()
                .is_some_and(|run| text(run, "/status") == "Successful");
        }
        // Header and mirror routes are made at once.
        step.get("setHeaderRoute").is_some() || step.get("setMirrorRoute").is_some()
    }

    /// `isRollbackWithinWindow` in `sync.go`.
    fn is_within_window(&self) -> bool {
        let Some(stable) = self.stable_set().map(Set::created) else {
            return false;
        };
        let new = self.new_set().created();
        let window = count(self.rollout, "/spec/rollbackWindow/revisions");
        let between = self
            .sets
            .iter()
            .filter(|set| new < set.created() && set.created() < stable)
            .count();
        new < stable && i64::try_from(between).unwrap_or(i64::MAX) < window
    }

    /// `shouldFullPromote` in `sync.go`.
    fn is_to_be_promoted(&self) -> bool {
        if self.stable.is_none() {
            return true;
        }
        if self.is_aborted() || self.new_set().available() < self.replicas() {
            return false;
        }
        let has_done_all = self
            .step_index()
            .is_none_or(|index| index == self.steps().len());
        is_true(self.rollout, "/status/promoteFull") || self.is_within_window() || has_done_all
    }

    fn put_counts(&self, status: &mut Map<String, Value>) {
        put(status, "availableReplicas", sum(&self.sets, Set::available));
        put(status, "HPAReplicas", sum(&self.sets, Set::actual));
    }

    /// `calculateBaseStatus` in `sync.go`.
    fn base_status(&self) -> Map<String, Value> {
        let mut status = Map::new();
        status.insert("blueGreen".into(), json!({}));
        status.insert("currentPodHash".into(), json!(self.new_hash()));
        status.insert("currentStepHash".into(), json!(self.steps_hash()));
        put(&mut status, "replicas", sum(&self.sets, Set::actual));
        put(&mut status, "updatedReplicas", self.new_set().actual());
        put(&mut status, "readyReplicas", sum(&self.sets, Set::ready));
        self.put_counts(&mut status);
        for field in ["restartedAt", "collisionCount", "stableRS"] {
            if let Some(value) = self.rollout["status"].get(field) {
                status.insert(field.into(), value.clone());
            }
        }
        if is_true(self.rollout, "/status/promoteFull")
            && status.get("stableRS") != status.get("currentPodHash")
        {
            status.insert("promoteFull".into(), json!(true));
        }
        let labels = self
            .rollout
            .pointer("/spec/selector/matchLabels")
            .and_then(Value::as_object);
        let selector: Vec<String> = labels
            .into_iter()
            .flatten()
            .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
            .collect();
        status.insert("selector".into(), json!(selector.join(",")));
        let mut canary = json!({});
        for (field, value) in [
            ("weights", &self.weights),
            ("currentBackgroundAnalysisRunStatus", &self.background_run),
            ("currentStepAnalysisRunStatus", &self.step_run),
        ] {
            if let Some(value) = value {
                canary[field] = value.clone();
            }
        }
        status.insert("canary".into(), canary);
        status
    }

    /// `syncRolloutStatusCanary` in `canary.go`.
    fn sync_status(&mut self) -> Result<(), Interrupted> {
        let mut status = self.base_status();
        let steps = self.steps().len();
        let stable = text(self.rollout, "/status/stableRS");
        let mut index = self.step_index();
        if self.has_changed() {
            self.pause.clear = true;
            self.pause.abort = None;
            self.pause.remove_abort = true;
            status.remove("promoteFull");
            let is_back = stable == self.new_hash()
                || (self.is_within_window() && self.new_set().replicas() > 0);
            index = index.map(|_| if is_back { steps } else { 0 });
            put_index(&mut status, index);
            progress::calculate(self, &status);
            return self.persist(status);
        }
        if is_true(self.rollout, "/status/promoteFull") || self.is_within_window() {
            self.pause.clear = true;
            self.pause.abort = None;
            self.pause.remove_abort = true;
            index = index.map(|_| steps);
        }
        if self.is_to_be_promoted() {
            self.pause.clear = true;
            self.pause.abort = None;
            self.pause.remove_abort = true;
            status.remove("promoteFull");
            status.insert("stableRS".into(), json!(self.new_hash()));
            put_index(&mut status, index.map(|_| steps));
        } else if self.is_aborted() {
            let is_stable = stable == self.new_hash();
            put_index(
                &mut status,
                index.map(|_| if is_stable { steps } else { 0 }),
            );
        } else {
            if self.has_completed_step() {
                index = index.map(|index| index + 1);
                self.pause.completes_step = true;
                if let Some(canary) = status.get_mut("canary").and_then(Value::as_object_mut) {
                    canary.remove("currentStepAnalysisRunStatus");
                }
            }
            put_index(&mut status, index);
        }
        progress::calculate(self, &status);
        self.persist(status)
    }

    /// `persistRolloutStatus` in `sync.go`.
    fn persist(&mut self, mut status: Map<String, Value>) -> Result<(), Interrupted> {
        for field in ["abort", "abortedAt", "controllerPause", "pauseConditions"] {
            status.remove(field);
        }
        if self.is_aborted() {
            let since = self.rollout.pointer("/status/abortedAt").cloned();
            status.insert("abort".into(), json!(true));
            let since = since.unwrap_or_else(|| json!(stamp(self.now)));
            status.insert("abortedAt".into(), since);
        } else if !self.pause.clear {
            self.put_pauses(&mut status);
        }
        status.insert("conditions".into(), json!(self.conditions));
        status.insert(
            "observedGeneration".into(),
            json!(generation(self.rollout).to_string()),
        );
        progress::put_phase(self.rollout, &mut status);
        progress::look_again_at_deadline(self, &status);
        self.client
            .set_status(ROLLOUTS, self.rollout, Value::Object(status))?;
        Ok(())
    }

    /// `CalculatePauseConditions` in `pause.go`.
    fn put_pauses(&self, status: &mut Map<String, Value>) {
        let is_kept = |condition: &&Value| {
            !(self.pause.completes_step && text(condition, "/reason") == PAUSE_STEP)
        };
        let known = self.pause_conditions();
        let mut conditions: Vec<Value> = known.iter().filter(is_kept).cloned().collect();
        let mut is_paused = is_true(self.rollout, "/status/controllerPause");
        for reason in &self.pause.add {
            if known.iter().all(|known| text(known, "/reason") != *reason) {
                conditions.push(json!({"reason": reason, "startTime": stamp(self.now)}));
                is_paused = true;
            }
        }
        if !conditions.is_empty() {
            status.insert("pauseConditions".into(), json!(conditions));
            if is_paused {
                status.insert("controllerPause".into(), json!(true));
            }
        }
    }
}

/// Go leaves out what is zero.
fn put(status: &mut Map<String, Value>, field: &str, number: i64) {
    if number == 0 {
        status.remove(field);
    } else {
        status.insert(field.into(), json!(number));
    }
}

fn put_index(status: &mut Map<String, Value>, index: Option<usize>) {
    if let Some(index) = index {
        status.insert("currentStepIndex".into(), json!(index));
    }
}

/// `createDesiredReplicaSet` in `sync.go`: it begins with no pods.
fn create_set(
    client: &mut Client,
    rollout: &Value,
    sets: &[Set],
    hash: &str,
) -> Result<Arc<Value>, Interrupted> {
    let mut template = rollout["spec"]["template"].clone();
    template["metadata"]["labels"][HASH] = json!(hash);
    let mut selector = rollout["spec"]["selector"].clone();
    selector["matchLabels"][HASH] = json!(hash);
    let last = sets
        .iter()
        .map(|set| set.revision(REVISION))
        .max()
        .unwrap_or_default();
    let replicas = count(rollout, "/spec/replicas");
    let set = json!({
        "metadata": {
            "name": format!("{}-{hash}", name(rollout)),
            "namespace": namespace(rollout),
            "labels": template["metadata"]["labels"],
            "annotations": {REVISION: (last + 1).to_string(), DESIRED: replicas.to_string()},
            "ownerReferences": controlled_by(rollout),
        },
        "spec": {
            "replicas": 0,
            "minReadySeconds": count(rollout, "/spec/minReadySeconds"),
            "selector": selector,
            "template": template,
        },
    });
    Ok(client.create(REPLICA_SETS, set)?)
}
