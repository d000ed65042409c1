//! How many pods each ReplicaSet of a Rollout has (`utils/replicaset/canary.go`, `rollout/replicaset.go`,
//! `rollout/canary.go`).

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Canary, DESIRED, HASH, INCONCLUSIVE, REPLICA_SETS, SERVICES, Set};
use crate::models::client::Interrupted;
use crate::models::fields::{
    annotation, integer, is_true, label, namespace, plus, stamp, text, until,
};
use crate::models::replicaset::{fenceposts, sum};

/// Annotation of a ReplicaSet that is kept for a while: until when.
pub(super) const DEADLINE: &str = "scale-down-deadline";
const DEFAULT_DELAY: i64 = 30;

impl Canary<'_> {
    /// Scales whatever is to be scaled next (`reconcileCanaryReplicaSets`). Returns whether anything was.
    pub(super) fn reconcile_sets(&mut self) -> Result<bool, Interrupted> {
        let is_halted =
            is_true(self.rollout, "/spec/paused") || self.pause_condition(INCONCLUSIVE).is_some();
        if is_halted {
            return Ok(false);
        }
        self.remove_deadlines()?;
        if let Some(stable) = self.former() {
            let (_, wanted) = self.wanted_counts();
            if self.scale(stable, wanted)? {
                return Ok(true);
            }
        }
        Ok(self.reconcile_new()? || self.reconcile_others()?)
    }

    /// How many pods the new and the stable ReplicaSet are to have.
    fn wanted_counts(&self) -> (i64, i64) {
        if self.is_routed() {
            self.routed_counts()
        } else {
            self.basic_counts()
        }
    }

    /// `CalculateReplicaCountsForTrafficRoutedCanary`.
    fn routed_counts(&self) -> (i64, i64) {
        let replicas = self.replicas();
        let fixed = self
            .canary_scale()
            .and_then(|scale| integer(scale, "/replicas"));
        let canary = fixed.unwrap_or_else(|| (self.scale_weight() * replicas + 99) / 100);
        (canary, replicas)
    }

    /// The last `setCanaryScale` that was reached (`UseSetCanaryScale`).
    fn canary_scale(&self) -> Option<&Value> {
        let is_left_alone = is_true(self.rollout, "/status/abort") && self.abort_delay().is_some();
        if !self.is_routed() || is_left_alone || self.is_at_full_weight() {
            return None;
        }
        let reached = self.steps().get(..=self.step_index()?)?;
        let scale = reached
            .iter()
            .rev()
            .find_map(|step| step.get("setCanaryScale"))?;
        (!is_true(scale, "/matchTrafficWeight")).then_some(scale)
    }

    fn is_at_full_weight(&self) -> bool {
        is_true(self.rollout, "/status/promoteFull")
            || text(self.rollout, "/status/stableRS").is_empty()
            || self.is_fully_promoted()
    }

    /// The weight that decides on the number of pods (`GetCanaryReplicasOrWeight`).
    fn scale_weight(&self) -> i64 {
        if self.is_at_full_weight() {
            return 100;
        }
        let scale = self
            .canary_scale()
            .and_then(|scale| integer(scale, "/weight"));
        scale.unwrap_or_else(|| self.set_weight())
    }

    /// The last `setWeight` that was reached (`GetCurrentSetWeight`).
    pub(super) fn set_weight(&self) -> i64 {
        if is_true(self.rollout, "/status/abort") {
            return 0;
        }
        let Some(index) = self
            .step_index()
            .filter(|index| *index < self.steps().len())
        else {
            return 100;
        };
        self.weight_before(index + 1)
    }

    /// The last `setWeight` of the first steps.
    pub(super) fn weight_before(&self, steps: usize) -> i64 {
        let steps = self.steps().get(..steps).unwrap_or_default();
        let weights = steps.iter().rev();
        weights
            .filter_map(|step| integer(step, "/setWeight"))
            .next()
            .unwrap_or_default()
    }

    fn fenceposts(&self) -> (i64, i64) {
        let or_quarter = |field: &str| {
            let given = self.strategy().get(field).cloned();
            given.unwrap_or_else(|| json!("25%"))
        };
        fenceposts(
            &or_quarter("maxSurge"),
            &or_quarter("maxUnavailable"),
            self.replicas(),
        )
    }

    /// `CalculateReplicaCountsForBasicCanary`.
    fn basic_counts(&self) -> (i64, i64) {
        let replicas = self.replicas();
        let (surge, unavailable) = self.fenceposts();
        let unavailable = unavailable.min(replicas);
        let new = self.new_set();
        let former = self.former().map(|stable| &self.sets[stable]);
        let (wanted_new, wanted_stable) = match former {
            Some(_) => approximate(replicas, self.scale_weight(), surge),
            None => (replicas, 0),
        };
        let old = sum(
            self.others().into_iter().map(|set| &self.sets[set]),
            Set::replicas,
        );
        let stable_has = former.map_or(0, Set::replicas);
        let most = replicas + surge;
        let (mut new_count, mut stable_count) = (new.replicas(), stable_has);
        let mut room = most - old - new.replicas() - stable_has;
        if stable_has < wanted_stable && room > 0 {
            stable_count = wanted_stable.min(stable_has + room);
            room -= stable_count - stable_has;
        }
        if new.replicas() < wanted_new && room > 0 {
            new_count = wanted_new.min(new.replicas() + room);
        }
        if old > 0 {
            return (new_count, stable_count);
        }
        let least = replicas - unavailable;
        let is_rising = wanted_new >= new.replicas();
        let stable = self.stable_set();
        let counted =
            counts_for_scale_down(Some(new), !is_rising) + counts_for_scale_down(stable, is_rising);
        if counted <= least {
            return (new_count, stable_count);
        }
        let going = counted - least;
        let drained = |set: &Set, wanted: i64, count: i64| {
            if set.replicas() > wanted {
                wanted.max(set.replicas() - going)
            } else {
                count
            }
        };
        if !is_rising {
            new_count = drained(new, wanted_new, new_count);
            let stable = stable.map(|stable| (stable, stable_count));
            (new_count, stable_count) = within_limits((new, new_count), stable, most, least);
        } else if let Some(former) = former {
            stable_count = drained(former, wanted_stable, stable_count);
            (stable_count, new_count) =
                within_limits((former, stable_count), Some((new, new_count)), most, least);
        }
        (new_count, stable_count)
    }

    /// `AtDesiredReplicaCountsForCanary`.
    pub(super) fn is_at_desired_counts(&self) -> bool {
        let (wanted_new, wanted_stable) = self.wanted_counts();
        let new = self.new_set();
        if new.replicas() != wanted_new || new.available() != wanted_new {
            return false;
        }
        let Some(stable) = self.stable_set() else {
            return false;
        };
        if stable.replicas() != wanted_stable || stable.actual() != wanted_stable {
            return false;
        }
        self.is_routed()
            || sum(
                self.others().into_iter().map(|set| &self.sets[set]),
                Set::available,
            ) == 0
    }

    /// Scales a ReplicaSet, and notes in it how many the Rollout is to have. Returns whether the number changed.
    fn scale(&mut self, index: usize, replicas: i64) -> Result<bool, Interrupted> {
        let set = Arc::clone(&self.sets[index].0);
        let has = self.sets[index].replicas();
        let desired = self.replicas().to_string();
        if has == replicas && annotation(&set, DESIRED) == Some(desired.as_str()) {
            return Ok(false);
        }
        let mut patch = json!({
            "metadata": {"annotations": {DESIRED: desired}},
            "spec": {"replicas": replicas},
        });
        let is_marked = annotation(&set, DEADLINE).is_some();
        if replicas == 0 && is_marked && !self.delays_scale_down() {
            patch["metadata"]["annotations"][DEADLINE] = Value::Null;
        }
        self.sets[index] = Set(self.client.merge(REPLICA_SETS, &set, patch)?);
        Ok(has != replicas)
    }

    fn mark(&mut self, index: usize, deadline: Option<Timestamp>) -> Result<(), Interrupted> {
        let set = Arc::clone(&self.sets[index].0);
        if deadline.is_none() && annotation(&set, DEADLINE).is_none() {
            return Ok(());
        }
        let patch = json!({"metadata": {"annotations": {DEADLINE: deadline.map(stamp)}}});
        self.sets[index] = Set(self.client.merge(REPLICA_SETS, &set, patch)?);
        Ok(())
    }

    /// `removeScaleDownDeadlines`.
    fn remove_deadlines(&mut self) -> Result<(), Interrupted> {
        if !self.delays_scale_down() {
            self.mark(self.new, None)?;
        }
        match self.stable {
            Some(stable) => self.mark(stable, None),
            None => Ok(()),
        }
    }

    /// How long the canary of an abort is kept; `None` for ever.
    fn abort_delay(&self) -> Option<Duration> {
        let seconds =
            integer(self.strategy(), "/abortScaleDownDelaySeconds").unwrap_or(DEFAULT_DELAY);
        let seconds = if self.is_routed() { seconds } else { 0 };
        let is_for_ever = self.is_routed() && seconds == 0;
        (!is_for_ever).then(|| Duration::from_secs(u64::try_from(seconds).unwrap_or_default()))
    }

    /// `shouldDelayScaleDownOnAbort`.
    fn delays_scale_down(&self) -> bool {
        self.is_aborted()
            && self.stable.is_some()
            && self.is_routed()
            && self.abort_delay().is_some()
    }

    /// When a marked ReplicaSet is to go.
    fn deadline(&self, index: usize) -> Option<Timestamp> {
        annotation(&self.sets[index].0, DEADLINE)?.parse().ok()
    }

    /// `reconcileNewReplicaSet`.
    fn reconcile_new(&mut self) -> Result<bool, Interrupted> {
        let (mut wanted, _) = self.wanted_counts();
        if self.delays_scale_down()
            && let Some(delay) = self.abort_delay()
        {
            match self.deadline(self.new) {
                Some(deadline) if deadline > self.now => {
                    self.client.again_in(until(deadline, self.now));
                    return Ok(false);
                }
                Some(_) => wanted = 0,
                None => {
                    let is_whole = self
                        .stable_set()
                        .is_some_and(|stable| stable.available() == self.replicas());
                    if is_whole {
                        self.mark(self.new, Some(plus(self.now, delay)))?;
                        self.client.again_in(delay);
                    }
                    return Ok(false);
                }
            }
        }
        self.scale(self.new, wanted)
    }

    /// `reconcileOtherReplicaSets`, `scaleDownOldReplicaSetsForCanary`.
    fn reconcile_others(&mut self) -> Result<bool, Interrupted> {
        let mut others = self.others();
        others.retain(|set| self.sets[*set].replicas() > 0);
        if others.is_empty() {
            return Ok(false);
        }
        let mut has_scaled = false;
        for index in &others {
            let available = self.sets[*index]
                .available()
                .min(self.sets[*index].replicas());
            has_scaled |=
                self.sets[*index].replicas() != available && self.scale(*index, available)?;
        }
        let least = self.replicas() - self.fenceposts().1;
        let mut going = sum(&self.sets, Set::available) - least;
        others.sort_by_key(|index| std::cmp::Reverse(self.sets[*index].revision(super::REVISION)));
        let mut marked = 0;
        for index in others {
            let has = self.sets[index].replicas();
            if going <= 0 {
                break;
            }
            if has == 0 || (self.is_routed() && self.is_referenced(index)) {
                continue;
            }
            let wanted = if !self.is_routed() {
                (has - going).max(0)
            } else if self.is_fully_promoted() || self.deadline(index).is_some() {
                self.wait_or_go(index, &mut marked)?
            } else {
                0
            };
            if wanted != has {
                self.scale(index, wanted)?;
                going -= has - wanted;
                has_scaled = true;
            }
        }
        Ok(has_scaled)
    }

    /// The former stable version is kept for a while (`scaleDownDelayHelper`).
    fn wait_or_go(&mut self, index: usize, marked: &mut i64) -> Result<i64, Interrupted> {
        let limit = integer(self.strategy(), "/scaleDownDelayRevisionLimit").unwrap_or(i64::MAX);
        let has = self.sets[index].replicas();
        *marked += 1;
        if *marked > limit {
            return Ok(0);
        }
        match self.deadline(index) {
            Some(deadline) if deadline > self.now => {
                self.client.again_in(until(deadline, self.now));
                Ok(has)
            }
            Some(_) => Ok(0),
            None => {
                let delay =
                    integer(self.strategy(), "/scaleDownDelaySeconds").unwrap_or(DEFAULT_DELAY);
                let delay = Duration::from_secs(u64::try_from(delay).unwrap_or_default());
                if delay.is_zero() {
                    return Ok(has);
                }
                self.mark(index, Some(plus(self.now, delay)))?;
                self.client.again_in(delay);
                Ok(has)
            }
        }
    }

    /// Whether a Service or a weight still leads to a ReplicaSet (`isReplicaSetReferenced`).
    fn is_referenced(&self, index: usize) -> bool {
        let hash = label(&self.sets[index].0, HASH);
        let status = &self.rollout["status"];
        let told = [
            "/canary/weights/canary/podTemplateHash",
            "/canary/weights/stable/podTemplateHash",
        ];
        let is_told = ["/stableRS", "/currentPodHash"]
            .iter()
            .chain(&told)
            .any(|pointer| text(status, pointer) == hash);
        is_told
            || ["/canaryService", "/stableService"].iter().any(|field| {
                let service = text(self.strategy(), field);
                let service = self.client.get(SERVICES, namespace(self.rollout), service);
                service
                    .is_some_and(|service| service["spec"]["selector"][HASH].as_str() == Some(hash))
            })
    }
}

/// The numbers of pods that come closest to a weight (`approximateWeightedCanaryStableReplicaCounts`).
fn approximate(replicas: i64, weight: i64, surge: i64) -> (i64, i64) {
    if replicas == 0 {
        return (0, 0);
    }
    let ceiling = (replicas * weight + 99) / 100;
    let floor = replicas * weight / 100;
    let is_tied = |total: i64| (total * weight) % 100 == 50;
    let zero_allowed = weight == 100 || weight == 0 || (replicas == 1 && surge == 0);
    let mut options = Vec::new();
    if ceiling < replicas || zero_allowed {
        options.push((ceiling, replicas));
    }
    if !is_tied(replicas) && (floor != 0 || zero_allowed) {
        options.push((floor, replicas));
    }
    if surge > 0 {
        options.push((ceiling, replicas + 1));
        if !is_tied(replicas + 1) && (floor != 0 || zero_allowed) {
            options.push((floor, replicas + 1));
        }
    }
    // In hundredths of `total`, so that fractions compare exactly: |canary * 100 / total - weight|.
    let distance = |(canary, total): (i64, i64)| ((canary * 100 - weight * total).abs(), total);
    let is_closer = |one: (i64, i64), other: (i64, i64)| {
        let ((a, total_a), (b, total_b)) = (distance(one), distance(other));
        a * total_b < b * total_a
    };
    let Some(mut best) = options.first().copied() else {
        return (0, replicas);
    };
    for option in options {
        if is_closer(option, best) {
            best = option;
        }
    }
    (best.0, best.1 - best.0)
}

/// `GetReplicasForScaleDown`.
fn counts_for_scale_down(set: Option<&Set>, ignores_availability: bool) -> i64 {
    match set {
        None => 0,
        Some(set) if ignores_availability || set.replicas() < set.available() => set.replicas(),
        Some(set) => set.available(),
    }
}

/// `adjustReplicaWithinLimits`: the drained ReplicaSet first, then the other one.
fn within_limits(
    drained: (&Set, i64),
    other: Option<(&Set, i64)>,
    most: i64,
    least: i64,
) -> (i64, i64) {
    let (drained, mut drained_count) = drained;
    let Some((other, mut other_count)) = other else {
        return (drained_count, 0);
    };
    let over = (other_count + drained_count - most).max(0);
    other_count -= over;
    let available = drained.available().min(drained_count) + other.available().min(other_count);
    let lost = (other.available() - other_count).max(0);
    other_count += lost.min((least - available).max(0));
    drained_count -= (other_count + drained_count - most).max(0);
    (drained_count, other_count)
}

#[cfg(test)]
mod tests {
    use super::approximate;

    /// From the examples above `CalculateReplicaCountsForBasicCanary`, and its test.
    #[test]
    fn pods_come_as_close_to_the_weight_as_they_can() {
        for (replicas, weight, surge, expected) in [
            (10, 10, 1, (1, 9)),
            (10, 30, 3, (3, 7)),
            (10, 5, 1, (1, 10)),
            (1, 5, 1, (1, 1)),
            (1, 95, 1, (1, 1)),
            (1, 50, 0, (1, 0)),
            (3, 50, 0, (2, 1)),
            (4, 100, 1, (4, 0)),
            (4, 0, 1, (0, 4)),
        ] {
            assert_eq!(
                approximate(replicas, weight, surge),
                expected,
                "{replicas} at {weight} %, {surge}"
            );
        }
    }
}
