//! One real API server for the tests of a file, and what they do to it.

#![allow(dead_code, reason = "no test file uses them all")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, CustomResourceExt};
use localcluster::{Cluster, Config, Peer};
use serde_json::{Value, json};
use todo_operator_api::{TodoApp, TodoEnvironment, TodoIntent, TodoRelease};
use tokio::sync::OnceCell;

#[path = "../tools/mod.rs"]
mod tools;

static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();

/// The control plane, with our resources and the peers'.
pub async fn cluster() -> &'static Cluster {
    CLUSTER
        .get_or_init(|| async {
            let cluster = Cluster::start(Config::control_plane().peers(Peer::ALL)).await.unwrap();
            let client = cluster.client().unwrap();
            for crd in [TodoApp::crd(), TodoEnvironment::crd(), TodoRelease::crd(), TodoIntent::crd()] {
                apply(&client, serde_json::to_value(crd).unwrap()).await;
            }
            for crd in [TodoApp::crd(), TodoEnvironment::crd(), TodoRelease::crd(), TodoIntent::crd()] {
                let api: Api<k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition> =
                    Api::all(client.clone());
                let name = crd.metadata.name.unwrap();
                kube::runtime::wait::await_condition(api, &name, kube::runtime::conditions::is_crd_established())
                    .await
                    .unwrap();
            }
            cluster
        })
        .await
}

/// An object's API.
fn api(client: &Client, body: &Value) -> Api<DynamicObject> {
    let text = |field: &str| body[field].as_str().unwrap();
    let (group, version) = text("apiVersion")
        .rsplit_once('/')
        .unwrap_or(("", text("apiVersion")));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, text("kind")));
    match body.pointer("/metadata/namespace").and_then(Value::as_str) {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

/// Applies an object as the operator does; returns it as it is then.
pub async fn apply(client: &Client, body: Value) -> Value {
    let name = body
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap();
    let params = PatchParams::apply("todo-operator").force();
    let applied = api(client, &body)
        .patch(name, &params, &Patch::Apply(&body))
        .await;
    serde_json::to_value(applied.unwrap_or_else(|error| panic!("{error}: {body}"))).unwrap()
}

/// Writes an object's status.
pub async fn set_status(client: &Client, body: &Value, status: Value) {
    let name = body
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap();
    let patch = json!({"status": status});
    api(client, body)
        .patch_status(name, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .unwrap();
}

/// A namespace of its own, with its TodoEnvironment of the same name.
pub async fn stage(client: &Client, name: &str) -> (Value, Value) {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let namespace = apply(client, namespace).await;
    let environment = apply(client, environment(name)).await;
    (namespace, environment)
}

/// A TodoEnvironment for the namespace of its name.
pub fn environment(name: &str) -> Value {
    json!({
        "apiVersion": "todo-operator.dev/v1alpha1",
        "kind": "TodoEnvironment",
        "metadata": {"name": name},
        "spec": {"stage": "test", "namespace": name},
    })
}

/// A TodoApp with components `api` and `web`.
pub fn app(namespace: &str, image: &str) -> Value {
    json!({
        "apiVersion": "todo-operator.dev/v1alpha1",
        "kind": "TodoApp",
        "metadata": {"name": "demo", "namespace": namespace},
        "spec": {
            "components": {"api": {"kind": "Service"}, "web": {"kind": "Service", "calls": ["api"]}},
            "release": {
                "version": "v1",
                "images": [{"component": "api", "image": image}, {"component": "web", "image": "example.com/web:1"}],
                "config": {"api": {"LEVEL": "info"}},
            },
        },
    })
}

/// Creates an object; whoever creates it again is told so.
pub async fn create(client: &Client, body: Value) -> Value {
    let object: DynamicObject = serde_json::from_value(body.clone()).unwrap();
    let created = api(client, &body)
        .create(&PostParams::default(), &object)
        .await;
    serde_json::to_value(created.unwrap_or_else(|error| panic!("{error}: {body}"))).unwrap()
}

/// Runs `todoctl` against the cluster.
pub async fn todoctl(kubeconfig: &Path, arguments: &[&str]) -> Output {
    let arguments: Vec<String> = arguments
        .iter()
        .map(|argument| (*argument).to_owned())
        .collect();
    let kubeconfig = kubeconfig.to_owned();
    let run = move || {
        Command::new(env!("CARGO_BIN_EXE_todoctl"))
            .args(arguments)
            .env("KUBECONFIG", kubeconfig)
            .env("PATH", tools::path())
            .output()
            .unwrap()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// What a command printed, with its exit code.
pub fn said(output: &Output) -> (i32, String) {
    let text = if output.stdout.is_empty() {
        &output.stderr
    } else {
        &output.stdout
    };
    (
        output.status.code().unwrap(),
        String::from_utf8(text.clone()).unwrap(),
    )
}

/// A file with manifests.
pub fn manifests(objects: &[&Value]) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("manifests.json");
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    std::fs::write(&file, serde_json::to_string_pretty(&list).unwrap()).unwrap();
    (directory, file)
}
