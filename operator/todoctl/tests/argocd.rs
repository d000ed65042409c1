//! Whether Argo CD, by the health check of `config-repo/argocd` in its own Lua, finds a TodoApp healthy exactly when
//! `todoctl why` and `kubectl wait` find it ready. Against a real API server; statuses are written by hand.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

mod support;

use std::path::Path;
use std::process::{Command, Output};

use kube::api::{Api, DynamicObject};
use kube::core::{ApiResource, GroupVersionKind};
use localcluster::{Cache, Cluster, Lines, Tool, Tools};
use serde_json::{Value, json};
use support::{app, apply, cluster, set_status, stage, todoctl};
use todo_operator_core::status::{
    ACCEPTED, APPLIED, COMPONENTS_READY, DATABASES_READY, DEGRADED, MIGRATED, PROGRESSING, READY,
    RELEASED, TOPICS_READY, TRAFFIC_READY, reasons,
};

const CONCERNS: [&str; 8] = [
    ACCEPTED,
    APPLIED,
    RELEASED,
    DATABASES_READY,
    TOPICS_READY,
    MIGRATED,
    COMPONENTS_READY,
    TRAFFIC_READY,
];
/// What is quoted through all of it.
const MESSAGE: &str = "Deployment demo-api: \"0 of 2\" replicas";

/// Argo CD's program with the ConfigMap that `config-repo/argocd` makes.
struct ArgoCd {
    program: std::path::PathBuf,
    directory: tempfile::TempDir,
}

impl ArgoCd {
    fn new(kubectl: &Path) -> Self {
        let argocd = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config-repo/argocd");
        let built = Command::new(kubectl).args(["kustomize", argocd]).output();
        let built = String::from_utf8(built.unwrap().stdout).unwrap();
        let settings = built
            .split("\n---\n")
            .find(|document| document.contains("\nkind: ConfigMap\n"))
            .unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("argocd-cm.yaml"), settings).unwrap();
        let tools = Tools::new(Cache::from_env());
        Self {
            program: tools.ensure(Tool::ArgoCd, &Lines).unwrap(),
            directory,
        }
    }

    /// Its opinion of an object: status and message.
    fn health(&self, object: &Value) -> (String, String) {
        let file = self.directory.path().join("object.json");
        std::fs::write(&file, object.to_string()).unwrap();
        let output = Command::new(&self.program)
            .args(["admin", "settings", "resource-overrides", "health"])
            .arg(&file)
            .arg("--argocd-cm-path")
            .arg(self.directory.path().join("argocd-cm.yaml"))
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        let line = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let line = line.unwrap_or_else(|| panic!("no {name} in {output:?}"));
            line.trim().to_owned()
        };
        (line("STATUS:"), line("MESSAGE:"))
    }
}

fn conditions(generation: i64, conditions: &[(&str, bool, &str, &str)]) -> Value {
    let conditions = conditions.iter().map(|(kind, is, reason, message)| {
        json!({
            "type": kind,
            "status": if *is { "True" } else { "False" },
            "reason": reason,
            "message": message,
            "observedGeneration": generation,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        })
    });
    json!({"observedGeneration": generation, "conditions": conditions.collect::<Vec<_>>()})
}

/// The status of an application with one trouble, as the operator sums it up.
fn troubled(generation: i64, concern: &str, reason: &str, is_degraded: bool) -> Value {
    let concerns = CONCERNS.map(|kind| match kind == concern {
        true => (kind, false, reason, MESSAGE),
        false => (kind, true, reasons::READY, ""),
    });
    let summary = [
        (READY, false, reason, MESSAGE),
        (PROGRESSING, !is_degraded, reason, MESSAGE),
        (DEGRADED, is_degraded, reason, MESSAGE),
    ];
    conditions(generation, &[&summary[..], &concerns].concat())
}

fn well(generation: i64) -> Value {
    let concerns = CONCERNS.map(|kind| (kind, true, reasons::READY, ""));
    let summary = [
        (READY, true, reasons::READY, "all is there"),
        (PROGRESSING, false, reasons::READY, ""),
        (DEGRADED, false, reasons::READY, ""),
    ];
    conditions(generation, &[&summary[..], &concerns].concat())
}

async fn live(cluster: &Cluster, object: &Value) -> Value {
    let text = |path: &str| object.pointer(path).unwrap().as_str().unwrap();
    let kind = GroupVersionKind::gvk("todo-operator.dev", "v1alpha1", text("/kind"));
    let (client, kind) = (cluster.client().unwrap(), ApiResource::from_gvk(&kind));
    let api: Api<DynamicObject> = match object.pointer("/metadata/namespace") {
        Some(namespace) => Api::namespaced_with(client, namespace.as_str().unwrap(), &kind),
        None => Api::all_with(client, &kind),
    };
    serde_json::to_value(api.get(text("/metadata/name")).await.unwrap()).unwrap()
}

/// Whether `kubectl wait` finds it ready at once.
fn kubectl_waits_for_nothing(cluster: &Cluster, namespace: &str) -> bool {
    let mut kubectl = Command::new(cluster.kubectl().unwrap());
    kubectl.arg("--kubeconfig").arg(cluster.kubeconfig());
    kubectl.args(["wait", "--for=condition=Ready", "todoapp/demo"]);
    kubectl.args(["--timeout=0", "--namespace", namespace]);
    kubectl.output().unwrap().status.success()
}

fn is_good(output: &Output) -> bool {
    match output.status.code() {
        Some(0) => true,
        Some(1) => false,
        _ => panic!("{output:?}"),
    }
}

#[tokio::test]
async fn argo_cd_todoctl_and_kubectl_agree_about_every_condition() {
    let cluster = cluster().await;
    let client = cluster.client().unwrap();
    let namespace = "agreement";
    stage(&client, namespace).await;
    let demo = apply(&client, app(namespace, "example.com/api:1")).await;
    let generation = demo["metadata"]["generation"].as_i64().unwrap();
    let argocd = ArgoCd::new(&cluster.kubectl().unwrap());

    let unseen = "the operator has not seen this generation yet";
    let mut expected = vec![
        (json!(null), "Progressing", unseen),
        (well(generation), "Healthy", "all is there"),
        (well(generation - 1), "Progressing", unseen),
        (
            json!({"observedGeneration": generation}),
            "Progressing",
            "the operator has not said yet how it is",
        ),
    ];
    for concern in CONCERNS {
        let waits = troubled(generation, concern, reasons::WAITING, false);
        expected.push((waits, "Progressing", MESSAGE));
        let hopeless = troubled(generation, concern, reasons::RELEASE_REJECTED, true);
        expected.push((hopeless, "Degraded", MESSAGE));
    }
    let late = troubled(
        generation,
        COMPONENTS_READY,
        reasons::DEADLINE_EXCEEDED,
        true,
    );
    expected.push((late, "Degraded", MESSAGE));

    for (status, health, message) in expected {
        set_status(&client, &demo, json!(null)).await;
        set_status(&client, &demo, status.clone()).await;
        let said = argocd.health(&live(cluster, &demo).await);
        assert_eq!(said, (health.to_owned(), message.to_owned()), "{status}");
        let is_healthy = health == "Healthy";
        let why = todoctl(cluster.kubeconfig(), &["why", "demo", "-n", namespace]).await;
        assert_eq!(is_good(&why), is_healthy, "{status}: {why:?}");
        let waited = kubectl_waits_for_nothing(cluster, namespace);
        assert_eq!(waited, is_healthy, "{status}");
    }
}

#[tokio::test]
async fn argo_cd_and_todoctl_agree_about_an_environment() {
    let cluster = cluster().await;
    let client = cluster.client().unwrap();
    let name = "agreement-environment";
    let (_, environment) = stage(&client, name).await;
    let generation = environment["metadata"]["generation"].as_i64().unwrap();
    let argocd = ArgoCd::new(&cluster.kubectl().unwrap());
    let ready = |generation: i64, is: bool, reason: &str| {
        conditions(generation, &[(READY, is, reason, MESSAGE)])
    };
    for (status, health) in [
        (json!(null), "Progressing"),
        (ready(generation, true, reasons::READY), "Healthy"),
        (ready(generation - 1, true, reasons::READY), "Progressing"),
        (
            ready(generation, false, reasons::APPLY_FAILED),
            "Progressing",
        ),
        (ready(generation, false, reasons::INVALID_SPEC), "Degraded"),
    ] {
        set_status(&client, &environment, json!(null)).await;
        set_status(&client, &environment, status.clone()).await;
        let (said, _) = argocd.health(&live(cluster, &environment).await);
        assert_eq!(said, health, "{status}");
        let why = todoctl(cluster.kubeconfig(), &["why", name]).await;
        assert_eq!(is_good(&why), health == "Healthy", "{status}: {why:?}");
    }
}
