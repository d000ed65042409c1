//! The operator is killed before and after each single write; the next one ends in the state that one without a crash
//! ends in. Every other write is lost, and the others are carried out and not answered; `cargo xtask test --full` has it
//! the other way round too.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panic")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use kube::Client;
use kube::api::DeleteParams;
use localcluster::{Cluster, Config, Node};
use serde_json::{Value, json};
use todo_operator_controller::outside::SystemClock;
use todo_operator_core::kind::Kind;
use todo_operator_core::names::{ANNOTATION_INPUTS, FIELD_MANAGER};

use support::proxy::{self, Fate};
use support::{Operator, api, app, apply, children, environment, resource, until, until_ready};

/// Where the operator ends: at the write of this number in a namespace, counted from 1.
struct Crash {
    namespace: String,
    at: usize,
    fate: Fate,
    writes: AtomicUsize,
    happened: AtomicBool,
}

impl Crash {
    fn new(namespace: &str, at: usize, fate: Fate) -> Arc<Self> {
        let namespace = format!("/namespaces/{namespace}/");
        Arc::new(Self {
            namespace,
            at,
            fate,
            writes: AtomicUsize::new(0),
            happened: AtomicBool::new(false),
        })
    }

    fn fate(&self, request: &axum::http::Request<kube::client::Body>) -> Fate {
        if self.happened.load(Ordering::SeqCst) {
            return Fate::Lost;
        }
        let path = request.uri().path();
        // What is told in Events nobody builds upon.
        if !proxy::is_write(request) || !path.contains(&self.namespace) || path.contains("/events")
        {
            return Fate::Sent;
        }
        if self.writes.fetch_add(1, Ordering::SeqCst) + 1 != self.at {
            return Fate::Sent;
        }
        if self.fate == Fate::Lost {
            self.happened.store(true, Ordering::SeqCst);
        }
        self.fate
    }
}

/// An operator that crashes so.
async fn launch(cluster: &Cluster, crash: &Arc<Crash>) -> Operator {
    let config = support::operator_config(cluster).await;
    let (fate, happened) = (Arc::clone(crash), Arc::clone(crash));
    let connect = move || {
        let inner = Client::try_from(config).unwrap();
        let carried_out = move || happened.happened.store(true, Ordering::SeqCst);
        proxy::client(inner, move |request| fate.fate(request), carried_out)
    };
    Operator::launch(connect, support::kafka(), Arc::new(SystemClock))
}

/// Takes the Lease of an operator that was killed, as time does.
async fn forget_leader(client: &Client) {
    let leases = api(
        client,
        &resource("coordination.k8s.io", "v1", "Lease"),
        support::OPERATOR,
    );
    let _ = leases
        .delete("todo-operator", &DeleteParams::default())
        .await;
}

const SPEC: &str = "
components:
  api:
    kind: Service
    database: orders
    migrate: {}
    secretEnv: {TOKEN: {secret: token, key: token}}
  web: {kind: Site, route: {paths: [/]}, calls: [api]}
databases:
  topology: External
  items:
    orders:
      external:
        host: NAMESPACE.example
        sslMode: require
        owner: {user: owner, password: {secret: orders, key: owner}}
        app: {user: app, password: {secret: orders, key: app}}
release:
  version: 1.0.0
  images:
    - {component: api, image: 'registry.example/api:1'}
    - {component: web, image: 'registry.example/web:1'}
  config: {api: {MODE: first}}
";

fn manifest(namespace: &str) -> Value {
    app(namespace, "shop", &SPEC.replace("NAMESPACE", namespace))
}

/// The same application with another release of one component.
fn released(namespace: &str) -> Value {
    let mut manifest = manifest(namespace);
    manifest["spec"]["release"]["version"] = json!("2.0.0");
    manifest["spec"]["release"]["images"][0]["image"] = json!("registry.example/api:2");
    manifest["spec"]["release"]["config"]["api"]["MODE"] = json!("second");
    manifest
}

/// Everything that an application consists of, without what is different in each namespace and at each time.
async fn state(client: &Client, namespace: &str) -> BTreeMap<String, Value> {
    let app = support::object(client, &support::apps(), namespace, "shop")
        .await
        .unwrap();
    let environment = support::object(client, &support::environments(), "", namespace)
        .await
        .unwrap();
    let uids =
        [app, environment].map(|owner| owner["metadata"]["uid"].as_str().unwrap().to_owned());
    let mut state = BTreeMap::new();
    for (key, child) in children(client, namespace).await {
        let metadata = &child["metadata"];
        let mut annotations = metadata["annotations"].clone();
        if let Some(annotations) = annotations.as_object_mut() {
            // A hash over the namespace's name too, and the Deployment controller's count.
            annotations.remove(ANNOTATION_INPUTS);
            annotations.remove("deployment.kubernetes.io/revision");
        }
        let mut spec = child["spec"].clone();
        if let Some(spec) = spec.as_object_mut() {
            spec.retain(|field, _| !matches!(field.as_str(), "clusterIP" | "clusterIPs"));
        }
        let ours: Vec<&Value> = metadata["managedFields"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|entry| entry["manager"] == FIELD_MANAGER)
            .map(|entry| &entry["fieldsV1"])
            .collect();
        let content = json!({
            "labels": metadata["labels"], "annotations": annotations, "owners": metadata["ownerReferences"].as_array().map(Vec::len),
            "spec": spec, "data": child["data"], "ours": ours, "revision": child["revision"],
        });
        // Only their number and order count: their names are hashes over the namespace's name too.
        let name = match key.kind {
            Kind::ControllerRevision => format!("ControllerRevision {}", child["revision"]),
            _ => key.to_string(),
        };
        let content = if key.kind == Kind::Job {
            mask_job(content)
        } else {
            content
        };
        let content = uids.iter().fold(
            content.to_string().replace(namespace, "NAMESPACE"),
            |content, uid| content.replace(uid, "UID"),
        );
        let content: Value = serde_json::from_str(&content).unwrap();
        assert!(
            state.insert(name.clone(), content).is_none(),
            "{namespace}: two of {name}"
        );
    }
    state
}

/// What an application consists of once it is Ready and what is no longer needed has gone: the migration that ran before.
async fn settled(client: &Client, manifest: &Value) -> BTreeMap<String, Value> {
    until_ready(client, manifest).await;
    let namespace = manifest["metadata"]["namespace"].as_str().unwrap();
    until(&format!("{namespace}: one migration is left"), async || {
        let state = state(client, namespace).await;
        (state.keys().filter(|name| name.starts_with("Job ")).count() == 1).then_some(state)
    })
    .await
}

/// A Job without what the API server fills in from its UID.
fn mask_job(mut job: Value) -> Value {
    job["spec"]["selector"] = Value::Null;
    if let Some(labels) = job
        .pointer_mut("/spec/template/metadata/labels")
        .and_then(Value::as_object_mut)
    {
        labels.retain(|label, _| !label.contains("controller-uid"));
    }
    job["labels"] = Value::Null;
    job
}

/// Lets an operator crash at each write that applying a manifest leads to, each time in a namespace of its own. Each
/// operator also takes up what those before it left. The fate of the first write is `fates[0]`, and so on in turn.
async fn crash_at_each_write(
    cluster: &Cluster,
    client: &Client,
    writes: usize,
    manifest: impl Fn(&str) -> Value,
    fates: [Fate; 2],
) -> Vec<String> {
    let mut namespaces = Vec::new();
    for at in 1..=writes {
        let namespace = format!("crash-{at:02}");
        environment(client, &namespace, "").await;
        let crash = Crash::new(&namespace, at, fates[(at - 1) % 2]);
        let operator = launch(cluster, &crash).await;
        operator.until_leading().await;
        apply(client, &manifest(&namespace)).await;
        until(
            &format!("write {at} in {namespace}, or the end"),
            async || {
                if crash.happened.load(Ordering::SeqCst) {
                    return Some(());
                }
                // How often a status is written depends on who is quicker.
                let app = support::object(client, &support::apps(), &namespace, "shop").await?;
                let ready = support::condition(&app, "Ready")?;
                (ready["status"] == "True"
                    && ready["observedGeneration"] == app["metadata"]["generation"])
                    .then_some(())
            },
        )
        .await;
        operator.kill().await;
        forget_leader(client).await;
        namespaces.push(namespace);
    }
    namespaces
}

#[tokio::test]
async fn wherever_the_operator_crashes_the_next_one_ends_in_the_same_state() {
    crash_and_compare([Fate::Lost, Fate::Unanswered]).await;
    if std::env::var_os("TODO_OPERATOR_TEST_FULL").is_some() {
        crash_and_compare([Fate::Unanswered, Fate::Lost]).await;
    }
}

async fn crash_and_compare(fates: [Fate; 2]) {
    let config = Config::control_plane()
        .controllers()
        .node(Node::Kwok { count: 1 });
    let cluster = support::cluster(config).await;
    let client = cluster.client().unwrap();

    // Without a crash: what it ends in, and how many writes it takes.
    environment(&client, "whole", "").await;
    let counting = Crash::new("whole", usize::MAX, Fate::Sent);
    let operator = launch(&cluster, &counting).await;
    apply(&client, &manifest("whole")).await;
    let created = (
        settled(&client, &manifest("whole")).await,
        counting.writes.swap(0, Ordering::SeqCst),
    );
    apply(&client, &released("whole")).await;
    let changed = (
        settled(&client, &released("whole")).await,
        counting.writes.load(Ordering::SeqCst),
    );
    operator.stop().await;
    assert!(
        created.0.len() > 8 && created.1 > created.0.len(),
        "{} writes: {:?}",
        created.1,
        created.0.keys()
    );
    assert_ne!(created.0, changed.0);

    let phases = [(manifest as Manifest, created), (released, changed)];
    for (manifest, (expected, writes)) in phases {
        let namespaces = crash_at_each_write(&cluster, &client, writes, manifest, fates).await;
        let operator = Operator::start(&cluster).await;
        for namespace in &namespaces {
            let state = settled(&client, &manifest(namespace)).await;
            similar(&state, &expected, namespace);
        }
        operator.stop().await;
    }
}

/// Makes the TodoApp of a namespace.
type Manifest = fn(&str) -> Value;

/// Fails with the first difference.
fn similar(state: &BTreeMap<String, Value>, expected: &BTreeMap<String, Value>, namespace: &str) {
    let names = |state: &BTreeMap<String, Value>| state.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(state), names(expected), "{namespace}");
    for (name, content) in expected {
        assert_eq!(state[name], *content, "{namespace}: {name}");
    }
}
