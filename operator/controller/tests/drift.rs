//! Children that somebody else edits or deletes: put right, told and counted; what is not ours is left alone.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panic")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use kube::Client;
use kube::api::PostParams;
use localcluster::Cluster;
use serde_json::{Value, json};
use todo_operator_controller::apply::api_resource;
use todo_operator_core::child::ChildKey;
use todo_operator_core::kind::Kind;
use tokio::sync::OnceCell;

use support::{Operator, app, apply, child, children, condition, environment, until, until_ready};

struct World {
    cluster: Cluster,
    operator: Operator,
}

async fn world() -> &'static World {
    static WORLD: OnceCell<World> = OnceCell::const_new();
    WORLD
        .get_or_init(|| async {
            let config = support::life::cluster();
            let cluster = support::cluster(config).await;
            apply(&cluster.client().unwrap(), &support::namespace("kafka")).await;
            let operator = Operator::start_ahead(&cluster).await;
            World { cluster, operator }
        })
        .await
}

/// Another value of a field of ours, for a kind; `None` where what is there cannot be changed by anyone.
fn edit(kind: Kind) -> Option<(&'static str, Value)> {
    Some(match kind {
        Kind::ServiceAccount => ("/automountServiceAccountToken", json!(true)),
        Kind::Service => (
            "/spec/selector/todo-operator.dev~1component",
            json!("other"),
        ),
        Kind::Deployment => (
            "/spec/template/spec/terminationGracePeriodSeconds",
            json!(1),
        ),
        Kind::Rollout => ("/spec/revisionHistoryLimit", json!(1)),
        Kind::CronJob => ("/spec/schedule", json!("1 1 1 1 1")),
        Kind::PodDisruptionBudget => ("/spec/maxUnavailable", json!(7)),
        Kind::NetworkPolicy => ("/spec/policyTypes", json!(["Ingress"])),
        Kind::AnalysisTemplate => ("/spec/metrics/0/interval", json!("7s")),
        Kind::Cluster => ("/spec/instances", json!(3)),
        Kind::Database => ("/spec/databaseReclaimPolicy", json!("delete")),
        Kind::DatabaseRole => ("/spec/databaseRoleReclaimPolicy", json!("delete")),
        Kind::KafkaTopic => ("/spec/config/retention.ms", json!("1")),
        Kind::ScaledObject => ("/spec/maxReplicaCount", json!(9)),
        Kind::TriggerAuthentication => ("/spec/secretTargetRef/0/name", json!("other")),
        Kind::HttpRoute => ("/spec/hostnames", json!(["other.example"])),
        Kind::IngressRoute => ("/spec/entryPoints", json!(["other"])),
        Kind::TraefikService => ("/spec/weighted/services/0/port", json!(81)),
        Kind::ResourceQuota => ("/spec/hard/pods", json!("7")),
        Kind::LimitRange => ("/spec/limits/0/default/memory", json!("1Gi")),
        // Its content is immutable, and so is what makes a Middleware the one that it is: the labels are all that is left.
        Kind::ConfigMap | Kind::Middleware => (
            "/metadata/labels/app.kubernetes.io~1part-of",
            json!("other"),
        ),
        _ => return None,
    })
}

/// Kinds whose objects are records of what was: a Job of a migration that ran, a release that was proven. Their content is
/// immutable, and nothing is made of their labels.
const RECORDS: [Kind; 2] = [Kind::Job, Kind::ControllerRevision];

/// Changes an object as somebody who reads it, edits it and writes it back.
async fn change(client: &Client, key: &ChildKey, edit: impl Fn(&mut Value)) {
    let api = support::api(client, &api_resource(key.kind), &key.namespace);
    until(&format!("{key} is edited"), async || {
        let mut object = serde_json::to_value(api.get(&key.name).await.unwrap()).unwrap();
        edit(&mut object);
        let edited = serde_json::from_value(object).unwrap();
        match api
            .replace(&key.name, &PostParams::default(), &edited)
            .await
        {
            Ok(_) => Some(()),
            // Somebody else was quicker.
            Err(kube::Error::Api(status)) if status.code == 409 => None,
            Err(error) => panic!("{key}: {error}"),
        }
    })
    .await;
}

/// One child of each kind of an application in its settled state.
async fn one_of_each(client: &Client, namespace: &str) -> BTreeMap<Kind, (ChildKey, Value)> {
    let here = children(client, namespace).await.into_iter();
    let of_namespace =
        |child: &Value| child["metadata"]["labels"]["todo-operator.dev/namespace"] == namespace;
    let topics = children(client, "kafka").await.into_iter();
    here.chain(topics.filter(|(_, child)| of_namespace(child)))
        .filter(|(_, child)| child["metadata"]["labels"]["todo-operator.dev/app"] == "demo")
        .filter(|(key, child)| match edit(key.kind) {
            Some((path, value)) => child.pointer(path).is_some_and(|now| *now != value),
            None => false,
        })
        .map(|(key, child)| (key.kind, (key, child)))
        .collect()
}

/// Whether an Event says that an object was put right.
async fn is_told(client: &Client, namespace: &str, key: &ChildKey) -> bool {
    let events = support::resource("events.k8s.io", "v1", "Event");
    let events = support::api(client, &events, namespace);
    let events = events.list(&Default::default()).await.unwrap();
    events.items.iter().any(|event| {
        event.data["reason"] == "DriftCorrected"
            && event.data["note"]
                .as_str()
                .is_some_and(|note| note.starts_with(&format!("{key} ")))
    })
}

/// Edits and deletes one child of each kind, one after the other.
async fn disturb(world: &World, client: &Client, namespace: &str, expected: &[Kind]) {
    let settled = one_of_each(client, namespace).await;
    let found: BTreeSet<Kind> = settled.keys().copied().collect();
    assert_eq!(
        found,
        expected.iter().copied().collect(),
        "kinds in {namespace}"
    );
    for (kind, (key, before)) in settled {
        let (path, value) = edit(kind).unwrap();
        let was = before.pointer(path).unwrap().clone();
        let counted = world.operator.drift_corrected(kind);
        // Only what was in place can drift: while the last disturbance is being dealt with, it is no drift yet.
        until(&format!("an Event about {key}"), async || {
            change(client, &key, |object| {
                *object.pointer_mut(path).unwrap() = value.clone();
                object["metadata"]["annotations"]["example.com/foreign"] = json!("stays");
            })
            .await;
            let corrected = until(&format!("{key} {path} is {was} again"), async || {
                let now = child(client, &key).await;
                now.filter(|now| now.pointer(path) == Some(&was))
            })
            .await;
            let metadata = &corrected["metadata"];
            let kept = &metadata["annotations"]["example.com/foreign"];
            assert_eq!(kept, "stays", "{key}");
            let uid = &before["metadata"]["uid"];
            assert_eq!(metadata["uid"], *uid, "{key}: put right, not made anew");
            is_told(client, namespace, &key).await.then_some(())
        })
        .await;
        until(&format!("the correction of {key} is counted"), async || {
            (world.operator.drift_corrected(kind) > counted).then_some(())
        })
        .await;

        let manifest =
            json!({"kind": "TodoApp", "metadata": {"namespace": namespace, "name": "demo"}});
        until_ready(client, &manifest).await;
        let api = support::api(client, &api_resource(kind), &key.namespace);
        api.delete(&key.name, &Default::default()).await.unwrap();
        until(&format!("{key} is made again"), async || {
            child(client, &key)
                .await
                .filter(|now| now["metadata"]["uid"] != before["metadata"]["uid"])
        })
        .await;
        until_ready(client, &manifest).await;
    }
}

#[tokio::test]
async fn edits_and_deletions_of_every_kind_are_put_right() {
    let world = world().await;
    let client = world.cluster.client().unwrap();
    let kafka = world.cluster.kafka_bootstrap().unwrap();
    let make = async |name: &str, spec: &str, environment_spec: &str| {
        let fill = |text: &str| text.replace("NAME", name).replace("KAFKA", &kafka);
        environment(&client, name, &fill(environment_spec)).await;
        let manifest = app(name, "demo", &fill(spec));
        apply(&client, &manifest).await;
        until_ready(&client, &manifest).await;
    };
    let traefik = async {
        make(
            "traefik",
            include_str!("manifests/traefik.yaml"),
            include_str!("manifests/traefik-environment.yaml"),
        )
        .await;
        let kinds = [
            Kind::ServiceAccount,
            Kind::ConfigMap,
            Kind::Service,
            Kind::Deployment,
            Kind::CronJob,
            Kind::PodDisruptionBudget,
            Kind::NetworkPolicy,
            Kind::Rollout,
            Kind::AnalysisTemplate,
            Kind::Cluster,
            Kind::Database,
            Kind::DatabaseRole,
            Kind::ScaledObject,
            Kind::IngressRoute,
            Kind::TraefikService,
            Kind::Middleware,
        ];
        disturb(world, &client, "traefik", &kinds).await;
    };
    let gateway = async {
        make(
            "gateway",
            include_str!("manifests/gateway.yaml"),
            include_str!("manifests/gateway-environment.yaml"),
        )
        .await;
        let kinds = [
            Kind::ServiceAccount,
            Kind::Service,
            Kind::Deployment,
            Kind::PodDisruptionBudget,
            Kind::NetworkPolicy,
            Kind::Rollout,
            Kind::AnalysisTemplate,
            Kind::Cluster,
            Kind::Database,
            Kind::DatabaseRole,
            Kind::KafkaTopic,
            Kind::ScaledObject,
            Kind::TriggerAuthentication,
            Kind::HttpRoute,
        ];
        disturb(world, &client, "gateway", &kinds).await;
    };
    futures::future::join(traefik, gateway).await;
    let all: BTreeSet<Kind> = Kind::CHILDREN
        .into_iter()
        .filter(|kind| edit(*kind).is_none())
        .collect();
    let known: BTreeSet<Kind> = RECORDS.into_iter().chain([Kind::Namespace]).collect();
    assert_eq!(all, known, "a kind that nothing edits here");
}

/// What an environment owns has no TodoApp to tell of it; it is put right all the same, and counted.
#[tokio::test]
async fn policies_of_an_environment_are_put_right() {
    let world = world().await;
    let client = world.cluster.client().unwrap();
    environment(
        &client,
        "policies",
        "{policy: {quota: {pods: '20'}, limitRange: {default: {memory: 64Mi}}}}",
    )
    .await;
    let manifest = json!({"kind": "TodoEnvironment", "metadata": {"name": "policies"}});
    until_ready(&client, &manifest).await;
    for (kind, name) in [
        (Kind::ResourceQuota, "todo-quota"),
        (Kind::LimitRange, "todo-limits"),
        (Kind::NetworkPolicy, "todo-default-deny"),
    ] {
        let key = ChildKey::new(kind, "policies", name);
        let before = child(&client, &key).await.unwrap();
        let (path, value) = edit(kind).unwrap();
        let counted = world.operator.drift_corrected(kind);
        change(&client, &key, |object| {
            *object.pointer_mut(path).unwrap() = value.clone()
        })
        .await;
        until(&format!("{key} is put right"), async || {
            child(&client, &key)
                .await
                .filter(|now| now.pointer(path) == before.pointer(path))
        })
        .await;
        until(&format!("the correction of {key} is counted"), async || {
            (world.operator.drift_corrected(kind) > counted).then_some(())
        })
        .await;
        support::api(&client, &api_resource(kind), "policies")
            .delete(name, &Default::default())
            .await
            .unwrap();
        until(&format!("{key} is made again"), async || {
            child(&client, &key)
                .await
                .filter(|now| now["metadata"]["uid"] != before["metadata"]["uid"])
        })
        .await;
    }
    // The Namespace is nobody's child: only its labels are ours.
    let key = ChildKey::new(Kind::Namespace, "", "policies");
    let label = "/metadata/labels/pod-security.kubernetes.io~1enforce";
    change(&client, &key, |object| {
        *object.pointer_mut(label).unwrap() = json!("privileged");
        object["metadata"]["labels"]["foreign"] = json!("stays");
    })
    .await;
    let namespace = until("the namespace is restricted again", async || {
        child(&client, &key)
            .await
            .filter(|now| now.pointer(label) == Some(&json!("restricted")))
    })
    .await;
    assert_eq!(namespace["metadata"]["labels"]["foreign"], "stays");
}

/// An object that another controller owns keeps its owner: the API server refuses a second one, and the status says so.
/// One that nobody owns is taken over, field by field.
#[tokio::test]
async fn objects_of_others_are_not_stolen() {
    let world = world().await;
    let client = world.cluster.client().unwrap();
    environment(&client, "others", "").await;
    let owner = apply(&client, &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owner", "namespace": "others"}})).await;
    let service = |name: &str| {
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "others"},
            "spec": {"selector": {"app": "theirs"}, "ports": [{"name": "theirs", "port": 7}]},
        })
    };
    let mut owned = service("demo-api");
    owned["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"], "controller": true}]);
    apply(&client, &owned).await;
    apply(&client, &service("demo-web")).await;
    let spec = "{components: {api: {kind: Service}, web: {kind: Site}},
        release: {images: [{component: api, image: 'registry.example/api:1'}, {component: web, image: 'registry.example/web:1'}]}}";
    let manifest = app("others", "demo", spec);
    apply(&client, &manifest).await;
    let app = support::until_condition(&client, &manifest, "Applied", "False").await;
    let applied = condition(&app, "Applied").unwrap();
    assert_eq!(applied["reason"], "ApplyFailed");
    let message = applied["message"].as_str().unwrap();
    assert!(
        message.contains("Service demo-api") && message.contains("controller"),
        "{message}"
    );
    let theirs = child(&client, &ChildKey::new(Kind::Service, "others", "demo-api"))
        .await
        .unwrap();
    assert_eq!(theirs["spec"]["selector"], json!({"app": "theirs"}));
    assert_eq!(
        theirs["metadata"]["ownerReferences"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let taken = child(&client, &ChildKey::new(Kind::Service, "others", "demo-web"))
        .await
        .unwrap();
    assert_eq!(
        taken["spec"]["selector"]["todo-operator.dev/component"],
        "web"
    );
    assert_eq!(taken["metadata"]["ownerReferences"][0]["kind"], "TodoApp");

    // The name is free again: all goes on by itself.
    support::api(&client, &api_resource(Kind::Service), "others")
        .delete("demo-api", &Default::default())
        .await
        .unwrap();
    until_ready(&client, &manifest).await;
}

/// The labels by which the operator finds a child are its own too.
#[tokio::test]
async fn child_that_is_labelled_as_somebody_elses_is_taken_back() {
    let world = world().await;
    let client = world.cluster.client().unwrap();
    environment(&client, "labels", "").await;
    let spec = "{components: {web: {kind: Site}}, release: {images: [{component: web, image: 'registry.example/web:1'}]}}";
    let manifest = app("labels", "demo", spec);
    apply(&client, &manifest).await;
    until_ready(&client, &manifest).await;
    let key = ChildKey::new(Kind::Service, "labels", "demo-web");
    for label in ["todo-operator.dev/app", "app.kubernetes.io/managed-by"] {
        let ours = child(&client, &key).await.unwrap()["metadata"]["labels"][label].clone();
        for edited in [Some(json!("other")), None] {
            change(&client, &key, |object| {
                let labels = object["metadata"]["labels"].as_object_mut().unwrap();
                match &edited {
                    Some(value) => labels.insert(label.to_owned(), value.clone()),
                    None => labels.remove(label),
                };
            })
            .await;
            until(&format!("{label} is put right"), async || {
                let labels = child(&client, &key).await?["metadata"]["labels"].take();
                (labels[label] == ours).then_some(())
            })
            .await;
        }
    }
}
