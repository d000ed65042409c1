//! What is said of an application whose children are not well: the cause, in the words of the leaf object, for the current
//! generation only, and that waiting is over when the deadline is.
//!
//! No controller runs: the statuses of the children are written by the tests, so that each is exactly as it should be read.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panic")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::api::{Patch, PatchParams, PostParams};
use localcluster::{Cluster, Config, Peer};
use serde_json::{Value, json};
use todo_operator_controller::apply::api_resource;
use todo_operator_core::child::ChildKey;
use todo_operator_core::kind::Kind;
use todo_operator_core::names::{FIELD_MANAGER, LABEL_APP, LABEL_COMPONENT, LABEL_MANAGED_BY};
use tokio::sync::OnceCell;

use support::{
    Operator, SteppedClock, api, app, apply, child, condition, environment, resource, until,
    until_ready,
};

struct Stage {
    cluster: Cluster,
    clock: Arc<SteppedClock>,
    _operator: Operator,
}

async fn stage() -> (&'static Stage, Client) {
    static STAGE: OnceCell<Stage> = OnceCell::const_new();
    let stage = STAGE
        .get_or_init(|| async {
            let config = Config::control_plane().peers([Peer::ArgoRollouts, Peer::Traefik]);
            let cluster = support::cluster(config).await;
            let clock = Arc::new(SteppedClock::default());
            let operator = Operator::start_with(&cluster, support::kafka(), clock.clone()).await;
            Stage {
                cluster,
                clock,
                _operator: operator,
            }
        })
        .await;
    (stage, stage.cluster.client().unwrap())
}

const API: &str = "
components: {api: {kind: Service, scaling: {min: 2}}}
readyDeadline: 2h
release:
  version: 1.0.0
  images: [{component: api, image: 'registry.example/api:1'}]
";

/// Makes an application and waits until its workload is there; its manifest.
async fn make(client: &Client, namespace: &str, spec: &str) -> Value {
    environment(client, namespace, "").await;
    let manifest = app(namespace, "shop", spec);
    apply(client, &manifest).await;
    manifest
}

fn workload(kind: Kind, namespace: &str) -> ChildKey {
    ChildKey::new(kind, namespace, "shop-api")
}

async fn set_status(client: &Client, key: &ChildKey, status: Value) {
    until(&format!("{key} is there"), async || {
        child(client, key).await.map(|_| ())
    })
    .await;
    api(client, &api_resource(key.kind), &key.namespace)
        .patch_status(
            &key.name,
            &PatchParams::default(),
            &Patch::Merge(json!({"status": status})),
        )
        .await
        .unwrap();
}

/// What the Deployment controller says of two replicas that are fine, at this generation.
fn fine(generation: i64) -> Value {
    json!({
        "observedGeneration": generation, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2,
        "conditions": [
            {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable", "message": "it has progressed"},
            {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable", "message": "it is available"},
        ],
    })
}

/// What it says while none is available.
fn unavailable(generation: i64) -> Value {
    json!({
        "observedGeneration": generation, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 0,
        "conditions": [{"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated", "message": "it progresses"}],
    })
}

async fn until_app(
    client: &Client,
    namespace: &str,
    what: &str,
    expected: impl Fn(&Value) -> bool,
) -> Value {
    until(&format!("TodoApp in {namespace}: {what}"), async || {
        let app = support::object(client, &support::apps(), namespace, "shop").await?;
        let current = app["status"]["observedGeneration"] == app["metadata"]["generation"];
        (current && expected(&app)).then_some(app)
    })
    .await
}

/// Status, reason and message of a condition.
fn says(app: &Value, kind: &str) -> (String, String, String) {
    let condition = condition(app, kind).unwrap_or_default();
    let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"), text("message"))
}

/// A pod of the component, as its Deployment would make it, with this status.
async fn pod(client: &Client, namespace: &str, name: &str, status: Value) {
    let pods = api(client, &resource("", "v1", "Pod"), namespace);
    let deployment = child(client, &workload(Kind::Deployment, namespace))
        .await
        .unwrap();
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {LABEL_APP: "shop", LABEL_COMPONENT: "api", LABEL_MANAGED_BY: FIELD_MANAGER}},
        "spec": deployment["spec"]["template"]["spec"],
    });
    pods.create(
        &PostParams::default(),
        &serde_json::from_value(pod).unwrap(),
    )
    .await
    .unwrap();
    pods.patch_status(
        name,
        &PatchParams::default(),
        &Patch::Merge(json!({"status": status})),
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn it_is_ready_only_while_every_child_has_reported_for_its_current_generation() {
    let (_, client) = stage().await;
    let name = "generation";
    let mut manifest = make(&client, name, API).await;
    let key = workload(Kind::Deployment, name);
    set_status(&client, &key, fine(1)).await;
    until_ready(&client, &manifest).await;

    // The Deployment controller stands still: what it said was about another generation.
    manifest["spec"]["components"]["api"]["env"] = json!({"NEW": "1"});
    let applied = apply(&client, &manifest).await;
    let generation = applied["metadata"]["generation"].as_i64().unwrap();
    let app = until_app(&client, name, "is not Ready", |app| {
        says(app, "Ready").0 == "False"
    })
    .await;
    assert_eq!(
        condition(&app, "Ready").unwrap()["observedGeneration"],
        generation
    );
    let deployment = child(&client, &key).await.unwrap();
    assert_eq!(
        (
            &deployment["metadata"]["generation"],
            &deployment["status"]["observedGeneration"]
        ),
        (&json!(2), &json!(1))
    );
    assert_eq!(app["status"]["effectiveRelease"]["reason"], "RollingOut");

    // Whoever waited at this generation saw no Ready from before.
    set_status(&client, &key, unavailable(2)).await;
    let app = until_app(&client, name, "says what is missing", |app| {
        says(app, "Ready").2.contains("0 of 2")
    })
    .await;
    assert_eq!(says(&app, "Progressing").0, "True");
    assert_eq!(says(&app, "Degraded").0, "False");
    set_status(&client, &key, fine(2)).await;
    let app = until_ready(&client, &manifest).await;
    assert_eq!(app["status"]["effectiveRelease"]["reason"], "Spec");
}

#[tokio::test]
async fn past_the_deadline_not_ready_is_degraded_with_its_cause_and_ready_again_when_it_comes_right()
 {
    let (stage, client) = stage().await;
    let name = "late";
    let manifest = make(&client, name, &API.replace("2h", "5m")).await;
    let key = workload(Kind::Deployment, name);
    set_status(&client, &key, unavailable(1)).await;
    until_app(&client, name, "is on its way", |app| {
        says(app, "Progressing").0 == "True" && says(app, "Ready").2.contains("0 of 2")
    })
    .await;
    stage.clock.step(Duration::from_secs(301));
    // Time alone tells nobody: the next event with news does, or the deadline by the machine's own clock.
    let news = json!({"readyReplicas": 1, "availableReplicas": 1});
    set_status(&client, &key, news).await;
    // What came before it may be looked at after the step of the clock.
    let app = until_app(&client, name, "is late with one of two", |app| {
        says(app, "Degraded").0 == "True" && says(app, "Degraded").2.contains("1 of 2")
    })
    .await;
    let (_, reason, message) = says(&app, "Degraded");
    assert_eq!(reason, "DeadlineExceeded");
    assert!(message.contains("not ready within 300 s"), "{message}");
    assert_eq!(says(&app, "Progressing").0, "False");
    set_status(&client, &key, fine(1)).await;
    let app = until_ready(&client, &manifest).await;
    assert_eq!(says(&app, "Degraded").0, "False");
}

#[tokio::test]
async fn the_reason_of_a_failing_pod_is_quoted() {
    let (_, client) = stage().await;
    let name = "failing";
    make(&client, name, API).await;
    set_status(&client, &workload(Kind::Deployment, name), unavailable(1)).await;
    let message = r#"Back-off pulling image "registry.example/api:1""#;
    let status = json!({"phase": "Pending", "containerStatuses": [{
        "name": "api", "image": "registry.example/api:1", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"waiting": {"reason": "ImagePullBackOff", "message": message}},
    }]});
    pod(&client, name, "api-1", status).await;
    let app = until_app(&client, name, "quotes the pod", |app| {
        says(app, "Ready").2.contains(message)
    })
    .await;
    let (_, _, said) = says(&app, "Ready");
    assert!(
        said.contains("api-1") && said.contains("ImagePullBackOff"),
        "{said}"
    );
    assert_eq!(
        app["status"]["components"]["api"]["message"],
        said.strip_prefix("api: ").unwrap()
    );
}

#[tokio::test]
async fn a_missing_secret_is_named_for_variables_and_for_mounts() {
    let (_, client) = stage().await;
    make(&client, "variable", API).await;
    set_status(
        &client,
        &workload(Kind::Deployment, "variable"),
        unavailable(1),
    )
    .await;
    let status = json!({"phase": "Pending", "containerStatuses": [{
        "name": "api", "image": "registry.example/api:1", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"waiting": {"reason": "CreateContainerConfigError", "message": r#"secret "api-token" not found"#}},
    }]});
    pod(&client, "variable", "api-1", status).await;
    until_app(&client, "variable", "names the Secret", |app| {
        says(app, "Ready")
            .2
            .contains(r#"secret "api-token" not found"#)
    })
    .await;

    make(&client, "mount", API).await;
    set_status(
        &client,
        &workload(Kind::Deployment, "mount"),
        unavailable(1),
    )
    .await;
    let status = json!({"phase": "Pending", "containerStatuses": [{
        "name": "api", "image": "registry.example/api:1", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"waiting": {"reason": "ContainerCreating"}},
    }]});
    pod(&client, "mount", "api-1", status).await;
    let message = r#"MountVolume.SetUp failed for volume "files" : secret "api-files" not found"#;
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "api-1.1", "namespace": "mount"}, "type": "Warning",
        "reason": "FailedMount", "message": message,
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "name": "api-1", "namespace": "mount"},
        "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:00Z", "count": 1,
    });
    let events = api(&client, &resource("", "v1", "Event"), "mount");
    events
        .create(
            &PostParams::default(),
            &serde_json::from_value(event).unwrap(),
        )
        .await
        .unwrap();
    let app = until_app(&client, "mount", "names the Secret", |app| {
        says(app, "Ready").2.contains(message)
    })
    .await;
    assert!(says(&app, "Ready").2.contains("FailedMount"));
}

#[tokio::test]
async fn a_quota_in_the_way_is_said() {
    let (_, client) = stage().await;
    make(&client, "quota", API).await;
    let message = r#"pods "shop-api-1" is forbidden: exceeded quota: stage, requested: pods=1, used: pods=4, limited: pods=4"#;
    let status = json!({
        "observedGeneration": 1, "replicas": 0, "updatedReplicas": 0, "unavailableReplicas": 2,
        "conditions": [
            {"type": "Progressing", "status": "True", "reason": "NewReplicaSetCreated", "message": "it has begun"},
            {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message},
        ],
    });
    set_status(&client, &workload(Kind::Deployment, "quota"), status).await;
    let app = until_app(&client, "quota", "names the quota", |app| {
        says(app, "Ready").2.contains(message)
    })
    .await;
    assert_eq!(
        says(&app, "Progressing").0,
        "True",
        "other pods may leave room"
    );
}

#[tokio::test]
async fn a_failing_measurement_is_on_record_and_said() {
    let (_, client) = stage().await;
    let name = "measured";
    let spec = "
components: {api: {kind: Service, scaling: {min: 2}, rollout: {strategy: Canary, steps: [50]}}}
readyDeadline: 2h
release:
  version: 1.0.0
  images: [{component: api, image: 'registry.example/api:1'}]
";
    let mut manifest = make(&client, name, spec).await;
    let key = workload(Kind::Rollout, name);
    let healthy = |generation: i64, stable: &str| {
        json!({
            "observedGeneration": generation.to_string(), "phase": "Healthy", "message": null, "abort": null,
            "stableRS": stable, "currentPodHash": stable, "currentStepIndex": 2,
            "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2, "conditions": [],
        })
    };
    set_status(&client, &key, healthy(1, "one")).await;
    until_ready(&client, &manifest).await;

    manifest["spec"]["release"]["images"][0]["image"] = json!("registry.example/api:2");
    manifest["spec"]["release"]["version"] = json!("2.0.0");
    apply(&client, &manifest).await;
    let rollout = until("the Rollout asks for the new version", async || {
        child(&client, &key)
            .await
            .filter(|rollout| rollout["metadata"]["generation"] == 2)
    })
    .await;
    let run = |hash: &str, value: &str| {
        json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun",
            "metadata": {
                "name": format!("shop-api-{hash}-1"), "namespace": name, "labels": {"rollouts-pod-template-hash": hash},
                "ownerReferences": [{
                    "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "shop-api",
                    "uid": rollout["metadata"]["uid"], "controller": true,
                }],
            },
            "spec": {"metrics": [{"name": "success", "provider": {"prometheus": {"address": "http://prometheus", "query": "success"}}}]},
            "status": {"phase": "Failed", "message": "Metric \"success\" assessed Failed due to failed (3) > failureLimit (2)", "metricResults": [{
                "name": "success", "phase": "Failed", "failed": 3,
                "measurements": [{"phase": "Failed", "value": value, "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:01Z"}],
            }]},
        })
    };
    apply(&client, &run("two", "[0.87]")).await;
    // Of another version, which was looked at later.
    apply(&client, &run("other", "[0.11]")).await;
    let aborted = json!({
        "observedGeneration": "2", "phase": "Degraded", "abort": true, "stableRS": "one", "currentPodHash": "two", "currentStepIndex": 0,
        "message": "RolloutAborted: Rollout aborted update to revision 2",
        "conditions": [{
            "type": "Progressing", "status": "False", "reason": "RolloutAborted", "message": "Rollout aborted update to revision 2",
            "lastUpdateTime": "2026-01-01T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z",
        }],
    });
    set_status(&client, &key, aborted).await;
    let app = until_app(&client, name, "is rejected", |app| {
        says(app, "Ready").1 == "ReleaseRejected"
    })
    .await;
    let measurement = app["status"]["rejected"][0]["measurement"]
        .as_str()
        .unwrap();
    assert!(
        measurement.contains("success") && measurement.contains("0.87"),
        "{measurement}"
    );
    assert!(
        says(&app, "Ready").2.contains(measurement),
        "{}",
        says(&app, "Ready").2
    );
    assert_eq!(says(&app, "Degraded").1, "ReleaseRejected");
    let rollout = child(&client, &key).await.unwrap();
    assert_eq!(
        rollout["spec"]["template"]["spec"]["containers"][0]["image"],
        "registry.example/api:1"
    );
}
