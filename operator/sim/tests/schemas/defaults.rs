//! What decoding and Go's defaulting functions do to the fields that the samples of builtin kinds have.

use serde_json::{Value, json};

/// Drops nulls and what `omitempty` leaves out. Empty structs that the samples have stay.
pub fn drop_empty(value: &mut Value) {
    const STRUCTS: [&str; 6] = [
        "securityContext",
        "resources",
        "emptyDir",
        "podSelector",
        "namespaceSelector",
        "metadata",
    ];
    match value {
        Value::Object(fields) => fields.retain(|name, value| {
            if name == "managedFields" {
                return true;
            }
            drop_empty(value);
            let empty = match value {
                Value::Null => true,
                Value::Array(items) => items.is_empty(),
                Value::Object(fields) => fields.is_empty() && !STRUCTS.contains(&name.as_str()),
                _ => false,
            };
            !empty
        }),
        Value::Array(items) => items.iter_mut().for_each(drop_empty),
        _ => {}
    }
}

/// Sets a field that is absent.
pub fn default(object: &mut Value, name: &str, value: Value) {
    let object = object.as_object_mut().unwrap();
    object.entry(name.to_owned()).or_insert(value);
}

fn each(list: Option<&mut Value>, of: impl FnMut(&mut Value)) {
    list.and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .for_each(of);
}

fn pod_defaults(template: &mut Value) {
    default(template, "metadata", json!({}));
    default(template, "spec", json!({}));
    let spec = &mut template["spec"];
    default(spec, "restartPolicy", json!("Always"));
    default(spec, "terminationGracePeriodSeconds", json!(30));
    default(spec, "dnsPolicy", json!("ClusterFirst"));
    default(spec, "securityContext", json!({}));
    default(spec, "schedulerName", json!("default-scheduler"));
    default(spec, "containers", Value::Null);
    for list in ["containers", "initContainers"] {
        each(spec.get_mut(list), |container| {
            default(
                container,
                "terminationMessagePath",
                json!("/dev/termination-log"),
            );
            default(container, "terminationMessagePolicy", json!("File"));
            default(container, "resources", json!({}));
            let image = container["image"].as_str().unwrap_or("");
            let policy = if image.is_empty() || image.contains(':') && !image.ends_with(":latest") {
                "IfNotPresent"
            } else {
                "Always"
            };
            default(container, "imagePullPolicy", json!(policy));
            each(container.get_mut("ports"), |port| {
                default(port, "protocol", json!("TCP"))
            });
            each(container.get_mut("env"), |env| {
                if let Some(field) = env.pointer_mut("/valueFrom/fieldRef") {
                    default(field, "apiVersion", json!("v1"));
                }
            });
        });
    }
    each(spec.get_mut("volumes"), |volume| {
        if let Some(map) = volume.get_mut("configMap") {
            default(map, "defaultMode", json!(420));
        } else {
            default(volume, "emptyDir", json!({}));
        }
    });
}

pub fn deployment(object: &mut Value) {
    default(object, "status", json!({}));
    default(object, "spec", json!({}));
    let spec = &mut object["spec"];
    default(spec, "replicas", json!(1));
    default(spec, "revisionHistoryLimit", json!(10));
    default(spec, "progressDeadlineSeconds", json!(600));
    default(spec, "selector", Value::Null);
    default(spec, "strategy", json!({}));
    let strategy = &mut spec["strategy"];
    default(strategy, "type", json!("RollingUpdate"));
    if strategy["type"] == "RollingUpdate" {
        default(strategy, "rollingUpdate", json!({}));
        default(
            &mut strategy["rollingUpdate"],
            "maxUnavailable",
            json!("25%"),
        );
        default(&mut strategy["rollingUpdate"], "maxSurge", json!("25%"));
    }
    default(spec, "template", json!({}));
    pod_defaults(&mut spec["template"]);
}

pub fn cron_job(object: &mut Value) {
    default(object, "status", json!({}));
    default(object, "spec", json!({}));
    let spec = &mut object["spec"];
    default(spec, "concurrencyPolicy", json!("Allow"));
    default(spec, "suspend", json!(false));
    default(spec, "successfulJobsHistoryLimit", json!(3));
    default(spec, "failedJobsHistoryLimit", json!(1));
    default(spec, "jobTemplate", json!({}));
    let job = &mut spec["jobTemplate"];
    default(job, "metadata", json!({}));
    default(job, "spec", json!({}));
    default(&mut job["spec"], "template", json!({}));
    pod_defaults(&mut job["spec"]["template"]);
}

pub fn service(object: &mut Value) {
    default(object, "status", json!({}));
    default(&mut object["status"], "loadBalancer", json!({}));
    default(object, "spec", json!({}));
    let spec = &mut object["spec"];
    default(spec, "sessionAffinity", json!("None"));
    default(spec, "type", json!("ClusterIP"));
    default(spec, "internalTrafficPolicy", json!("Cluster"));
    if spec["sessionAffinity"] == "ClientIP" {
        default(
            spec,
            "sessionAffinityConfig",
            json!({"clientIP": {"timeoutSeconds": 10800}}),
        );
    } else {
        spec.as_object_mut()
            .unwrap()
            .remove("sessionAffinityConfig");
    }
    each(spec.get_mut("ports"), |port| {
        default(port, "protocol", json!("TCP"));
        let number = port["port"].clone();
        default(port, "targetPort", number);
    });
}

pub fn network_policy(object: &mut Value) {
    default(object, "spec", json!({}));
    let spec = &mut object["spec"];
    default(spec, "podSelector", json!({}));
    let mut types = vec!["Ingress"];
    if spec.get("egress").is_some() {
        types.push("Egress");
    }
    default(spec, "policyTypes", json!(types));
    for list in ["ingress", "egress"] {
        each(spec.get_mut(list), |rule| {
            each(rule.get_mut("ports"), |port| {
                default(port, "protocol", json!("TCP"))
            });
        });
    }
}

pub fn disruption_budget(object: &mut Value) {
    default(object, "spec", json!({}));
    default(object, "status", json!({}));
    for name in [
        "currentHealthy",
        "desiredHealthy",
        "disruptionsAllowed",
        "expectedPods",
    ] {
        default(&mut object["status"], name, json!(0));
    }
}

pub fn autoscaler(object: &mut Value) {
    default(object, "status", json!({}));
    default(&mut object["status"], "desiredReplicas", json!(0));
    default(&mut object["status"], "currentMetrics", Value::Null);
    default(object, "spec", json!({}));
    let spec = &mut object["spec"];
    default(spec, "minReplicas", json!(1));
    default(
        spec,
        "metrics",
        json!([{"type": "Resource", "resource": {
        "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]),
    );
}
