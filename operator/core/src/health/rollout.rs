//! Argo Rollouts' Rollout.
//!
//! Its status is trusted only for the current generation, which `status.observedGeneration` gives as text, and not while
//! the controller has yet to notice that a person resumed it (`controllerPause` without `pauseConditions`).

use serde_json::Value;

use super::workload::{DEADLINE_EXCEEDED, common, detail};
use super::{Cause, Health};
use crate::fields::{Condition, boxed, generation, integer, is_true, items, text};
use crate::live::{Detail, Workload};
use crate::mutants::Mutant;
use crate::names::ANNOTATION_OVERLOOKED;

/// Reason of a condition after an abort, whoever asked for it: an analysis, a person, the deadline.
const ABORTED: &str = "RolloutAborted";
/// Type of the condition of a Rollout that does not fit to itself or to what it refers to.
const INVALID: &str = "InvalidSpec";

/// A Rollout is ready when its phase is `Healthy` and the version that its spec asks for is the stable one.
pub(super) fn read(object: &Value) -> (Health, Detail) {
    let mut workload = common(object, "/spec/template");
    workload.stable_hash = text(object, "/status/stableRS").map(boxed);
    workload.current_hash = text(object, "/status/currentPodHash").map(boxed);
    let observed = is_observed(object);
    workload.unobserved = !observed;
    workload.told_to_look = is_told_to_look(object);
    if observed {
        workload.rejected = rejection(object, &workload).map(Box::new);
        workload.invalid_since = Condition::of(object, INVALID).and_then(Condition::since);
    }
    // The first version has nothing to be compared with: Argo Rollouts skips its steps, so it is no canary.
    workload.in_flight = workload.rejected.is_none()
        && workload.stable_hash.is_some()
        && workload.stable_hash != workload.current_hash;
    if workload.in_flight {
        workload.step = step(object);
        workload.weight = Some(weight(object));
        workload.strategy = object.pointer("/spec/strategy").cloned().map(Box::new);
    }
    let health = if !observed {
        Health::unobserved()
    } else if is_true(object, "/status/controllerPause")
        && items(object, "/status/pauseConditions").len() == 0
    {
        Health::progressing("Resuming", "it was resumed and has yet to go on")
    } else {
        health(object, &workload)
    };
    (health, detail(workload))
}

/// Whether the status is about the current spec. The field is text; what is no number is not trusted.
fn is_observed(object: &Value) -> bool {
    if Mutant::TrustsOldRolloutStatus.is_on() {
        return true;
    }
    text(object, "/status/observedGeneration")
        .and_then(|observed| observed.parse().ok())
        .is_some_and(|observed: i64| observed == generation(object))
}

/// Whether we have told Argo Rollouts that it overlooks this generation.
fn is_told_to_look(object: &Value) -> bool {
    object
        .pointer("/metadata/annotations")
        .and_then(|annotations| {
            annotations
                .get(ANNOTATION_OVERLOOKED)?
                .as_str()?
                .parse()
                .ok()
        })
        .is_some_and(|overlooked: i64| overlooked == generation(object))
}

fn health(object: &Value, workload: &Workload) -> Health {
    if let Some(invalid) = Condition::of(object, INVALID) {
        return Health::Degraded(Cause::new(INVALID, invalid.message()));
    }
    if let Some(rejected) = &workload.rejected {
        let serving = match workload.stable_hash {
            Some(_) => "serving stable, release rejected",
            None => "release rejected, and no stable version serves",
        };
        return Health::Degraded(Cause::new(
            &rejected.reason,
            format!("{serving}: {}", rejected.message),
        ));
    }
    let message = text(object, "/status/message");
    let settled = workload.stable_hash.is_some() && workload.stable_hash == workload.current_hash;
    match text(object, "/status/phase") {
        Some("Healthy") if settled => Health::Ready,
        Some("Healthy") => Health::progressing(
            "RollingOut",
            "its stable version is not yet the one that the spec asks for",
        ),
        Some("Degraded") => {
            let reason = given_up(object).map_or("Degraded", Condition::reason);
            Health::Degraded(Cause::new(reason, message.unwrap_or("it is degraded")))
        }
        Some("Paused") => Health::Paused(pause(object, workload, message)),
        _ => Health::progressing("RollingOut", message.unwrap_or("it is progressing")),
    }
}

/// The condition that says that the new version was given up.
fn given_up(object: &Value) -> Option<Condition<'_>> {
    Condition::all(object)
        .find(|condition| matches!(condition.reason(), ABORTED | DEADLINE_EXCEEDED))
}

/// Why the new version was given up. A version that is stable already cannot be: it has only fallen ill.
fn rejection(object: &Value, workload: &Workload) -> Option<Cause> {
    if workload.current_hash.is_some() && workload.current_hash == workload.stable_hash {
        return None;
    }
    if let Some(condition) = given_up(object) {
        return Some(condition.cause());
    }
    // The abort is in the status before the controller has written its condition.
    is_true(object, "/status/abort").then(|| {
        Cause::new(
            ABORTED,
            text(object, "/status/message").unwrap_or("it was aborted"),
        )
    })
}

fn pause(object: &Value, workload: &Workload, message: Option<&str>) -> Cause {
    if is_true(object, "/spec/paused") {
        return Cause::new("Paused", "it is paused by spec.paused");
    }
    let reason = items(object, "/status/pauseConditions")
        .find_map(|condition| text(condition, "/reason"))
        .unwrap_or("Paused");
    let place = workload
        .step
        .map(|(step, of)| format!(" at step {step}/{of}"))
        .unwrap_or_default();
    let message = match reason {
        "CanaryPauseStep" => match pause_duration(object) {
            Some(duration) => format!("paused for {duration}{place}"),
            None => format!("paused{place} until somebody resumes it"),
        },
        "InconclusiveAnalysis" => {
            format!("paused{place}: an analysis was inconclusive, somebody must resume or abort it")
        }
        _ => format!("paused{place}: {}", message.unwrap_or(reason)),
    };
    Cause::new(reason, message)
}

/// Duration of the pause that is under way: text with a unit, or a number of seconds.
fn pause_duration(object: &Value) -> Option<String> {
    let index = integer(object, "/status/currentStepIndex")?;
    match object.pointer(&format!(
        "/spec/strategy/canary/steps/{index}/pause/duration"
    ))? {
        Value::String(duration) => Some(duration.clone()),
        Value::Number(seconds) => Some(format!("{seconds}s")),
        _ => None,
    }
}

/// The step under way, counted from 1, and how many there are.
fn step(object: &Value) -> Option<(i64, i64)> {
    let of = i64::try_from(items(object, "/spec/strategy/canary/steps").len()).ok()?;
    let index = integer(object, "/status/currentStepIndex")?;
    (of > 0).then(|| ((index + 1).clamp(1, of), of))
}

/// The canary's weight: what the router was told, else the last `setWeight` that was reached.
fn weight(object: &Value) -> i64 {
    if let Some(weight) = integer(object, "/status/canary/weights/canary/weight") {
        return weight;
    }
    let steps = items(object, "/spec/strategy/canary/steps");
    let of = steps.len();
    let index = integer(object, "/status/currentStepIndex")
        .and_then(|index| usize::try_from(index).ok())
        .unwrap_or_default();
    if index >= of {
        return 100;
    }
    steps
        .take(index + 1)
        .filter_map(|step| integer(step, "/setWeight"))
        .next_back()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Half-way through a canary: at the pause after 50 %, with an observed generation.
    fn canary() -> Value {
        json!({
            "metadata": {"generation": 7},
            "spec": {
                "replicas": 4,
                "strategy": {"canary": {"steps": [
                    {"setWeight": 5}, {"pause": {"duration": "1m"}}, {"setWeight": 50}, {"pause": {}},
                ]}},
                "template": {"spec": {"containers": [{"image": "web:2"}]}},
            },
            "status": {
                "observedGeneration": "7", "phase": "Progressing", "message": "more replicas need to be updated",
                "stableRS": "old", "currentPodHash": "new", "currentStepIndex": 3, "availableReplicas": 4,
            },
        })
    }

    fn healthy() -> Value {
        let mut object = canary();
        object["status"]["phase"] = json!("Healthy");
        object["status"]["stableRS"] = json!("new");
        object["status"]["currentStepIndex"] = json!(4);
        object
    }

    fn aborted() -> Value {
        let mut object = canary();
        object["status"]["phase"] = json!("Degraded");
        object["status"]["abort"] = json!(true);
        object["status"]["currentStepIndex"] = json!(0);
        object["status"]["conditions"] = json!([
            {"type": "Healthy", "status": "False", "reason": "RolloutHealthy", "message": "Rollout is not healthy"},
            {"type": "Progressing", "status": "False", "reason": "RolloutAborted",
             "message": "Rollout aborted update to revision 2: Metric \"success\" assessed Failed due to failed (1) > failureLimit (0)"},
        ]);
        object
    }

    fn workload(object: &Value) -> Workload {
        match read(object).1 {
            Detail::Workload(workload) => *workload,
            other => panic!("{other:?}"),
        }
    }

    fn reason(object: &Value) -> String {
        let health = read(object).0;
        let word = match &health {
            Health::Ready => return "Ready".to_owned(),
            Health::Progressing(_) => "Progressing",
            Health::Paused(_) => "Paused",
            Health::Degraded(_) => "Degraded",
        };
        format!("{word} {}", health.cause().unwrap().reason)
    }

    #[test]
    fn rollout_is_not_trusted_until_observed_generation_catches_up() {
        assert_eq!(reason(&healthy()), "Ready");
        for observed in [
            json!("6"),
            json!("8"),
            json!("d41d8cd9"),
            json!(7),
            json!(null),
        ] {
            let mut object = healthy();
            object["status"]["observedGeneration"] = observed.clone();
            assert_eq!(reason(&object), "Progressing NotObserved", "{observed}");
        }
    }

    #[test]
    fn rollout_with_no_status_yet_is_progressing_and_no_canary() {
        let mut object = canary();
        object.as_object_mut().unwrap().remove("status");
        assert_eq!(reason(&object), "Progressing NotObserved");
        let workload = workload(&object);
        assert!(!workload.in_flight);
        assert_eq!((workload.weight, workload.strategy), (None, None));
    }

    #[test]
    fn healthy_rollout_counts_only_once_the_new_version_is_stable() {
        for stable in [json!("old"), json!(""), json!(null)] {
            let mut object = healthy();
            object["status"]["stableRS"] = stable;
            assert_eq!(reason(&object), "Progressing RollingOut");
        }
        assert!(!workload(&healthy()).in_flight);
        assert_eq!(workload(&healthy()).step, None);
    }

    #[test]
    fn first_version_is_progressing_without_being_a_canary() {
        let mut object = canary();
        object["status"]["stableRS"] = json!("");
        assert_eq!(reason(&object), "Progressing RollingOut");
        assert!(!workload(&object).in_flight);
    }

    #[test]
    fn canary_shows_its_step_weight_and_strategy() {
        let object = canary();
        let workload = workload(&object);
        assert!(workload.in_flight);
        assert_eq!(workload.step, Some((4, 4)));
        assert_eq!(workload.weight, Some(50));
        assert_eq!(
            workload.strategy.as_deref(),
            object.pointer("/spec/strategy")
        );
        assert_eq!(workload.stable_hash.as_deref(), Some("old"));
        assert_eq!(workload.current_hash.as_deref(), Some("new"));
        assert_eq!((workload.replicas, workload.available), (Some(4), 4));
        assert_eq!(&*workload.image, "web:2");
    }

    #[test]
    fn weight_is_the_routers_else_the_last_that_was_reached() {
        for (index, told, weight, step) in [
            (json!(0), None, 5, Some((1, 4))),
            (json!(1), None, 5, Some((2, 4))),
            (json!(2), None, 50, Some((3, 4))),
            (json!(4), None, 100, Some((4, 4))),
            (json!(1), Some(7), 7, Some((2, 4))),
            (json!(null), None, 5, None),
        ] {
            let mut object = canary();
            object["status"]["currentStepIndex"] = index.clone();
            if let Some(told) = told {
                object["status"]["canary"] = json!({"weights": {"canary": {"weight": told}}});
            }
            let workload = workload(&object);
            assert_eq!(
                (workload.weight, workload.step),
                (Some(weight), step),
                "{index} {told:?}"
            );
        }
    }

    #[test]
    fn aborted_rollout_serves_stable_and_its_release_is_rejected() {
        let object = aborted();
        let (health, _) = read(&object);
        let message = "Rollout aborted update to revision 2: Metric \"success\" assessed Failed due to failed (1) > failureLimit (0)";
        assert_eq!(
            health,
            Health::Degraded(Cause::new(
                "RolloutAborted",
                format!("serving stable, release rejected: {message}")
            ))
        );
        let workload = workload(&object);
        assert_eq!(
            workload.rejected.as_deref(),
            Some(&Cause::new("RolloutAborted", message))
        );
        assert!(!workload.in_flight);
    }

    #[test]
    fn abort_counts_before_its_condition_is_written() {
        let mut object = aborted();
        object["status"]["conditions"] = json!([]);
        assert_eq!(reason(&object), "Degraded RolloutAborted");
    }

    #[test]
    fn abort_of_an_older_generation_does_not_reject_the_new_one() {
        let mut object = aborted();
        object["metadata"]["generation"] = json!(8);
        assert_eq!(reason(&object), "Progressing NotObserved");
        assert_eq!(workload(&object).rejected, None);
    }

    #[test]
    fn deadline_rejects_the_new_version_and_not_one_that_is_stable() {
        let mut object = aborted();
        object["status"]["abort"] = json!(false);
        object["status"]["conditions"] = json!([{"type": "Progressing", "status": "False",
            "reason": "ProgressDeadlineExceeded", "message": "ReplicaSet \"web-new\" has timed out progressing."}]);
        assert_eq!(reason(&object), "Degraded ProgressDeadlineExceeded");
        assert!(workload(&object).rejected.is_some());

        object["status"]["stableRS"] = json!("");
        let health = read(&object).0;
        assert!(
            health
                .cause()
                .unwrap()
                .message
                .contains("no stable version serves")
        );
        assert!(workload(&object).rejected.is_some());

        object["status"]["stableRS"] = json!("new");
        object["status"]["message"] = json!("ProgressDeadlineExceeded: timed out");
        assert_eq!(reason(&object), "Degraded ProgressDeadlineExceeded");
        assert_eq!(workload(&object).rejected, None);
    }

    #[test]
    fn invalid_spec_is_degraded_and_no_rejection() {
        let mut object = canary();
        object["status"]["conditions"] = json!([{"type": "InvalidSpec", "status": "True", "reason": "InvalidSpec",
            "message": "The Rollout \"web\" is invalid: spec.strategy: Required value"}]);
        assert_eq!(reason(&object), "Degraded InvalidSpec");
        assert_eq!(workload(&object).rejected, None);
    }

    #[test]
    fn pauses_say_what_ends_them() {
        let paused = |index: i64, why: &str| {
            let mut object = canary();
            object["status"]["phase"] = json!("Paused");
            object["status"]["message"] = json!(why);
            object["status"]["currentStepIndex"] = json!(index);
            object["status"]["controllerPause"] = json!(true);
            object["status"]["pauseConditions"] =
                json!([{"reason": why, "startTime": "2026-01-01T00:00:00Z"}]);
            object
        };
        let mut seconds = paused(1, "CanaryPauseStep");
        seconds["spec"]["strategy"]["canary"]["steps"][1] = json!({"pause": {"duration": 30}});
        let mut by_hand = paused(1, "CanaryPauseStep");
        by_hand["spec"]["paused"] = json!(true);
        for (object, reason, message) in [
            (
                paused(1, "CanaryPauseStep"),
                "CanaryPauseStep",
                "paused for 1m at step 2/4",
            ),
            (seconds, "CanaryPauseStep", "paused for 30s at step 2/4"),
            (
                paused(3, "CanaryPauseStep"),
                "CanaryPauseStep",
                "paused at step 4/4 until somebody resumes it",
            ),
            (
                paused(3, "InconclusiveAnalysis"),
                "InconclusiveAnalysis",
                "paused at step 4/4: an analysis was inconclusive, somebody must resume or abort it",
            ),
            (
                paused(3, "InconclusiveExperiment"),
                "InconclusiveExperiment",
                "paused at step 4/4: InconclusiveExperiment",
            ),
            (by_hand, "Paused", "it is paused by spec.paused"),
        ] {
            assert_eq!(read(&object).0, Health::Paused(Cause::new(reason, message)));
            assert!(workload(&object).in_flight);
        }
    }

    #[test]
    fn resumed_rollout_is_progressing_until_its_controller_notices() {
        let mut object = healthy();
        object["status"]["controllerPause"] = json!(true);
        assert_eq!(reason(&object), "Progressing Resuming");
        object["status"]["pauseConditions"] = json!([{"reason": "CanaryPauseStep"}]);
        assert_eq!(reason(&object), "Ready");
    }
}
