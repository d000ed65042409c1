//! The end of an application and of an environment: what is stateless goes by garbage collection, what holds data stays
//! unless the spec says otherwise.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panic")]

mod support;

use std::collections::BTreeSet;
use std::path::PathBuf;

use kube::Client;
use kube::api::{Patch, PatchParams};
use localcluster::{Cluster, Config, Kafka, Models, Node, Part};
use serde_json::{Value, json};
use todo_operator_api::environment::SecurityProtocol;
use todo_operator_controller::kafka::{KafkaAdmin as _, KafkaCluster, RdKafkaAdmin};
use todo_operator_core::child::ChildKey;
use todo_operator_core::kind::Kind;
use todo_operator_core::names::FINALIZER;
use tokio::sync::OnceCell;

use support::{Operator, app, apply, children, condition, environment, until, until_ready};

/// Holds data in a CloudNativePG cluster and in a topic.
const STATEFUL: &str = "
components:
  api: {kind: Service, database: tasks, produces: [events]}
  worker: {kind: Worker, consumes: {events: {}}, scaling: {max: 2, lag: 10}}
messaging: {topics: {events: {partitions: 2}}}
databases: {items: {tasks: {}}}
traffic: {router: None}
release:
  images: [{component: api, image: 'registry.example/api:1'}, {component: worker, image: 'registry.example/worker:1'}]
";
const STRIMZI: &str = "
messaging: {provider: Strimzi, bootstrapServers: 'kafka:9092', strimzi: {cluster: main, namespace: kafka}}
";

struct World {
    cluster: Cluster,
    _operator: Operator,
}

async fn world() -> &'static World {
    static WORLD: OnceCell<World> = OnceCell::const_new();
    WORLD
        .get_or_init(|| async {
            let config = Config::control_plane()
                .controllers()
                .node(Node::Kwok { count: 1 })
                .kafka(Kafka::default())
                .peers(support::PEERS)
                .models(Models::Thread);
            let cluster = support::cluster(config).await;
            // The garbage collector looks for new kinds, which own what it collects, every 30 s, and when it starts.
            cluster.restart_part(Part::ControllerManager).await.unwrap();
            apply(&cluster.client().unwrap(), &support::namespace("kafka")).await;
            let operator = Operator::start_ahead(&cluster).await;
            World {
                cluster,
                _operator: operator,
            }
        })
        .await
}

fn direct(cluster: &Cluster) -> String {
    let bootstrap = cluster.kafka_bootstrap().unwrap();
    format!(
        "{{messaging: {{provider: Direct, bootstrapServers: '{bootstrap}'}}, defaults: {{topicReplicas: 1}}}}"
    )
}

/// Names of the topics of a namespace that the broker has.
async fn topics(cluster: &Cluster, namespace: &str) -> BTreeSet<String> {
    let kafka = KafkaCluster {
        bootstrap_servers: cluster.kafka_bootstrap().unwrap(),
        security_protocol: SecurityProtocol::Plaintext,
        sasl_mechanism: None,
        credential: None,
    };
    let names = [
        format!("{namespace}.events"),
        format!("{namespace}.worker.dlq"),
    ];
    let admin = RdKafkaAdmin::new(PathBuf::from("no-credentials"));
    let live = admin.describe(&kafka, &names).await.unwrap();
    live.into_keys().collect()
}

/// Children of the application, wherever they stand, by kind.
async fn kinds_of_app(client: &Client, namespace: &str) -> BTreeSet<Kind> {
    let here = children(client, namespace).await.into_iter();
    let topics = children(client, "kafka").await.into_iter();
    here.chain(topics)
        .filter(|(_, child)| {
            let labels = &child["metadata"]["labels"];
            let of = |label| labels[label] == namespace;
            labels["todo-operator.dev/app"] == "demo"
                && (child["metadata"]["namespace"] == namespace
                    || of("todo-operator.dev/namespace"))
        })
        .map(|(key, _)| key.kind)
        .collect()
}

async fn make(client: &Client, namespace: &str, policy: &str) -> Value {
    let mut manifest = app(namespace, "demo", STATEFUL);
    manifest["spec"]["deletionPolicy"] = json!(policy);
    apply(client, &manifest).await;
    until_ready(client, &manifest).await
}

async fn delete_app(client: &Client, namespace: &str) {
    let api = support::api(client, &support::apps(), namespace);
    api.delete("demo", &Default::default()).await.unwrap();
    until("the TodoApp is gone", async || {
        api.get_opt("demo").await.unwrap().is_none().then_some(())
    })
    .await;
}

async fn finalizers(client: &Client, namespace: &str) -> Vec<Value> {
    let app = support::object(client, &support::apps(), namespace, "demo")
        .await
        .unwrap();
    app["metadata"]["finalizers"]
        .as_array()
        .cloned()
        .unwrap_or_default()
}

#[tokio::test]
async fn retained_databases_and_topics_outlive_their_application() {
    let world = world().await;
    let client = world.cluster.client().unwrap();
    for (namespace, spec) in [
        ("retain-strimzi", STRIMZI.to_owned()),
        ("retain-direct", direct(&world.cluster)),
    ] {
        environment(&client, namespace, &spec).await;
        make(&client, namespace, "Retain").await;
        assert_eq!(finalizers(&client, namespace).await, Vec::<Value>::new());
        delete_app(&client, namespace).await;
        let mut stateful = BTreeSet::from([Kind::Cluster, Kind::Database, Kind::DatabaseRole]);
        if namespace == "retain-strimzi" {
            stateful.insert(Kind::KafkaTopic);
        }
        until(
            "garbage collection has taken what is stateless",
            async || (kinds_of_app(&client, namespace).await == stateful).then_some(()),
        )
        .await;
        for (key, child) in children(&client, namespace).await {
            assert!(
                child["metadata"]["deletionTimestamp"].is_null(),
                "{key} stays"
            );
        }
    }
    assert_eq!(topics(&world.cluster, "retain-direct").await.len(), 2);

    // Made again, it takes over what it had left.
    let before = children(&client, "retain-direct").await;
    make(&client, "retain-direct", "Retain").await;
    let after = children(&client, "retain-direct").await;
    for (key, child) in before.iter().filter(|(key, _)| key.kind.is_stateful()) {
        assert_eq!(
            after[key]["metadata"]["uid"], child["metadata"]["uid"],
            "{key} is the same"
        );
    }
}

#[tokio::test]
async fn deletion_policy_delete_takes_everything_and_lets_go() {
    let world = world().await;
    let client = world.cluster.client().unwrap();
    for (namespace, spec) in [
        ("delete-strimzi", STRIMZI.to_owned()),
        ("delete-direct", direct(&world.cluster)),
    ] {
        environment(&client, namespace, &spec).await;
        make(&client, namespace, "Delete").await;
        assert_eq!(finalizers(&client, namespace).await, [json!(FINALIZER)]);
        delete_app(&client, namespace).await;
        // With the finalizer gone nothing that holds data may be left; the rest goes when it is collected.
        let left = kinds_of_app(&client, namespace).await;
        assert!(
            !left.iter().any(|kind| kind.is_stateful()),
            "{namespace}: {left:?}"
        );
        until("garbage collection has taken the rest", async || {
            kinds_of_app(&client, namespace)
                .await
                .is_empty()
                .then_some(())
        })
        .await;
    }
    let world = &world.cluster;
    until("the topics are gone", async || {
        topics(world, "delete-direct")
            .await
            .is_empty()
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn switching_the_policy_switches_the_finalizer() {
    let world = world().await;
    let client = world.cluster.client().unwrap();
    environment(&client, "switch", STRIMZI).await;
    make(&client, "switch", "Retain").await;
    let mut manifest = app("switch", "demo", STATEFUL);
    for (policy, wanted) in [("Delete", vec![json!(FINALIZER)]), ("Retain", vec![])] {
        manifest["spec"]["deletionPolicy"] = json!(policy);
        apply(&client, &manifest).await;
        until("the finalizer is as the policy asks", async || {
            (finalizers(&client, "switch").await == wanted).then_some(())
        })
        .await;
    }
    // Somebody else's finalizer is none of our business.
    let patch = json!({"metadata": {"finalizers": ["example.com/other"]}});
    let api = support::api(&client, &support::apps(), "switch");
    api.patch("demo", &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .unwrap();
    for (policy, wanted) in [("Delete", 2), ("Retain", 1)] {
        manifest["spec"]["deletionPolicy"] = json!(policy);
        apply(&client, &manifest).await;
        until("only ours comes and goes", async || {
            (finalizers(&client, "switch").await.len() == wanted).then_some(())
        })
        .await;
    }
    assert_eq!(
        finalizers(&client, "switch").await,
        [json!("example.com/other")]
    );
}

#[tokio::test]
async fn topic_that_leaves_the_spec_stays_unless_the_policy_is_delete() {
    let world = world().await;
    let client = world.cluster.client().unwrap();
    environment(&client, "leave", STRIMZI).await;
    make(&client, "leave", "Retain").await;
    let smaller = "{components: {api: {kind: Service}}, traffic: {router: None}, release: {images: [{component: api, image: 'registry.example/api:1'}]}}";
    let mut manifest = app("leave", "demo", smaller);
    apply(&client, &manifest).await;
    until_ready(&client, &manifest).await;
    let stateful = BTreeSet::from([
        Kind::Cluster,
        Kind::Database,
        Kind::DatabaseRole,
        Kind::KafkaTopic,
    ]);
    let kept: BTreeSet<Kind> = kinds_of_app(&client, "leave")
        .await
        .into_iter()
        .filter(|kind| kind.is_stateful())
        .collect();
    assert_eq!(kept, stateful);
    let left = children(&client, "leave").await;
    assert!(
        !left.contains_key(&ChildKey::new(Kind::Deployment, "leave", "demo-worker")),
        "stateless orphans go"
    );

    manifest["spec"]["deletionPolicy"] = json!("Delete");
    apply(&client, &manifest).await;
    until("what holds data goes", async || {
        (!kinds_of_app(&client, "leave")
            .await
            .iter()
            .any(|kind| kind.is_stateful()))
        .then_some(())
    })
    .await;
}

#[tokio::test]
async fn environment_that_is_deleted_leaves_the_namespace_and_its_applications() {
    let world = world().await;
    let client = world.cluster.client().unwrap();
    environment(
        &client,
        "ended",
        "{policy: {quota: {pods: '20'}, limitRange: {default: {memory: 64Mi}}}}",
    )
    .await;
    let manifest = app(
        "ended",
        "demo",
        "{components: {api: {kind: Service}}, release: {images: [{component: api, image: 'registry.example/api:1'}]}}",
    );
    apply(&client, &manifest).await;
    until_ready(&client, &manifest).await;
    let before = kinds_of_app(&client, "ended").await;
    support::api(&client, &support::environments(), "")
        .delete("ended", &Default::default())
        .await
        .unwrap();
    until("what the environment owned is gone", async || {
        let left = children(&client, "ended").await;
        let owned = [Kind::ResourceQuota, Kind::LimitRange];
        let isolation = ChildKey::new(Kind::NetworkPolicy, "ended", "todo-default-deny");
        (!left.contains_key(&isolation) && !left.keys().any(|key| owned.contains(&key.kind)))
            .then_some(())
    })
    .await;
    let app = support::until_condition(&client, &manifest, "Accepted", "False").await;
    assert_eq!(condition(&app, "Ready").unwrap()["reason"], "NoEnvironment");
    assert_eq!(
        kinds_of_app(&client, "ended").await,
        before,
        "what runs keeps running"
    );
    let namespace = support::object(
        &client,
        &support::resource("", "v1", "Namespace"),
        "",
        "ended",
    )
    .await
    .unwrap();
    assert!(namespace["metadata"]["deletionTimestamp"].is_null());

    // Back again, the application goes on.
    environment(&client, "ended", "").await;
    until_ready(&client, &manifest).await;
}
