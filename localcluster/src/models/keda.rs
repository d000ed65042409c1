//! KEDA's operator: makes the HorizontalPodAutoscaler of a ScaledObject. There are no metrics behind it, so the real HPA
//! controller moves replicas only between the limits; scaling to and from zero, which is KEDA's own doing, is not played.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::ApiResource;
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};

use super::{play, resource, write_status};

const VERSION: &str = "2.20.2";
const PAUSED: &str = "autoscaling.keda.sh/paused";
const PAUSED_REPLICAS: &str = "autoscaling.keda.sh/paused-replicas";
const PAUSED_SCALE_IN: &str = "autoscaling.keda.sh/paused-scale-in";
const PAUSED_SCALE_OUT: &str = "autoscaling.keda.sh/paused-scale-out";

fn kind() -> ApiResource {
    resource("keda.sh", "v1alpha1", "ScaledObject")
}

pub(super) async fn run(client: Client) {
    play(client, kind(), true, reconcile).await;
}

async fn reconcile(client: Client, scaled: Arc<DynamicObject>) -> Result<(), kube::Error> {
    if scaled.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    let namespace = scaled.namespace().unwrap_or_default();
    let scalers: Api<HorizontalPodAutoscaler> = Api::namespaced(client.clone(), &namespace);
    let name = hpa_name(&scaled);
    if is_paused(&scaled) {
        match scalers.delete(&name, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            other => drop(other?),
        }
    } else if target_exists(&client, &namespace, &scaled).await? {
        scalers
            .patch(
                &name,
                &PatchParams::apply("keda").force(),
                &Patch::Apply(hpa(&scaled)),
            )
            .await?;
    } else {
        write_status(client.clone(), &kind(), &scaled, missing_target(&scaled)).await?;
        // An error, so that it is tried again.
        return Err(kube::Error::Service(
            format!("the target of {namespace}/{} is missing", scaled.name_any()).into(),
        ));
    }
    write_status(client, &kind(), &scaled, status(&scaled)).await
}

async fn target_exists(
    client: &Client,
    namespace: &str,
    scaled: &DynamicObject,
) -> Result<bool, kube::Error> {
    let target = target(scaled);
    let (group, version) = target
        .api_version
        .rsplit_once('/')
        .unwrap_or(("", target.api_version));
    let api: Api<DynamicObject> = Api::namespaced_with(
        client.clone(),
        namespace,
        &resource(group, version, target.kind),
    );
    Ok(api.get_metadata_opt(target.name).await?.is_some())
}

struct Target<'a> {
    api_version: &'a str,
    kind: &'a str,
    name: &'a str,
}

fn target(scaled: &DynamicObject) -> Target<'_> {
    let reference = &scaled.data["spec"]["scaleTargetRef"];
    Target {
        api_version: reference["apiVersion"].as_str().unwrap_or("apps/v1"),
        kind: reference["kind"].as_str().unwrap_or("Deployment"),
        name: reference["name"].as_str().unwrap_or_default(),
    }
}

fn hpa_name(scaled: &DynamicObject) -> String {
    scaled.data["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["name"]
        .as_str()
        .map_or_else(|| format!("keda-hpa-{}", scaled.name_any()), str::to_owned)
}

/// KEDA takes a value that is no boolean for true.
fn is_set(scaled: &DynamicObject, annotation: &str) -> bool {
    scaled.annotations().get(annotation).is_some_and(|value| {
        !matches!(
            value.as_str(),
            "false" | "False" | "FALSE" | "f" | "F" | "0"
        )
    })
}

fn is_paused(scaled: &DynamicObject) -> bool {
    is_set(scaled, PAUSED) || scaled.annotations().contains_key(PAUSED_REPLICAS)
}

fn hpa(scaled: &DynamicObject) -> Value {
    let spec = &scaled.data["spec"];
    let name = hpa_name(scaled);
    let target = target(scaled);
    let mut labels = BTreeMap::from([
        (
            "app.kubernetes.io/name".to_owned(),
            name.chars().take(63).collect(),
        ),
        ("app.kubernetes.io/version".to_owned(), VERSION.to_owned()),
        ("app.kubernetes.io/part-of".to_owned(), scaled.name_any()),
        (
            "app.kubernetes.io/managed-by".to_owned(),
            "keda-operator".to_owned(),
        ),
    ]);
    // The ScaledObject's own labels win.
    labels.extend(scaled.labels().clone());
    let mut hpa = json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {
            "name": name,
            "namespace": scaled.namespace(),
            "labels": labels,
            "annotations": scaled.annotations(),
            "ownerReferences": [{
                "apiVersion": "keda.sh/v1alpha1",
                "kind": "ScaledObject",
                "name": scaled.name_any(),
                "uid": scaled.uid(),
                "controller": true,
                "blockOwnerDeletion": true,
            }],
        },
        "spec": {
            // An HPA cannot go to zero: that step is KEDA's.
            "minReplicas": spec["minReplicaCount"].as_i64().filter(|n| *n > 0).unwrap_or(1),
            "maxReplicas": spec["maxReplicaCount"].as_i64().unwrap_or(100),
            "scaleTargetRef": {"apiVersion": target.api_version, "kind": target.kind, "name": target.name},
            "metrics": metrics(scaled),
        },
    });
    let mut behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"].clone();
    for (annotation, direction) in [
        (PAUSED_SCALE_IN, "scaleDown"),
        (PAUSED_SCALE_OUT, "scaleUp"),
    ] {
        if is_set(scaled, annotation) {
            behavior[direction]["selectPolicy"] = json!("Disabled");
        }
    }
    if !behavior.is_null() {
        hpa["spec"]["behavior"] = behavior;
    }
    hpa
}

fn triggers(scaled: &DynamicObject) -> impl Iterator<Item = (usize, &str, &Value)> {
    let triggers = scaled.data["spec"]["triggers"].as_array();
    triggers
        .into_iter()
        .flatten()
        .enumerate()
        .map(|(i, trigger)| (i, trigger["type"].as_str().unwrap_or_default(), trigger))
}

fn is_resource(trigger: &str) -> bool {
    matches!(trigger, "cpu" | "memory")
}

fn external_name(index: usize, kind: &str, trigger: &Value) -> String {
    match trigger["metadata"]["topic"].as_str() {
        // As KEDA writes it: slashes, dots and colons become hyphens.
        Some(topic) => format!(
            "s{index}-{kind}-{}",
            topic.replace(['/', '.', ':', '%', '(', ')'], "-")
        ),
        None => format!("s{index}-{kind}"),
    }
}

fn metrics(scaled: &DynamicObject) -> Vec<Value> {
    let mut metrics: Vec<Value> = triggers(scaled)
        .map(|(index, kind, trigger)| {
            let text = |name: &str| trigger["metadata"][name].as_str();
            if is_resource(kind) {
                let value = text("value").unwrap_or("80");
                let target = match trigger["metricType"].as_str() {
                    Some("AverageValue") => json!({"type": "AverageValue", "averageValue": value}),
                    _ => json!({"type": "Utilization", "averageUtilization": value.parse::<i32>().unwrap_or(80)}),
                };
                return json!({"type": "Resource", "resource": {"name": kind, "target": target}});
            }
            let threshold = text("lagThreshold").or_else(|| text("threshold")).unwrap_or("10");
            json!({
                "type": "External",
                "external": {
                    "metric": {
                        "name": external_name(index, kind, trigger),
                        "selector": {"matchLabels": {"scaledobject.keda.sh/name": scaled.name_any()}},
                    },
                    "target": {"type": "AverageValue", "averageValue": threshold},
                },
            })
        })
        .collect();
    metrics.sort_by_key(|m| m["type"].as_str().unwrap_or_default().to_owned());
    metrics
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": message})
}

fn conditions(scaled: &DynamicObject, ready: Value) -> Vec<Value> {
    let paused = if is_paused(scaled) {
        condition(
            "Paused",
            "True",
            "ScaledObjectPaused",
            "ScaledObject is paused",
        )
    } else {
        condition(
            "Paused",
            "False",
            "ScaledObjectUnpaused",
            "pause annotation removed for ScaledObject",
        )
    };
    vec![
        ready,
        condition(
            "Active",
            "False",
            "ScalerNotActive",
            "Scaling is not performed because triggers are not active",
        ),
        condition(
            "Fallback",
            "False",
            "NoFallbackFound",
            "No fallbacks are active on this scaled object",
        ),
        paused,
    ]
}

fn missing_target(scaled: &DynamicObject) -> Value {
    let message = "ScaledObject doesn't have correct scaleTargetRef specification";
    json!({"conditions": conditions(scaled, condition("Ready", "False", "ScaledObjectCheckFailed", message))})
}

fn status(scaled: &DynamicObject) -> Value {
    let target = target(scaled);
    let (group, version) = target
        .api_version
        .rsplit_once('/')
        .unwrap_or(("", target.api_version));
    let plural = resource(group, version, target.kind).plural;
    let external: Vec<_> = triggers(scaled)
        .filter(|(_, kind, _)| !is_resource(kind))
        .map(|(i, kind, t)| external_name(i, kind, t))
        .collect();
    let resources: Vec<_> = triggers(scaled)
        .filter(|(_, kind, _)| is_resource(kind))
        .map(|(_, kind, _)| kind)
        .collect();
    let message = "ScaledObject is defined correctly and is ready for scaling";
    json!({
        "conditions": conditions(scaled, condition("Ready", "True", "ScaledObjectReady", message)),
        // A paused ScaledObject has no HPA.
        "hpaName": if is_paused(scaled) { String::new() } else { hpa_name(scaled) },
        "scaleTargetKind": format!("{}.{}", target.api_version, target.kind),
        "scaleTargetGVKR": {"group": group, "version": version, "kind": target.kind, "resource": plural},
        "externalMetricNames": external,
        "resourceMetricNames": resources,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scaled(annotations: Value) -> DynamicObject {
        let mut object = DynamicObject::new("worker", &kind());
        object.metadata.annotations = serde_json::from_value(annotations).unwrap();
        object.metadata.labels = Some(BTreeMap::from([(
            "app.kubernetes.io/managed-by".to_owned(),
            "todo-operator".to_owned(),
        )]));
        object.data = json!({"spec": {
            "scaleTargetRef": {"name": "worker"},
            "minReplicaCount": 0,
            "maxReplicaCount": 6,
            "triggers": [
                {"type": "kafka", "metadata": {"topic": "ns.events", "lagThreshold": "50"}},
                {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "70"}},
            ],
        }});
        object
    }

    #[test]
    fn the_hpa_is_what_keda_makes() {
        let hpa = hpa(&scaled(json!({})));
        assert_eq!(hpa["metadata"]["name"], "keda-hpa-worker");
        assert_eq!(
            hpa["metadata"]["labels"]["app.kubernetes.io/managed-by"],
            "todo-operator"
        );
        assert_eq!(hpa["spec"]["minReplicas"], 1);
        assert_eq!(hpa["spec"]["maxReplicas"], 6);
        assert_eq!(hpa["spec"]["scaleTargetRef"]["kind"], "Deployment");
        assert_eq!(
            hpa["spec"]["metrics"][0]["external"]["metric"]["name"],
            "s0-kafka-ns-events"
        );
        assert_eq!(
            hpa["spec"]["metrics"][1]["resource"]["target"]["averageUtilization"],
            70
        );
        assert!(hpa["spec"].get("behavior").is_none());
        serde_json::from_value::<HorizontalPodAutoscaler>(hpa).unwrap();
    }

    #[test]
    fn one_direction_can_be_paused() {
        let hpa = hpa(&scaled(json!({PAUSED_SCALE_IN: "true"})));
        assert_eq!(
            hpa["spec"]["behavior"],
            json!({"scaleDown": {"selectPolicy": "Disabled"}})
        );
    }

    #[test]
    fn pausing_is_understood_as_keda_does() {
        assert!(!is_paused(&scaled(json!({}))));
        assert!(!is_paused(&scaled(json!({PAUSED: "false"}))));
        assert!(is_paused(&scaled(json!({PAUSED: "yes please"}))));
        assert!(is_paused(&scaled(
            json!({PAUSED: "false", PAUSED_REPLICAS: "2"})
        )));
        assert_eq!(
            status(&scaled(json!({PAUSED: "true"})))["conditions"][3]["status"],
            "True"
        );
    }
}
