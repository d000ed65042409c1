//! Installs peers into a real node and uses them. Needs root, and minutes the first time, so it is no part of
//! `cargo test --workspace`: `cargo xtask test --full` runs it, and `cargo test -p localcluster --features test-peers --test peers`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::Client;
use kube::api::{Api, DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use localcluster::peers::{Product, install};
use localcluster::{Cluster, Config, Event, Lines, Node, Progress};
use serde_json::json;

/// Says how long each part took.
struct Times;

impl Progress for Times {
    fn event(&self, event: Event<'_>) {
        if let Event::Ready { what, took } = event {
            eprintln!("ready after {:.1} s: {what}", took.as_secs_f64());
        } else {
            Lines.event(event);
        }
    }
}

fn is_root() -> bool {
    let is = nix::unistd::geteuid().is_root();
    if !is {
        eprintln!("skipped: a real node needs root");
    }
    is
}

async fn cluster_with(products: &[Product]) -> Cluster {
    let config = Config::control_plane()
        .node(Node::Kubelet)
        .progress(Arc::new(Times));
    let cluster = Cluster::start(config).await.unwrap();
    if let Err(error) = install(&cluster, products).await {
        let state = kubectl(&cluster, &["get", "pods,events", "-A"]);
        panic!("{error}\n{state}");
    }
    cluster
}

fn kubectl(cluster: &Cluster, arguments: &[&str]) -> String {
    let output = Command::new(cluster.kubectl().unwrap())
        .arg("--kubeconfig")
        .arg(cluster.kubeconfig())
        .args(arguments)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test]
async fn kafka_takes_topics_and_redis_answers() {
    if !is_root() {
        return;
    }
    let cluster = cluster_with(&[Product::Redis, Product::Kafka]).await;
    let said = kubectl(
        &cluster,
        &[
            "exec",
            "-n",
            "redis",
            "deploy/redis",
            "--",
            "redis-cli",
            "ping",
        ],
    );
    assert_eq!(said.trim(), "PONG");
    // By the Service's name: the broker's own answer sends a client there.
    let topics = |arguments: &[&str]| {
        let mut all = vec!["exec", "-n", "kafka", "kafka-0", "-c", "kafka", "--"];
        all.extend(["java", "-Xmx128m", "-cp", "/opt/kafka/libs/*"]);
        all.push("org.apache.kafka.tools.TopicCommand");
        all.extend(["--bootstrap-server", "kafka.kafka.svc:9092"]);
        all.extend(arguments);
        kubectl(&cluster, &all)
    };
    let made = topics(&["--create", "--topic", "orders", "--partitions", "2"]);
    assert!(made.contains("Created topic orders"), "{made}");
    let found = topics(&["--describe", "--topic", "orders"]);
    assert!(found.contains("PartitionCount: 2"), "{found}");
    cluster.stop().unwrap();
}

#[tokio::test]
async fn cloudnative_pg_makes_a_database() {
    if !is_root() {
        return;
    }
    let cluster = cluster_with(&[Product::CloudNativePg]).await;
    let client = cluster.client().unwrap();
    make_postgresql(&client).await;
    let begun = Instant::now();
    let said = loop {
        let query = ["psql", "-tAc", "select 40 + 2", "app"];
        let mut all = vec!["exec", "pg-1", "-c", "postgres", "--"];
        all.extend(query);
        let said = kubectl(&cluster, &all);
        if said.trim() == "42" || begun.elapsed() > Duration::from_secs(180) {
            break said;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    if said.trim() != "42" {
        let state = kubectl(&cluster, &["get", "pods,events", "-A"]);
        let log = kubectl(
            &cluster,
            &["logs", "-l", "cnpg.io/cluster=pg", "--all-containers"],
        );
        panic!("{said}\n{state}\n{log}");
    }
    eprintln!(
        "PostgreSQL answers after {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    cluster.stop().unwrap();
}

async fn make_postgresql(client: &Client) {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk(
        "postgresql.cnpg.io",
        "v1",
        "Cluster",
    ));
    let clusters: Api<DynamicObject> = Api::namespaced_with(client.clone(), "default", &kind);
    let cluster = json!({
        "apiVersion": "postgresql.cnpg.io/v1",
        "kind": "Cluster",
        "metadata": {"name": "pg"},
        "spec": {
            "instances": 1,
            "enablePDB": false,
            // By default each is asked every 10 s.
            "probes": {
                "startup": {"periodSeconds": 1, "failureThreshold": 120},
                "readiness": {"periodSeconds": 1},
            },
            "storage": {"size": "1Gi"},
            "postgresql": {"parameters": {"shared_buffers": "32MB", "max_connections": "50"}},
            "bootstrap": {"initdb": {"database": "app", "owner": "app"}},
        },
    });
    let cluster = serde_json::from_value(cluster).unwrap();
    // The webhook's Service may refuse for a moment after its pod is ready.
    let begun = Instant::now();
    while let Err(error) = clusters.create(&PostParams::default(), &cluster).await {
        assert!(begun.elapsed() < Duration::from_secs(30), "{error}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

#[tokio::test]
async fn prometheus_sees_rollouts_and_git_is_served() {
    if !is_root() {
        return;
    }
    let products = [
        Product::GitServer,
        Product::ArgoRollouts,
        Product::Prometheus,
    ];
    let cluster = cluster_with(&products).await;
    let get = |path: &str| {
        let path = format!("/api/v1/namespaces/{path}");
        kubectl(&cluster, &["get", "--raw", &path])
    };
    let refs = get("git/services/git:http/proxy/config.git/info/refs?service=git-upload-pack");
    assert!(refs.contains("service=git-upload-pack"), "{refs}");
    let up = "/api/v1/namespaces/monitoring/services/prometheus:http/proxy/api/v1/query?query=up{namespace='argo-rollouts'}==1";
    until(&cluster, &["get", "--raw", up], "argo-rollouts").await;
    cluster.stop().unwrap();
}

#[tokio::test]
async fn traefik_routes_to_a_service() {
    if !is_root() {
        return;
    }
    let cluster = cluster_with(&[Product::GitServer, Product::Traefik]).await;
    let kind = GroupVersionKind::gvk("traefik.io", "v1alpha1", "IngressRoute");
    let route = json!({
        "apiVersion": "traefik.io/v1alpha1",
        "kind": "IngressRoute",
        "metadata": {"name": "git"},
        "spec": {
            "entryPoints": ["web"],
            "routes": [{
                "kind": "Rule",
                "match": "PathPrefix(`/config.git`)",
                "services": [{"name": "git", "port": 80}],
            }],
        },
    });
    let routes: Api<DynamicObject> = Api::namespaced_with(
        cluster.client().unwrap(),
        "git",
        &ApiResource::from_gvk(&kind),
    );
    let route = serde_json::from_value(route).unwrap();
    routes.create(&PostParams::default(), &route).await.unwrap();
    let path = "/api/v1/namespaces/traefik/services/traefik:web/proxy/config.git/info/refs?service=git-upload-pack";
    until(&cluster, &["get", "--raw", path], "service=git-upload-pack").await;
    cluster.stop().unwrap();
}

#[tokio::test]
async fn keda_serves_metrics() {
    if !is_root() {
        return;
    }
    let cluster = cluster_with(&[Product::Keda]).await;
    let path = "/apis/external.metrics.k8s.io/v1beta1";
    until(&cluster, &["get", "--raw", path], "APIResourceList").await;
    cluster.stop().unwrap();
}

#[tokio::test]
async fn argo_cd_applies_what_is_pushed() {
    if !is_root() {
        return;
    }
    let cluster = cluster_with(&[Product::GitServer, Product::ArgoCd]).await;
    let address = [
        "get",
        "service",
        "-n",
        "git",
        "git",
        "-o",
        "jsonpath={.spec.clusterIP}",
    ];
    push(&format!(
        "http://{}/config.git",
        kubectl(&cluster, &address)
    ));
    let application = json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": "greeting"},
        "spec": {
            "project": "default",
            "source": {"repoURL": "http://git.git.svc/config.git", "path": ".", "targetRevision": "main"},
            "destination": {"server": "https://kubernetes.default.svc", "namespace": "default"},
            "syncPolicy": {"automated": {}},
        },
    });
    let kind = GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Application");
    let applications: Api<DynamicObject> = Api::namespaced_with(
        cluster.client().unwrap(),
        "argocd",
        &ApiResource::from_gvk(&kind),
    );
    let application = serde_json::from_value(application).unwrap();
    applications
        .create(&PostParams::default(), &application)
        .await
        .unwrap();
    until(
        &cluster,
        &["get", "configmap", "greeting", "-o", "yaml"],
        "hello",
    )
    .await;
    cluster.stop().unwrap();
}

/// Pushes a kustomization with a ConfigMap.
fn push(repository: &str) {
    let dir = tempfile::tempdir().unwrap();
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: greeting}\ndata: {text: hello}\n";
    std::fs::write(dir.path().join("map.yaml"), map).unwrap();
    let kustomization = "resources: [map.yaml]\n";
    std::fs::write(dir.path().join("kustomization.yaml"), kustomization).unwrap();
    let author = ["-c", "user.name=test", "-c", "user.email=test@localhost"];
    for arguments in [
        vec!["init", "--quiet", "--initial-branch=main"],
        vec!["add", "."],
        vec!["commit", "--quiet", "--message=greeting"],
        vec!["push", "--quiet", repository, "main"],
    ] {
        let mut git = Command::new("git");
        git.current_dir(dir.path()).args(author).args(&arguments);
        // A machine's proxy does not know the addresses of the cluster.
        git.env("no_proxy", "*")
            .env("GIT_CONFIG_GLOBAL", "/dev/null");
        assert!(git.status().unwrap().success(), "{arguments:?}");
    }
}

/// Asks until the answer contains a text, for a minute.
async fn until(cluster: &Cluster, question: &[&str], text: &str) {
    let begun = Instant::now();
    loop {
        let answer = kubectl(cluster, question);
        if answer.contains(text) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{answer}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
