//! Canaries that pass, and what nobody may touch meanwhile.

use std::cell::RefCell;

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use todo_operator_controller::apply::api_resource;
use todo_operator_core::kind::Kind;
use todo_operator_core::names::ROLLOUTS_POD_TEMPLATE_HASH;

use crate::stage::{
    self, image_of, is_proven, key, pods, stage, until_app, until_child, until_paused,
};
use crate::support::{self, api, apply, child, condition, until, until_ready};

/// The weights of the stable and of the new version.
async fn weights(client: &kube::Client, namespace: &str) -> Option<(i64, i64)> {
    let service = child(client, &key(Kind::TraefikService, namespace, "web")).await?;
    let services = &service["spec"]["weighted"]["services"];
    Some((
        services[0]["weight"].as_i64()?,
        services[1]["weight"].as_i64()?,
    ))
}

async fn selected_hash(client: &kube::Client, namespace: &str, service: &str) -> Value {
    let service = child(client, &key(Kind::Service, namespace, service))
        .await
        .unwrap();
    service["spec"]["selector"][ROLLOUTS_POD_TEMPLATE_HASH].clone()
}

const ROUTED: &str = r#"
components:
  web:
    kind: Site
    route: {paths: [/]}
    scaling: {min: 2}
    rollout: {strategy: Canary, steps: [20, 60], stepPause: 1h}
  api:
    kind: Service
    scaling: {min: 2}
  jobs:
    kind: Worker
    rollout: {strategy: Canary}
traffic: {host: routed.example, router: Traefik}
release:
  version: 1.0.0
  images:
    - {component: web, image: "registry.example/web:1"}
    - {component: api, image: "registry.example/api:1"}
    - {component: jobs, image: "registry.example/jobs:1"}
"#;

#[tokio::test]
async fn a_routed_canary_walks_its_steps_and_only_argo_rollouts_moves_weights_and_selectors() {
    let (stage, client) = stage().await;
    let name = "routed";
    let mut manifest = stage::make(&client, name, ROUTED).await;
    let others = (
        pods(&client, name, "api").await,
        pods(&client, name, "jobs").await,
    );
    let stable_pods = pods(&client, name, "web").await;
    assert_eq!(
        (others.0.len(), others.1.len(), stable_pods.len()),
        (2, 1, 2)
    );

    let begun = stage.now();
    stage::release(&client, &mut manifest, "2.0.0", &[("web", "2")]).await;
    let rollout = until_paused(&client, name, "web", 1).await;
    assert_eq!(weights(&client, name).await, Some((80, 20)));
    let hashes = (
        rollout["status"]["stableRS"].clone(),
        rollout["status"]["currentPodHash"].clone(),
    );
    assert_eq!(selected_hash(&client, name, "web-stable").await, hashes.0);
    assert_eq!(selected_hash(&client, name, "web-canary").await, hashes.1);
    assert_eq!(
        selected_hash(&client, name, "web").await,
        Value::Null,
        "callers inside reach both versions"
    );
    let app = until_app(&client, name, "shows the canary", |app| {
        app["status"]["components"]["web"]["state"] == "Paused"
    })
    .await;
    assert_eq!(app["status"]["components"]["web"]["weight"], 20);
    assert_eq!(app["status"]["components"]["web"]["step"], "2/4");
    assert_eq!(app["status"]["effectiveRelease"]["reason"], "RollingOut");
    assert_eq!(condition(&app, "Ready").unwrap()["status"], "False");
    let written: Vec<_> = stage.writes(name, begun);
    assert!(
        written.iter().any(|(_, resource)| resource == "rollouts"),
        "the audit log shows writes: {written:?}"
    );
    assert!(
        !written
            .iter()
            .any(|(_, resource)| matches!(resource.as_str(), "services" | "traefikservices")),
        "{written:?}"
    );

    // Somebody's changes are put right, without a word about weight and hash.
    let merge = async |kind: Kind, name_of: &str, patch: Value| {
        api(&client, &api_resource(kind), name)
            .patch(name_of, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap();
    };
    let mut service = child(&client, &key(Kind::TraefikService, name, "web"))
        .await
        .unwrap();
    service["spec"]["weighted"]["services"][0]["port"] = json!(8888);
    merge(
        Kind::TraefikService,
        "shop-web",
        json!({"spec": service["spec"]}),
    )
    .await;
    let ports = json!([{"name": "other", "port": 80, "targetPort": 9999, "protocol": "TCP"}]);
    merge(
        Kind::Service,
        "shop-web-canary",
        json!({"spec": {"ports": ports}}),
    )
    .await;
    until_child(
        &client,
        &key(Kind::TraefikService, name, "web"),
        "its port is put right",
        |service| service["spec"]["weighted"]["services"][0]["port"] == 80,
    )
    .await;
    until_child(
        &client,
        &key(Kind::Service, name, "web-canary"),
        "its port is put right",
        |service| {
            service["spec"]["ports"]
                .as_array()
                .is_some_and(|ports| ports.iter().any(|port| port["targetPort"] == "http"))
        },
    )
    .await;
    assert_eq!(weights(&client, name).await, Some((80, 20)));
    assert_eq!(selected_hash(&client, name, "web-canary").await, hashes.1);

    // Other steps while it is under way: the ladder is not begun anew.
    manifest["spec"]["components"]["web"]["rollout"]["steps"] = json!([10, 20, 60, 90]);
    let generation = apply(&client, &manifest).await["metadata"]["generation"].clone();
    until_app(&client, name, "has seen the other steps", |app| {
        app["status"]["observedGeneration"] == generation
    })
    .await;
    let rollout = child(&client, &key(Kind::Rollout, name, "web"))
        .await
        .unwrap();
    assert_eq!(rollout["status"]["currentStepIndex"], 1);
    assert_eq!(
        rollout["spec"]["strategy"]["canary"]["steps"]
            .as_array()
            .unwrap()
            .len(),
        4
    );

    let resumed = stage.now();
    stage::resume(&client, name, "web", 1).await;
    until_paused(&client, name, "web", 3).await;
    assert_eq!(weights(&client, name).await, Some((40, 60)));
    stage::resume(&client, name, "web", 3).await;
    let app = until_app(&client, name, "2.0.0 is proven", |app| {
        is_proven(app, "2.0.0")
    })
    .await;
    until("the weights are back", async || {
        (weights(&client, name).await == Some((100, 0))).then_some(())
    })
    .await;
    let written = stage.writes(name, resumed);
    assert!(
        !written
            .iter()
            .any(|(_, resource)| matches!(resource.as_str(), "services" | "traefikservices")),
        "{written:?}"
    );
    assert_eq!(app["status"]["rejected"], Value::Null);
    let revision = app["status"]["effectiveRelease"]["revision"]
        .as_str()
        .unwrap();
    let revision = support::object(
        &client,
        &api_resource(Kind::ControllerRevision),
        name,
        revision,
    )
    .await
    .unwrap();
    assert_eq!(
        revision["data"]["components"]["web"]["image"],
        stage::image("web", "2")
    );
    until_child(
        &client,
        &key(Kind::Rollout, name, "web"),
        "the other steps come once it has ended",
        |rollout| {
            rollout["spec"]["strategy"]["canary"]["steps"]
                .as_array()
                .unwrap()
                .len()
                == 8
        },
    )
    .await;

    let now = (
        pods(&client, name, "api").await,
        pods(&client, name, "jobs").await,
    );
    assert_eq!(now, others, "releasing web restarts no other pod");
    until("only new pods of web are left", async || {
        let pods = pods(&client, name, "web").await;
        (pods.len() == 2
            && pods
                .values()
                .all(|image| *image == stage::image("web", "2")))
        .then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_unrouted_canary_takes_its_share_by_replicas_and_becomes_last_good() {
    let (_, client) = stage().await;
    let spec = r#"
components:
  api: {kind: Service, scaling: {min: 4}, rollout: {strategy: Canary, stepPause: 1h}}
release:
  version: 1.0.0
  images: [{component: api, image: "registry.example/api:1"}]
"#;
    let mut manifest = stage::make(&client, "unrouted", spec).await;
    let app = stage::release(&client, &mut manifest, "2.0.0", &[("api", "2")]).await;
    assert_eq!(
        app["status"]["components"]["api"]["ladder"],
        json!([25, 50, 75])
    );
    for (step, new) in [(1, 1), (3, 2), (5, 3)] {
        until_paused(&client, "unrouted", "api", step).await;
        until(&format!("{new} of 4 pods are new"), async || {
            let pods = pods(&client, "unrouted", "api").await;
            let of_new = pods
                .values()
                .filter(|image| **image == stage::image("api", "2"))
                .count();
            (of_new == new && pods.len() == 4).then_some(())
        })
        .await;
        stage::resume(&client, "unrouted", "api", step).await;
    }
    until_app(&client, "unrouted", "2.0.0 is proven", |app| {
        is_proven(app, "2.0.0")
    })
    .await;
}

#[tokio::test]
async fn a_rollout_that_is_deleted_under_way_comes_back_with_the_stable_version_and_a_canary() {
    let (_, client) = stage().await;
    let name = "deleted";
    let spec = r#"
components:
  api: {kind: Service, scaling: {min: 2}, rollout: {strategy: Canary, stepPause: 1h}}
release:
  version: 1.0.0
  images: [{component: api, image: "registry.example/api:1"}]
"#;
    let mut manifest = stage::make(&client, name, spec).await;
    stage::release(&client, &mut manifest, "2.0.0", &[("api", "2")]).await;
    let deleted = until_paused(&client, name, "api", 1).await;
    api(&client, &api_resource(Kind::Rollout), name)
        .delete("shop-api", &Default::default())
        .await
        .unwrap();
    let images = RefCell::new(Vec::new());
    let again = until_child(
        &client,
        &key(Kind::Rollout, name, "api"),
        "its canary begins again",
        |rollout| {
            let uid = &rollout["metadata"]["uid"];
            let is_new = uid.is_string() && *uid != deleted["metadata"]["uid"];
            let mut images = images.borrow_mut();
            if is_new && images.last().map(String::as_str) != Some(image_of(rollout)) {
                images.push(image_of(rollout).to_owned());
            }
            is_new && rollout["status"]["currentStepIndex"] == 1
        },
    )
    .await;
    let (stable, new) = (stage::image("api", "1"), stage::image("api", "2"));
    assert_eq!(images.into_inner(), [stable, new]);
    assert_ne!(
        again["status"]["stableRS"],
        again["status"]["currentPodHash"]
    );
}

#[tokio::test]
async fn a_component_becomes_a_canary_and_again_rolling_without_losing_a_serving_pod() {
    let (_, client) = stage().await;
    let name = "strategy";
    let spec = r#"
components:
  api: {kind: Service, scaling: {min: 3}, rollout: {strategy: Rolling}}
release:
  version: 1.0.0
  images: [{component: api, image: "registry.example/api:1"}]
"#;
    let mut manifest = stage::make(&client, name, spec).await;
    for (strategy, kind, other) in [
        ("Canary", Kind::Rollout, Kind::Deployment),
        ("Rolling", Kind::Deployment, Kind::Rollout),
    ] {
        manifest["spec"]["components"]["api"]["rollout"]["strategy"] = json!(strategy);
        apply(&client, &manifest).await;
        let mut fewest = usize::MAX;
        until(&format!("it is {strategy} and nothing else"), async || {
            fewest = fewest.min(ready_pods(&client, name).await);
            let there = child(&client, &key(kind, name, "api")).await.is_some();
            let gone = child(&client, &key(other, name, "api")).await.is_none();
            (there && gone).then_some(())
        })
        .await;
        assert!(
            fewest >= 3,
            "only {fewest} pods served on the way to {strategy}"
        );
        until_ready(&client, &manifest).await;
        assert!(
            ready_pods(&client, name).await >= 3,
            "after the way to {strategy}"
        );
        let workload = child(&client, &key(kind, name, "api")).await.unwrap();
        assert_eq!(image_of(&workload), stage::image("api", "1"));
    }
}

/// Pods of `api` that the Service sends to.
async fn ready_pods(client: &kube::Client, namespace: &str) -> usize {
    let list = api(client, &support::resource("", "v1", "Pod"), namespace)
        .list(&kube::api::ListParams::default().labels("todo-operator.dev/component=api"))
        .await
        .unwrap();
    list.items
        .iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none())
        .filter(|pod| {
            condition(&serde_json::to_value(pod).unwrap(), "Ready")
                .is_some_and(|ready| ready["status"] == "True")
        })
        .count()
}
