//! Pods: what hinders them, in the words of their status.

use serde_json::Value;

use super::{Cause, Health, is_being_deleted};
use crate::fields::{Condition, boxed, integer, is_true, items, label, text};
use crate::live::Detail;
use crate::names;

/// Waiting reasons that belong to every start; all others are trouble.
const STARTING: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// A pod is ready if its condition says so or its work is done. One that is being deleted hinders nobody.
pub(super) fn read(object: &Value) -> (Health, Detail) {
    let hash = [names::ROLLOUTS_POD_TEMPLATE_HASH, "pod-template-hash"]
        .into_iter()
        .find_map(|name| label(object, name))
        .map(boxed);
    let health = if is_being_deleted(object) {
        Health::Ready
    } else {
        health(object)
    };
    let problem = health.cause().cloned().map(Box::new);
    (health, Detail::Pod { hash, problem })
}

fn health(object: &Value) -> Health {
    let phase = text(object, "/status/phase").unwrap_or("Pending");
    if phase == "Succeeded" || Condition::of(object, "Ready").is_some_and(Condition::is_true) {
        return Health::Ready;
    }
    if phase == "Failed" {
        return Health::Degraded(failed(object));
    }
    if let Some(unscheduled) =
        Condition::of(object, "PodScheduled").filter(|scheduled| scheduled.is_false())
    {
        // Capacity may come: an autoscaler of nodes, or pods that leave.
        return Health::Progressing(unscheduled.cause());
    }
    // Trouble of any container explains more than that another is still starting.
    let mut starting = None;
    for container in containers(object) {
        match container_health(container) {
            Some(Health::Degraded(cause)) => return Health::Degraded(cause),
            Some(other) if starting.is_none() => starting = Some(other),
            _ => {}
        }
    }
    starting.unwrap_or_else(|| {
        let said = Condition::of(object, "Ready").map_or("it is starting", Condition::message);
        Health::progressing("NotReady", said)
    })
}

fn containers(object: &Value) -> impl Iterator<Item = &Value> {
    items(object, "/status/initContainerStatuses").chain(items(object, "/status/containerStatuses"))
}

/// Why a pod ended without success: its own reason (`Evicted`), else its container's.
fn failed(object: &Value) -> Cause {
    let own = text(object, "/status/message");
    if let Some(reason) = text(object, "/status/reason") {
        return Cause::new(reason, own.unwrap_or(reason));
    }
    containers(object)
        .find_map(|container| ended(container, "/state/terminated"))
        .unwrap_or_else(|| Cause::new("Failed", own.unwrap_or("it failed")))
}

/// Why a container does not serve; `None` where it does.
fn container_health(container: &Value) -> Option<Health> {
    let name = text(container, "/name").unwrap_or_default();
    let last_end = ended(container, "/lastState/terminated");
    if let Some(reason) = text(container, "/state/waiting/reason") {
        let said = text(container, "/state/waiting/message").unwrap_or(reason);
        if STARTING.contains(&reason) {
            return Some(Health::progressing(
                reason,
                format!("container {name} is starting"),
            ));
        }
        let message = match &last_end {
            Some(end) if reason == "CrashLoopBackOff" => format!("{}; {said}", end.message),
            _ => format!("container {name}: {said}"),
        };
        // Running out of memory explains more than going round in circles because of it.
        let reason = match &last_end {
            Some(end) if &*end.reason == "OOMKilled" => "OOMKilled",
            _ => reason,
        };
        return Some(Health::Degraded(Cause::new(reason, message)));
    }
    if let Some(end) = ended(container, "/state/terminated") {
        return Some(Health::Degraded(end));
    }
    let runs = container.pointer("/state/running").is_some();
    if runs && !is_true(container, "/ready") {
        return Some(match last_end {
            Some(end) => Health::Degraded(end),
            None => Health::progressing(
                "NotReady",
                format!("container {name} runs and is not ready"),
            ),
        });
    }
    None
}

/// How a container ended, where that was not success.
fn ended(container: &Value, pointer: &str) -> Option<Cause> {
    let end = container.pointer(pointer)?;
    let code = integer(end, "/exitCode").unwrap_or_default();
    let reason = text(end, "/reason").unwrap_or("Error");
    if code == 0 && reason != "OOMKilled" {
        return None;
    }
    let name = text(container, "/name").unwrap_or_default();
    let mut message = format!("container {name} ended with exit code {code}, {reason}");
    if let Some(said) = text(end, "/message") {
        message.push_str(": ");
        message.push_str(said.trim_end());
    }
    let reason = if reason == "Error" {
        "ContainerFailed"
    } else {
        reason
    };
    Some(Cause::new(reason, message))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(status: Value) -> Value {
        json!({"metadata": {"labels": {"pod-template-hash": "d1"}}, "status": status})
    }

    fn container(status: Value) -> Value {
        let mut status = status;
        status["name"] = json!("api");
        pod(
            json!({"phase": "Running", "containerStatuses": [{"name": "side", "ready": true, "state": {"running": {}}}, status]}),
        )
    }

    #[test]
    fn pod_quotes_what_hinders_it() {
        for (what, object, reason, message) in [
            (
                "image",
                container(json!({"state": {"waiting": {"reason": "ImagePullBackOff",
                    "message": "Back-off pulling image \"api:2\": not found"}}})),
                "ImagePullBackOff",
                "container api: Back-off pulling image \"api:2\": not found",
            ),
            (
                "image, first try",
                container(
                    json!({"state": {"waiting": {"reason": "ErrImagePull", "message": "401 Unauthorized"}}}),
                ),
                "ErrImagePull",
                "container api: 401 Unauthorized",
            ),
            (
                "missing Secret",
                container(
                    json!({"state": {"waiting": {"reason": "CreateContainerConfigError",
                    "message": "secret \"pg\" not found"}}}),
                ),
                "CreateContainerConfigError",
                "container api: secret \"pg\" not found",
            ),
            (
                "crash",
                container(json!({
                    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting"}},
                    "lastState": {"terminated": {"exitCode": 3, "reason": "Error", "message": "no DATABASE_URL\n"}},
                })),
                "CrashLoopBackOff",
                "container api ended with exit code 3, Error: no DATABASE_URL; back-off 10s restarting",
            ),
            (
                "memory",
                container(json!({
                    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting"}},
                    "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
                })),
                "OOMKilled",
                "container api ended with exit code 137, OOMKilled; back-off 10s restarting",
            ),
            (
                "crashed, and runs again",
                container(json!({"ready": false, "state": {"running": {}},
                    "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}}})),
                "ContainerFailed",
                "container api ended with exit code 1, Error",
            ),
            (
                "ended just now",
                container(json!({"state": {"terminated": {"exitCode": 2, "reason": "Error"}}})),
                "ContainerFailed",
                "container api ended with exit code 2, Error",
            ),
            (
                "evicted",
                pod(
                    json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}),
                ),
                "Evicted",
                "The node was low on resource: memory.",
            ),
            (
                "failed container",
                pod(json!({"phase": "Failed", "containerStatuses": [
                    {"name": "migrate", "state": {"terminated": {"exitCode": 101, "reason": "Error", "message": "panic"}}}]})),
                "ContainerFailed",
                "container migrate ended with exit code 101, Error: panic",
            ),
            (
                "failed without a word",
                pod(json!({"phase": "Failed"})),
                "Failed",
                "it failed",
            ),
        ] {
            assert_eq!(
                read(&object).0,
                Health::Degraded(Cause::new(reason, message)),
                "{what}"
            );
        }
    }

    #[test]
    fn pod_without_a_place_says_so_and_may_get_one() {
        let message = "0/3 nodes are available: 3 Insufficient cpu.";
        let object = pod(json!({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]}));
        assert_eq!(
            read(&object).0,
            Health::Progressing(Cause::new("Unschedulable", message))
        );
    }

    #[test]
    fn trouble_of_one_container_outweighs_the_start_of_another() {
        let object = pod(json!({"phase": "Pending",
            "initContainerStatuses": [{"name": "a", "state": {"waiting": {"reason": "PodInitializing"}}}],
            "containerStatuses": [{"name": "b", "state": {"waiting": {"reason": "ErrImagePull", "message": "no"}}}]}));
        assert_eq!(
            read(&object).0,
            Health::Degraded(Cause::new("ErrImagePull", "container b: no"))
        );
    }

    #[test]
    fn pod_that_starts_is_progressing() {
        for (object, reason) in [
            (pod(json!({"phase": "Pending"})), "NotReady"),
            (
                container(json!({"state": {"waiting": {"reason": "ContainerCreating"}}})),
                "ContainerCreating",
            ),
            (
                container(json!({"ready": false, "state": {"running": {}}})),
                "NotReady",
            ),
            (
                container(json!({"ready": false, "state": {"running": {}},
                    "lastState": {"terminated": {"exitCode": 0, "reason": "Completed"}}})),
                "NotReady",
            ),
        ] {
            let health = read(&object).0;
            assert!(matches!(health, Health::Progressing(_)), "{object}");
            assert_eq!(&*health.cause().unwrap().reason, reason, "{object}");
        }
    }

    #[test]
    fn pod_that_serves_or_is_done_or_leaves_has_no_problem() {
        let ready =
            pod(json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}));
        let done = pod(
            json!({"phase": "Succeeded", "conditions": [{"type": "Ready", "status": "False"}]}),
        );
        let mut leaving = pod(json!({"phase": "Failed"}));
        leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        for object in [ready, done, leaving] {
            let expected = Detail::Pod {
                hash: Some("d1".into()),
                problem: None,
            };
            assert_eq!(read(&object), (Health::Ready, expected), "{object}");
        }
    }

    #[test]
    fn hash_of_rollouts_goes_first() {
        let mut object = pod(json!({"phase": "Succeeded"}));
        object["metadata"]["labels"]["rollouts-pod-template-hash"] = json!("r1");
        let expected = Detail::Pod {
            hash: Some("r1".into()),
            problem: None,
        };
        assert_eq!(read(&object).1, expected);
    }
}
