//! KEDA (2.20.2): the HorizontalPodAutoscaler of a ScaledObject, pausing, and the way to and from zero replicas.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::client::{Client, Controller, Interrupted};
use super::fields::{
    annotation, controlled_by, count, has_finalizer, integer, is_deleting, items, label, name,
    namespace, text, with_finalizer, without_finalizer,
};
use super::hpa::{self, HPAS, Target};
use crate::actor::{Resource, resource};

const SCALED_OBJECTS: Resource = resource("keda.sh", "scaledobjects");
const VERSION: &str = "2.20.2";
const FINALIZER: &str = "finalizer.keda.sh";
const NAME_LABEL: &str = "scaledobject.keda.sh/name";
const PAUSED: &str = "autoscaling.keda.sh/paused";
const PAUSED_REPLICAS: &str = "autoscaling.keda.sh/paused-replicas";
const PAUSED_SCALE_IN: &str = "autoscaling.keda.sh/paused-scale-in";
const PAUSED_SCALE_OUT: &str = "autoscaling.keda.sh/paused-scale-out";
const DEFAULT_POLLING: u64 = 30;
const DEFAULT_MAX: i64 = 100;

/// KEDA's operator.
pub(crate) struct Keda;

impl Controller for Keda {
    const NAME: &'static str = "keda";
    const MANAGER: &'static str = "keda";
    const WATCHES: &'static [Resource] = &[
        SCALED_OBJECTS,
        HPAS,
        super::deployment::DEPLOYMENTS,
        super::rollout::ROLLOUTS,
    ];

    fn sync(&mut self, client: &mut Client, _now: Timestamp) {
        for scaled in client.list(SCALED_OBJECTS) {
            // What interrupts it is tried again.
            let _ = reconcile(client, &scaled);
        }
    }
}

fn reconcile(client: &mut Client, scaled: &Value) -> Result<(), Interrupted> {
    if is_deleting(scaled) {
        if has_finalizer(scaled, FINALIZER) {
            client.merge(SCALED_OBJECTS, scaled, without_finalizer(scaled, FINALIZER))?;
        }
        return Ok(());
    }
    if !has_finalizer(scaled, FINALIZER) || label(scaled, NAME_LABEL) != name(scaled) {
        let mut patch = json!({"metadata": {}});
        if !has_finalizer(scaled, FINALIZER) {
            patch = with_finalizer(scaled, FINALIZER);
        }
        patch["metadata"]["labels"] = json!({NAME_LABEL: name(scaled)});
        // The write brings us back.
        client.merge(SCALED_OBJECTS, scaled, patch)?;
        return Ok(());
    }
    let hpa = client.get(HPAS, namespace(scaled), &hpa_name(scaled));
    let target = target(scaled);
    if is_paused(scaled) {
        if let Some(hpa) = hpa {
            client.delete(HPAS, &hpa)?;
        }
        pause_at_replicas(client, scaled, &target)?;
    } else if target.find(client, namespace(scaled)).is_none() {
        client.again_in(Duration::from_secs(30));
        let message = "ScaledObject doesn't have correct scaleTargetRef specification";
        let ready = said("Ready", "False", "ScaledObjectCheckFailed", message);
        let status = json!({"conditions": conditions(scaled, ready)});
        client.set_status(SCALED_OBJECTS, scaled, status)?;
        return Ok(());
    } else {
        ensure_hpa(client, scaled, hpa.as_deref())?;
        leave_or_reach_zero(client, scaled, &target)?;
    }
    let status = status(scaled);
    client.set_status(SCALED_OBJECTS, scaled, status)?;
    Ok(())
}

fn target(scaled: &Value) -> Target<'_> {
    hpa::target(&scaled["spec"]["scaleTargetRef"])
}

fn hpa_name(scaled: &Value) -> String {
    match text(scaled, "/spec/advanced/horizontalPodAutoscalerConfig/name") {
        "" => format!("keda-hpa-{}", name(scaled)),
        named => named.to_owned(),
    }
}

/// KEDA takes a value that is no boolean for true.
fn is_set(scaled: &Value, key: &str) -> bool {
    annotation(scaled, key)
        .is_some_and(|value| !matches!(value, "false" | "False" | "FALSE" | "f" | "F" | "0"))
}

fn is_paused(scaled: &Value) -> bool {
    is_set(scaled, PAUSED) || annotation(scaled, PAUSED_REPLICAS).is_some()
}

fn bounds(scaled: &Value) -> (i64, i64) {
    let most = integer(scaled, "/spec/maxReplicaCount").unwrap_or(DEFAULT_MAX);
    (count(scaled, "/spec/minReplicaCount"), most)
}

fn pause_at_replicas(
    client: &mut Client,
    scaled: &Value,
    target: &Target<'_>,
) -> Result<(), Interrupted> {
    let wanted = annotation(scaled, PAUSED_REPLICAS).and_then(|text| text.parse::<i64>().ok());
    if let (Some(wanted), Some(live)) = (wanted, target.find(client, namespace(scaled)))
        && integer(&live, "/spec/replicas") != Some(wanted)
    {
        client.scale(target.resource(), &live, wanted)?;
    }
    Ok(())
}

/// An HPA can neither reach zero nor leave it: KEDA does (`pkg/scaling/executor/scale_scaledobjects.go`).
fn leave_or_reach_zero(
    client: &mut Client,
    scaled: &Value,
    target: &Target<'_>,
) -> Result<(), Interrupted> {
    let polling = integer(scaled, "/spec/pollingInterval").and_then(|it| u64::try_from(it).ok());
    client.again_in(Duration::from_secs(polling.unwrap_or(DEFAULT_POLLING)));
    let Some(live) = target.find(client, namespace(scaled)) else {
        return Ok(());
    };
    let (least, _) = bounds(scaled);
    let current = integer(&live, "/spec/replicas").unwrap_or(1);
    let desired = client.settings().desired.get(target.name).copied();
    let wanted = match desired {
        Some(0) if least == 0 && current > 0 => 0,
        Some(1..) if current == 0 => least.max(1),
        _ if current == 0 && least > 0 => least,
        _ => return Ok(()),
    };
    client.scale(target.resource(), &live, wanted)?;
    Ok(())
}

fn ensure_hpa(
    client: &mut Client,
    scaled: &Value,
    live: Option<&Value>,
) -> Result<(), Interrupted> {
    let wanted = hpa(scaled);
    let Some(live) = live else {
        client.create(HPAS, wanted)?;
        return Ok(());
    };
    // KEDA compares what it wants with what is there, defaults apart (`controllers/keda/hpa.go`).
    let mut next = live.clone();
    json_patch::merge(&mut next["spec"], &wanted["spec"]);
    if wanted["spec"].get("behavior").is_none()
        && let Some(spec) = next["spec"].as_object_mut()
    {
        spec.remove("behavior");
    }
    next["metadata"]["labels"] = wanted["metadata"]["labels"].clone();
    if next != *live {
        client.replace(HPAS, next)?;
    }
    Ok(())
}

fn hpa(scaled: &Value) -> Value {
    let hpa_name = hpa_name(scaled);
    let shortened: String = hpa_name.chars().take(63).collect();
    let mut labels = json!({
        "app.kubernetes.io/name": shortened,
        "app.kubernetes.io/version": VERSION,
        "app.kubernetes.io/part-of": name(scaled),
        "app.kubernetes.io/managed-by": "keda-operator",
    });
    // The ScaledObject's own labels win.
    let own = scaled
        .pointer("/metadata/labels")
        .and_then(Value::as_object);
    for (key, value) in own.into_iter().flatten() {
        labels[key] = value.clone();
    }
    let (least, most) = bounds(scaled);
    let target = target(scaled);
    let mut hpa = json!({
        "metadata": {
            "name": hpa_name,
            "namespace": namespace(scaled),
            "labels": labels,
            "ownerReferences": controlled_by(scaled),
        },
        "spec": {
            "minReplicas": least.max(1),
            "maxReplicas": most,
            "scaleTargetRef": {"apiVersion": target.api_version, "kind": target.kind, "name": target.name},
            "metrics": metrics(scaled),
        },
    });
    let configured = scaled.pointer("/spec/advanced/horizontalPodAutoscalerConfig/behavior");
    let mut behavior = configured.cloned().unwrap_or_else(|| json!({}));
    for (key, direction) in [
        (PAUSED_SCALE_IN, "scaleDown"),
        (PAUSED_SCALE_OUT, "scaleUp"),
    ] {
        if is_set(scaled, key) {
            behavior[direction]["selectPolicy"] = json!("Disabled");
        }
    }
    if behavior != json!({}) {
        hpa["spec"]["behavior"] = behavior;
    }
    hpa
}

fn is_resource(trigger: &Value) -> bool {
    matches!(text(trigger, "/type"), "cpu" | "memory")
}

fn external_name(index: usize, trigger: &Value) -> String {
    let kind = text(trigger, "/type");
    match text(trigger, "/metadata/topic") {
        "" => format!("s{index}-{kind}"),
        topic => {
            // As KEDA writes it: slashes, dots and colons become hyphens.
            let topic = topic.replace(['/', '.', ':', '%', '(', ')'], "-");
            format!("s{index}-{kind}-{topic}")
        }
    }
}

fn metrics(scaled: &Value) -> Vec<Value> {
    let mut metrics: Vec<Value> = items(scaled, "/spec/triggers")
        .iter()
        .enumerate()
        .map(|(index, trigger)| {
            if is_resource(trigger) {
                let percent = text(trigger, "/metadata/value").parse().unwrap_or(80);
                let target = json!({"type": "Utilization", "averageUtilization": percent});
                let resource = json!({"name": trigger["type"], "target": target});
                return json!({"type": "Resource", "resource": resource});
            }
            let threshold = match text(trigger, "/metadata/lagThreshold") {
                "" => "10",
                threshold => threshold,
            };
            let metric = json!({
                "name": external_name(index, trigger),
                "selector": {"matchLabels": {NAME_LABEL: name(scaled)}},
            });
            let target = json!({"type": "AverageValue", "averageValue": threshold});
            json!({"type": "External", "external": {"metric": metric, "target": target}})
        })
        .collect();
    metrics.sort_by_key(|metric| text(metric, "/type").to_owned());
    metrics
}

fn said(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": message})
}

fn conditions(scaled: &Value, ready: Value) -> Vec<Value> {
    let paused = if is_paused(scaled) {
        said(
            "Paused",
            "True",
            "ScaledObjectPaused",
            "ScaledObject is paused",
        )
    } else {
        let message = "pause annotation removed for ScaledObject";
        said("Paused", "False", "ScaledObjectUnpaused", message)
    };
    let idle = "Scaling is not performed because triggers are not active";
    let no_fallback = "No fallbacks are active on this scaled object";
    vec![
        ready,
        said("Active", "False", "ScalerNotActive", idle),
        said("Fallback", "False", "NoFallbackFound", no_fallback),
        paused,
    ]
}

fn status(scaled: &Value) -> Value {
    let target = target(scaled);
    let (group, version) = target
        .api_version
        .rsplit_once('/')
        .unwrap_or(("", target.api_version));
    let named = |of_resource: bool| -> Vec<String> {
        let triggers = items(scaled, "/spec/triggers").iter().enumerate();
        triggers
            .filter(|(_, trigger)| is_resource(trigger) == of_resource)
            .map(|(index, trigger)| match of_resource {
                true => text(trigger, "/type").to_owned(),
                false => external_name(index, trigger),
            })
            .collect()
    };
    let message = "ScaledObject is defined correctly and is ready for scaling";
    let mut status = json!({
        "conditions": conditions(scaled, said("Ready", "True", "ScaledObjectReady", message)),
        // A paused ScaledObject has no HPA.
        "hpaName": if is_paused(scaled) { String::new() } else { hpa_name(scaled) },
        "scaleTargetKind": format!("{}.{}", target.api_version, target.kind),
        "scaleTargetGVKR": {
            "group": group, "version": version, "kind": target.kind, "resource": target.resource().plural,
        },
    });
    for (field, names) in [
        ("externalMetricNames", named(false)),
        ("resourceMetricNames", named(true)),
    ] {
        if !names.is_empty() {
            status[field] = json!(names);
        }
    }
    status
}
