//! The cluster that all tests of releases share, and what they look at.

use std::collections::BTreeMap;

use kube::Client;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use localcluster::{Cluster, Config, Models, Node, Peer};
use serde_json::{Value, json};
use todo_operator_core::child::ChildKey;
use todo_operator_core::kind::Kind;
use todo_operator_core::names::LABEL_COMPONENT;
use tokio::sync::{Mutex, OnceCell};

use crate::support::{
    self, Operator, api, app, apply, child, environment, resource, until, until_ready,
};

/// The cluster, and the operator on it.
pub struct Stage {
    /// The cluster.
    pub cluster: Cluster,
    operator: Mutex<Option<Operator>>,
}

impl Stage {
    /// Stops the operator, and starts another one.
    pub async fn restart_operator(&self) {
        let mut operator = self.operator.lock().await;
        operator.take().unwrap().stop().await;
        *operator = Some(Operator::start(&self.cluster).await);
    }

    /// What the operator wrote in a namespace since the audit log had this length, as `(verb, resource)`.
    pub fn writes(&self, namespace: &str, since: usize) -> Vec<(String, String)> {
        let (events, _) = support::audited(&self.cluster, support::OPERATOR_USER, since);
        events
            .into_iter()
            .filter(|event| event.is_write() && event.namespace == namespace)
            .map(|event| (event.verb, event.resource))
            .collect()
    }

    /// Length of the audit log.
    pub fn now(&self) -> usize {
        support::audited(&self.cluster, support::OPERATOR_USER, 0).1
    }
}

/// The stage, begun by the first test that asks.
pub async fn stage() -> (&'static Stage, Client) {
    static STAGE: OnceCell<Stage> = OnceCell::const_new();
    let stage = STAGE.get_or_init(begin).await;
    (stage, stage.cluster.client().unwrap())
}

async fn begin() -> Stage {
    let config = Config::control_plane()
        .controllers()
        .node(Node::Kwok { count: 1 })
        .argo_rollouts()
        .peers([Peer::CloudNativePg, Peer::Keda, Peer::Traefik])
        .models(Models::Thread)
        .audit();
    let cluster = support::cluster(config).await;
    play_troubles(&cluster.client().unwrap()).await;
    let operator = Mutex::new(Some(Operator::start(&cluster).await));
    Stage { cluster, operator }
}

/// Teaches KWOK what the tags `broken` and `slow` mean.
async fn play_troubles(client: &Client) {
    let stages = api(client, &resource("kwok.x-k8s.io", "v1alpha1", "Stage"), "");
    let tagged = |tag: &str, operator: &str| json!({"key": format!(".spec.containers.[].image | select(endswith(\":{tag}\"))"), "operator": operator});
    for (name, tag) in [("pod-ready", "broken"), ("pod-complete", "slow")] {
        let mut stage = stages.get(name).await.unwrap();
        let rules = stage.data["spec"]["selector"]["matchExpressions"]
            .as_array_mut()
            .unwrap();
        rules.push(tagged(tag, "DoesNotExist"));
        stages
            .replace(name, &PostParams::default(), &stage)
            .await
            .unwrap();
    }
    let fails = json!({
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": "pod-fails"},
        "spec": {
            "resourceRef": {"apiGroup": "v1", "kind": "Pod"},
            "selector": {"matchExpressions": [
                {"key": ".metadata.deletionTimestamp", "operator": "DoesNotExist"},
                {"key": ".status.phase", "operator": "In", "values": ["Pending"]},
                {"key": ".metadata.ownerReferences.[].kind", "operator": "In", "values": ["Job"]},
                tagged("broken", "Exists"),
            ]},
            "next": {"statusTemplate": "phase: Failed\nreason: Error\nmessage: the schema is ahead\n"},
        },
    });
    apply(client, &fails).await;
}

/// Makes an environment and an application `shop` in it, and waits until it is Ready; its manifest.
pub async fn make(client: &Client, name: &str, spec: &str) -> Value {
    environment(client, name, "").await;
    let manifest = app(name, "shop", spec);
    apply(client, &manifest).await;
    until_ready(client, &manifest).await;
    manifest
}

/// Applies `manifest` with images changed: a component and the tag that it gets; the TodoApp.
pub async fn release(
    client: &Client,
    manifest: &mut Value,
    version: &str,
    tags: &[(&str, &str)],
) -> Value {
    let release = &mut manifest["spec"]["release"];
    release["version"] = json!(version);
    for (component, tag) in tags {
        let images = release["images"].as_array_mut().unwrap();
        let image = images
            .iter_mut()
            .find(|image| image["component"] == *component)
            .unwrap();
        image["image"] = json!(self::image(component, tag));
    }
    apply(client, manifest).await
}

/// The image of a component by its tag.
pub fn image(component: &str, tag: &str) -> String {
    format!("registry.example/{component}:{tag}")
}

/// The key of a component's child that bears its name.
pub fn key(kind: Kind, namespace: &str, component: &str) -> ChildKey {
    ChildKey::new(kind, namespace, &format!("shop-{component}"))
}

/// The image that a component's Deployment or Rollout asks for.
pub fn image_of(workload: &Value) -> &str {
    workload["spec"]["template"]["spec"]["containers"][0]["image"]
        .as_str()
        .unwrap()
}

/// Waits until a child is as expected; the child.
pub async fn until_child(
    client: &Client,
    key: &ChildKey,
    what: &str,
    expected: impl Fn(&Value) -> bool,
) -> Value {
    until_value(
        &format!("{key} in {}: {what}", key.namespace),
        async || child(client, key).await,
        expected,
    )
    .await
}

/// Waits until the TodoApp is as expected; the TodoApp.
pub async fn until_app(
    client: &Client,
    namespace: &str,
    what: &str,
    expected: impl Fn(&Value) -> bool,
) -> Value {
    let look = async || support::object(client, &support::apps(), namespace, "shop").await;
    until_value(&format!("TodoApp in {namespace}: {what}"), look, expected).await
}

/// Waits until an object is as expected. Fails with its status.
async fn until_value(
    what: &str,
    mut look: impl AsyncFnMut() -> Option<Value>,
    expected: impl Fn(&Value) -> bool,
) -> Value {
    let mut last = Value::Null;
    let found = tokio::time::timeout(support::DEADLINE, async {
        loop {
            last = look().await.unwrap_or_default();
            if expected(&last) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
    })
    .await;
    assert!(
        found.is_ok(),
        "not within {:?}: {what}: {:#}",
        support::DEADLINE,
        last["status"]
    );
    last
}

/// A component's pods that are not on their way out: UID and image of each.
pub async fn pods(client: &Client, namespace: &str, component: &str) -> BTreeMap<String, String> {
    let selector = ListParams::default().labels(&format!("{LABEL_COMPONENT}={component}"));
    let list = api(client, &resource("", "v1", "Pod"), namespace)
        .list(&selector)
        .await
        .unwrap();
    list.items
        .into_iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none())
        .map(|pod| {
            let image = pod.data["spec"]["containers"][0]["image"]
                .as_str()
                .unwrap()
                .to_owned();
            (pod.metadata.uid.unwrap(), image)
        })
        .collect()
}

/// Patches the status of a component's Rollout, as the plugin of kubectl does.
pub async fn patch_rollout(client: &Client, namespace: &str, component: &str, status: Value) {
    let rollout = todo_operator_controller::apply::api_resource(Kind::Rollout);
    api(client, &rollout, namespace)
        .patch_status(
            &format!("shop-{component}"),
            &PatchParams::default(),
            &Patch::Merge(json!({"status": status})),
        )
        .await
        .unwrap();
}

/// Waits until a component's canary pauses at a step, counted from 0; the Rollout.
pub async fn until_paused(client: &Client, namespace: &str, component: &str, step: i64) -> Value {
    until_child(
        client,
        &key(Kind::Rollout, namespace, component),
        &format!("paused at step {step}"),
        |rollout| {
            let status = &rollout["status"];
            status["currentStepIndex"] == step
                && status["pauseConditions"]
                    .as_array()
                    .is_some_and(|pauses| !pauses.is_empty())
                && status["currentPodHash"] != status["stableRS"]
        },
    )
    .await
}

/// Lets a canary that pauses at `step` go on. Argo Rollouts may miss it when its own view was old, so it is told until it
/// goes on; the message only makes each time an event.
pub async fn resume(client: &Client, namespace: &str, component: &str, step: i64) {
    let rollout = key(Kind::Rollout, namespace, component);
    let mut times = 0;
    until(&format!("{rollout} goes on from step {step}"), async || {
        let status = child(client, &rollout).await?["status"].clone();
        if status["currentStepIndex"] != step {
            return Some(());
        }
        times += 1;
        let told = json!({"pauseConditions": null, "message": format!("resumed {times}")});
        patch_rollout(client, namespace, component, told).await;
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        None
    })
    .await;
}

/// Status and reason of one of the TodoApp's conditions.
pub fn says(app: &Value, kind: &str) -> (String, String) {
    let condition = support::condition(app, kind).unwrap_or_default();
    let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"))
}

/// Whether it is Ready at its current generation, with a release of this version that was proven.
pub fn is_proven(app: &Value, version: &str) -> bool {
    let effective = &app["status"]["effectiveRelease"];
    says(app, "Ready").0 == "True"
        && app["status"]["observedGeneration"] == app["metadata"]["generation"]
        && effective["version"] == version
        && effective["reason"] == "Spec"
        && effective["revision"].is_string()
}
