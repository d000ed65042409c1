//! Every field of a TodoApp and of a TodoEnvironment: changed to another valid value, then changed back, all children are
//! as they were. The fields are taken from the CRDs, so that a new one is tested here or fails here by name.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panic")]

mod apps;
mod environments;
mod played;
mod schema;
#[path = "../support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::api::ListParams;
use kube::{Client, CustomResourceExt as _, ResourceExt as _};
use localcluster::{Cluster, Config, Kafka, Models, Node};
use serde_json::{Value, json};
use todo_operator_api::environment::SecurityProtocol;
use todo_operator_api::{TodoApp, TodoEnvironment};
use todo_operator_controller::apply::api_resource;
use todo_operator_controller::kafka::{KafkaAdmin, KafkaCluster};
use todo_operator_core::child::ChildKey;
use todo_operator_core::kind::Kind;
use tokio::sync::OnceCell;

use support::{
    Operator, app, apply, children, environment, merge, try_apply, until, until_ready, yaml,
};

/// A change of a spec, as a merge patch.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    /// Some child must change with it.
    Changes(&'static str),
    /// No child may change.
    Silent(&'static str),
}

impl Change {
    fn patch(self) -> &'static str {
        match self {
            Self::Changes(patch) | Self::Silent(patch) => patch,
        }
    }
}

/// How long it may take until what is no longer needed is gone, beyond the application's being Ready.
const TIDIED: Duration = Duration::from_secs(30);
/// Kinds of which some stay because they hold what was: revisions, what they need, migrations that ran.
const HISTORY: [Kind; 3] = [Kind::ControllerRevision, Kind::ConfigMap, Kind::Job];

/// An application and its environment: the manifests of a variant under a name of its own.
struct Stage<'a> {
    client: &'a Client,
    cluster: &'a Cluster,
    kafka: Arc<dyn KafkaAdmin>,
    name: String,
    app: Value,
    environment: Value,
}

/// What is compared: children by key without what the API server and others write; topics by name.
type State = BTreeMap<String, Value>;

async fn world() -> &'static (Cluster, Operator) {
    static WORLD: OnceCell<(Cluster, Operator)> = OnceCell::const_new();
    WORLD
        .get_or_init(|| async {
            // Without kube-controller-manager: workloads are played.
            let config = Config::control_plane()
                .node(Node::Kwok { count: 1 })
                .kafka(Kafka::default())
                .peers(support::PEERS)
                .models(Models::Thread);
            let cluster = support::cluster(config).await;
            let players = cluster.kube_config().unwrap();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(async { played::play(Client::try_from(players).unwrap()).await });
            });
            let client = cluster.client().unwrap();
            apply(&client, &support::namespace("kafka")).await;
            let operator = Operator::start_ahead(&cluster).await;
            (cluster, operator)
        })
        .await
}

impl<'a> Stage<'a> {
    async fn new(
        client: &'a Client,
        cluster: &'a Cluster,
        name: &str,
        spec: &str,
        environment_spec: &str,
    ) -> Self {
        let mut stage = Self {
            client,
            cluster,
            kafka: support::kafka(),
            name: name.to_owned(),
            app: Value::Null,
            environment: Value::Null,
        };
        environment(client, name, &stage.fill(environment_spec)).await;
        let mut spec_of_environment = yaml(&stage.fill(environment_spec));
        spec_of_environment["namespace"] = json!(name);
        stage.environment = json!({
            "apiVersion": "todo-operator.dev/v1alpha1", "kind": "TodoEnvironment", "metadata": {"name": name},
            "spec": spec_of_environment,
        });
        stage.app = app(name, "demo", &stage.fill(spec));
        apply(client, &stage.app).await;
        until_ready(client, &stage.app).await;
        stage.settle(&stage.environment).await;
        stage
    }

    fn fill(&self, text: &str) -> String {
        let bootstrap = self.cluster.kafka_bootstrap().unwrap();
        text.replace("NAME", &self.name)
            .replace("LOCALHOST", &bootstrap.replace("127.0.0.1", "localhost"))
            .replace("KAFKA", &bootstrap)
    }

    fn changed(&self, manifest: &Value, patch: &str) -> Value {
        let mut changed = manifest.clone();
        merge(&mut changed["spec"], yaml(&self.fill(patch)));
        changed
    }

    async fn state(&self) -> State {
        let of_namespace = |child: &Value| {
            child["metadata"]["labels"]["todo-operator.dev/namespace"] == *self.name
        };
        let mut all = children(self.client, &self.name).await;
        let topics = support::api(self.client, &api_resource(Kind::KafkaTopic), "kafka");
        let topics = topics.list(&ListParams::default()).await.unwrap();
        for topic in topics {
            let key = ChildKey::new(Kind::KafkaTopic, "kafka", &topic.name_any());
            let topic = serde_json::to_value(topic).unwrap();
            if of_namespace(&topic) {
                all.insert(key, topic);
            }
        }
        let namespace = ChildKey::new(Kind::Namespace, "", &self.name);
        all.extend(
            support::child(self.client, &namespace)
                .await
                .map(|object| (namespace, object)),
        );
        let mut state: State = all
            .into_iter()
            .map(|(key, child)| {
                (
                    format!("{} {}", key.kind.name(), key.name),
                    essence(key.kind, child),
                )
            })
            .collect();
        let kafka = KafkaCluster {
            bootstrap_servers: self.cluster.kafka_bootstrap().unwrap(),
            security_protocol: SecurityProtocol::Plaintext,
            sasl_mechanism: None,
            credential: None,
        };
        let names = [
            format!("{}.task-events", self.name),
            format!("{}.updates", self.name),
        ];
        for (name, topic) in self.kafka.describe(&kafka, &names).await.unwrap() {
            state.insert(format!("topic {name}"), json!(format!("{topic:?}")));
        }
        state
    }

    /// Makes a change and takes it back; what is wrong then. `manifest` is the TodoApp or the TodoEnvironment as it is.
    async fn there_and_back(&self, manifest: &Value, change: Change, first: &State) -> Vec<String> {
        let case = format!(
            "{} of {}: {}",
            manifest["kind"].as_str().unwrap(),
            self.name,
            change.patch()
        );
        let mut wrong = Vec::new();
        apply(self.client, &self.changed(manifest, change.patch())).await;
        self.settle(manifest).await;
        // What is no longer needed goes after the application is Ready: it may be the only thing that changes.
        let begun = Instant::now();
        loop {
            match (change, difference(first, &self.state().await)) {
                (Change::Changes(_), Some(_)) | (Change::Silent(_), None) => break,
                (Change::Changes(_), None) if begun.elapsed() < TIDIED => {}
                (Change::Changes(_), None) => {
                    wrong.push(format!("{case}: no child has changed"));
                    break;
                }
                (Change::Silent(_), Some(other)) => {
                    wrong.push(format!("{case}: {other}"));
                    break;
                }
            }
        }
        apply(self.client, manifest).await;
        self.settle(manifest).await;
        let begun = Instant::now();
        while let Some(other) = difference(first, &self.state().await) {
            // From here on nothing would be as it was at first.
            assert!(
                begun.elapsed() < TIDIED,
                "{case}: taken back, but {other}; {wrong:?}"
            );
        }
        wrong
    }

    /// Waits until the operator has dealt with what was applied, and the application is Ready.
    async fn settle(&self, manifest: &Value) {
        if manifest["kind"] == "TodoEnvironment" {
            until("the environment is observed", async || {
                let live =
                    support::object(self.client, &support::environments(), "", &self.name).await?;
                (live["status"]["observedGeneration"] == live["metadata"]["generation"])
                    .then_some(())
            })
            .await;
            // Its application is looked at again, surely after that: it has a new generation.
            let version = format!("after-{}", rand::random::<u32>());
            let manifest = self.changed(&self.app, &format!("{{release: {{version: {version}}}}}"));
            apply(self.client, &manifest).await;
        }
        until_ready(self.client, &self.app).await;
    }
}

/// A child without what the API server, controllers and people write, and without what counts or tells the time.
fn essence(kind: Kind, mut child: Value) -> Value {
    let uid = child["metadata"]["uid"].as_str().unwrap().to_owned();
    let metadata = child["metadata"].as_object_mut().unwrap();
    metadata.retain(|field, _| {
        matches!(
            field.as_str(),
            "name" | "namespace" | "labels" | "annotations" | "ownerReferences" | "finalizers"
        )
    });
    let root = child.as_object_mut().unwrap();
    root.remove("status");
    if kind == Kind::Service {
        // Given by the API server, to each that is made anew.
        let spec = root["spec"].as_object_mut().unwrap();
        spec.retain(|field, _| !field.starts_with("clusterIP"));
    }
    if kind == Kind::ControllerRevision {
        // The number counts, and the release's name is for people.
        root.remove("revision");
        child["data"]["release"]["version"] = Value::Null;
    }
    // A Job's selector bears its UID.
    serde_json::from_str(&child.to_string().replace(&uid, "UID")).unwrap()
}

/// The first difference between two states, but for history that is kept.
fn difference(before: &State, after: &State) -> Option<String> {
    let is_history = |key: &str| {
        HISTORY
            .iter()
            .any(|kind| key.starts_with(&format!("{} ", kind.name())))
    };
    for (key, was) in before {
        match after.get(key) {
            Some(is) if is == was => {}
            Some(is) => return Some(format!("{key} was {was} and is {is}")),
            None => return Some(format!("{key} is gone")),
        }
    }
    let new = after
        .keys()
        .find(|key| !before.contains_key(*key) && !is_history(key))?;
    Some(format!("{new} is new"))
}

/// Makes the changes one after the other, each in one of `copies` of a variant.
async fn change_all(
    name: &str,
    manifests: (&str, &str),
    copies: usize,
    changes: &[Change],
    of: fn(&Stage<'_>) -> Value,
) {
    let (cluster, _) = world().await;
    let client = cluster.client().unwrap();
    let copies = (0..copies).map(async |copy| {
        let stage = Stage::new(
            &client,
            cluster,
            &format!("{name}-{copy}"),
            manifests.0,
            manifests.1,
        )
        .await;
        let first = stage.state().await;
        let manifest = of(&stage);
        let mut wrong = Vec::new();
        for change in changes.iter().skip(copy).step_by(copies) {
            wrong.extend(stage.there_and_back(&manifest, *change, &first).await);
        }
        wrong
    });
    let wrong: Vec<String> = futures::future::join_all(copies)
        .await
        .into_iter()
        .flatten()
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const TRAEFIK: (&str, &str) = (
    include_str!("../manifests/traefik.yaml"),
    include_str!("../manifests/traefik-environment.yaml"),
);
const GATEWAY: (&str, &str) = (
    include_str!("../manifests/gateway.yaml"),
    include_str!("../manifests/gateway-environment.yaml"),
);
const EXTERNAL: (&str, &str) = (
    include_str!("../manifests/external.yaml"),
    include_str!("../manifests/external-environment.yaml"),
);
/// It leaves to its environment what it can.
const MODEST: &str = "
components:
  web: {kind: Site, route: {paths: [/]}, calls: [api]}
  api: {kind: Service, database: tasks, produces: [task-events]}
  worker: {kind: Worker, environments: [test, staging], consumes: {task-events: {}}}
messaging: {topics: {task-events: {partitions: 6}}}
databases: {items: {tasks: {}}, cluster: {storage: 1Gi}}
traffic: {host: NAME.example}
release:
  images:
  - {component: web, image: 'registry.example/web:1'}
  - {component: api, image: 'registry.example/api:1'}
  - {component: worker, image: 'registry.example/worker:1'}
";

fn todo_app(stage: &Stage<'_>) -> Value {
    stage.app.clone()
}

fn todo_environment(stage: &Stage<'_>) -> Value {
    stage.environment.clone()
}

#[tokio::test]
async fn fields_of_an_application_with_traefik_and_shared_databases() {
    change_all("traefik", TRAEFIK, 4, apps::TRAEFIK, todo_app).await;
}

#[tokio::test]
async fn fields_of_an_application_with_the_gateway_api_and_dedicated_databases() {
    change_all("gateway", GATEWAY, 2, apps::GATEWAY, todo_app).await;
}

#[tokio::test]
async fn fields_of_an_application_with_an_external_database() {
    change_all("external", EXTERNAL, 1, apps::EXTERNAL, todo_app).await;
}

#[tokio::test]
async fn fields_of_an_environment_with_traefik() {
    change_all(
        "stage-traefik",
        (MODEST, TRAEFIK.1),
        2,
        environments::TRAEFIK,
        todo_environment,
    )
    .await;
}

#[tokio::test]
async fn fields_of_an_environment_with_the_gateway_api() {
    let modest = MODEST
        .replace("traffic: {", "traffic: {router: GatewayAPI, ")
        .replace(
            "kind: Worker, ",
            "kind: Worker, rollout: {strategy: Canary}, ",
        );
    change_all(
        "stage-gateway",
        (&modest, GATEWAY.1),
        1,
        environments::GATEWAY,
        todo_environment,
    )
    .await;
}

/// What cannot be taken back is refused, and what was asked for stays.
#[tokio::test]
async fn changes_that_would_lose_data_are_refused() {
    let (cluster, _) = world().await;
    let client = cluster.client().unwrap();
    let stage = Stage::new(&client, cluster, "one-way", GATEWAY.0, GATEWAY.1).await;
    let mut manifest = stage.app.clone();
    merge(
        &mut manifest["spec"],
        yaml("{databases: {cluster: {storage: 2Gi, walStorage: 1Gi}}}"),
    );
    apply(&client, &manifest).await;
    until_ready(&client, &manifest).await;
    for (patch, refusal) in apps::ONE_WAY {
        let before = manifest.clone();
        let first = stage.state().await;
        manifest = stage.changed(&manifest, patch);
        apply(&client, &manifest).await;
        until(&format!("{patch} changes a child"), async || {
            difference(&first, &stage.state().await)
        })
        .await;
        let refused = try_apply(&client, &before).await.expect_err(patch);
        assert!(refused.contains(refusal), "{patch}: {refused}");
    }
    for (patch, refusal) in apps::REFUSED {
        let refused = try_apply(&client, &stage.changed(&manifest, patch))
            .await
            .expect_err(patch);
        assert!(refused.contains(refusal), "{patch}: {refused}");
    }
    for (patch, refusal) in environments::REFUSED {
        let refused = try_apply(&client, &stage.changed(&stage.environment, patch))
            .await
            .expect_err(patch);
        assert!(refused.contains(refusal), "{patch}: {refused}");
    }
}

/// The tables of changes leave out no field of the CRDs.
#[test]
fn every_field_is_changed() {
    let patches = |tables: &[&[Change]], more: &[&[(&'static str, &str)]]| -> Vec<&'static str> {
        let changes = tables
            .iter()
            .flat_map(|table| table.iter().map(|change| change.patch()));
        changes
            .chain(
                more.iter()
                    .flat_map(|table| table.iter().map(|(patch, _)| *patch)),
            )
            .collect()
    };
    let covered = |schema: &Value, bases: &[&str], patches: &[&str]| -> BTreeSet<String> {
        let mut covered = BTreeSet::new();
        for base in bases {
            let base = yaml(base);
            for patch in patches {
                let mut changed = base.clone();
                merge(&mut changed, yaml(patch));
                covered.extend(schema::changed(schema, &base, &changed));
            }
        }
        covered
    };
    let schema = schema::of_spec(&TodoApp::crd());
    let patches_of_apps = patches(
        &[apps::TRAEFIK, apps::GATEWAY, apps::EXTERNAL],
        &[apps::ONE_WAY, apps::REFUSED],
    );
    let covered_of_apps = covered(
        &schema,
        &[TRAEFIK.0, GATEWAY.0, EXTERNAL.0],
        &patches_of_apps,
    );
    let missed: Vec<_> = schema::fields(&schema)
        .difference(&covered_of_apps)
        .cloned()
        .collect();
    assert_eq!(
        missed,
        Vec::<String>::new(),
        "fields of a TodoApp that no change in fields/apps.rs touches"
    );

    let schema = schema::of_spec(&TodoEnvironment::crd());
    let patches_of_environments = patches(
        &[environments::TRAEFIK, environments::GATEWAY],
        &[environments::REFUSED],
    );
    let mut covered_of_environments =
        covered(&schema, &[TRAEFIK.1, GATEWAY.1], &patches_of_environments);
    covered_of_environments.extend(
        environments::ELSEWHERE
            .iter()
            .map(|field| (*field).to_owned()),
    );
    let missed: Vec<_> = schema::fields(&schema)
        .difference(&covered_of_environments)
        .cloned()
        .collect();
    assert_eq!(
        missed,
        Vec::<String>::new(),
        "fields of a TodoEnvironment that no change in fields/environments.rs touches"
    );
}
