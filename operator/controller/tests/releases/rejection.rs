//! Releases that are given up: the change set goes back as a whole, and stays back.

use serde_json::{Value, json};
use todo_operator_core::kind::Kind;

use crate::stage::{
    self, image, image_of, is_proven, key, pods, says, stage, until_app, until_child,
};
use crate::support::{child, until};

const SHOP: &str = r#"
components:
  web:
    kind: Site
    route: {paths: [/]}
    scaling: {min: 2}
    rollout: {strategy: Canary, steps: [50], stepPause: 1s, progressDeadline: 4s}
  api: {kind: Service, scaling: {min: 2}, rollout: {progressDeadline: 4s}}
  jobs: {kind: Worker}
traffic: {host: NAME.example, router: Traefik}
release:
  version: 1.0.0
  images:
    - {component: web, image: "registry.example/web:1"}
    - {component: api, image: "registry.example/api:1"}
    - {component: jobs, image: "registry.example/jobs:1"}
"#;

/// What must be so once a release was rejected because of `component`.
fn assert_rejected(app: &Value, component: &str) {
    assert_eq!(
        says(app, "Ready"),
        ("False".into(), "ReleaseRejected".into())
    );
    assert_eq!(
        says(app, "Degraded"),
        ("True".into(), "ReleaseRejected".into())
    );
    assert_eq!(says(app, "Progressing").0, "False");
    let rejected = app["status"]["rejected"].as_array().unwrap();
    let rejection = rejected.last().unwrap();
    assert_eq!(rejection["component"], component);
    assert_eq!(rejection["image"], image(component, "broken"));
    // Argo Rollouts says first that the deadline has passed, then that it has aborted.
    let reason = rejection["reason"].as_str().unwrap();
    assert!(
        matches!(reason, "ProgressDeadlineExceeded" | "RolloutAborted"),
        "{reason}"
    );
    assert!(
        rejection["measurement"]
            .as_str()
            .is_some_and(|text| !text.is_empty()),
        "{rejection}"
    );
}

fn is_back(app: &Value) -> bool {
    says(app, "Ready").1 == "ReleaseRejected"
        && app["status"]["observedGeneration"] == app["metadata"]["generation"]
        && app["status"]["effectiveRelease"]["reason"] == "Rejected"
        && app["status"]["effectiveRelease"]["version"] == "1.0.0"
}

#[tokio::test]
async fn a_canary_past_its_deadline_takes_the_change_set_back_and_is_not_tried_again() {
    let (stage, client) = stage().await;
    let name = "deadline";
    let mut manifest = stage::make(&client, name, &SHOP.replace("NAME", name)).await;
    let (web, jobs) = (
        pods(&client, name, "web").await,
        pods(&client, name, "jobs").await,
    );

    stage::release(
        &client,
        &mut manifest,
        "2.0.0",
        &[("web", "broken"), ("api", "2")],
    )
    .await;
    let app = until_app(&client, name, "2.0.0 is rejected", is_back).await;
    assert_rejected(&app, "web");
    assert_eq!(
        app["spec"]["release"]["images"][0]["image"],
        image("web", "broken"),
        "the spec still asks for it"
    );
    let rollout = until_child(
        &client,
        &key(Kind::Rollout, name, "web"),
        "healthy again",
        |rollout| rollout["status"]["phase"] == "Healthy" && image_of(rollout) == image("web", "1"),
    )
    .await;
    assert_eq!(
        rollout["status"]["currentPodHash"],
        rollout["status"]["stableRS"]
    );
    let api = child(&client, &key(Kind::Deployment, name, "api"))
        .await
        .unwrap();
    assert_eq!(
        image_of(&api),
        image("api", "1"),
        "the whole change set goes back"
    );
    assert_eq!(
        pods(&client, name, "jobs").await,
        jobs,
        "what was not in the change set is not touched"
    );
    until("the pods of the rejected version have gone", async || {
        let now = pods(&client, name, "web").await;
        now.values()
            .all(|of| *of == image("web", "1"))
            .then_some(())
    })
    .await;
    assert_eq!(
        pods(&client, name, "web").await,
        web,
        "the stable pods were never touched"
    );

    // Without the bad entry the rest passes.
    stage::release(
        &client,
        &mut manifest,
        "2.0.1",
        &[("web", "1"), ("api", "2")],
    )
    .await;
    until_app(&client, name, "2.0.1 is proven", |app| {
        is_proven(app, "2.0.1")
    })
    .await;
    assert_eq!(pods(&client, name, "web").await, web);

    // The bad entry is not tried again, by whatever operator.
    let generation = child(&client, &key(Kind::Rollout, name, "web"))
        .await
        .unwrap()["metadata"]["generation"]
        .clone();
    for restart in [false, true] {
        if restart {
            stage.restart_operator().await;
        }
        stage::release(
            &client,
            &mut manifest,
            "2.0.2",
            &[("web", "broken"), ("api", if restart { "4" } else { "3" })],
        )
        .await;
        let app = until_app(&client, name, "2.0.2 is held back", |app| {
            says(app, "Ready").1 == "ReleaseRejected"
                && app["status"]["observedGeneration"] == app["metadata"]["generation"]
                && app["status"]["effectiveRelease"]["version"] == "2.0.1"
        })
        .await;
        assert_rejected(&app, "web");
        assert_eq!(
            app["status"]["rejected"].as_array().unwrap().len(),
            1,
            "it was not tried, so not rejected again"
        );
        let rollout = child(&client, &key(Kind::Rollout, name, "web"))
            .await
            .unwrap();
        assert_eq!(
            rollout["metadata"]["generation"], generation,
            "the Rollout was not touched"
        );
        let api = child(&client, &key(Kind::Deployment, name, "api"))
            .await
            .unwrap();
        assert_eq!(image_of(&api), image("api", "2"));
    }
}

#[tokio::test]
async fn a_rolling_component_past_its_deadline_is_rejected_and_its_old_pods_serve() {
    let (_, client) = stage().await;
    let name = "rolling";
    let mut manifest = stage::make(&client, name, &SHOP.replace("NAME", name)).await;
    let before = (
        pods(&client, name, "api").await,
        pods(&client, name, "web").await,
    );
    stage::release(&client, &mut manifest, "2.0.0", &[("api", "broken")]).await;
    let app = until_app(&client, name, "2.0.0 is rejected", is_back).await;
    assert_rejected(&app, "api");
    until_child(
        &client,
        &key(Kind::Deployment, name, "api"),
        "back and available",
        |deployment| {
            image_of(deployment) == image("api", "1")
                && deployment["status"]["observedGeneration"]
                    == deployment["metadata"]["generation"]
                && deployment["status"]["replicas"] == 2
                && deployment["status"]["availableReplicas"] == 2
        },
    )
    .await;
    until("the pods of the rejected version have gone", async || {
        (pods(&client, name, "api").await.len() == 2).then_some(())
    })
    .await;
    assert_eq!(
        (
            pods(&client, name, "api").await,
            pods(&client, name, "web").await
        ),
        before
    );

    // A bad environment variable is no bad image: with another one the image of the stage passes.
    manifest["spec"]["components"]["api"]["env"] = json!({"MODE": "other"});
    stage::release(&client, &mut manifest, "2.0.1", &[("api", "1")]).await;
    until_app(&client, name, "2.0.1 is proven", |app| {
        is_proven(app, "2.0.1")
    })
    .await;
}
