//! What Kubernetes fills in where its own kinds leave it out (`k8s.io/kubernetes`, `pkg/apis/*/v*/defaults.go`).

use serde_json::{Map, Value, json};

/// A path and what is written there, in JSON, where nothing is.
type Defaults = &'static [(&'static str, &'static str)];

const BY_KIND: &[(&str, Defaults)] = &[
    (
        "CronJob",
        &[
            ("/spec/concurrencyPolicy", r#""Allow""#),
            ("/spec/suspend", "false"),
            ("/spec/successfulJobsHistoryLimit", "3"),
            ("/spec/failedJobsHistoryLimit", "1"),
        ],
    ),
    (
        "Deployment",
        &[
            ("/spec/replicas", "1"),
            ("/spec/revisionHistoryLimit", "10"),
            ("/spec/progressDeadlineSeconds", "600"),
            ("/spec/strategy/type", r#""RollingUpdate""#),
        ],
    ),
    (
        "HorizontalPodAutoscaler",
        &[
            ("/spec/minReplicas", "1"),
            (
                "/spec/metrics",
                r#"[{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]"#,
            ),
        ],
    ),
    (
        "Job",
        &[
            ("/spec/completionMode", r#""NonIndexed""#),
            ("/spec/suspend", "false"),
            ("/spec/manualSelector", "false"),
        ],
    ),
    ("Namespace", &[("/status/phase", r#""Active""#)]),
    ("Pod", &[("/spec/enableServiceLinks", "true")]),
    ("ReplicaSet", &[("/spec/replicas", "1")]),
    ("Secret", &[("/type", r#""Opaque""#)]),
    (
        "Service",
        &[
            ("/spec/sessionAffinity", r#""None""#),
            ("/spec/type", r#""ClusterIP""#),
        ],
    ),
    (
        "ValidatingAdmissionPolicy",
        &[("/spec/failurePolicy", r#""Fail""#)],
    ),
];

const POD_SPEC: Defaults = &[
    ("/dnsPolicy", r#""ClusterFirst""#),
    ("/restartPolicy", r#""Always""#),
    ("/securityContext", "{}"),
    ("/terminationGracePeriodSeconds", "30"),
    ("/schedulerName", r#""default-scheduler""#),
];

const CONTAINER: Defaults = &[
    ("/terminationMessagePath", r#""/dev/termination-log""#),
    ("/terminationMessagePolicy", r#""File""#),
];

const PROBE: Defaults = &[
    ("/timeoutSeconds", "1"),
    ("/periodSeconds", "10"),
    ("/successThreshold", "1"),
    ("/failureThreshold", "3"),
];

const HTTP_GET: Defaults = &[("/path", r#""/""#), ("/scheme", r#""HTTP""#)];
const GRPC: Defaults = &[("/service", r#""""#)];
const FIELD_REF: Defaults = &[("/apiVersion", r#""v1""#)];
const PROTOCOL: Defaults = &[("/protocol", r#""TCP""#)];
const FILES: Defaults = &[("/defaultMode", "420")];
const TOKEN: Defaults = &[("/expirationSeconds", "3600")];

/// Fills in the defaults of a kind.
pub fn fill(kind: &str, object: &mut Value) {
    if let Ok(index) = BY_KIND.binary_search_by_key(&kind, |(known, _)| known) {
        put_all(object, BY_KIND[index].1);
    }
    match kind {
        "CronJob" => {
            if let Some(spec) = object.pointer_mut("/spec/jobTemplate/spec/template/spec") {
                pod_spec(spec);
            }
        }
        "Deployment" => {
            template(object);
            deployment(&mut object["spec"]["strategy"]);
        }
        "HorizontalPodAutoscaler" => autoscaler(object),
        "Job" => {
            template(object);
            job(object);
        }
        "LimitRange" => each(object, "/spec/limits", limit),
        "Namespace" => namespace(object),
        "NetworkPolicy" => network_policy(object),
        "Pod" => {
            pod(object);
            pod_spec(&mut object["spec"]);
        }
        "ReplicaSet" => template(object),
        "Service" => service(object),
        "ValidatingAdmissionPolicy" => {
            if let Some(constraints) = object.pointer_mut("/spec/matchConstraints") {
                match_resources(constraints);
            }
        }
        "ValidatingAdmissionPolicyBinding" => {
            if let Some(resources) = object.pointer_mut("/spec/matchResources") {
                match_resources(resources);
            }
        }
        _ => {}
    }
}

fn put_all(object: &mut Value, defaults: Defaults) {
    for (pointer, json) in defaults {
        // The last part of a path is a name, the rest of it is there.
        let Some((parent, name)) = pointer.rsplit_once('/') else {
            continue;
        };
        let Some(Value::Object(parent)) = object.pointer_mut(parent) else {
            continue;
        };
        if !parent.contains_key(name) {
            let value = serde_json::from_str(json).unwrap_or_default();
            parent.insert(name.to_owned(), value);
        }
    }
}

fn put(object: &mut Value, name: &str, value: Value) {
    if let Value::Object(object) = object {
        object.entry(name).or_insert(value);
    }
}

/// Visits the items of a list, where there is one.
fn each(object: &mut Value, pointer: &str, mut visit: impl FnMut(&mut Value)) {
    let items = object.pointer_mut(pointer).and_then(Value::as_array_mut);
    for item in items.into_iter().flatten() {
        visit(item);
    }
}

fn put_at(object: &mut Value, pointer: &str, defaults: Defaults) {
    if let Some(at) = object.pointer_mut(pointer) {
        put_all(at, defaults);
    }
}

fn deployment(strategy: &mut Value) {
    if strategy["type"] != "RollingUpdate" {
        return;
    }
    put(strategy, "rollingUpdate", json!({}));
    for limit in ["maxUnavailable", "maxSurge"] {
        put(&mut strategy["rollingUpdate"], limit, json!("25%"));
    }
}

fn job(object: &mut Value) {
    let spec = &mut object["spec"];
    if spec.get("parallelism").is_none() {
        put(spec, "completions", json!(1));
    }
    put(spec, "parallelism", json!(1));
    let is_per_index = spec.get("backoffLimitPerIndex").is_some();
    put(
        spec,
        "backoffLimit",
        json!(if is_per_index { i32::MAX } else { 6 }),
    );
    let has_policy = spec.get("podFailurePolicy").is_some();
    let replacement = if has_policy {
        "Failed"
    } else {
        "TerminatingOrFailed"
    };
    put(spec, "podReplacementPolicy", json!(replacement));
    if let Some(labels) = spec.pointer("/template/metadata/labels").cloned() {
        put(&mut object["metadata"], "labels", labels);
    }
}

fn autoscaler(object: &mut Value) {
    let Some(behavior) = object.pointer_mut("/spec/behavior") else {
        return;
    };
    let percent = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
    let pods = json!({"type": "Pods", "value": 4, "periodSeconds": 15});
    for (direction, policies) in [
        ("scaleUp", json!([pods, percent])),
        ("scaleDown", json!([percent])),
    ] {
        put(behavior, direction, json!({}));
        let rules = &mut behavior[direction];
        put(rules, "selectPolicy", json!("Max"));
        put(rules, "policies", policies);
    }
    put(
        &mut behavior["scaleUp"],
        "stabilizationWindowSeconds",
        json!(0),
    );
}

fn limit(item: &mut Value) {
    if item["type"] != "Container" {
        return;
    }
    for (from, to) in [
        ("max", "default"),
        ("default", "defaultRequest"),
        ("min", "defaultRequest"),
    ] {
        fill_resources(item, from, to);
    }
}

/// Takes over the quantities of one list into another that lacks them.
fn fill_resources(object: &mut Value, from: &str, to: &str) {
    let Some(from) = object.get(from).and_then(Value::as_object).cloned() else {
        return;
    };
    put(object, to, Value::Object(Map::new()));
    for (resource, quantity) in from {
        put(&mut object[to], &resource, quantity);
    }
}

fn namespace(object: &mut Value) {
    let name = object["metadata"]["name"].clone();
    if name.is_string() {
        put(&mut object["metadata"], "labels", json!({}));
        object["metadata"]["labels"]["kubernetes.io/metadata.name"] = name;
    }
}

fn network_policy(object: &mut Value) {
    let spec = &mut object["spec"];
    let has_egress = spec.get("egress").is_some();
    let types = if has_egress {
        json!(["Ingress", "Egress"])
    } else {
        json!(["Ingress"])
    };
    put(spec, "policyTypes", types);
    for direction in ["/ingress", "/egress"] {
        each(spec, direction, |rule| {
            each(rule, "/ports", |port| put_all(port, PROTOCOL));
        });
    }
}

fn service(object: &mut Value) {
    let spec = &mut object["spec"];
    match spec["sessionAffinity"].as_str() {
        Some("ClientIP") => {
            if spec
                .pointer("/sessionAffinityConfig/clientIP/timeoutSeconds")
                .is_none()
            {
                spec["sessionAffinityConfig"] = json!({"clientIP": {"timeoutSeconds": 10800}});
            }
        }
        _ => {
            if let Some(spec) = spec.as_object_mut() {
                spec.remove("sessionAffinityConfig");
            }
        }
    }
    each(spec, "/ports", |port| {
        put_all(port, PROTOCOL);
        if matches!(port.get("targetPort"), None | Some(Value::Null)) || port["targetPort"] == 0 {
            port["targetPort"] = port["port"].clone();
        }
    });
    let kind = spec["type"].as_str().unwrap_or_default().to_owned();
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        put(spec, "externalTrafficPolicy", json!("Cluster"));
    }
    if kind != "ExternalName" {
        put(spec, "internalTrafficPolicy", json!("Cluster"));
    }
    if kind == "LoadBalancer" {
        put(spec, "allocateLoadBalancerNodePorts", json!(true));
    }
}

fn match_resources(resources: &mut Value) {
    put(resources, "matchPolicy", json!("Equivalent"));
    put(resources, "namespaceSelector", json!({}));
    put(resources, "objectSelector", json!({}));
    for rules in ["/resourceRules", "/excludeResourceRules"] {
        each(resources, rules, |rule| put(rule, "scope", json!("*")));
    }
}

fn pod(object: &mut Value) {
    for containers in ["/spec/containers", "/spec/initContainers"] {
        each(object, containers, |container| {
            if let Some(resources) = container.get_mut("resources") {
                fill_resources(resources, "limits", "requests");
            }
        });
    }
}

fn template(object: &mut Value) {
    if let Some(spec) = object.pointer_mut("/spec/template/spec") {
        pod_spec(spec);
    }
}

fn pod_spec(spec: &mut Value) {
    put_all(spec, POD_SPEC);
    // The deprecated name goes with the other (`Convert_core_PodSpec_To_v1_PodSpec`).
    if let Some(account) = spec.get("serviceAccountName").cloned() {
        spec["serviceAccount"] = account;
    } else if let Some(account) = spec.get("serviceAccount").cloned() {
        spec["serviceAccountName"] = account;
    }
    for containers in ["/containers", "/initContainers"] {
        each(spec, containers, container);
    }
    each(spec, "/volumes", volume);
}

fn container(container: &mut Value) {
    put_all(container, CONTAINER);
    let policy = if is_latest(container["image"].as_str().unwrap_or_default()) {
        "Always"
    } else {
        "IfNotPresent"
    };
    put(container, "imagePullPolicy", json!(policy));
    each(container, "/ports", |port| put_all(port, PROTOCOL));
    each(container, "/env", |variable| {
        put_at(variable, "/valueFrom/fieldRef", FIELD_REF)
    });
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = container.get_mut(probe) else {
            continue;
        };
        put_all(probe, PROBE);
        put_at(probe, "/httpGet", HTTP_GET);
        put_at(probe, "/grpc", GRPC);
    }
    for hook in ["/lifecycle/postStart/httpGet", "/lifecycle/preStop/httpGet"] {
        put_at(container, hook, HTTP_GET);
    }
}

/// Whether an image has the tag `latest`, said or not (`pkg/util/parsers`).
fn is_latest(image: &str) -> bool {
    let name = image.rsplit('/').next().unwrap_or_default();
    match name.split_once('@') {
        _ if name.is_empty() => false,
        Some((name, _)) => name.ends_with(":latest"),
        None => name.rsplit_once(':').is_none_or(|(_, tag)| tag == "latest"),
    }
}

fn volume(volume: &mut Value) {
    if volume.as_object().is_some_and(|volume| volume.len() == 1) {
        put(volume, "emptyDir", json!({}));
    }
    for source in ["/configMap", "/secret", "/downwardAPI", "/projected"] {
        put_at(volume, source, FILES);
    }
    each(volume, "/downwardAPI/items", |item| {
        put_at(item, "/fieldRef", FIELD_REF)
    });
    each(volume, "/projected/sources", |source| {
        put_at(source, "/serviceAccountToken", TOKEN);
        each(source, "/downwardAPI/items", |item| {
            put_at(item, "/fieldRef", FIELD_REF)
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_sorted_for_the_search() {
        assert!(BY_KIND.is_sorted_by_key(|(kind, _)| kind));
        let all = BY_KIND.iter().map(|(_, defaults)| *defaults).chain([
            POD_SPEC, CONTAINER, PROBE, HTTP_GET, GRPC, FIELD_REF, PROTOCOL, FILES, TOKEN,
        ]);
        for (pointer, json) in all.flatten() {
            assert!(
                serde_json::from_str::<Value>(json).is_ok(),
                "{pointer}: {json}"
            );
        }
    }

    #[test]
    fn an_image_without_a_tag_is_the_latest() {
        for (image, expected) in [
            ("shop", true),
            ("registry:5000/shop", true),
            ("registry:5000/shop:latest", true),
            ("shop:1", false),
            ("shop@sha256:00", false),
        ] {
            assert_eq!(is_latest(image), expected, "{image}");
        }
    }
}
