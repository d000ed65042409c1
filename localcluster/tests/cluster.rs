//! Starts real clusters; builds the tools first if they are not in the cache.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use localcluster::{Cluster, Config, Kafka, KafkaUser, Models, Node, Part, Peer};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(60);

fn api(client: &Client, group: &str, version: &str, kind: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    Api::namespaced_with(client.clone(), "default", &resource)
}

async fn apply(api: &Api<DynamicObject>, object: Value) {
    let name = object["metadata"]["name"].as_str().unwrap().to_owned();
    api.patch(
        &name,
        &PatchParams::apply("test").force(),
        &Patch::Apply(&object),
    )
    .await
    .unwrap();
}

async fn until(
    api: &Api<DynamicObject>,
    name: &str,
    what: &str,
    holds: impl Fn(&Value) -> bool,
) -> Value {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let found = api
            .get_opt(name)
            .await
            .unwrap()
            .map(|o| serde_json::to_value(o).unwrap())
            .unwrap_or_default();
        if holds(&found) {
            return found;
        }
        assert!(
            Instant::now() < deadline,
            "{what}: not within {DEADLINE:?}: {found:#}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "worker"},
        "spec": {
            "selector": {"matchLabels": {"app": "worker"}},
            "template": {
                "metadata": {"labels": {"app": "worker"}},
                "spec": {"containers": [{"name": "app", "image": "registry.invalid/worker:1"}]},
            },
        },
    })
}

fn scaled_object(min: i32) -> Value {
    json!({
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "worker"},
        "spec": {
            "scaleTargetRef": {"name": "worker"},
            "minReplicaCount": min,
            "maxReplicaCount": 8,
            "triggers": [{"type": "kafka", "metadata": {"bootstrapServers": "127.0.0.1:1", "consumerGroup": "g", "topic": "t"}}],
        },
    })
}

/// Process ids that mention the directory in their command line.
fn processes(state: &Path) -> BTreeSet<String> {
    let state = state.to_str().unwrap();
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|entry| {
            fs::read(entry.path().join("cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains(state))
        })
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

#[tokio::test]
async fn a_cluster_with_its_peers_works_and_leaves_nothing_behind() {
    let config = Config::control_plane()
        .controllers()
        .node(Node::Kwok { count: 1 })
        .kafka(Kafka {
            sasl: Some(KafkaUser {
                name: "admin".to_owned(),
                password: "secret".to_owned(),
            }),
            ..Kafka::default()
        })
        .peers([
            Peer::CloudNativePg,
            Peer::Keda,
            Peer::GatewayApi,
            Peer::Strimzi,
        ])
        .models(Models::Thread);
    let cluster = Cluster::start(config).await.unwrap();
    let client = cluster.client().unwrap();

    let deployments = api(&client, "apps", "v1", "Deployment");
    apply(&deployments, deployment()).await;
    until(&deployments, "worker", "the Deployment is available", |d| {
        d["status"]["availableReplicas"] == 1
    })
    .await;

    let clusters = api(&client, "postgresql.cnpg.io", "v1", "Cluster");
    let postgres = json!({
        "apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "metadata": {"name": "db"},
        "spec": {"instances": 2, "imageName": "registry.invalid/postgresql:18", "storage": {"size": "1Gi"}},
    });
    apply(&clusters, postgres).await;
    let healthy = until(&clusters, "db", "the Cluster is healthy", |c| {
        c["status"]["phase"] == "Cluster in healthy state"
    })
    .await;
    assert_eq!(healthy["status"]["readyInstances"], 2);
    assert_eq!(healthy["status"]["image"], "registry.invalid/postgresql:18");
    assert_eq!(healthy["status"]["conditions"][0]["status"], "True");

    let databases = api(&client, "postgresql.cnpg.io", "v1", "Database");
    let database = json!({
        "apiVersion": "postgresql.cnpg.io/v1", "kind": "Database", "metadata": {"name": "tasks"},
        "spec": {"name": "tasks", "owner": "tasks_owner", "cluster": {"name": "db"}},
    });
    apply(&databases, database).await;
    until(&databases, "tasks", "the Database is applied", |d| {
        d["status"]["observedGeneration"] == 1 && d["status"]["applied"] == true
    })
    .await;

    // The HPA of the ScaledObject moves the Deployment, without any metric, when the minimum rises.
    let scaled = api(&client, "keda.sh", "v1alpha1", "ScaledObject");
    apply(&scaled, scaled_object(1)).await;
    until(&scaled, "worker", "the ScaledObject is ready", |s| {
        s["status"]["hpaName"] == "keda-hpa-worker"
    })
    .await;
    let scalers: Api<HorizontalPodAutoscaler> = Api::namespaced(client.clone(), "default");
    assert_eq!(
        scalers
            .get("keda-hpa-worker")
            .await
            .unwrap()
            .spec
            .max_replicas,
        8
    );
    apply(&scaled, scaled_object(3)).await;
    until(
        &deployments,
        "worker",
        "the HPA has raised the replicas",
        |d| d["spec"]["replicas"] == 3,
    )
    .await;

    let routes = api(&client, "gateway.networking.k8s.io", "v1", "HTTPRoute");
    let route = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "web"},
        "spec": {"parentRefs": [{"name": "public"}]},
    });
    apply(&routes, route).await;
    until(&routes, "web", "the route is accepted", |r| {
        r["status"]["parents"][0]["conditions"][1]["observedGeneration"] == 1
    })
    .await;

    let topics = api(&client, "kafka.strimzi.io", "v1", "KafkaTopic");
    let topic = json!({
        "apiVersion": "kafka.strimzi.io/v1", "kind": "KafkaTopic",
        "metadata": {"name": "events", "labels": {"strimzi.io/cluster": "kafka"}}, "spec": {"partitions": 3, "replicas": 1},
    });
    apply(&topics, topic).await;
    until(&topics, "events", "the topic is ready", |t| {
        t["status"]["topicName"] == "events"
    })
    .await;

    for listener in [
        cluster.kafka_bootstrap().unwrap(),
        cluster.kafka_sasl_bootstrap().unwrap(),
    ] {
        std::net::TcpStream::connect(&listener).unwrap();
    }

    let state = cluster.state().to_owned();
    assert!(!processes(&state).is_empty());
    cluster.stop().unwrap();
    assert_eq!(processes(&state), BTreeSet::new());
    assert!(!state.exists());
}

#[tokio::test]
async fn a_killed_part_comes_back_with_its_data() {
    let cluster = Cluster::start(Config::control_plane().audit())
        .await
        .unwrap();
    let client = cluster.client().unwrap();
    let maps = api(&client, "", "v1", "ConfigMap");
    apply(&maps, json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept"}, "data": {"a": "1"}})).await;
    let before = cluster.process_id(Part::ApiServer);
    cluster.stop_part(Part::ApiServer).unwrap();
    assert!(!cluster.is_running(Part::ApiServer));
    cluster.restart_part(Part::ApiServer).await.unwrap();
    assert_ne!(cluster.process_id(Part::ApiServer), before);
    assert_eq!(maps.get("kept").await.unwrap().data["data"]["a"], "1");
    let audit = fs::read_to_string(cluster.audit_log()).unwrap();
    assert!(
        audit
            .lines()
            .any(|line| line.contains("\"verb\":\"patch\"") && line.contains("kept")),
        "no audit event for the ConfigMap"
    );
}

#[tokio::test]
async fn a_detached_cluster_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("local");
    let config = || Config::control_plane().detached(&state);
    let first = Cluster::start(config()).await.unwrap();
    let id = first.process_id(Part::Etcd);
    drop(first);
    let second = Cluster::start(config()).await.unwrap();
    assert_eq!(second.process_id(Part::Etcd), id);
    drop(second);
    let stopped = localcluster::stop_all(&state, &[]).unwrap();
    assert_eq!(stopped, ["kube-apiserver", "etcd"]);
    assert_eq!(processes(&state), BTreeSet::new());
    assert!(!state.exists());
}
