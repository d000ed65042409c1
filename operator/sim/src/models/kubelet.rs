//! Scheduler and kubelet: pods run, or say why they do not. The UID of a pod is what tells that it was started anew.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::client::{Client, Controller};
use super::fields::{
    condition, controller, created, holds, is_deleting, is_true, items, name, namespace, plus,
    stamp, text, uid, until,
};
use super::knobs::{Fate, Settings};
use super::replicaset::PODS;
use crate::actor::{Resource, resource};

const CONFIG_MAPS: Resource = resource("", "configmaps");
pub(crate) const SECRETS: Resource = resource("", "secrets");
const EVENTS: Resource = resource("", "events");

/// Scheduler and kubelet.
pub(crate) struct Kubelet;

impl Controller for Kubelet {
    const NAME: &'static str = "kubelet";
    const MANAGER: &'static str = "kubelet";
    const WATCHES: &'static [Resource] = &[PODS, CONFIG_MAPS, SECRETS];

    fn sync(&mut self, client: &mut Client, now: Timestamp) {
        for pod in client.list(PODS) {
            let is_over = matches!(text(&pod, "/status/phase"), "Succeeded" | "Failed");
            if !is_deleting(&pod) && !is_over {
                run(client, &pod, now);
            }
        }
    }
}

/// What a pod shows of itself.
enum Stage {
    /// Nothing has changed.
    Same,
    /// A volume cannot be mounted.
    Unmounted,
    /// A container waits for good, or until somebody mends it.
    Waiting(&'static str, String),
    /// Containers run, and are not ready yet.
    Started,
    Ready,
    /// A process that ended and is started again after a while.
    CrashLoop,
    Succeeded,
    Failed,
}

fn run(client: &mut Client, pod: &Value, now: Timestamp) {
    let stage = stage(client, pod, now);
    let status = match stage {
        Stage::Same => return,
        Stage::Unmounted => waiting(pod, "ContainerCreating", None, now),
        Stage::Waiting(reason, message) => waiting(pod, reason, Some(&message), now),
        Stage::Started => running(pod, false, now),
        Stage::Ready => running(pod, true, now),
        Stage::CrashLoop => crash_loop(pod, now),
        Stage::Succeeded => ended(pod, 0, now),
        Stage::Failed => ended(pod, 1, now),
    };
    let _ = client.set_status(PODS, pod, status);
}

fn stage(client: &mut Client, pod: &Value, now: Timestamp) -> Stage {
    let settings = Arc::clone(client.settings());
    let has = |fate| {
        settings
            .behaviour
            .is(text(pod, "/spec/containers/0/image"), fate)
    };
    let shown = waiting_reason(pod);
    let is_started = text(pod, "/status/phase") == "Running";
    if !is_started && let Some(hindered) = hindered(client, pod, &settings, now) {
        return hindered;
    }
    let since = |wait: Duration| plus(created(pod), wait);
    let mut has_been = |at: Timestamp| {
        if at > now {
            client.again_in(until(at, now));
        }
        at <= now
    };
    if !is_started && !has_been(since(settings.ready_after)) {
        return Stage::Same;
    }
    if !is_started && has(Fate::Missing) {
        return match shown {
            "ImagePullBackOff" => Stage::Same,
            _ => Stage::Waiting("ImagePullBackOff", pull_failure(pod)),
        };
    }
    if is_of_job(pod) {
        if !has_been(since(settings.ready_after + settings.job_runs)) {
            return if is_started {
                Stage::Same
            } else {
                Stage::Ready
            };
        }
        return if has(Fate::FailJob) || has(Fate::Crash) {
            Stage::Failed
        } else {
            Stage::Succeeded
        };
    }
    if has(Fate::Crash) {
        return match shown {
            "CrashLoopBackOff" => Stage::Same,
            _ => Stage::CrashLoop,
        };
    }
    let is_late = has(Fate::Slow) && !has_been(since(settings.slow_after));
    match (holds(pod, "Ready"), is_late) {
        (true, false) => Stage::Same,
        (_, false) => Stage::Ready,
        (false, true) if is_started => Stage::Same,
        (_, true) => Stage::Started,
    }
}

fn is_of_job(pod: &Value) -> bool {
    controller(pod).is_some_and(|owner| text(owner, "/kind") == "Job")
}

fn waiting_reason(pod: &Value) -> &str {
    text(pod, "/status/containerStatuses/0/state/waiting/reason")
}

fn pull_failure(pod: &Value) -> String {
    let image = text(pod, "/spec/containers/0/image");
    format!("Back-off pulling image {image:?}: ErrImagePull: {image}: not found")
}

/// What a pod waits for that somebody else must make.
fn hindered(
    client: &mut Client,
    pod: &Value,
    settings: &Settings,
    now: Timestamp,
) -> Option<Stage> {
    if !settings.needs_references {
        return None;
    }
    if let Some((volume, missing)) = missing_volume(client, pod) {
        tell(client, pod, volume, &missing, now);
        return Some(match waiting_reason(pod) {
            "ContainerCreating" => Stage::Same,
            _ => Stage::Unmounted,
        });
    }
    let missing = missing_variable(client, pod)?;
    Some(match waiting_reason(pod) {
        "CreateContainerConfigError" => Stage::Same,
        _ => Stage::Waiting("CreateContainerConfigError", missing),
    })
}

/// A ConfigMap or Secret that is not there, in the kubelet's words.
fn missing(client: &Client, pod: &Value, source: &Value, name_field: &str) -> Option<String> {
    if is_true(source, "/optional") {
        return None;
    }
    let (kind, resource) = match name_field {
        "configMap" | "configMapRef" | "configMapKeyRef" => ("configmap", CONFIG_MAPS),
        _ => ("secret", SECRETS),
    };
    let named = match text(source, "/name") {
        "" => text(source, "/secretName"),
        named => named,
    };
    let is_there = client.get(resource, namespace(pod), named).is_some();
    (!is_there).then(|| format!("{kind} {named:?} not found"))
}

fn missing_variable(client: &Client, pod: &Value) -> Option<String> {
    let containers = ["/spec/initContainers", "/spec/containers"];
    let sources = containers
        .iter()
        .flat_map(|list| items(pod, list))
        .flat_map(|container| {
            let all = items(container, "/envFrom").iter();
            let single = items(container, "/env")
                .iter()
                .filter_map(|it| it.get("valueFrom"));
            all.chain(single)
        });
    let fields = [
        "configMapRef",
        "secretRef",
        "configMapKeyRef",
        "secretKeyRef",
    ];
    sources
        .flat_map(|source| {
            fields
                .iter()
                .filter_map(|field| Some((*field, source.get(*field)?)))
        })
        .find_map(|(field, source)| missing(client, pod, source, field))
}

fn missing_volume<'a>(client: &Client, pod: &'a Value) -> Option<(&'a str, String)> {
    items(pod, "/spec/volumes").iter().find_map(|volume| {
        let sources = items(volume, "/projected/sources").iter().chain([volume]);
        let missing = sources
            .flat_map(|source| ["configMap", "secret"].map(|field| (field, source.get(field))))
            .find_map(|(field, source)| missing(client, pod, source?, field))?;
        Some((text(volume, "/name"), missing))
    })
}

/// The event of a volume that cannot be mounted.
fn tell(client: &mut Client, pod: &Value, volume: &str, missing: &str, now: Timestamp) {
    let event = format!("{}.{volume}", name(pod));
    if client.get(EVENTS, namespace(pod), &event).is_some() {
        return;
    }
    let event = json!({
        "metadata": {"name": event, "namespace": namespace(pod)},
        "involvedObject": {
            "apiVersion": "v1", "kind": "Pod", "name": name(pod), "namespace": namespace(pod), "uid": uid(pod),
        },
        "type": "Warning",
        "reason": "FailedMount",
        "message": format!("MountVolume.SetUp failed for volume {volume:?} : {missing}"),
        "source": {"component": "kubelet"},
        "firstTimestamp": stamp(now),
        "lastTimestamp": stamp(now),
        "count": 1,
    });
    let _ = client.create(EVENTS, event);
}

fn conditions(pod: &Value, is_ready: bool, now: Timestamp) -> Value {
    let ready = if is_ready { "True" } else { "False" };
    let wanted = [
        ("PodScheduled", "True"),
        ("Initialized", "True"),
        ("ContainersReady", ready),
        ("Ready", ready),
    ];
    wanted
        .iter()
        .map(|(kind, status)| {
            let known = condition(pod, kind)
                .filter(|known| text(known, "/status") == *status)
                .map(|known| known["lastTransitionTime"].clone());
            let mut condition = json!({
                "type": kind, "status": status,
                "lastTransitionTime": known.unwrap_or_else(|| json!(stamp(now))),
            });
            if *status == "False" {
                condition["reason"] = json!("ContainersNotReady");
                condition["message"] = json!("containers with unready status: [app]");
            }
            condition
        })
        .collect()
}

fn status(
    pod: &Value,
    phase: &str,
    is_ready: bool,
    state: Value,
    last: Value,
    now: Timestamp,
) -> Value {
    let containers: Vec<Value> = items(pod, "/spec/containers")
        .iter()
        .map(|container| {
            json!({
                "name": container["name"],
                "image": container["image"],
                "imageID": "",
                "ready": is_ready,
                "started": state.get("running").is_some(),
                "restartCount": i64::from(last.as_object().is_some_and(|last| !last.is_empty())),
                "state": state,
                "lastState": last,
            })
        })
        .collect();
    json!({
        "phase": phase,
        "startTime": text(pod, "/metadata/creationTimestamp"),
        "qosClass": text(pod, "/status/qosClass"),
        "conditions": conditions(pod, is_ready, now),
        "containerStatuses": containers,
    })
}

fn running(pod: &Value, is_ready: bool, now: Timestamp) -> Value {
    let state = json!({"running": {"startedAt": stamp(now)}});
    status(pod, "Running", is_ready, state, json!({}), now)
}

fn waiting(pod: &Value, reason: &str, message: Option<&str>, now: Timestamp) -> Value {
    let mut state = json!({"waiting": {"reason": reason}});
    if let Some(message) = message {
        state["waiting"]["message"] = json!(message);
    }
    status(pod, "Pending", false, state, json!({}), now)
}

fn terminated(code: i64, now: Timestamp) -> Value {
    let mut end = json!({"exitCode": code, "reason": "Completed", "finishedAt": stamp(now)});
    if code != 0 {
        end["reason"] = json!("Error");
        end["message"] = json!("simulated failure");
    }
    json!({"terminated": end})
}

fn crash_loop(pod: &Value, now: Timestamp) -> Value {
    let message = format!(
        "back-off 10s restarting failed container=app pod={}_{}({})",
        name(pod),
        namespace(pod),
        uid(pod)
    );
    let state = json!({"waiting": {"reason": "CrashLoopBackOff", "message": message}});
    status(pod, "Running", false, state, terminated(1, now), now)
}

fn ended(pod: &Value, code: i64, now: Timestamp) -> Value {
    let phase = if code == 0 { "Succeeded" } else { "Failed" };
    status(pod, phase, false, terminated(code, now), json!({}), now)
}
