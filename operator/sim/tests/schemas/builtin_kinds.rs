//! Random writes of builtin kinds.

use serde_json::{Value, json};
use todo_operator_sim::apiserver::schema::Resource;

use crate::custom::check;
use crate::defaults::{
    autoscaler, cron_job, default, deployment, disruption_budget, drop_empty, network_policy,
    service,
};
use crate::model::{Kind, latest_time, write};
use crate::random::{Random, Shape, object};
use crate::server::{Call, Server, Write};

const MANAGERS: [&str; 4] = ["alice", "bob", "carol", "kubectl"];
const OBJECTS: u64 = 6;
const WRITES: usize = 20;

/// A kind and how it is tested.
struct Sample {
    group: &'static str,
    kind: &'static str,
    path: &'static str,
    /// Random fields beside the metadata.
    fields: Shape,
    /// What every write has.
    base: Value,
    status: Option<Shape>,
    defaults: fn(&mut Value),
    /// Fields that the server chooses.
    chosen: &'static [&'static str],
}

/// Random writes of every sample.
pub async fn compare(server: &Server) {
    let resources = Resource::builtin();
    let mut refused = 0;
    let mut accepted = 0;
    for sample in samples() {
        let resource = resources
            .iter()
            .find(|r| r.kind == sample.kind && r.group == sample.group)
            .unwrap();
        for seed in 1..=OBJECTS {
            let (yes, no) = one_object(server, &sample, resource, seed).await;
            accepted += yes;
            refused += no;
        }
    }
    // Validation of builtin kinds is not compared: most writes have to pass it.
    assert!(
        refused * 5 < accepted,
        "{refused} of {accepted} writes are invalid"
    );
}

async fn one_object(
    server: &Server,
    sample: &Sample,
    resource: &Resource,
    seed: u64,
) -> (usize, usize) {
    let mut random = Random::new(seed);
    let name = format!("sample-{seed}");
    let mut history = Vec::new();
    let mut live: Option<Value> = None;
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..WRITES {
        let next = random_write(&mut random, sample, resource, &name, live.as_ref());
        let answer = server.write(sample.path, &name, &next).await;
        if answer.as_ref().is_err_and(|failure| failure.code == 422) {
            refused += 1;
            continue;
        }
        accepted += 1;
        let time = latest_time(match (&answer, &live) {
            (Ok(object), _) => object,
            (Err(_), Some(live)) => live,
            (Err(_), None) => &Value::Null,
        });
        let normalize = |object: &mut Value| {
            resource.schema.prune(object);
            drop_empty(object);
            (sample.defaults)(object);
        };
        let prepare = |new: &mut Value| {
            let Ok(answer) = &answer else { return };
            for path in sample.chosen {
                let (parent, field) = path.rsplit_once('/').unwrap();
                let value = answer.pointer(path).cloned();
                let parent = new.pointer_mut(parent).unwrap().as_object_mut().unwrap();
                match value {
                    Some(value) => parent.insert(field.to_owned(), value),
                    None => parent.remove(field),
                };
            }
            if let Some(generation) = answer["metadata"].get("generation") {
                new["metadata"]["generation"] = generation.clone();
            }
        };
        let kind = Kind {
            resource,
            decode: &normalize,
            normalize: &normalize,
            prepare: &prepare,
        };
        let expected = write(&kind, live.as_ref(), &next, &time);
        history.push(next);
        check(seed, &history, live.as_ref(), &answer, expected.clone());
        if let (Ok(object), Ok(expected)) = (answer, expected) {
            if let Some(live) = &live {
                let version = |o: &Value| o["metadata"]["resourceVersion"].clone();
                let kept = version(live) == version(&object);
                assert_eq!(kept, *live == expected, "seed {seed}: {:?}", history.last());
            }
            live = Some(object);
        }
    }
    (accepted, refused)
}

fn random_write(
    random: &mut Random,
    sample: &Sample,
    resource: &Resource,
    name: &str,
    live: Option<&Value>,
) -> Write {
    let manager = *random.pick(&MANAGERS);
    let status = sample
        .status
        .as_ref()
        .filter(|_| live.is_some() && random.once_in(5));
    let mut body = json!({
        "apiVersion": resource.api_version(),
        "kind": resource.kind,
        "metadata": metadata().make(random),
    });
    let mut fields = sample.fields.make(random);
    merge(&mut fields, &sample.base);
    merge(&mut body, &fields);
    if let Some(status) = status {
        body["status"] = status.make(random);
    }
    let how = if live.is_none() {
        random.below(4)
    } else {
        random.below(5)
    };
    let call = match (how, live) {
        (3, None) => {
            body["metadata"]["name"] = name.into();
            Call::Create { object: body }
        }
        (3, Some(live)) => {
            for field in ["name", "namespace", "resourceVersion"] {
                body["metadata"][field] = live["metadata"][field].clone();
            }
            Call::Put { object: body }
        }
        (4, _) => {
            let body = body.as_object_mut().unwrap();
            body.remove("apiVersion");
            body.remove("kind");
            Call::Merge {
                patch: Value::Object(body.clone()),
            }
        }
        _ => {
            if random.once_in(12) {
                body["unknown"] = json!(1);
            }
            body["metadata"]["name"] = name.into();
            Call::Apply {
                force: random.once_in(2),
                object: body,
            }
        }
    };
    Write {
        manager,
        status: status.is_some(),
        call,
    }
}

/// Adds what an object lacks.
fn merge(object: &mut Value, base: &Value) {
    match (object, base) {
        (Value::Object(object), Value::Object(base)) => {
            for (name, value) in base {
                merge(object.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (object, base) if object.is_null() => *object = base.clone(),
        _ => {}
    }
}

fn metadata() -> Shape {
    use Shape::OneOf;
    object([
        (
            "labels",
            4,
            OneOf(&[
                r#"{"one": "1"}"#,
                r#"{"one": "2", "two": "2"}"#,
                "{}",
                r#"{"two": "2"}"#,
            ]),
        ),
        (
            "annotations",
            3,
            OneOf(&[
                r#"{"a.test/x": "1"}"#,
                r#"{"a.test/x": "2", "a.test/y": "<&>"}"#,
            ]),
        ),
        (
            "finalizers",
            1,
            OneOf(&[r#"["a.test/one"]"#, r#"["a.test/two", "a.test/one"]"#]),
        ),
        (
            "ownerReferences",
            1,
            OneOf(&[
                r#"[{"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "u1"}]"#,
                r#"[{"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "u1", "controller": true}]"#,
            ]),
        ),
    ])
}

fn containers() -> Shape {
    use Shape::{List, OneOf};
    let container = |name: &'static [&'static str]| {
        object([
            ("name", 10, OneOf(name)),
            ("image", 9, OneOf(&[r#""i:1""#, r#""i""#, r#""j:latest""#])),
            ("args", 3, OneOf(&[r#"["a"]"#, r#"["a", "b"]"#, "[]"])),
            ("imagePullPolicy", 2, OneOf(&[r#""Always""#])),
            (
                "env",
                6,
                List(vec![
                    OneOf(&[
                        r#"{"name": "A", "value": "1"}"#,
                        r#"{"name": "A", "value": "2"}"#,
                    ]),
                    OneOf(&[r#"{"name": "B", "value": "1"}"#, r#"{"name": "B"}"#]),
                    OneOf(&[
                        r#"{"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}"#,
                    ]),
                ]),
            ),
            (
                "ports",
                6,
                List(vec![
                    OneOf(&[
                        r#"{"containerPort": 80}"#,
                        r#"{"containerPort": 80, "protocol": "TCP", "name": "http"}"#,
                    ]),
                    OneOf(&[
                        r#"{"containerPort": 81, "protocol": "UDP"}"#,
                        r#"{"containerPort": 81, "name": "x"}"#,
                    ]),
                ]),
            ),
            (
                "resources",
                4,
                OneOf(&[
                    r#"{"limits": {"cpu": "1"}}"#,
                    r#"{"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "500m"}}"#,
                    "{}",
                ]),
            ),
            (
                "volumeMounts",
                4,
                List(vec![
                    OneOf(&[
                        r#"{"name": "v", "mountPath": "/v"}"#,
                        r#"{"name": "v", "mountPath": "/v", "readOnly": true}"#,
                    ]),
                    OneOf(&[r#"{"name": "v", "mountPath": "/w"}"#]),
                ]),
            ),
            (
                "securityContext",
                2,
                OneOf(&[
                    r#"{"runAsUser": 1}"#,
                    r#"{"capabilities": {"drop": ["ALL"]}}"#,
                    "{}",
                ]),
            ),
        ])
    };
    List(vec![container(&[r#""a""#]), container(&[r#""b""#])])
}

fn pod_spec() -> Shape {
    use Shape::OneOf;
    object([
        ("containers", 9, containers()),
        (
            "initContainers",
            2,
            OneOf(&[r#"[{"name": "init", "image": "k:1"}]"#]),
        ),
        (
            "volumes",
            10,
            OneOf(&[
                r#"[{"name": "v", "emptyDir": {}}]"#,
                r#"[{"name": "v"}, {"name": "w", "configMap": {"name": "c"}}]"#,
                r#"[{"name": "w", "emptyDir": {}}, {"name": "v", "emptyDir": {}}]"#,
            ]),
        ),
        (
            "nodeSelector",
            2,
            OneOf(&[r#"{"k": "v"}"#, r#"{"k": "w", "l": "v"}"#]),
        ),
        (
            "tolerations",
            2,
            OneOf(&[r#"[{"key": "k", "operator": "Exists"}]"#]),
        ),
        (
            "imagePullSecrets",
            2,
            OneOf(&[r#"[{"name": "a"}]"#, r#"[{"name": "b"}, {"name": "a"}]"#]),
        ),
        (
            "topologySpreadConstraints",
            2,
            OneOf(&[
                r#"[{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {"matchLabels": {"app": "x"}}}]"#,
            ]),
        ),
        (
            "hostAliases",
            1,
            OneOf(&[r#"[{"ip": "1.2.3.4", "hostnames": ["h"]}]"#]),
        ),
        ("terminationGracePeriodSeconds", 2, OneOf(&["5", "30"])),
        (
            "securityContext",
            2,
            OneOf(&["{}", r#"{"runAsNonRoot": true}"#]),
        ),
        ("priorityClassName", 1, OneOf(&["null"])),
    ])
}

fn samples() -> Vec<Sample> {
    use Shape::{List, OneOf};
    let nothing = |_: &mut Value| {};
    vec![
        Sample {
            group: "",
            kind: "ConfigMap",
            path: "/api/v1/namespaces/default/configmaps",
            fields: object([
                (
                    "data",
                    8,
                    object([
                        ("a", 5, OneOf(&[r#""1""#, r#""2""#])),
                        ("b", 5, OneOf(&[r#""1""#, r#""<b>""#])),
                        ("c.d", 5, OneOf(&[r#""1""#, r#""""#])),
                    ]),
                ),
                ("binaryData", 3, OneOf(&[r#"{"e": "YQ=="}"#, "{}"])),
                ("immutable", 2, OneOf(&["false", "null"])),
            ]),
            base: json!({}),
            status: None,
            defaults: nothing,
            chosen: &[],
        },
        Sample {
            group: "",
            kind: "Secret",
            path: "/api/v1/namespaces/default/secrets",
            fields: object([(
                "data",
                8,
                OneOf(&[r#"{"a": "YQ=="}"#, r#"{"a": "Yg==", "b": "YQ=="}"#]),
            )]),
            base: json!({}),
            status: None,
            defaults: |object| default(object, "type", json!("Opaque")),
            chosen: &[],
        },
        Sample {
            group: "",
            kind: "ServiceAccount",
            path: "/api/v1/namespaces/default/serviceaccounts",
            fields: object([
                (
                    "secrets",
                    5,
                    OneOf(&[r#"[{"name": "a"}]"#, r#"[{"name": "b"}, {"name": "a"}]"#]),
                ),
                (
                    "imagePullSecrets",
                    5,
                    OneOf(&[r#"[{"name": "a"}]"#, r#"[{"name": "b"}, {"name": "a"}]"#]),
                ),
                ("automountServiceAccountToken", 4, OneOf(&["true", "false"])),
            ]),
            base: json!({}),
            status: None,
            defaults: nothing,
            chosen: &[],
        },
        Sample {
            group: "",
            kind: "ResourceQuota",
            path: "/api/v1/namespaces/default/resourcequotas",
            fields: object([(
                "spec",
                8,
                object([(
                    "hard",
                    8,
                    OneOf(&[
                        r#"{"pods": "10"}"#,
                        r#"{"pods": "10", "cpu": "4"}"#,
                        r#"{"cpu": "5"}"#,
                    ]),
                )]),
            )]),
            base: json!({}),
            status: Some(OneOf(&[
                r#"{"hard": {"pods": "10"}, "used": {"pods": "1"}}"#,
                r#"{"hard": {"pods": "9"}}"#,
            ])),
            defaults: |object| {
                default(object, "spec", json!({}));
                default(object, "status", json!({}));
            },
            chosen: &[],
        },
        Sample {
            group: "coordination.k8s.io",
            kind: "Lease",
            path: "/apis/coordination.k8s.io/v1/namespaces/default/leases",
            fields: object([(
                "spec",
                8,
                object([
                    ("holderIdentity", 6, OneOf(&[r#""a""#, r#""b""#])),
                    ("leaseDurationSeconds", 5, OneOf(&["15", "30"])),
                    ("leaseTransitions", 5, OneOf(&["1", "2"])),
                    (
                        "renewTime",
                        5,
                        OneOf(&[
                            r#""2026-01-01T00:00:00.000000Z""#,
                            r#""2026-01-01T00:00:01.500000Z""#,
                        ]),
                    ),
                ]),
            )]),
            base: json!({}),
            status: None,
            defaults: |object| default(object, "spec", json!({})),
            chosen: &[],
        },
        Sample {
            group: "",
            kind: "Service",
            path: "/api/v1/namespaces/default/services",
            fields: object([(
                "spec",
                10,
                object([
                    (
                        "ports",
                        10,
                        List(vec![
                            OneOf(&[
                                r#"{"port": 80, "name": "http"}"#,
                                r#"{"port": 80, "name": "http", "targetPort": 8080}"#,
                            ]),
                            OneOf(&[
                                r#"{"port": 53, "name": "dns", "protocol": "UDP"}"#,
                                r#"{"port": 53, "name": "dns"}"#,
                            ]),
                            OneOf(&[
                                r#"{"port": 90, "name": "x", "appProtocol": "http"}"#,
                                r#"{"port": 90, "name": "x"}"#,
                            ]),
                        ]),
                    ),
                    (
                        "selector",
                        5,
                        OneOf(&[r#"{"app": "x"}"#, r#"{"app": "y"}"#]),
                    ),
                    ("sessionAffinity", 2, OneOf(&[r#""None""#, r#""ClientIP""#])),
                    ("publishNotReadyAddresses", 2, OneOf(&["true"])),
                ]),
            )]),
            base: json!({"spec": {}}),
            status: Some(OneOf(&[
                r#"{"loadBalancer": {}}"#,
                r#"{"conditions": [{"type": "A", "status": "True", "reason": "R",
                "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}"#,
            ])),
            defaults: service,
            chosen: &[
                "/spec/clusterIP",
                "/spec/clusterIPs",
                "/spec/ipFamilies",
                "/spec/ipFamilyPolicy",
            ],
        },
        Sample {
            group: "networking.k8s.io",
            kind: "NetworkPolicy",
            path: "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies",
            fields: object([(
                "spec",
                10,
                object([
                    (
                        "podSelector",
                        6,
                        OneOf(&["{}", r#"{"matchLabels": {"app": "x"}}"#]),
                    ),
                    (
                        "policyTypes",
                        4,
                        OneOf(&[r#"["Ingress"]"#, r#"["Ingress", "Egress"]"#]),
                    ),
                    (
                        "ingress",
                        5,
                        OneOf(&[
                            r#"[{"from": [{"podSelector": {}}], "ports": [{"port": 80}]}]"#,
                            r#"[{"ports": [{"port": "http", "protocol": "TCP"}]}]"#,
                        ]),
                    ),
                    (
                        "egress",
                        4,
                        OneOf(&[
                            r#"[{"to": [{"namespaceSelector": {"matchLabels": {"a": "b"}}}]}]"#,
                        ]),
                    ),
                ]),
            )]),
            base: json!({"spec": {}}),
            status: None,
            defaults: network_policy,
            chosen: &[],
        },
        Sample {
            group: "policy",
            kind: "PodDisruptionBudget",
            path: "/apis/policy/v1/namespaces/default/poddisruptionbudgets",
            fields: object([(
                "spec",
                10,
                object([
                    ("minAvailable", 5, OneOf(&["1", r#""50%""#])),
                    (
                        "selector",
                        7,
                        OneOf(&[
                            r#"{"matchLabels": {"app": "x"}}"#,
                            r#"{"matchLabels": {"app": "y", "b": "c"}}"#,
                        ]),
                    ),
                    (
                        "unhealthyPodEvictionPolicy",
                        3,
                        OneOf(&[r#""AlwaysAllow""#]),
                    ),
                ]),
            )]),
            base: json!({}),
            status: Some(OneOf(&[
                r#"{"currentHealthy": 1, "desiredHealthy": 1, "disruptionsAllowed": 1, "expectedPods": 1}"#,
                r#"{"currentHealthy": 2, "desiredHealthy": 1, "disruptionsAllowed": 1, "expectedPods": 2, "observedGeneration": 1}"#,
            ])),
            defaults: disruption_budget,
            chosen: &[],
        },
        Sample {
            group: "autoscaling",
            kind: "HorizontalPodAutoscaler",
            path: "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers",
            fields: object([(
                "spec",
                10,
                object([
                    ("minReplicas", 5, OneOf(&["1", "2"])),
                    ("maxReplicas", 8, OneOf(&["3", "4"])),
                    (
                        "metrics",
                        4,
                        OneOf(&[
                            r#"[{"type": "Resource", "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 50}}}]"#,
                        ]),
                    ),
                ]),
            )]),
            base: json!({"spec": {"maxReplicas": 5, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"}}}),
            status: Some(OneOf(&[
                r#"{"currentReplicas": 1, "desiredReplicas": 1, "currentMetrics": null}"#,
                r#"{"currentReplicas": 1, "desiredReplicas": 2}"#,
            ])),
            defaults: autoscaler,
            chosen: &[],
        },
        Sample {
            group: "apps",
            kind: "Deployment",
            path: "/apis/apps/v1/namespaces/default/deployments",
            fields: object([(
                "spec",
                10,
                object([
                    ("replicas", 4, OneOf(&["1", "2", "0"])),
                    ("minReadySeconds", 3, OneOf(&["1", "2"])),
                    ("paused", 2, OneOf(&["true"])),
                    (
                        "strategy",
                        3,
                        OneOf(&[
                            "{}",
                            r#"{"type": "RollingUpdate"}"#,
                            r#"{"rollingUpdate": {"maxSurge": 1}}"#,
                            r#"{"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}}"#,
                        ]),
                    ),
                    (
                        "template",
                        10,
                        object([
                            (
                                "metadata",
                                10,
                                object([
                                    (
                                        "labels",
                                        10,
                                        OneOf(&[r#"{"app": "x"}"#, r#"{"app": "x", "more": "y"}"#]),
                                    ),
                                    ("annotations", 3, OneOf(&[r#"{"a": "b"}"#, r#"{"a": "c"}"#])),
                                ]),
                            ),
                            ("spec", 10, pod_spec()),
                        ]),
                    ),
                ]),
            )]),
            base: json!({"spec": {
                "selector": {"matchLabels": {"app": "x"}},
                "template": {"spec": {"containers": [{"name": "a", "image": "i:1"}]}},
            }}),
            status: Some(OneOf(&[
                r#"{"replicas": 1, "conditions": [{"type": "Available", "status": "True", "reason": "R", "message": "m",
                    "lastUpdateTime": "2026-01-01T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}"#,
                r#"{"replicas": 1, "observedGeneration": 1, "conditions": [{"type": "Progressing", "status": "True", "reason": "R",
                    "message": "m", "lastUpdateTime": "2026-01-01T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}"#,
            ])),
            defaults: deployment,
            chosen: &[],
        },
        Sample {
            group: "batch",
            kind: "CronJob",
            path: "/apis/batch/v1/namespaces/default/cronjobs",
            fields: object([(
                "spec",
                10,
                object([
                    ("schedule", 8, OneOf(&[r#""@daily""#, r#""@hourly""#])),
                    ("suspend", 3, OneOf(&["true", "false"])),
                    (
                        "jobTemplate",
                        10,
                        object([(
                            "spec",
                            10,
                            object([("template", 10, object([("spec", 10, pod_spec())]))]),
                        )]),
                    ),
                ]),
            )]),
            base: json!({"spec": {"schedule": "@weekly", "jobTemplate": {"spec": {"template": {"spec": {
                "restartPolicy": "Never", "containers": [{"name": "a", "image": "i:1"}]}}}}}}),
            status: Some(OneOf(&[
                r#"{"lastScheduleTime": "2026-01-01T00:00:00Z"}"#,
                "{}",
            ])),
            defaults: cron_job,
            chosen: &[],
        },
    ]
}
