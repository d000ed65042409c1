//! What others write into our children, carried over: replicas of an autoscaler, weights and hashes of a canary.

use serde_json::{Value, json};
use todo_operator_api::component::ComponentKind;

use super::Write;
use crate::canonical;
use crate::child::Child;
use crate::kind::Kind;
use crate::live::{Children, Detail, Live, Workload, find};
use crate::mutants::Mutant;
use crate::names::{ANNOTATION_OVERLOOKED, ROLLOUTS_POD_TEMPLATE_HASH};
use crate::projection;
use crate::render;
use crate::validate::ValidApp;

/// Holds KEDA's scaling of a Worker still while its canary is judged by lag. (`paused` would delete the HPA.)
const PAUSED: [&str; 2] = [
    "autoscaling.keda.sh/paused-scale-in",
    "autoscaling.keda.sh/paused-scale-out",
];

/// Seconds after a write of ours after which Argo Rollouts must have seen it.
///
/// It may not: at the end of a sync it puts the Rollout as it has just written it into its cache, over what came in
/// meanwhile (v1.9.1, `writeBackToInformer`), and then nothing reminds it. A release that goes back is written at such a
/// moment: right after a status of Argo Rollouts. A Service that somebody edits for a moment makes the Rollout invalid, and
/// what makes it valid again can cross that verdict in the same way.
pub const OVERLOOKED_SECONDS: i64 = 5;
/// How often Argo Rollouts is reminded of a Rollout that it calls invalid, each time after twice as long. One that still is
/// has a reason to be.
const REMINDERS: u32 = 6;

/// The write that makes `child` as it should be; `None` where it already is. `now` is in seconds since the epoch.
pub fn write(app: &ValidApp<'_>, child: &Child, children: &Children, now: i64) -> Option<Write> {
    let mut child = child.clone();
    let live = children.get(&child.key).map(AsRef::as_ref);
    if child.key.kind == Kind::ScaledObject {
        hold_scaler_during_canary(app, &mut child, children);
    }
    let Some(live) = live else {
        return Some(Write {
            child,
            exists: false,
        });
    };
    if child.key.kind == Kind::Job {
        // Its template is immutable, and its name stands for image, arguments and attempt: what runs is what was meant.
        return None;
    }
    if live.deleting {
        // Applying now would only be undone; the deletion's watch event brings us back.
        return None;
    }
    let mut shared = false;
    let mut must_write = false;
    match &live.detail {
        Detail::Workload(workload) => {
            if let Some(reminder) = reminder(child.key.kind, live, now) {
                annotate(&mut child, ANNOTATION_OVERLOOKED, &reminder);
            }
            if workload.in_flight
                && let Some(strategy) = &workload.strategy
            {
                // Argo Rollouts begins again at step 0 when the steps change.
                set(&mut child.body, "strategy", (**strategy).clone());
            }
            let scaled =
                scaled_by_others(app, &child, children) && !Mutant::OverwritesReplicas.is_on();
            match replicas(&child, workload, scaled) {
                Some(wanted) => {
                    must_write = !scaled && workload.replicas != Some(wanted);
                    set(&mut child.body, "replicas", json!(wanted));
                }
                None => unset(&mut child.body, "replicas"),
            }
            shared = scaled;
        }
        Detail::Service { hash: Some(hash) } if !Mutant::OverwritesSelectors.is_on() => {
            if let Some(selector) = child
                .body
                .pointer_mut("/spec/selector")
                .and_then(Value::as_object_mut)
            {
                selector.insert(ROLLOUTS_POD_TEMPLATE_HASH.to_owned(), json!(hash));
            }
            shared = true;
        }
        Detail::Weights(weights) if !Mutant::OverwritesWeights.is_on() => {
            carry_weights(&mut child.body, weights);
            shared = true;
        }
        _ => {}
    }
    let wanted = canonical::digest(&projection::neutral(child.key.kind, &child.body));
    if !must_write && wanted == live.owned && !Mutant::AppliesWithoutDifference.is_on() {
        return None;
    }
    if shared {
        precondition(&mut child.body, live);
    }
    Some(Write {
        child,
        exists: true,
    })
}

/// Whether somebody else moves the replicas: the spec says so, or a scaler that is being removed still lives.
fn scaled_by_others(app: &ValidApp<'_>, child: &Child, children: &Children) -> bool {
    let asked = child
        .component
        .as_deref()
        .and_then(|name| app.components.get(name))
        .is_some_and(render::autoscaled);
    asked
        || find(
            children,
            Kind::ScaledObject,
            &child.key.namespace,
            &child.key.name,
        )
        .is_some() || children.iter().any(|(key, live)| {
        key.kind == Kind::HorizontalPodAutoscaler
            && matches!(&live.detail, Detail::Scaler { target, .. } if *target == child.key.name)
    })
}

/// The replicas to send; `None` to leave the field out.
///
/// Leaving out a field that only we own deletes it, and Deployment and Rollout then fall to 1. So it is sent, as it
/// stands, until an autoscaler owns it too.
fn replicas(child: &Child, workload: &Workload, scaled: bool) -> Option<i64> {
    if !scaled {
        return child.body.pointer("/spec/replicas").and_then(Value::as_i64);
    }
    if workload.replicas_ours && !workload.replicas_theirs {
        workload.replicas
    } else {
        None
    }
}

fn hold_scaler_during_canary(app: &ValidApp<'_>, child: &mut Child, children: &Children) {
    let Some(component) = child.component.clone() else {
        return;
    };
    let is_worker = app
        .components
        .get(component.as_str())
        .is_some_and(|component| component.spec.kind == ComponentKind::Worker);
    let in_flight = find(
        children,
        Kind::Rollout,
        &child.key.namespace,
        &child.key.name,
    )
    .is_some_and(|live| matches!(&live.detail, Detail::Workload(workload) if workload.in_flight));
    if !(is_worker && in_flight) {
        return;
    }
    for name in PAUSED {
        annotate(child, name, "true");
    }
}

fn annotate(child: &mut Child, name: &str, value: &str) {
    if let Some(metadata) = child
        .body
        .get_mut("metadata")
        .and_then(Value::as_object_mut)
    {
        metadata.entry("annotations").or_insert_with(|| json!({}))[name] = json!(value);
    }
}

/// The annotation that makes Argo Rollouts look again at a Rollout where it has, or may have, overlooked something.
pub fn reminder(kind: Kind, live: &Live, now: i64) -> Option<String> {
    let workload = rollout(kind, live)?;
    if workload.unobserved {
        let is_late = now.saturating_sub(live.written) >= OVERLOOKED_SECONDS;
        return (workload.told_to_look || is_late).then(|| live.generation.to_string());
    }
    let reminders = reminders(now.saturating_sub(workload.invalid_since?));
    (reminders > 0).then(|| format!("invalid-{reminders}"))
}

/// Seconds until [`reminder`] says something else although nothing changes.
pub fn reminder_in(kind: Kind, live: &Live, now: i64) -> Option<i64> {
    let workload = rollout(kind, live)?;
    if workload.unobserved {
        let waits = reminder(kind, live, now).is_none();
        return waits.then(|| OVERLOOKED_SECONDS - now.saturating_sub(live.written));
    }
    let waited = now.saturating_sub(workload.invalid_since?);
    let reminders = reminders(waited);
    (reminders < REMINDERS).then(|| (OVERLOOKED_SECONDS << reminders) - waited)
}

fn rollout(kind: Kind, live: &Live) -> Option<&Workload> {
    match &live.detail {
        Detail::Workload(workload) if kind == Kind::Rollout => Some(workload),
        _ => None,
    }
}

/// How many reminders are due of a Rollout that has been invalid for so many seconds.
fn reminders(seconds: i64) -> u32 {
    let doubled = (seconds / OVERLOOKED_SECONDS).checked_ilog2();
    doubled.map_or(0, |doubled| (doubled + 1).min(REMINDERS))
}

/// Writes the live weights into the back ends of the same names.
fn carry_weights(body: &mut Value, weights: &[(Box<str>, i64)]) {
    let weighted = body.pointer("/spec/weighted/services").is_some();
    let path = if weighted {
        "/spec/weighted/services"
    } else {
        "/spec/rules"
    };
    let Some(items) = body.pointer_mut(path).and_then(Value::as_array_mut) else {
        return;
    };
    let backends: Vec<&mut Value> = if weighted {
        items.iter_mut().collect()
    } else {
        let refs = items
            .iter_mut()
            .filter_map(|rule| rule.get_mut("backendRefs")?.as_array_mut());
        refs.flatten().collect()
    };
    for backend in backends {
        let weight = backend
            .get("name")
            .and_then(Value::as_str)
            .and_then(|name| {
                weights
                    .iter()
                    .find(|(live, _)| **live == *name)
                    .map(|(_, weight)| *weight)
            });
        if let (Some(weight), Some(backend)) = (weight, backend.as_object_mut()) {
            backend.insert("weight".to_owned(), json!(weight));
        }
    }
}

fn precondition(body: &mut Value, live: &Live) {
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("resourceVersion".to_owned(), json!(live.resource_version));
    }
}

fn set(body: &mut Value, field: &str, value: Value) {
    if let Some(spec) = body.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert(field.to_owned(), value);
    }
}

fn unset(body: &mut Value, field: &str) {
    if let Some(spec) = body.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove(field);
    }
}
