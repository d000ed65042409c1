//! An application from its first apply to steady state: everything that is rendered is accepted by the real API server
//! under strict field validation, it becomes Ready, and then nothing is written any more.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panic")]

mod support;

use std::collections::BTreeMap;

use kube::Client;
use kube::api::{Patch, PatchParams};
use localcluster::Cluster;
use serde_json::{Value, json};
use todo_operator_core::child::ChildKey;
use todo_operator_core::kind::Kind;

use support::{
    Operator, app, apply, audited, children, condition, environment, until, until_ready,
};

/// Manifests of applications and their environments: each has a router, a provider of topics and a topology of databases
/// of its own.
const VARIANTS: [(&str, &str, &str); 3] = [
    (
        "traefik",
        include_str!("manifests/traefik.yaml"),
        include_str!("manifests/traefik-environment.yaml"),
    ),
    (
        "gateway",
        include_str!("manifests/gateway.yaml"),
        include_str!("manifests/gateway-environment.yaml"),
    ),
    (
        "external",
        include_str!("manifests/external.yaml"),
        include_str!("manifests/external-environment.yaml"),
    ),
];

/// Kinds that each variant must have made.
const KINDS: [(&str, &[Kind]); 3] = [
    (
        "traefik",
        &[
            Kind::ServiceAccount,
            Kind::ConfigMap,
            Kind::Service,
            Kind::ControllerRevision,
            Kind::Deployment,
            Kind::Job,
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
            Kind::ResourceQuota,
            Kind::LimitRange,
        ],
    ),
    (
        "gateway",
        &[
            Kind::Deployment,
            Kind::Rollout,
            Kind::Cluster,
            Kind::Database,
            Kind::DatabaseRole,
            Kind::ScaledObject,
            Kind::TriggerAuthentication,
            Kind::HttpRoute,
            Kind::AnalysisTemplate,
        ],
    ),
    (
        "external",
        &[Kind::Rollout, Kind::CronJob, Kind::Job, Kind::Service],
    ),
];

async fn start() -> Cluster {
    let config = support::life::cluster().audit();
    support::cluster(config).await
}

/// Makes every variant, each in its environment; the applications once they are Ready.
async fn make_all(client: &Client, kafka: &str) -> BTreeMap<&'static str, Value> {
    apply(client, &support::namespace("kafka")).await;
    let made = VARIANTS.map(async |(name, spec, environment_spec)| {
        let fill = |text: &str| text.replace("NAME", name).replace("KAFKA", kafka);
        environment(client, name, &fill(environment_spec)).await;
        let manifest = app(name, "demo", &fill(spec));
        apply(client, &manifest).await;
        (name, until_ready(client, &manifest).await)
    });
    futures::future::join_all(made).await.into_iter().collect()
}

/// All children of all variants by key, each with what changes when the operator writes it. (Its resourceVersion changes
/// when others write its status, too.)
async fn versions(client: &Client) -> BTreeMap<ChildKey, String> {
    let mut versions = BTreeMap::new();
    for namespace in ["traefik", "gateway", "external", "kafka"] {
        for (key, child) in children(client, namespace).await {
            let metadata = &child["metadata"];
            let managers = metadata["managedFields"].as_array().unwrap();
            let ours = managers
                .iter()
                .find(|entry| entry["manager"] == "todo-operator");
            let kept = json!([metadata["uid"], metadata["generation"], ours]);
            versions.insert(key, kept.to_string());
        }
    }
    versions
}

/// Touches every application until the operator has looked at each once more, `times` over: what it would write, it has
/// written then.
async fn reconcile_again(client: &Client, operator: &Operator, times: u64) {
    for round in 0..times {
        let before = operator.reconciles();
        for (namespace, ..) in VARIANTS {
            let patch = json!({"metadata": {"annotations": {"example.com/touched": format!("{before}-{round}")}}});
            support::api(client, &support::apps(), namespace)
                .patch("demo", &PatchParams::default(), &Patch::Merge(&patch))
                .await
                .unwrap();
        }
        until("every application is reconciled", async || {
            (operator.reconciles() >= before + VARIANTS.len() as u64).then_some(())
        })
        .await;
    }
}

/// Waits until a round of reconciles writes nothing: statuses of peers may come in late.
async fn until_quiet(cluster: &Cluster, client: &Client, operator: &Operator) {
    until("a round of reconciles without a write", async || {
        let (_, begun) = audited(cluster, support::OPERATOR_USER, 0);
        reconcile_again(client, operator, 1).await;
        let (events, _) = audited(cluster, support::OPERATOR_USER, begun);
        (!events.iter().any(|event| event.is_write())).then_some(())
    })
    .await;
}

/// Argo Rollouts moves weights of the Gateway API by a plugin that this controller has not got: the Rollout does not become
/// healthy here, but all of it is accepted.
async fn accepts_a_canary_behind_the_gateway_api(client: &Client) {
    let spec = "{components: {web: {kind: Site, route: {paths: [/]}, rollout: {strategy: Canary}}},
        traffic: {router: GatewayAPI, host: canary.example},
        release: {images: [{component: web, image: registry.example/web:1}]}}";
    let manifest = app("gateway", "canary", spec);
    apply(client, &manifest).await;
    support::until_condition(client, &manifest, "TrafficReady", "True").await;
    support::until_condition(client, &manifest, "Applied", "True").await;
    let made = children(client, "gateway").await;
    let rollout = &made[&ChildKey::new(Kind::Rollout, "gateway", "canary-web")];
    let plugins = &rollout["spec"]["strategy"]["canary"]["trafficRouting"]["plugins"];
    assert_eq!(
        plugins["argoproj-labs/gatewayAPI"]["httpRoute"],
        "canary-web"
    );
    assert!(made.contains_key(&ChildKey::new(Kind::HttpRoute, "gateway", "canary-web")));
    let gone = support::api(client, &support::apps(), "gateway")
        .delete("canary", &Default::default())
        .await;
    gone.unwrap();
}

#[tokio::test]
async fn an_application_becomes_ready_and_then_nothing_is_written_any_more() {
    let cluster = start().await;
    let client = cluster.client().unwrap();
    let operator = Operator::start(&cluster).await;
    let apps = make_all(&client, &cluster.kafka_bootstrap().unwrap()).await;

    for (name, kinds) in KINDS {
        let app = &apps[name];
        for kind in [
            "Ready",
            "Accepted",
            "Applied",
            "DatabasesReady",
            "TopicsReady",
            "Migrated",
            "Released",
            "ComponentsReady",
            "TrafficReady",
        ] {
            let condition =
                condition(app, kind).unwrap_or_else(|| panic!("{name}: no condition {kind}"));
            assert_eq!(condition["status"], "True", "{name}: {condition}");
        }
        assert_eq!(
            app["status"]["observedGeneration"], app["metadata"]["generation"],
            "{name}"
        );
        let made = children(&client, name).await;
        for kind in kinds {
            assert!(
                made.keys().any(|key| key.kind == *kind),
                "{name}: no {}",
                kind.name()
            );
        }
        support::until_ready(
            &client,
            &json!({"kind": "TodoEnvironment", "metadata": {"name": name}}),
        )
        .await;
    }
    accepts_a_canary_behind_the_gateway_api(&client).await;
    let topics = children(&client, "kafka").await;
    assert_eq!(
        topics.len(),
        2,
        "the topic of gateway and its dead letters: {:?}",
        topics.keys()
    );

    until_quiet(&cluster, &client, &operator).await;
    let (_, begun) = audited(&cluster, support::OPERATOR_USER, 0);
    let before = versions(&client).await;
    reconcile_again(&client, &operator, 5).await;
    let (events, _) = audited(&cluster, support::OPERATOR_USER, begun);
    let writes: Vec<_> = events.iter().filter(|event| event.is_write()).collect();
    assert_eq!(
        writes,
        Vec::<&support::Audited>::new(),
        "steady state writes nothing"
    );

    operator.stop().await;
    let (_, begun) = audited(&cluster, support::OPERATOR_USER, 0);
    let operator = Operator::start(&cluster).await;
    until("every application is reconciled", async || {
        (operator.reconciles() >= VARIANTS.len() as u64).then_some(())
    })
    .await;
    reconcile_again(&client, &operator, 2).await;
    let (events, _) = audited(&cluster, support::OPERATOR_USER, begun);
    let writes: Vec<_> = events.iter().filter(|event| event.is_write()).collect();
    assert_eq!(
        writes,
        Vec::<&support::Audited>::new(),
        "a restart writes nothing"
    );
    assert_eq!(versions(&client).await, before);
    for (name, app) in apps {
        let now = support::object(&client, &support::apps(), name, "demo")
            .await
            .unwrap();
        assert_eq!(
            now["status"], app["status"],
            "{name}: the status is untouched"
        );
    }
    operator.stop().await;
}
