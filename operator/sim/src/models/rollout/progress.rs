//! What a Rollout says of itself: conditions and phase (`utils/conditions/conditions.go`, `utils/rollout/rolloututil.go`,
//! `calculateRolloutConditions` in `rollout/sync.go`).

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Canary, ROLLOUTS, Set};
use crate::models::client::{Client, Interrupted};
use crate::models::conditions::{self, Condition};
use crate::models::fields::{
    annotation, count, generation, integer, is_true, items, name, plus, text, time, until,
};
use crate::models::replicaset::{replica_failure, sum};

const PROGRESSING: &str = "Progressing";
const ABORTED: &str = "RolloutAborted";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "RolloutPaused";
const NEW_SET_AVAILABLE: &str = "NewReplicaSetAvailable";
const DEFAULT_DEADLINE: i64 = 600;

type Status = Map<String, Value>;

/// Says it, unless it is said already. Returns whether it was new.
pub(super) fn say(
    conditions: &mut Vec<Value>,
    kind: &str,
    status: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> bool {
    let condition = Condition {
        kind,
        status,
        reason,
        message,
    };
    conditions::set(conditions, condition, now)
}

/// Refuses a spec (`createInvalidRolloutCondition` in `rollout/controller.go`).
pub(super) fn report_invalid(
    client: &mut Client,
    rollout: &Value,
    why: &str,
    now: Timestamp,
) -> Result<(), Interrupted> {
    let message = format!("The Rollout {:?} is invalid: {why}", name(rollout));
    let mut status = rollout["status"].as_object().cloned().unwrap_or_default();
    let mut conditions = items(rollout, "/status/conditions").to_vec();
    let known = conditions::find(&conditions, "InvalidSpec").map(|known| text(known, "/message"));
    if known.is_some_and(|known| known != message) {
        conditions::remove(&mut conditions, "InvalidSpec");
    }
    say(
        &mut conditions,
        "InvalidSpec",
        "True",
        "InvalidSpec",
        &message,
        now,
    );
    status.insert("conditions".into(), json!(conditions));
    let observed = generation(rollout).to_string();
    status.insert("observedGeneration".into(), json!(observed));
    put_phase(rollout, &mut status);
    client.set_status(ROLLOUTS, rollout, Value::Object(status))?;
    Ok(())
}

/// `checkPausedConditions` in `rollout/sync.go`.
pub(super) fn check_paused(canary: &mut Canary<'_>) {
    let told = conditions::reason(&canary.conditions, PROGRESSING).to_owned();
    let is_paused =
        !canary.pause_conditions().is_empty() || is_true(canary.rollout, "/spec/paused");
    let was_aborted = told == ABORTED;
    let status = &canary.rollout["status"];
    let is_completed =
        status.get("stableRS").is_some() && status["stableRS"] == status["currentPodHash"];
    let now = canary.now;
    let mut say_progress = |reason: &str, message: &str| {
        say(
            &mut canary.conditions,
            PROGRESSING,
            "Unknown",
            reason,
            message,
            now,
        );
    };
    if is_paused != (told == PAUSED) && !was_aborted && !is_completed && !told.is_empty() {
        if is_paused {
            say_progress(PAUSED, "Rollout is paused");
        } else if told == PAUSED {
            say_progress("RolloutResumed", "Rollout is resumed");
        }
    }
    if was_aborted && !is_true(canary.rollout, "/status/abort") {
        say_progress("RolloutRetry", "Retrying Rollout after abort");
    }
    let was_paused = conditions::find(&canary.conditions, "Paused")
        .is_some_and(|known| text(known, "/status") == "True");
    if is_paused != was_paused && !was_aborted {
        let status = if is_paused { "True" } else { "False" };
        say(
            &mut canary.conditions,
            "Paused",
            status,
            PAUSED,
            "Rollout is paused",
            now,
        );
    }
}

/// `calculateRolloutConditions` in `rollout/sync.go`.
pub(super) fn calculate(canary: &mut Canary<'_>, status: &Status) {
    let now = canary.now;
    let is_paused =
        !canary.pause_conditions().is_empty() || is_true(canary.rollout, "/spec/paused");
    let is_healthy = is_healthy(canary, status);
    let mut has_fallen_ill = false;
    if is_healthy && !is_paused {
        say(
            &mut canary.conditions,
            "Healthy",
            "True",
            "RolloutHealthy",
            "Rollout is healthy",
            now,
        );
    } else if conditions::find(&canary.conditions, "Healthy").is_some() {
        let message = "Rollout is not healthy";
        has_fallen_ill = say(
            &mut canary.conditions,
            "Healthy",
            "False",
            "RolloutHealthy",
            message,
            now,
        );
    }
    if canary.is_aborted() {
        say_aborted(canary);
    } else {
        tell_progress(canary, status, is_healthy, has_fallen_ill);
    }
    let (available, message) = if sum(&canary.sets, Set::available) >= canary.replicas() {
        ("True", "Rollout has minimum availability")
    } else {
        ("False", "Rollout does not have minimum availability")
    };
    say(
        &mut canary.conditions,
        "Available",
        available,
        "AvailableReason",
        message,
        now,
    );
    match replica_failure(canary.new_set(), &canary.sets).cloned() {
        Some(failure) => {
            let (reason, message) = (text(&failure, "/reason"), text(&failure, "/message"));
            say(
                &mut canary.conditions,
                "ReplicaFailure",
                "True",
                reason,
                message,
                now,
            );
        }
        None => conditions::remove(&mut canary.conditions, "ReplicaFailure"),
    }
    let is_completed = is_completed(status);
    let completed = if is_completed { "True" } else { "False" };
    say(
        &mut canary.conditions,
        "Completed",
        completed,
        "RolloutCompleted",
        "RolloutCompleted",
        now,
    );
}

fn say_aborted(canary: &mut Canary<'_>) {
    let revision = canary.revision();
    let mut message = format!("Rollout aborted update to revision {revision}");
    if let Some(why) = canary.pause.abort.as_deref().filter(|why| !why.is_empty()) {
        message = format!("{message}: {why}");
    }
    say(
        &mut canary.conditions,
        PROGRESSING,
        "False",
        ABORTED,
        &message,
        canary.now,
    );
}

fn tell_progress(canary: &mut Canary<'_>, status: &Status, is_healthy: bool, has_fallen_ill: bool) {
    let now = canary.now;
    let set = canary.new_set().name().to_owned();
    if is_healthy {
        let message = format!("ReplicaSet {set:?} has successfully progressed.");
        say(
            &mut canary.conditions,
            PROGRESSING,
            "True",
            NEW_SET_AVAILABLE,
            &message,
            now,
        );
    } else if has_progressed(canary, status) || has_fallen_ill {
        let progress = format!("ReplicaSet {set:?} is progressing.");
        let (reason, message) = if has_fallen_ill && is_completed(status) {
            let message = "Rollout does not have minimum availability";
            ("ReplicaSetNotAvailable", message)
        } else {
            ("ReplicaSetUpdated", progress.as_str())
        };
        let condition = Condition {
            kind: PROGRESSING,
            status: "True",
            reason,
            message,
        };
        conditions::renew(&mut canary.conditions, condition, now);
    } else if !is_indefinite(canary) && !waits_for_scale_down(canary) && has_timed_out(canary) {
        let message = format!("ReplicaSet {set:?} has timed out progressing.");
        say(
            &mut canary.conditions,
            PROGRESSING,
            "False",
            TIMED_OUT,
            &message,
            now,
        );
        if is_true(canary.rollout, "/spec/progressDeadlineAbort") {
            // The condition of the abort follows at the next round.
            canary.pause.abort = Some(message);
        }
    }
}

fn number(status: &Status, field: &str) -> i64 {
    status
        .get(field)
        .and_then(Value::as_i64)
        .unwrap_or_default()
}

fn is_completed(status: &Status) -> bool {
    let stable = status.get("stableRS").and_then(Value::as_str);
    stable.is_some_and(|stable| !stable.is_empty())
        && status.get("stableRS") == status.get("currentPodHash")
}

/// `RolloutHealthy`.
fn is_healthy(canary: &Canary<'_>, status: &Status) -> bool {
    let replicas = canary.replicas();
    let steps = canary.steps().len();
    let has_done_all = status
        .get("currentStepIndex")
        .and_then(Value::as_u64)
        .is_none_or(|index| usize::try_from(index).is_ok_and(|index| index == steps));
    let observed = text(canary.rollout, "/status/observedGeneration");
    ["updatedReplicas", "availableReplicas", "replicas"]
        .iter()
        .all(|field| number(status, field) == replicas)
        && observed == generation(canary.rollout).to_string()
        && (steps == 0 || has_done_all)
        && is_completed(status)
}

/// `RolloutProgressing`.
fn has_progressed(canary: &Canary<'_>, status: &Status) -> bool {
    let empty = Map::new();
    let before = canary.rollout["status"].as_object().unwrap_or(&empty);
    let differs = |field: &str| status.get(field) != before.get(field);
    let old = |of: &Status| number(of, "replicas") - number(of, "updatedReplicas");
    let has_index = |of: &Status| of.contains_key("currentStepIndex");
    number(status, "updatedReplicas") != number(before, "updatedReplicas")
        || old(status) < old(before)
        || number(status, "readyReplicas") > number(before, "readyReplicas")
        || number(status, "availableReplicas") > number(before, "availableReplicas")
        || differs("stableRS")
        || differs("currentStepHash")
        || (has_index(status) && has_index(before) && differs("currentStepIndex"))
}

/// A step that may take any time (`isIndefiniteStep`).
fn is_indefinite(canary: &Canary<'_>) -> bool {
    let takes_its_time = |step: &Value| {
        ["experiment", "analysis", "pause"]
            .iter()
            .any(|kind| step.get(kind).is_some())
    };
    let known = items(canary.rollout, "/status/conditions");
    canary.step().is_some_and(takes_its_time)
        || conditions::find(known, "Paused").is_some_and(|known| text(known, "/status") == "True")
}

fn waits_for_scale_down(canary: &Canary<'_>) -> bool {
    canary
        .others()
        .into_iter()
        .any(|set| annotation(&canary.sets[set].0, super::replicas::DEADLINE).is_some())
}

fn deadline(canary: &Canary<'_>) -> Option<Timestamp> {
    let condition = conditions::find(&canary.conditions, PROGRESSING)?;
    if matches!(text(condition, "/reason"), ABORTED | PAUSED) {
        return None;
    }
    let seconds = integer(canary.rollout, "/spec/progressDeadlineSeconds");
    let seconds = u64::try_from(seconds.unwrap_or(DEFAULT_DEADLINE)).unwrap_or_default();
    let since = time(condition, "/lastUpdateTime")?;
    Some(plus(since, Duration::from_secs(seconds)))
}

/// `RolloutTimedOut`.
fn has_timed_out(canary: &Canary<'_>) -> bool {
    conditions::reason(&canary.conditions, PROGRESSING) == TIMED_OUT
        || deadline(canary).is_some_and(|deadline| deadline < canary.now)
}

/// Asks for another round when the deadline has passed (`requeueStuckRollout`).
pub(super) fn look_again_at_deadline(canary: &mut Canary<'_>, status: &Status) {
    let told = conditions::reason(&canary.conditions, PROGRESSING);
    let is_settled = matches!(told, TIMED_OUT | ABORTED | PAUSED) || is_healthy(canary, status);
    if is_settled || is_indefinite(canary) {
        return;
    }
    if let Some(deadline) = deadline(canary)
        && deadline >= canary.now
    {
        let wait = until(deadline, canary.now) + Duration::from_secs(1);
        canary.client.again_in(wait);
    }
}

/// `CalculateRolloutPhase`.
pub(super) fn put_phase(rollout: &Value, status: &mut Status) {
    let (phase, message) = phase(rollout, status);
    status.insert("phase".into(), json!(phase));
    if message.is_empty() {
        status.remove("message");
    } else {
        status.insert("message".into(), json!(message));
    }
}

fn phase(rollout: &Value, status: &Status) -> (&'static str, String) {
    let conditions = status.get("conditions").and_then(Value::as_array);
    for condition in conditions.into_iter().flatten() {
        let (kind, reason) = (text(condition, "/type"), text(condition, "/reason"));
        let message = text(condition, "/message");
        if kind == "InvalidSpec" {
            return ("Degraded", format!("InvalidSpec: {message}"));
        }
        if matches!(reason, ABORTED | TIMED_OUT) {
            return ("Degraded", format!("{reason}: {message}"));
        }
    }
    if is_true(rollout, "/spec/paused") {
        return ("Paused", "manually paused".to_owned());
    }
    let pauses = status.get("pauseConditions").and_then(Value::as_array);
    if let Some(pause) = pauses.and_then(|pauses| pauses.first()) {
        return ("Paused", text(pause, "/reason").to_owned());
    }
    let is_routed = rollout
        .pointer("/spec/strategy/canary/trafficRouting")
        .is_some();
    let updated = number(status, "updatedReplicas");
    let message = if updated < count(rollout, "/spec/replicas") {
        "more replicas need to be updated"
    } else if number(status, "availableReplicas") < updated {
        "updated replicas are still becoming available"
    } else if !is_routed && number(status, "replicas") > updated {
        "old replicas are pending termination"
    } else if !is_completed(status) {
        "waiting for all steps to complete"
    } else {
        return ("Healthy", String::new());
    };
    ("Progressing", message.to_owned())
}
