//! A canary that a person aborts, and the intent that asks to try it again.

use kube::Client;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};
use todo_operator_api::TodoIntent;
use todo_operator_core::kind::Kind;

use crate::stage::{
    self, image, image_of, is_proven, key, says, stage, until_app, until_child, until_paused,
};
use crate::support::{api, apply, resource, until};

const POLICY: &str = include_str!("../../../../kustomize/base/intents-policy.yaml");

/// The policy that guards intents, and its binding, as they are installed.
fn policy() -> [Value; 2] {
    let documents: Vec<Value> = serde_yaml::Deserializer::from_str(POLICY)
        .map(|document| serde::Deserialize::deserialize(document).unwrap())
        .collect();
    documents.try_into().unwrap()
}

/// Asks to try again, as whoever the client is; the intent once it has ended.
async fn retry(client: &Client, name: &str, reason: &str) -> Value {
    let review = api(
        client,
        &resource("authentication.k8s.io", "v1", "SelfSubjectReview"),
        "",
    );
    let me = serde_json::from_value(json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview", "metadata": {},
    }));
    let me = review
        .create(&PostParams::default(), &me.unwrap())
        .await
        .unwrap();
    let intent = json!({
        "apiVersion": "todo-operator.dev/v1alpha1",
        "kind": "TodoIntent",
        "metadata": {"name": name},
        "spec": {
            "verb": "Retry", "environment": "aborted", "app": "shop", "reason": reason,
            "user": me.data["status"]["userInfo"]["username"],
        },
    });
    let intents: kube::Api<TodoIntent> = kube::Api::all(client.clone());
    intents
        .create(
            &PostParams::default(),
            &serde_json::from_value(intent).unwrap(),
        )
        .await
        .unwrap();
    until(&format!("intent {name} has ended"), async || {
        let intent = serde_json::to_value(intents.get(name).await.unwrap()).unwrap();
        intent["status"]["phase"].is_string().then_some(intent)
    })
    .await
}

#[tokio::test]
async fn an_aborted_canary_is_tried_again_when_a_person_asks_and_the_policy_proves_who_asks() {
    let (stage, client) = stage().await;
    let name = "aborted";
    let spec = r#"
components:
  web:
    kind: Site
    route: {paths: [/]}
    scaling: {min: 2}
    rollout: {strategy: Canary, steps: [50], stepPause: 1h}
traffic: {host: aborted.example, router: Traefik}
release:
  version: 1.0.0
  images: [{component: web, image: "registry.example/web:1"}]
"#;
    let mut manifest = stage::make(&client, name, spec).await;
    stage::release(&client, &mut manifest, "2.0.0", &[("web", "2")]).await;
    until_paused(&client, name, "web", 1).await;
    stage::patch_rollout(&client, name, "web", json!({"abort": true})).await;
    let is_back = |app: &Value| {
        says(app, "Ready").1 == "ReleaseRejected"
            && app["status"]["effectiveRelease"]["version"] == "1.0.0"
    };
    let app = until_app(&client, name, "2.0.0 is rejected", is_back).await;
    assert_eq!(app["status"]["rejected"][0]["reason"], "RolloutAborted");
    let healthy = |tag: &'static str| {
        move |rollout: &Value| {
            rollout["status"]["phase"] == "Healthy" && image_of(rollout) == image("web", tag)
        }
    };
    until_child(
        &client,
        &key(Kind::Rollout, name, "web"),
        "back on stable",
        healthy("1"),
    )
    .await;

    // No intent counts while the policy is not the expected one. A new operator has surely seen that it is not.
    let [mut weakened, binding] = policy();
    let group = "admissionregistration.k8s.io";
    let bindings = api(
        &client,
        &resource(group, "v1", "ValidatingAdmissionPolicyBinding"),
        "",
    );
    bindings
        .delete("todo-intents", &DeleteParams::default())
        .await
        .unwrap();
    stage.restart_operator().await;
    let intent = retry(&client, "unbound", "the binding is missing").await;
    assert_eq!(intent["status"]["phase"], "Refused");
    assert!(
        intent["status"]["message"]
            .as_str()
            .unwrap()
            .contains("ValidatingAdmissionPolicyBinding todo-intents does not exist"),
        "{intent}"
    );
    weakened["spec"]["failurePolicy"] = json!("Ignore");
    apply(&client, &binding).await;
    apply(&client, &weakened).await;
    stage.restart_operator().await;
    let intent = retry(&client, "weakened", "the policy is weaker").await;
    assert_eq!(intent["status"]["phase"], "Refused");
    assert!(
        intent["status"]["message"]
            .as_str()
            .unwrap()
            .contains("/spec/failurePolicy"),
        "{intent}"
    );
    let app = until_app(&client, name, "is still held back", is_back).await;
    assert_eq!(app["status"]["rejected"].as_array().unwrap().len(), 1);
    assert_eq!(app["status"]["attempts"], Value::Null);

    apply(&client, &policy()[0]).await;
    stage.restart_operator().await;
    let intent = retry(&client, "again", "the load test was wrong").await;
    assert_eq!(intent["status"]["phase"], "Done", "{intent}");
    until_paused(&client, name, "web", 1).await;
    stage::resume(&client, name, "web", 1).await;
    let app = until_app(&client, name, "2.0.0 is proven", |app| {
        is_proven(app, "2.0.0")
    })
    .await;
    assert_eq!(app["status"]["attempts"]["web"], 1);
    assert_eq!(app["status"]["rejected"], Value::Null);
    until_child(
        &client,
        &key(Kind::Rollout, name, "web"),
        "2.0.0 is stable",
        healthy("2"),
    )
    .await;
}
