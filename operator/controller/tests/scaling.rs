//! Who owns `spec.replicas`: handed to KEDA and its HPA and taken back without a dip, with the real HPA controller moving
//! them through `scale`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panic")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kube::Client;
use localcluster::{Cluster, Config, Kafka, Models, Node, Peer};
use serde_json::{Value, json};
use todo_operator_core::child::ChildKey;
use todo_operator_core::kind::Kind;
use todo_operator_core::names::FIELD_MANAGER;
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;

use support::{Operator, app, apply, child, environment, until, until_ready};

/// The cluster, and the operator on it.
async fn cluster() -> (&'static Cluster, Client) {
    static CLUSTER: OnceCell<(Cluster, Operator)> = OnceCell::const_new();
    let (cluster, _) = CLUSTER
        .get_or_init(|| async {
            let config = Config::control_plane()
                .controllers()
                .node(Node::Kwok { count: 1 })
                .argo_rollouts()
                .kafka(Kafka::default())
                .peers([Peer::Keda])
                .models(Models::Thread)
                .audit();
            let cluster = support::cluster(config).await;
            let operator = Operator::start(&cluster).await;
            (cluster, operator)
        })
        .await;
    (cluster, cluster.client().unwrap())
}

/// Looks at a workload every 100 ms, from now on.
struct Sampler {
    stop: Arc<AtomicBool>,
    samples: JoinHandle<Vec<i64>>,
}

impl Sampler {
    fn start(client: &Client, key: &ChildKey) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, client, key) = (Arc::clone(&stop), client.clone(), key.clone());
        let samples = tokio::spawn(async move {
            let mut samples = Vec::new();
            loop {
                // The last look comes after the word to stop.
                let last = stopped.load(Ordering::Relaxed);
                samples.push(
                    child(&client, &key).await.unwrap()["spec"]["replicas"]
                        .as_i64()
                        .unwrap(),
                );
                if last {
                    return samples;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        Self { stop, samples }
    }

    /// What was seen, one of each run of the same number.
    async fn end(self) -> Vec<i64> {
        self.stop.store(true, Ordering::Relaxed);
        let mut samples = self.samples.await.unwrap();
        samples.dedup();
        samples
    }
}

/// Whether the operator owns `spec.replicas` of an object.
fn owns_replicas(object: &Value) -> bool {
    object["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .any(|entry| {
            entry["manager"] == FIELD_MANAGER
                && entry["subresource"].is_null()
                && !entry["fieldsV1"]["f:spec"]["f:replicas"].is_null()
        })
}

async fn until_workload(
    client: &Client,
    key: &ChildKey,
    what: &str,
    expected: impl Fn(&Value) -> bool,
) -> Value {
    until(&format!("{key}: {what}"), async || {
        child(client, key).await.filter(&expected)
    })
    .await
}

async fn replicas_go_to_the_autoscaler_and_come_back_without_a_dip(
    namespace: &str,
    kind: Kind,
    rollout: &str,
) {
    let (cluster, client) = cluster().await;
    let client = &client;
    environment(client, namespace, "").await;
    let spec = format!(
        "
components:
  api: {{kind: Service, scaling: {{min: 3}}, resources: {{requests: {{cpu: 10m}}}}, rollout: {rollout}}}
release:
  version: 1.0.0
  images: [{{component: api, image: 'registry.example/api:1'}}]
"
    );
    let mut manifest = app(namespace, "shop", &spec);
    apply(client, &manifest).await;
    until_ready(client, &manifest).await;
    let key = ChildKey::new(kind, namespace, "shop-api");
    assert!(owns_replicas(&child(client, &key).await.unwrap()));
    let sampler = Sampler::start(client, &key);
    let scaling = |manifest: &mut Value, scaling: Value| {
        manifest["spec"]["components"]["api"]["scaling"] = scaling
    };

    // The autoscaler comes: nothing moves until it does.
    scaling(&mut manifest, json!({"min": 3, "max": 8, "cpu": 60}));
    apply(client, &manifest).await;
    until_ready(client, &manifest).await;
    assert_eq!(child(client, &key).await.unwrap()["spec"]["replicas"], 3);

    // The HPA moves them.
    scaling(&mut manifest, json!({"min": 5, "max": 8, "cpu": 60}));
    apply(client, &manifest).await;
    until_workload(client, &key, "the HPA moves it to 5", |workload| {
        workload["spec"]["replicas"] == 5
    })
    .await;
    until_ready(client, &manifest).await;
    // Ours until somebody else's: then it is given up, so that nothing of ours names a number.
    until_workload(
        client,
        &key,
        "the operator lets go of its replicas",
        |workload| !owns_replicas(workload),
    )
    .await;

    // The operator writes to the workload for another reason, more than once.
    for value in ["one", "two"] {
        manifest["spec"]["components"]["api"]["env"] = json!({"VALUE": value});
        apply(client, &manifest).await;
        until_workload(client, &key, "its pods have another variable", |workload| {
            workload["spec"]["template"]["spec"]["containers"][0]["env"]
                .as_array()
                .is_some_and(|env| env.iter().any(|variable| variable["value"] == value))
        })
        .await;
        until_ready(client, &manifest).await;
        let workload = child(client, &key).await.unwrap();
        assert_eq!(workload["spec"]["replicas"], 5);
        assert!(!owns_replicas(&workload));
    }
    let up = sampler.end().await;
    assert_eq!(up, [3, 5], "never a dip");

    // And back: the fixed number is the target again.
    let sampler = Sampler::start(client, &key);
    scaling(&mut manifest, json!({"min": 4}));
    apply(client, &manifest).await;
    until_workload(
        client,
        &key,
        "the operator has its replicas again",
        |workload| owns_replicas(workload) && workload["spec"]["replicas"] == 4,
    )
    .await;
    until_ready(client, &manifest).await;
    until("the autoscaler has gone", async || {
        let scaled = child(
            client,
            &ChildKey::new(Kind::ScaledObject, namespace, "shop-api"),
        )
        .await;
        let hpa = child(
            client,
            &ChildKey::new(
                Kind::HorizontalPodAutoscaler,
                namespace,
                "keda-hpa-shop-api",
            ),
        )
        .await;
        (scaled.is_none() && hpa.is_none()).then_some(())
    })
    .await;
    let down = sampler.end().await;
    assert_eq!(down, [5, 4], "never below the lower of the two targets");
    assert!(cluster.is_running(localcluster::Part::ControllerManager));
}

#[tokio::test]
async fn replicas_of_a_deployment_go_to_the_autoscaler_and_come_back_without_a_dip() {
    replicas_go_to_the_autoscaler_and_come_back_without_a_dip(
        "deployment",
        Kind::Deployment,
        "{strategy: Rolling}",
    )
    .await;
}

#[tokio::test]
async fn replicas_of_a_rollout_go_to_the_autoscaler_and_come_back_without_a_dip() {
    let canary = "{strategy: Canary, steps: [50], stepPause: 1s}";
    replicas_go_to_the_autoscaler_and_come_back_without_a_dip("rollout", Kind::Rollout, canary)
        .await;
}

#[tokio::test]
async fn the_scaler_of_a_worker_is_held_while_its_canary_is_under_way() {
    let (cluster, client) = cluster().await;
    let bootstrap = cluster.kafka_bootstrap().unwrap();
    let messaging = format!(
        "{{messaging: {{provider: Direct, bootstrapServers: '{bootstrap}'}}, defaults: {{topicReplicas: 1}}}}"
    );
    environment(&client, "held", &messaging).await;
    let spec = r#"
components:
  worker:
    kind: Worker
    consumes: {orders: {}}
    scaling: {min: 2, max: 4, lag: 10}
    rollout: {strategy: Canary, steps: [50], stepPause: 1h}
messaging: {topics: {orders: {partitions: 4}}}
release:
  version: 1.0.0
  images: [{component: worker, image: "registry.example/worker:1"}]
"#;
    let mut manifest = app("held", "shop", spec);
    apply(&client, &manifest).await;
    until_ready(&client, &manifest).await;
    let scaled = ChildKey::new(Kind::ScaledObject, "held", "shop-worker");
    let held = |scaled: &Value| {
        let annotations = &scaled["metadata"]["annotations"];
        [
            "autoscaling.keda.sh/paused-scale-in",
            "autoscaling.keda.sh/paused-scale-out",
        ]
        .map(|name| annotations[name] == "true")
    };
    assert_eq!(
        held(&child(&client, &scaled).await.unwrap()),
        [false, false]
    );

    manifest["spec"]["release"]["images"][0]["image"] = json!("registry.example/worker:2");
    apply(&client, &manifest).await;
    let rollout = ChildKey::new(Kind::Rollout, "held", "shop-worker");
    until_workload(&client, &rollout, "it pauses", |rollout| {
        rollout["status"]["phase"] == "Paused"
    })
    .await;
    until_workload(&client, &scaled, "it is held", |scaled| {
        held(scaled) == [true, true]
    })
    .await;
    let hpa = ChildKey::new(
        Kind::HorizontalPodAutoscaler,
        "held",
        "keda-hpa-shop-worker",
    );
    assert!(child(&client, &hpa).await.is_some(), "held, not taken away");

    // To the end, without the rest of the pause.
    manifest["spec"]["release"]["images"][0]["image"] = json!("registry.example/worker:1");
    apply(&client, &manifest).await;
    until_workload(&client, &rollout, "it has ended", |rollout| {
        rollout["status"]["phase"] == "Healthy"
    })
    .await;
    until_workload(&client, &scaled, "it is free again", |scaled| {
        held(scaled) == [false, false]
    })
    .await;
    until_ready(&client, &manifest).await;
}
