//! The commands that ask a cluster, against a real API server. No operator runs: statuses are written by hand.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

mod support;

use std::collections::BTreeMap;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde::Deserialize;
use serde_json::{Value, json};
use support::{
    app, apply, cluster, create, environment, manifests, said, set_status, stage, todoctl,
};
use todo_operator_api::intent::Verb;
use todo_operator_api::{TodoApp, TodoEnvironment, TodoIntent};
use todo_operator_core::render;
use todo_operator_core::validate::{self, Surroundings};

/// Makes what the operator makes of an app and its environment.
async fn operate(client: &Client, app: &Value, environment: &Value) {
    let app: TodoApp = serde_json::from_value(app.clone()).unwrap();
    let environment: TodoEnvironment = serde_json::from_value(environment.clone()).unwrap();
    let environments = [&environment];
    let (holders, partitions) = (BTreeMap::new(), BTreeMap::new());
    let surroundings = Surroundings {
        environments: &environments,
        holders: &holders,
        partitions: &partitions,
    };
    let valid = validate::validate(&app, &surroundings).unwrap();
    let inputs = render::pod_inputs(&valid);
    let named: Vec<_> = inputs
        .iter()
        .map(|(name, inputs)| (name.as_str(), inputs))
        .collect();
    let waves = [
        todo_operator_core::environment::render(&environment),
        render::policy(&valid, &named),
        render::storage(&valid),
        render::roles(&valid),
        render::databases(&valid),
        render::migrations(&valid, &inputs),
        render::services(&valid),
        render::workloads(&valid, &inputs),
        render::traffic(&valid),
    ];
    for child in waves.into_iter().flatten() {
        apply(client, child.body).await;
    }
}

#[tokio::test]
async fn a_difference_is_what_applying_would_change() {
    let cluster = cluster().await;
    let client = cluster.client().unwrap();
    let namespace = "diff";
    let wanted = app(namespace, "example.com/api:1");
    let (_directory, file) = manifests(&[&environment(namespace), &wanted]);
    let file = file.to_str().unwrap();

    let (code, text) = said(&todoctl(cluster.kubeconfig(), &["diff", file]).await);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("new: Namespace diff\n"), "{text}");
    assert!(text.contains("new: Deployment diff/demo-api\n"), "{text}");

    let (_, live_environment) = stage(&client, namespace).await;
    let live_app = apply(&client, wanted.clone()).await;
    operate(&client, &live_app, &live_environment).await;
    let output = todoctl(cluster.kubeconfig(), &["diff", file]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");

    // Another image, one component less, another configuration, more replicas; and a topic that is not there yet, behind
    // which everything else would wait.
    let mut changed = app(namespace, "example.com/api:2");
    changed["spec"]["components"]
        .as_object_mut()
        .unwrap()
        .remove("web");
    changed["spec"]["release"]["images"]
        .as_array_mut()
        .unwrap()
        .pop();
    changed["spec"]["release"]["config"]["api"]["LEVEL"] = json!("debug");
    changed["spec"]["components"]["api"]["scaling"] = json!({"min": 3});
    changed["spec"]["components"]["api"]["produces"] = json!(["orders"]);
    changed["spec"]["messaging"] = json!({"topics": {"orders": {}}});
    let mut with_kafka = environment(namespace);
    with_kafka["spec"]["messaging"] =
        json!({"provider": "Direct", "bootstrapServers": "kafka:9092"});
    let (_directory, file) = manifests(&[&changed, &with_kafka]);
    let (code, text) = said(
        &todoctl(
            cluster.kubeconfig(),
            &["diff", file.to_str().unwrap(), "--color", "never"],
        )
        .await,
    );
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains(
            "--- Deployment diff/demo-api (live)\n+++ Deployment diff/demo-api (wanted)\n"
        ),
        "{text}"
    );
    assert!(
        text.lines()
            .any(|line| line.starts_with('-') && line.ends_with("image: example.com/api:1")),
        "{text}"
    );
    assert!(
        text.lines()
            .any(|line| line.starts_with('+') && line.ends_with("image: example.com/api:2")),
        "{text}"
    );
    assert!(text.contains("\n-  replicas: 1\n"), "{text}");
    assert!(text.contains("\n+  replicas: 3\n"), "{text}");
    assert!(text.contains("new: topic diff.orders\n"), "{text}");
    assert!(text.contains("new: ConfigMap diff/demo-api-"), "{text}");
    assert!(text.contains("removed: Service diff/demo-web\n"), "{text}");
    assert!(text.contains("Deployment diff/demo-web"), "{text}");
    assert!(
        !text.contains("removed: ConfigMap"),
        "the live Deployment still names it: {text}"
    );
}

/// Every kind that the template repository needs, as an API server with the peers' resources stores it.
#[tokio::test]
async fn the_template_repository_does_not_differ_from_what_it_becomes() {
    let cluster = cluster().await;
    let client = cluster.client().unwrap();
    let repository = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config-repo");
    for stage in ["test", "production"] {
        let paths = [
            format!("{repository}/environments/{stage}"),
            format!("{repository}/platform/{stage}"),
        ];
        let mut environment = None;
        let mut app = None;
        for path in &paths {
            let built = std::process::Command::new(cluster.kubectl().unwrap())
                .args(["kustomize", path])
                .output()
                .unwrap();
            let built = String::from_utf8(built.stdout).unwrap();
            for document in serde_yaml::Deserializer::from_str(&built) {
                let object = Value::deserialize(document).unwrap();
                match object["kind"].as_str().unwrap() {
                    "TodoApp" => app = Some(object),
                    "TodoEnvironment" => environment = Some(object),
                    "Namespace" => {
                        create(&client, object).await;
                    }
                    _ => {}
                }
            }
        }
        let environment = create(&client, environment.unwrap()).await;
        let app = create(&client, app.unwrap()).await;
        operate(&client, &app, &environment).await;
        let topics = json!({
            "orders": {"physicalName": format!("todo-{stage}.orders"), "partitions": 6, "ready": true},
            "processed": {"physicalName": format!("todo-{stage}.processed"), "partitions": 6, "ready": true},
            "worker.dlq": {"physicalName": format!("todo-{stage}.worker.dlq"), "partitions": 1, "ready": true},
        });
        set_status(&client, &app, json!({"topics": topics})).await;
        let output = todoctl(cluster.kubeconfig(), &["diff", &paths[0], &paths[1]]).await;
        assert_eq!(said(&output), (0, "no difference\n".to_owned()), "{stage}");
    }
}

#[tokio::test]
async fn a_change_that_the_api_server_would_refuse_is_refused_before() {
    let cluster = cluster().await;
    let client = cluster.client().unwrap();
    let namespace = "refused";
    let mut wanted = app(namespace, "example.com/api:1");
    wanted["spec"]["messaging"] = json!({"topics": {"orders": {"partitions": 6}}});
    let mut live_environment = environment(namespace);
    live_environment["spec"]["messaging"] =
        json!({"provider": "Direct", "bootstrapServers": "kafka:9092"});
    apply(
        &client,
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
    )
    .await;
    apply(&client, live_environment).await;
    apply(&client, wanted.clone()).await;

    wanted["spec"]["messaging"]["topics"]["orders"]["partitions"] = json!(3);
    let (_directory, file) = manifests(&[&wanted]);
    let (code, text) =
        said(&todoctl(cluster.kubeconfig(), &["diff", file.to_str().unwrap()]).await);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("manifests.json:"), "{text}");
    assert!(text.contains("partitions never shrink"), "{text}");
}

fn condition(kind: &str, status: &str, reason: &str, message: &str, generation: &Value) -> Value {
    json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z",
    })
}

/// The status of an app whose component `api` has the state.
fn status(app: &Value, state: &str) -> Value {
    let generation = &app["metadata"]["generation"];
    let ready = state == "Healthy";
    let (status, reason) = if ready {
        ("True", "Ready".to_owned())
    } else {
        ("False", format!("Component{state}"))
    };
    json!({
        "observedGeneration": generation,
        "ready": if ready { "2/2" } else { "1/2" },
        "effectiveRelease": {"fingerprint": "f", "version": "v1", "reason": "Spec"},
        "components": {
            "api": {"kind": "Service", "state": state, "desired": 2, "ready": if ready { 2 } else { 1 }, "image": "example.com/api:1"},
            "web": {"kind": "Service", "state": "Healthy", "desired": 1, "ready": 1},
        },
        "conditions": [
            condition("Ready", status, &reason, "api: not there", generation),
            condition("ComponentsReady", status, &reason, "api: not there", generation),
        ],
    })
}

#[tokio::test]
async fn status_draws_a_tree_and_prints_one_json_document() {
    let cluster = cluster().await;
    let client = cluster.client().unwrap();
    let namespace = "shown";
    let (_, live_environment) = stage(&client, namespace).await;
    let live = apply(&client, app(namespace, "example.com/api:1")).await;

    let run = async |arguments: &[&str]| said(&todoctl(cluster.kubeconfig(), arguments).await);
    let (code, text) = run(&["status", "-n", namespace]).await;
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("… demo the operator has not seen it yet"),
        "{text}"
    );

    set_status(&client, &live, status(&live, "Progressing")).await;
    let ready = condition(
        "Ready",
        "True",
        "Ready",
        "",
        &live_environment["metadata"]["generation"],
    );
    set_status(&client, &live_environment, json!({"conditions": [ready]})).await;
    let (code, text) = run(&["status", "demo", "-n", namespace]).await;
    assert_eq!(code, 0, "{text}");
    assert_eq!(
        text,
        "✓ shown stage test, namespace shown\n\
         └─ ✗ demo ComponentProgressing 1/2, v1\n   \
         ├─ … api Progressing 1/2 api:1\n   \
         └─ ✓ web Healthy 1/1\n"
    );

    let (_, text) = run(&["status", "-A", "-o", "json"]).await;
    let document: Value = serde_json::from_str(&text).unwrap();
    let environments = document["environments"].as_array().unwrap();
    let shown = environments
        .iter()
        .find(|environment| environment["name"] == namespace)
        .unwrap();
    assert_eq!(
        shown["apps"][0]["status"]["components"]["api"]["state"],
        "Progressing"
    );

    let (code, text) = run(&["status", "nothing", "-n", namespace]).await;
    assert_eq!(code, 2);
    assert!(
        text.contains("there is no TodoApp nothing in namespace shown"),
        "{text}"
    );
}

/// Objects below the app's Deployment `demo-api`, ending at a pod that cannot start.
async fn failing_pod(client: &Client, live: &Value, namespace: &str) {
    let labels = json!({
        "app.kubernetes.io/managed-by": "todo-operator",
        "todo-operator.dev/app": "demo",
        "todo-operator.dev/component": "api",
    });
    let owned_by = |owner: &Value, kind: &str| {
        json!([{
            "apiVersion": if kind == "TodoApp" { "todo-operator.dev/v1alpha1" } else { "apps/v1" },
            "kind": kind, "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"], "controller": true,
        }])
    };
    let containers = json!([{"name": "api", "image": "example.com/api:1"}]);
    let spec = json!({
        "replicas": 2,
        "selector": {"matchLabels": {"todo-operator.dev/app": "demo"}},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
    });
    let metadata = |name: &str, owners: Value| json!({"name": name, "namespace": namespace, "labels": labels, "ownerReferences": owners});
    let workload = |kind: &str, name: &str, owners: Value| json!({"apiVersion": "apps/v1", "kind": kind, "metadata": metadata(name, owners), "spec": spec});
    let deployment = create(
        client,
        workload("Deployment", "demo-api", owned_by(live, "TodoApp")),
    )
    .await;
    let counts = json!({
        "observedGeneration": deployment["metadata"]["generation"],
        "replicas": 2, "updatedReplicas": 2, "availableReplicas": 1, "readyReplicas": 1,
    });
    set_status(client, &deployment, counts).await;
    let replica_set = create(
        client,
        workload(
            "ReplicaSet",
            "demo-api-5d",
            owned_by(&deployment, "Deployment"),
        ),
    )
    .await;
    create(client, json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": namespace}}))
        .await;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": metadata("demo-api-5d-x", owned_by(&replica_set, "ReplicaSet")),
        "spec": {"containers": containers},
    });
    let pod = create(client, pod).await;
    let waiting = json!({"phase": "Pending", "containerStatuses": [{
        "name": "api", "image": "", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"waiting": {"reason": "CreateContainerConfigError", "message": "secret \"x\" not found"}},
    }]});
    set_status(client, &pod, waiting).await;
}

#[tokio::test]
async fn why_goes_down_to_the_pod_and_says_when_all_is_well() {
    let cluster = cluster().await;
    let client = cluster.client().unwrap();
    let namespace = "explained";
    let (_, live_environment) = stage(&client, namespace).await;
    let live = apply(&client, app(namespace, "example.com/api:1")).await;
    let run = async |arguments: &[&str]| said(&todoctl(cluster.kubeconfig(), arguments).await);

    let (code, text) = run(&["why", "demo", "-n", namespace]).await;
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains(
            "the operator has not looked at this spec (generation 1) yet; it has seen none"
        ),
        "{text}"
    );

    failing_pod(&client, &live, namespace).await;
    set_status(&client, &live, status(&live, "Progressing")).await;
    let (code, text) = run(&["why", "demo", "-n", namespace]).await;
    assert_eq!(code, 1, "{text}");
    assert_eq!(
        text,
        "demo in explained is not ready\n\
         └─ component api is Progressing\n   \
         └─ Deployment demo-api: NotAvailable: 1 of 2 replicas are available\n      \
         └─ ReplicaSet demo-api-5d\n         \
         └─ Pod demo-api-5d-x: CreateContainerConfigError: container api: secret \"x\" not found\n"
    );
    let (code, text) = run(&["why", "demo/api", "-n", namespace]).await;
    assert_eq!(code, 1, "{text}");
    assert!(
        text.starts_with("component api of demo in explained is Progressing\n"),
        "{text}"
    );
    assert!(text.contains("secret \"x\" not found"), "{text}");
    let (code, text) = run(&["why", "demo/web", "-n", namespace]).await;
    assert_eq!(
        (code, text.as_str()),
        (
            0,
            "component web of demo in explained is healthy, 1 of 1 available\n"
        )
    );

    let generation = &live_environment["metadata"]["generation"];
    let ready = condition("Ready", "True", "Ready", "", generation);
    set_status(
        &client,
        &live_environment,
        json!({"observedGeneration": generation, "conditions": [ready]}),
    )
    .await;
    let (code, text) = run(&["why", namespace]).await;
    assert_eq!(code, 1, "{text}");
    assert!(
        text.starts_with("environment explained is not ready\n└─ demo in explained is not ready\n"),
        "{text}"
    );

    set_status(&client, &live, status(&live, "Healthy")).await;
    assert_eq!(
        run(&["why", "demo", "-n", namespace]).await,
        (0, "demo in explained is ready, running v1\n".to_owned())
    );
    assert_eq!(
        run(&["why", namespace]).await,
        (
            0,
            "environment explained is ready, with 1 applications\n".to_owned()
        )
    );

    let (code, text) = run(&["why", "demo/nothing", "-n", namespace]).await;
    assert_eq!(code, 2);
    assert!(
        text.contains("there is no component nothing in demo in explained: it has api, web"),
        "{text}"
    );
    let (code, text) = run(&["why", "nothing"]).await;
    assert_eq!(code, 2);
    assert!(
        text.contains("there is no TodoApp nothing in namespace default"),
        "{text}"
    );
}

/// Installs the policy that guards intents.
async fn guard_intents(client: &Client) {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../kustomize/base/intents-policy.yaml"
    );
    for document in serde_yaml::Deserializer::from_str(&std::fs::read_to_string(file).unwrap()) {
        apply(client, Value::deserialize(document).unwrap()).await;
    }
}

/// A kubeconfig of somebody who may make intents, and may not retry.
async fn bystander(client: &Client, namespace: &str) -> tempfile::NamedTempFile {
    let metadata = json!({"name": "bystander", "namespace": namespace});
    create(
        client,
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}),
    )
    .await;
    let rule = |resources: Value, verbs: Value| json!({"apiGroups": ["todo-operator.dev"], "resources": resources, "verbs": verbs});
    let rules = json!([
        rule(
            json!(["todointents"]),
            json!(["create", "get", "list", "watch"])
        ),
        rule(
            json!(["todoapps", "todoenvironments"]),
            json!(["get", "list"])
        ),
    ]);
    let rbac = "rbac.authorization.k8s.io";
    let version = format!("{rbac}/v1");
    let metadata = json!({"name": "bystander"});
    create(
        client,
        json!({"apiVersion": version, "kind": "ClusterRole", "metadata": metadata, "rules": rules}),
    )
    .await;
    create(
        client,
        json!({
            "apiVersion": version, "kind": "ClusterRoleBinding", "metadata": metadata,
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "bystander"},
            "subjects": [{"kind": "ServiceAccount", "name": "bystander", "namespace": namespace}],
        }),
    )
    .await;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let request = TokenRequest {
        spec: Some(TokenRequestSpec::default()),
        ..TokenRequest::default()
    };
    let answer = accounts
        .create_token_request("bystander", &PostParams::default(), &request)
        .await
        .unwrap();
    let token = answer.status.unwrap().token.unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(
        file.path(),
        cluster().await.token_kubeconfig(&token).unwrap(),
    )
    .unwrap();
    file
}

#[tokio::test]
async fn retry_makes_an_intent_and_tells_what_became_of_it() {
    let cluster = cluster().await;
    let client = cluster.client().unwrap();
    let namespace = "retried";
    stage(&client, namespace).await;
    apply(&client, app(namespace, "example.com/api:1")).await;
    guard_intents(&client).await;
    let retry = |more: &[&'static str]| {
        let mut arguments = vec![
            "retry",
            "demo",
            "-n",
            "retried",
            "--reason",
            "the database is back",
        ];
        arguments.extend(more);
        arguments
    };

    // A policy is in force a moment after it was made.
    let bystander = bystander(&client, namespace).await;
    let mut refused = None;
    for _ in 0..200 {
        let (code, text) = said(&todoctl(bystander.path(), &retry(&["--wait", "0s"])).await);
        if code == 1 {
            refused = Some(text);
            break;
        }
    }
    assert_eq!(
        refused.as_deref(),
        Some(
            "refused: system:serviceaccount:retried:bystander must not retry in environment retried: RBAC verb retry on \
             todoenvironments.todo-operator.dev\n"
        )
    );

    // Who may not look at everything is told so.
    let (code, text) = said(&todoctl(bystander.path(), &["why", "demo", "-n", namespace]).await);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("└─ not looked at: "), "{text}");
    assert!(text.contains("cannot list resource"), "{text}");

    let intents: Api<TodoIntent> = Api::all(client.clone());
    for stray in intents.list(&ListParams::default()).await.unwrap() {
        let end = json!({"status": {"phase": "Ended"}});
        intents
            .patch_status(
                &stray.name_any(),
                &PatchParams::default(),
                &Patch::Merge(end),
            )
            .await
            .unwrap();
    }
    let (code, text) = said(&todoctl(cluster.kubeconfig(), &retry(&["--wait", "1ms"])).await);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("was not carried out within"), "{text}");

    for (phase, code, expected) in [
        ("Done", 0, "done: api is tried again\n"),
        ("Refused", 1, "refused: api is tried again\n"),
    ] {
        let operator = answer(intents.clone(), phase);
        let arguments = retry(&["--wait", "5m", "--release", "v1"]);
        let (output, intent) = tokio::join!(todoctl(cluster.kubeconfig(), &arguments), operator);
        assert_eq!(said(&output), (code, expected.to_owned()));
        assert!(intent.name_any().starts_with("retry-demo-"));
        assert_eq!(intent.spec.verb, Verb::Retry);
        assert_eq!(intent.spec.environment, "retried");
        assert_eq!(intent.spec.app.as_deref(), Some("demo"));
        assert_eq!(intent.spec.reason, "the database is back");
        assert!(
            intent
                .spec
                .groups
                .contains(&"system:authenticated".to_owned()),
            "{:?}",
            intent.spec.groups
        );
    }
}

/// Plays the operator: gives the next intent for release v1 a phase.
async fn answer(intents: Api<TodoIntent>, phase: &str) -> TodoIntent {
    loop {
        let all = intents.list(&ListParams::default()).await.unwrap();
        let open = all
            .into_iter()
            .find(|intent| intent.spec.release.is_some() && intent.status.is_none());
        if let Some(intent) = open {
            let status = json!({"status": {"phase": phase, "message": "api is tried again"}});
            intents
                .patch_status(
                    &intent.name_any(),
                    &PatchParams::default(),
                    &Patch::Merge(status),
                )
                .await
                .unwrap();
            return intent;
        }
    }
}
