//! Peers whose kinds the API server does not serve: absent, late, taken away and brought back.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panic")]

mod support;

use kube::ResourceExt as _;
use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams};
use localcluster::{Cache, Cluster, Config, Node, Peer, Silent, Tools};
use serde_json::Value;
use todo_operator_controller::apply::api_resource;
use todo_operator_core::child::ChildKey;
use todo_operator_core::kind::Kind;

use support::{
    Operator, api, app, apply, child, condition, environment, resource, until, until_ready,
};

/// Waits until the condition `Applied` names a peer that is missing; the TodoApp.
async fn until_missing(client: &kube::Client, manifest: &Value, peer: &str) -> Value {
    let name = manifest["metadata"]["name"].as_str().unwrap();
    until(&format!("{peer} is missed"), async || {
        let app = support::object(client, &support::apps(), "peers", name).await?;
        let applied = condition(&app, "Applied")?;
        let missed = applied["reason"] == "PeerMissing"
            && applied["message"].as_str()?.contains(peer)
            && applied["observedGeneration"] == app["metadata"]["generation"];
        missed.then_some(app)
    })
    .await
}

/// Deletes the CRDs of an API group.
async fn remove_crds(client: &kube::Client, group: &str) {
    let crds = api(
        client,
        &resource("apiextensions.k8s.io", "v1", "CustomResourceDefinition"),
        "",
    );
    let mut all = crds.list(&ListParams::default()).await.unwrap().items;
    all.retain(|crd| crd.data["spec"]["group"] == group);
    for crd in &all {
        until_cached(client, crd).await;
    }
    for crd in &all {
        crds.delete(&crd.name_any(), &DeleteParams::default())
            .await
            .unwrap();
    }
    until(&format!("the kinds of {group} have gone"), async || {
        let left = crds.list(&ListParams::default()).await.unwrap();
        left.iter()
            .all(|crd| crd.data["spec"]["group"] != group)
            .then_some(())
    })
    .await;
}

/// Waits until the API server's cache of a kind is filled. A CRD that is deleted sooner stays for minutes: "could not list
/// instances: storage is (re)initializing".
async fn until_cached(client: &kube::Client, crd: &DynamicObject) {
    let spec = &crd.data["spec"];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let served = spec["versions"].as_array().unwrap().iter();
    for version in served.filter(|version| version["served"] == true) {
        let kind = ApiResource::from_gvk_with_plural(
            &GroupVersionKind::gvk(
                &text(&spec["group"]),
                &text(&version["name"]),
                &text(&spec["names"]["kind"]),
            ),
            spec["names"]["plural"].as_str().unwrap(),
        );
        let objects = api(client, &kind, "");
        until(&format!("{} are cached", kind.plural), async || {
            objects
                .list(&ListParams::default().match_any())
                .await
                .is_ok()
                .then_some(())
        })
        .await;
    }
}

async fn install(cluster: &Cluster, peer: Peer) {
    let client = cluster.client().unwrap();
    localcluster::install_crds(&client, &Tools::new(Cache::from_env()), &[peer], &Silent)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_missing_peer_is_named_with_the_command_that_installs_it_and_work_resumes_when_it_comes()
{
    let config = Config::control_plane()
        .controllers()
        .node(Node::Kwok { count: 1 });
    let cluster = support::cluster(config).await;
    let client = cluster.client().unwrap();
    let operator = Operator::start(&cluster).await;
    environment(&client, "peers", "").await;

    let plain = "
components: {api: {kind: Service}}
release: {images: [{component: api, image: 'registry.example/api:1'}]}
";
    let plain = app("peers", "plain", plain);
    apply(&client, &plain).await;
    let spec = "
components:
  web: {kind: Site, route: {paths: [/]}}
  api: {kind: Service}
traffic: {host: shop.example, router: Traefik}
release:
  images:
    - {component: web, image: 'registry.example/web:1'}
    - {component: api, image: 'registry.example/api:1'}
";
    let manifest = app("peers", "shop", spec);
    apply(&client, &manifest).await;

    // Absent from the start: said so, and everything else is there.
    let app = until_missing(&client, &manifest, "Traefik").await;
    let message = condition(&app, "Applied").unwrap()["message"]
        .as_str()
        .unwrap()
        .to_owned();
    let peer = Kind::IngressRoute.peer().unwrap();
    assert!(
        message.contains("IngressRoute") && message.contains(peer.install),
        "{message}"
    );
    assert_eq!(condition(&app, "Ready").unwrap()["status"], "False");
    until("the other children are there and well", async || {
        let web = child(
            &client,
            &ChildKey::new(Kind::Deployment, "peers", "shop-web"),
        )
        .await?;
        let api = child(
            &client,
            &ChildKey::new(Kind::Deployment, "peers", "shop-api"),
        )
        .await?;
        let service = child(&client, &ChildKey::new(Kind::Service, "peers", "shop-web")).await?;
        (web["status"]["availableReplicas"] == 1
            && api["status"]["availableReplicas"] == 1
            && service.is_object())
        .then_some(())
    })
    .await;
    until_ready(&client, &plain).await;

    // Late: nobody asks, and it comes right.
    install(&cluster, Peer::Traefik).await;
    until_ready(&client, &manifest).await;
    let routes = api(&client, &api_resource(Kind::IngressRoute), "peers")
        .list(&ListParams::default())
        .await
        .unwrap();
    assert_eq!(routes.items.len(), 1);

    // Taken away under its feet, and brought back.
    remove_crds(&client, "traefik.io").await;
    until_missing(&client, &manifest, "Traefik").await;
    until_ready(&client, &plain).await;
    install(&cluster, Peer::Traefik).await;
    until_ready(&client, &manifest).await;
    assert_eq!(
        operator.metrics.leader.get(),
        1,
        "the same operator all along"
    );
    operator.stop().await;
}
