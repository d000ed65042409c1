use serde_json::{Value, json};

use super::*;

const UID: &str = "app-uid";

/// An object as the API server has it. `owner` is the UID of the controller above it.
fn object(kind: Kind, name: &str, owner: &str, rest: Value) -> (Kind, Value) {
    let mut body = json!({
        "metadata": {
            "name": name,
            "namespace": "todo-test",
            "uid": format!("uid-{name}"),
            "resourceVersion": "1",
            "generation": 1,
            "labels": {"todo-operator.dev/app": "demo", "todo-operator.dev/component": "api"},
            "ownerReferences": [{"kind": "Any", "name": "any", "uid": owner, "controller": true}],
        },
    });
    for (field, value) in rest.as_object().unwrap() {
        if field == "metadata" {
            for (field, value) in value.as_object().unwrap() {
                body["metadata"][field] = value.clone();
            }
        } else {
            body[field] = value.clone();
        }
    }
    (kind, body)
}

fn deployment(available: i64) -> (Kind, Value) {
    let status = json!({
        "observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": available, "readyReplicas": available,
    });
    let spec = json!({"replicas": 2, "template": {"spec": {"containers": [{"name": "api", "image": "api:1"}]}}});
    object(
        Kind::Deployment,
        "demo-api",
        UID,
        json!({"spec": spec, "status": status}),
    )
}

fn replica_set(status: Value) -> (Kind, Value) {
    object(
        Kind::ReplicaSet,
        "demo-api-5d",
        "uid-demo-api",
        json!({"spec": {"replicas": 2}, "status": status}),
    )
}

fn pod(name: &str, owner: &str, status: Value) -> (Kind, Value) {
    object(Kind::Pod, name, owner, json!({"status": status}))
}

fn waiting(reason: &str, message: &str) -> Value {
    json!({"phase": "Pending", "containerStatuses": [
        {"name": "api", "ready": false, "state": {"waiting": {"reason": reason, "message": message}}},
    ]})
}

fn is(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z",
    })
}

fn app(mut status: Value, conditions: &[Value]) -> TodoApp {
    status["observedGeneration"] = json!(1);
    status["conditions"] = json!(conditions);
    serde_json::from_value(json!({
        "apiVersion": "todo-operator.dev/v1alpha1",
        "kind": "TodoApp",
        "metadata": {"name": "demo", "namespace": "todo-test", "generation": 1, "uid": UID},
        "spec": {
            "components": {"api": {"kind": "Service"}, "web": {"kind": "Service"}},
            "release": {"version": "v2", "images": [{"component": "api", "image": "api:2"}]},
        },
        "status": status,
    }))
    .unwrap()
}

/// What is said about an app with one component that is not healthy.
fn api_is(state: &str, objects: Vec<(Kind, Value)>) -> String {
    let status = json!({"components": {"api": {"kind": "Service", "state": state, "message": "what the status says"}}});
    let conditions = [
        is("Ready", "False", &format!("Component{state}"), "api: …"),
        is(
            "ComponentsReady",
            "False",
            &format!("Component{state}"),
            "api: …",
        ),
    ];
    draw(&app(status, &conditions), objects)
}

fn draw(app: &TodoApp, objects: Vec<(Kind, Value)>) -> String {
    let mut read = Objects::default();
    for (kind, body) in objects {
        read.insert(kind, body).unwrap();
    }
    Node::with("root", Facts::new(app, read).causes(Paint::plain())).draw()
}

#[test]
fn the_chain_ends_at_the_pod_in_its_own_words() {
    let config_error = || waiting("CreateContainerConfigError", "secret \"pg\" not found");
    let said = api_is(
        "Progressing",
        vec![
            deployment(0),
            replica_set(json!({})),
            pod("demo-api-5d-a", "uid-demo-api-5d", config_error()),
            pod("demo-api-5d-b", "uid-demo-api-5d", config_error()),
        ],
    );
    insta::assert_snapshot!(said, @r#"
    root
    └─ component api is Progressing
       └─ Deployment demo-api: NotAvailable: 0 of 2 replicas are available
          └─ ReplicaSet demo-api-5d
             └─ Pod demo-api-5d-a (and 1 more): CreateContainerConfigError: container api: secret "pg" not found
    "#);
}

#[test]
fn a_mount_that_fails_is_told_by_its_event() {
    let event = object(
        Kind::Event,
        "e1",
        "",
        json!({
            "involvedObject": {"kind": "Pod", "name": "demo-api-5d-a", "namespace": "todo-test"},
            "reason": "FailedMount",
            "message": "MountVolume.SetUp failed for volume \"tls\" : secret \"tls\" not found",
            "lastTimestamp": "2026-01-01T00:00:00Z",
        }),
    );
    let said = api_is(
        "Progressing",
        vec![
            deployment(0),
            replica_set(json!({})),
            pod(
                "demo-api-5d-a",
                "uid-demo-api-5d",
                waiting("ContainerCreating", ""),
            ),
            event,
        ],
    );
    assert!(
        said.contains("Event FailedMount: MountVolume.SetUp failed for volume \"tls\" : secret \"tls\" not found"),
        "{said}"
    );
}

#[test]
fn a_quota_in_the_way_is_told_by_the_replica_set() {
    let message = "pods \"x\" is forbidden: exceeded quota: todo-quota, requested: pods=1, used: pods=30, limited: pods=30";
    let failure = json!({"conditions": [
        {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message},
    ]});
    let said = api_is("Progressing", vec![deployment(0), replica_set(failure)]);
    assert!(
        said.contains(
            "ReplicaSet demo-api-5d: QuotaExceeded: pods \"x\" is forbidden: exceeded quota"
        ),
        "{said}"
    );
}

#[test]
fn a_pod_without_a_place_quotes_the_scheduler() {
    let unscheduled = json!({"phase": "Pending", "conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/3 nodes are available: 3 Insufficient cpu.",
    }]});
    let said = api_is(
        "Progressing",
        vec![
            deployment(1),
            replica_set(json!({})),
            pod("demo-api-5d-a", "uid-demo-api-5d", unscheduled),
        ],
    );
    assert!(
        said.contains(
            "Pod demo-api-5d-a: Unschedulable: 0/3 nodes are available: 3 Insufficient cpu."
        ),
        "{said}"
    );
}

#[test]
fn a_component_without_objects_is_told_by_its_status() {
    insta::assert_snapshot!(api_is("Progressing", Vec::new()), @r"
    root
    └─ component api is Progressing
       └─ what the status says
    ");
}

#[test]
fn a_rejected_release_ends_at_the_measurement() {
    let run = object(
        Kind::AnalysisRun,
        "demo-api-7c-2",
        "uid-demo-api",
        json!({
            "metadata": {"ownerReferences": [{"kind": "Rollout", "name": "demo-api", "uid": "uid-demo-api", "controller": true}]},
            "status": {
                "phase": "Failed",
                "metricResults": [{
                    "name": "success", "phase": "Failed",
                    "measurements": [{"phase": "Failed", "value": "[0.42]"}],
                    "message": "assessed Failed due to failed (3) > failureLimit (2)",
                }],
            },
        }),
    );
    let status = json!({
        "effectiveRelease": {"fingerprint": "f", "version": "v1", "reason": "Rejected"},
        "rejected": [{
            "component": "api", "image": "api:2", "configHash": "c", "inputsHash": "i",
            "reason": "RolloutAborted", "measurement": "kept in the status", "time": "2026-01-01T00:00:00Z",
        }],
    });
    let conditions = [
        is("Ready", "False", "ReleaseRejected", ""),
        is(
            "Released",
            "False",
            "ReleaseRejected",
            "serving the last good release",
        ),
    ];
    let app = app(status, &conditions);
    insta::assert_snapshot!(draw(&app, vec![run]), @r"
    root
    └─ v2 was rejected, and v1 serves
       └─ component api, image api:2, was rejected: RolloutAborted
          └─ Rollout demo-api: its analysis failed
             └─ AnalysisRun demo-api-7c-2: metric success failed, last measured [0.42]: assessed Failed due to failed (3) > failureLimit (2)
    ");
    let recorded = draw(&app, Vec::new());
    assert!(recorded.contains("kept in the status"), "{recorded}");
}

#[test]
fn a_closed_barrier_is_told_instead_of_what_waits_behind_it() {
    let job = object(
        Kind::Job,
        "demo-api-migrate-1",
        UID,
        json!({"spec": {"backoffLimit": 0}, "status": {"failed": 1, "conditions": [
            {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "Job has reached the specified backoff limit"},
        ]}}),
    );
    let failed = json!({"phase": "Failed", "containerStatuses": [{"name": "migrate", "state": {"terminated": {
        "exitCode": 1, "reason": "Error", "message": "relation \"orders\" already exists",
    }}}]});
    let status = json!({"components": {
        "api": {"kind": "Service", "state": "Waiting", "message": "waits for Job demo-api-migrate-1"},
    }});
    let conditions = [
        is("Ready", "False", "BackoffLimitExceeded", ""),
        is(
            "Migrated",
            "False",
            "BackoffLimitExceeded",
            "Job demo-api-migrate-1: …",
        ),
        is("ComponentsReady", "False", "ComponentWaiting", "api: waits"),
        is("TrafficReady", "False", "Waiting", ""),
    ];
    let objects = vec![
        job,
        pod("demo-api-migrate-1-x", "uid-demo-api-migrate-1", failed),
    ];
    insta::assert_snapshot!(draw(&app(status, &conditions), objects), @r#"
    root
    └─ Job demo-api-migrate-1: BackoffLimitExceeded: Job has reached the specified backoff limit
       └─ Pod demo-api-migrate-1-x: ContainerFailed: container migrate ended with exit code 1, Error: relation "orders" already exists
    "#);
}

#[test]
fn topics_with_one_trouble_are_told_together() {
    let topic =
        |name: &str| json!({"physicalName": name, "ready": false, "message": "broker down"});
    let status = json!({"topics": {"a": topic("t.a"), "b": topic("t.b"), "c": {"physicalName": "t.c", "ready": true}}});
    let conditions = [
        is("Ready", "False", "KafkaUnreachable", ""),
        is("TopicsReady", "False", "KafkaUnreachable", ""),
    ];
    insta::assert_snapshot!(draw(&app(status, &conditions), Vec::new()), @r"
    root
    └─ topic t.a, t.b: broker down
    ");
}

#[test]
fn problems_of_a_spec_are_told_one_by_one() {
    let message = "spec.components.api.scaling.min: 3: min must not be above max; spec.traffic.host: a b: no host name";
    let conditions = [
        is("Ready", "False", "InvalidSpec", message),
        is("Accepted", "False", "InvalidSpec", message),
    ];
    insta::assert_snapshot!(draw(&app(json!({}), &conditions), Vec::new()), @r"
    root
    └─ its spec is invalid; what ran keeps running
       ├─ spec.components.api.scaling.min: 3: min must not be above max
       └─ spec.traffic.host: a b: no host name
    ");
}

#[test]
fn no_environment_and_a_missing_peer_are_told() {
    let conditions = [
        is("Ready", "False", "NoEnvironment", "metadata.namespace: …"),
        is(
            "Accepted",
            "False",
            "NoEnvironment",
            "metadata.namespace: …",
        ),
    ];
    let said = draw(&app(json!({}), &conditions), Vec::new());
    assert!(
        said.contains("no TodoEnvironment, or more than one, has namespace todo-test"),
        "{said}"
    );
    let peer = "Rollout demo-web needs Argo Rollouts, which is not installed: kubectl apply …";
    let conditions = [
        is("Ready", "False", "PeerMissing", peer),
        is("Applied", "False", "PeerMissing", peer),
    ];
    let said = draw(&app(json!({}), &conditions), Vec::new());
    assert!(said.contains(peer), "{said}");
}

#[test]
fn a_status_of_an_older_spec_explains_nothing() {
    let mut app = app(
        json!({}),
        &[is("Ready", "False", "InvalidSpec", "old news")],
    );
    app.metadata.generation = Some(2);
    let said = draw(&app, Vec::new());
    assert!(
        said.contains("has not looked at this spec (generation 2) yet; it has seen generation 1"),
        "{said}"
    );
    assert!(!said.contains("old news"), "{said}");
}
