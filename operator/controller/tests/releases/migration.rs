//! Migrations: before the first new pod, and never around one that failed.

use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;
use todo_operator_core::kind::Kind;

use crate::stage::{
    self, image, image_of, is_proven, key, pods, says, stage, until_app, until_child,
};
use crate::support::{self, api, app, apply, child, environment, resource, until, until_ready};

const SHOP: &str = r#"
components:
  api:
    kind: Service
    database: orders
    migrate: {retries: 0}
    scaling: {min: 2}
  web: {kind: Site}
databases: {items: {orders: {}}}
release:
  version: 1.0.0
  images:
    - {component: api, image: "registry.example/api:TAG"}
    - {component: web, image: "registry.example/web:1"}
"#;

/// Ends the pod of the migration that runs, well.
async fn complete_migration(client: &kube::Client, namespace: &str) {
    let pods = api(client, &resource("", "v1", "Pod"), namespace);
    let running = until("the migration's pod runs", async || {
        let list = pods
            .list(&ListParams::default().labels("todo-operator.dev/role=migrate"))
            .await
            .unwrap();
        list.items
            .into_iter()
            .find(|pod| pod.data["status"]["phase"] == "Running")
    })
    .await;
    let done = json!({"status": {"phase": "Succeeded"}});
    pods.patch_status(
        &running.metadata.name.unwrap(),
        &PatchParams::default(),
        &Patch::Merge(done),
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn a_migration_ends_before_the_first_new_pod_starts() {
    let (_, client) = stage().await;
    let name = "migrated";
    environment(&client, name, "").await;
    let mut manifest = app(name, "shop", &SHOP.replace("TAG", "slow"));
    apply(&client, &manifest).await;
    let app = until_app(&client, name, "waits for its migration", |app| {
        says(app, "Migrated") == ("False".into(), "Running".into())
    })
    .await;
    assert_eq!(says(&app, "Ready").0, "False");
    assert!(
        child(&client, &key(Kind::Deployment, name, "api"))
            .await
            .is_none(),
        "nothing stands behind the barrier yet"
    );
    assert!(
        child(&client, &key(Kind::Deployment, name, "web"))
            .await
            .is_none()
    );
    complete_migration(&client, name).await;
    until_ready(&client, &manifest).await;

    let before = pods(&client, name, "api").await;
    let web = pods(&client, name, "web").await;
    manifest["spec"]["components"]["api"]["migrate"]["args"] = json!(["migrate", "2"]);
    stage::release(&client, &mut manifest, "2.0.0", &[("web", "2")]).await;
    let app = until_app(&client, name, "waits for the new migration", |app| {
        says(app, "Migrated") == ("False".into(), "Running".into())
            && app["status"]["observedGeneration"] == app["metadata"]["generation"]
    })
    .await;
    assert_eq!(app["status"]["effectiveRelease"]["reason"], "Barrier");
    assert_eq!(app["status"]["effectiveRelease"]["version"], "1.0.0");
    assert_eq!(
        pods(&client, name, "web").await,
        web,
        "web waits too: the release goes out as a whole"
    );
    complete_migration(&client, name).await;
    until_app(&client, name, "2.0.0 is proven", |app| {
        is_proven(app, "2.0.0")
    })
    .await;
    let web = child(&client, &key(Kind::Deployment, name, "web"))
        .await
        .unwrap();
    assert_eq!(image_of(&web), image("web", "2"));
    assert_eq!(
        pods(&client, name, "api").await,
        before,
        "another migration restarts no pod"
    );
}

#[tokio::test]
async fn a_release_whose_migration_fails_is_rejected_and_the_old_pods_serve() {
    let (_, client) = stage().await;
    let name = "failing";
    let mut manifest = stage::make(&client, name, &SHOP.replace("TAG", "1")).await;
    let before = (
        pods(&client, name, "api").await,
        pods(&client, name, "web").await,
    );
    stage::release(
        &client,
        &mut manifest,
        "2.0.0",
        &[("api", "broken"), ("web", "2")],
    )
    .await;
    let app = until_app(&client, name, "2.0.0 is rejected", |app| {
        says(app, "Ready").1 == "ReleaseRejected"
            && app["status"]["effectiveRelease"]["reason"] == "Rejected"
    })
    .await;
    let rejection = &app["status"]["rejected"][0];
    assert_eq!(
        (&rejection["component"], &rejection["reason"]),
        (&json!("api"), &json!("MigrationFailed"))
    );
    assert!(
        rejection["measurement"]
            .as_str()
            .unwrap()
            .contains("Job shop-api-migrate-"),
        "{rejection}"
    );
    assert_eq!(
        says(&app, "Degraded"),
        ("True".into(), "ReleaseRejected".into())
    );
    for (component, tag) in [("api", "1"), ("web", "1")] {
        let deployment = child(&client, &key(Kind::Deployment, name, component))
            .await
            .unwrap();
        assert_eq!(image_of(&deployment), image(component, tag));
        assert_eq!(
            deployment["metadata"]["generation"], 1,
            "it never asked for the new version"
        );
    }
    assert_eq!(
        (
            pods(&client, name, "api").await,
            pods(&client, name, "web").await
        ),
        before
    );

    stage::release(&client, &mut manifest, "2.0.1", &[("api", "3")]).await;
    until_app(&client, name, "2.0.1 is proven", |app| {
        is_proven(app, "2.0.1")
    })
    .await;
    until_child(
        &client,
        &key(Kind::Deployment, name, "api"),
        "runs 2.0.1",
        |deployment| image_of(deployment) == image("api", "3"),
    )
    .await;
    assert!(support::condition(&app, "Migrated").is_some());
}
