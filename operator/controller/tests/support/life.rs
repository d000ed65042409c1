//! What an application of every kind of child goes through: made, released anew, put right, left by its components.

use std::ops::RangeInclusive;

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use localcluster::{Config, Kafka, Models, Node};
use serde_json::{Value, json};
use todo_operator_controller::apply::api_resource;
use todo_operator_core::child::ChildKey;
use todo_operator_core::kind::Kind;
use todo_operator_core::release::REVISIONS_KEPT;

use super::{api, app, apply, child, children, environment, until, until_ready};

/// A namespace, an application with every kind of child that one router has, and its environment.
pub type Variant = (&'static str, &'static str, &'static str);

/// Between them, they have every kind of child.
pub const VARIANTS: [Variant; 2] = [
    (
        "traefik",
        include_str!("../manifests/traefik.yaml"),
        include_str!("../manifests/traefik-environment.yaml"),
    ),
    (
        "gateway",
        include_str!("../manifests/gateway.yaml"),
        include_str!("../manifests/gateway-environment.yaml"),
    ),
];

/// A cluster in which every kind of child comes to be ready.
pub fn cluster() -> Config {
    Config::control_plane()
        .controllers()
        .node(Node::Kwok { count: 1 })
        .argo_rollouts()
        .kafka(Kafka::default())
        .peers(super::PEERS)
        .models(Models::Thread)
}

/// Makes a variant, and releases a new image behind a migration: meanwhile the pods stay on the last good release, whose
/// revision is read.
pub async fn make_and_release(
    client: &Client,
    kafka: &str,
    (name, spec, environment_spec): Variant,
) {
    let fill = |text: &str| text.replace("NAME", name).replace("KAFKA", kafka);
    environment(client, name, &fill(environment_spec)).await;
    let mut manifest = app(name, "demo", &fill(spec));
    manifest["spec"]["deletionPolicy"] = json!("Delete");
    apply(client, &manifest).await;
    until_ready(client, &manifest).await;
    for image in manifest["spec"]["release"]["images"]
        .as_array_mut()
        .unwrap()
    {
        image["image"] = json!(image["image"].as_str().unwrap().replace("1.0.0", "2.0.0"));
    }
    apply(client, &manifest).await;
    until_ready(client, &manifest).await;
}

/// The application with nothing but one component, at a version.
pub fn tiny(namespace: &str, version: usize) -> Value {
    let spec = format!(
        "{{components: {{tiny: {{kind: Service}}}}, traffic: {{router: None}}, deletionPolicy: Delete,
           release: {{version: {version}.0.0, images: [{{component: tiny, image: 'registry.example/tiny:{version}'}}]}}}}"
    );
    app(namespace, "demo", &spec)
}

/// All but one component is no longer wanted; then so many releases of that one that the oldest revisions go.
pub async fn leave_components(client: &Client, namespace: &str) {
    let versions: RangeInclusive<usize> = 1..=REVISIONS_KEPT + 2;
    for version in versions {
        let manifest = tiny(namespace, version);
        apply(client, &manifest).await;
        until_ready(client, &manifest).await;
    }
}

/// A Service is lost, and made again.
pub async fn lose_service(client: &Client, namespace: &str, name: &str) {
    let key = ChildKey::new(Kind::Service, namespace, name);
    let uid = child(client, &key).await.unwrap()["metadata"]["uid"].clone();
    api(client, &api_resource(key.kind), namespace)
        .delete(name, &Default::default())
        .await
        .unwrap();
    until("the Service is made again", async || {
        child(client, &key)
            .await
            .filter(|service| service["metadata"]["uid"] != uid)
    })
    .await;
}

/// The policies of an environment are no longer wanted, and go.
pub async fn drop_policies(client: &Client, name: &str) {
    let patch = json!({"spec": {"policy": {"quota": null, "limitRange": null, "network": {"disabled": true}}}});
    api(client, &super::environments(), "")
        .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .unwrap();
    until("quota, limits and isolation are gone", async || {
        let left = children(client, name).await;
        let kinds = [Kind::ResourceQuota, Kind::LimitRange, Kind::NetworkPolicy];
        (!left.keys().any(|key| kinds.contains(&key.kind))).then_some(())
    })
    .await;
}

/// A person asks to try again; the phase that the intent is answered with.
pub async fn retry(client: &Client, environment: &str) -> String {
    // People speak only for themselves.
    let me: Api<SelfSubjectReview> = Api::all(client.clone());
    let me = me
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await
        .unwrap();
    let user = me.status.unwrap().user_info.unwrap().username.unwrap();
    let name = format!("again-{environment}");
    let intent = json!({
        "apiVersion": "todo-operator.dev/v1alpha1",
        "kind": "TodoIntent",
        "metadata": {"name": name},
        "spec": {"verb": "Retry", "environment": environment, "app": "demo", "reason": "a test", "user": user},
    });
    apply(client, &intent).await;
    let intents = super::resource("todo-operator.dev", "v1alpha1", "TodoIntent");
    until("the intent is answered", async || {
        let intent = super::object(client, &intents, "", &name).await?;
        intent["status"]["phase"].as_str().map(str::to_owned)
    })
    .await
}
