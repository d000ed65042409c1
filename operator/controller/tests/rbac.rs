//! What the operator may do is what it does: under an audit log of the real API server, every permission that
//! `kustomize/overlays/host` grants is exercised, and none that the operator needs is missing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panic")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, Subject,
};
use kube::Client;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use localcluster::{Cluster, Config, Kafka, Models, Node};
use serde_json::{Value, json};
use todo_operator_core::child::ChildKey;
use todo_operator_core::kind::Kind;

use support::{Operator, app, apply, audited, child, children, environment, until, until_ready};

const OUR_GROUP: &str = "todo-operator.dev";
/// Most permissions of the core install outside of our own group.
const CORE_BUDGET: usize = 80;
/// Most permissions of a component on one kind.
const COMPONENT_BUDGET: usize = 6;

/// `(group, resource or resource/subresource, verb)`.
type Permission = (String, String, String);

/// The rules that bind the operator, by the name of their role.
async fn granted(client: &Client) -> BTreeMap<String, Vec<PolicyRule>> {
    let is_operator = |subjects: &Option<Vec<Subject>>| {
        let found = |s: &Subject| {
            s.name == support::OPERATOR && s.namespace.as_deref() == Some(support::OPERATOR)
        };
        subjects.iter().flatten().any(found)
    };
    let mut rules = BTreeMap::new();
    let all = ListParams::default();
    let bindings: Api<ClusterRoleBinding> = Api::all(client.clone());
    let roles: Api<ClusterRole> = Api::all(client.clone());
    for binding in bindings
        .list(&all)
        .await
        .unwrap()
        .items
        .into_iter()
        .filter(|b| is_operator(&b.subjects))
    {
        let role = roles.get(&binding.role_ref.name).await.unwrap();
        rules.insert(binding.role_ref.name, role.rules.unwrap_or_default());
    }
    let bindings: Api<RoleBinding> = Api::all(client.clone());
    for binding in bindings
        .list(&all)
        .await
        .unwrap()
        .items
        .into_iter()
        .filter(|b| is_operator(&b.subjects))
    {
        let roles: Api<Role> =
            Api::namespaced(client.clone(), &binding.metadata.namespace.unwrap());
        let role = roles.get(&binding.role_ref.name).await.unwrap();
        rules.insert(
            format!("{} in its namespace", binding.role_ref.name),
            role.rules.unwrap_or_default(),
        );
    }
    rules
}

fn permissions(rules: &[PolicyRule]) -> BTreeSet<Permission> {
    let mut all = BTreeSet::new();
    for rule in rules {
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                for verb in &rule.verbs {
                    all.insert((group.clone(), resource.clone(), verb.clone()));
                }
            }
        }
    }
    all
}

/// What the operator did. Server-side apply of an object that is not there needs `create` beside `patch`.
fn exercised(cluster: &Cluster) -> BTreeSet<Permission> {
    let (events, _) = audited(cluster, support::OPERATOR_USER, 0);
    let mut all = BTreeSet::new();
    for event in events {
        assert_ne!(
            event.code, 403,
            "the operator lacks a permission: {event:?}"
        );
        let resource = match event.subresource.as_str() {
            "" => event.resource.clone(),
            subresource => format!("{}/{subresource}", event.resource),
        };
        let mut verbs = vec![event.verb.as_str()];
        if event.verb == "patch" && event.code == 201 {
            verbs.push("create");
        }
        for verb in verbs {
            all.insert((event.group.clone(), resource.clone(), verb.to_owned()));
        }
    }
    all
}

/// An application that has nothing but one component, at a version.
fn tiny(namespace: &str, version: u32) -> Value {
    let spec = format!(
        "{{components: {{tiny: {{kind: Service}}}}, traffic: {{router: None}}, deletionPolicy: Delete,
           release: {{version: {version}.0.0, images: [{{component: tiny, image: 'registry.example/tiny:{version}'}}]}}}}"
    );
    app(namespace, "demo", &spec)
}

/// Makes children of every kind, changes some, and lets all of them go again.
async fn live_through_everything(cluster: &Cluster, client: &Client) {
    let kafka = cluster.kafka_bootstrap().unwrap();
    apply(client, &support::namespace("kafka")).await;
    let variants = [
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
    ];
    let lives = variants.map(async |(name, spec, environment_spec)| {
        let fill = |text: &str| text.replace("NAME", name).replace("KAFKA", &kafka);
        environment(client, name, &fill(environment_spec)).await;
        let mut manifest = app(name, "demo", &fill(spec));
        manifest["spec"]["deletionPolicy"] = json!("Delete");
        apply(client, &manifest).await;
        until_ready(client, &manifest).await;
        // A new image behind a migration: meanwhile the pods stay on the last good release, whose revision is read.
        for image in manifest["spec"]["release"]["images"]
            .as_array_mut()
            .unwrap()
        {
            image["image"] = json!(image["image"].as_str().unwrap().replace("1.0.0", "2.0.0"));
        }
        apply(client, &manifest).await;
        until_ready(client, &manifest).await;
        // All but one component is no longer wanted.
        apply(client, &tiny(name, 1)).await;
        until_ready(client, &tiny(name, 1)).await;
    });
    futures::future::join_all(lives).await;
    // Revisions are deleted once there are more than are kept.
    let revisions = todo_operator_core::release::REVISIONS_KEPT as u32 + 2;
    for version in 2..revisions {
        apply(client, &tiny("traefik", version)).await;
        until_ready(client, &tiny("traefik", version)).await;
    }
    correct_drift_twice(client).await;
    // Policies that are no longer wanted go.
    environment_without_policy(client, "traefik").await;
    retry(client, "traefik").await;
}

/// Told once, an Event is created; told again, it is patched.
async fn correct_drift_twice(client: &Client) {
    let key = ChildKey::new(Kind::Service, "traefik", "demo-tiny");
    for _ in 0..2 {
        let resource = todo_operator_controller::apply::api_resource(key.kind);
        let uid = child(client, &key).await.unwrap()["metadata"]["uid"].clone();
        support::api(client, &resource, &key.namespace)
            .delete(&key.name, &Default::default())
            .await
            .unwrap();
        until("the Service is made again", async || {
            child(client, &key)
                .await
                .filter(|service| service["metadata"]["uid"] != uid)
        })
        .await;
        until_ready(client, &tiny("traefik", 2)).await;
    }
}

async fn environment_without_policy(client: &Client, name: &str) {
    let patch = json!({"spec": {"policy": {"quota": null, "limitRange": null, "network": {"disabled": true}}}});
    support::api(client, &support::environments(), "")
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

/// A person asks to try again, and is answered.
async fn retry(client: &Client, environment: &str) {
    let me: Api<SelfSubjectReview> = Api::all(client.clone());
    let me = me
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await
        .unwrap();
    let user = me.status.unwrap().user_info.unwrap().username.unwrap();
    let intent = json!({
        "apiVersion": "todo-operator.dev/v1alpha1",
        "kind": "TodoIntent",
        "metadata": {"name": "again"},
        "spec": {"verb": "Retry", "environment": environment, "app": "demo", "reason": "a test", "user": user},
    });
    apply(client, &intent).await;
    until("the intent is answered", async || {
        let intent = support::object(
            client,
            &support::resource(OUR_GROUP, "v1alpha1", "TodoIntent"),
            "",
            "again",
        )
        .await?;
        (intent["status"]["phase"] == "Refused").then_some(())
    })
    .await;
}

#[tokio::test]
async fn every_permission_is_used_and_none_is_dangerous() {
    let config = Config::control_plane()
        .controllers()
        .node(Node::Kwok { count: 1 })
        .argo_rollouts()
        .kafka(Kafka::default())
        .peers(support::PEERS)
        .models(Models::Thread)
        .audit();
    let cluster = support::cluster(config).await;
    let client = cluster.client().unwrap();
    let roles = granted(&client).await;
    assert_eq!(
        roles.len(),
        8,
        "core, its Lease and six peers: {:?}",
        roles.keys()
    );
    for (role, rules) in &roles {
        is_harmless(role, rules);
    }
    let outside = |permission: &&Permission| permission.0 != OUR_GROUP;
    let core: BTreeSet<_> = ["todo-operator", "todo-operator in its namespace"]
        .iter()
        .flat_map(|role| permissions(&roles[*role]))
        .collect();
    let core = core.iter().filter(outside).count();
    assert!(
        core <= CORE_BUDGET,
        "the core install has {core} permissions outside of {OUR_GROUP}"
    );
    for (role, rules) in roles
        .iter()
        .filter(|(role, _)| role.starts_with("todo-operator-"))
    {
        let mut by_kind: BTreeMap<_, usize> = BTreeMap::new();
        for (group, resource, _) in permissions(rules) {
            *by_kind.entry((group, resource)).or_default() += 1;
        }
        let most = by_kind.values().max().unwrap();
        assert!(*most <= COMPONENT_BUDGET, "{role}: {by_kind:?}");
    }

    let operator = Operator::start_ahead(&cluster).await;
    live_through_everything(&cluster, &client).await;
    operator.stop().await;
    let granted: BTreeSet<Permission> = roles
        .values()
        .flat_map(|rules| permissions(rules))
        .collect();
    let mut exercised = exercised(&cluster);
    // An Event is patched only where the same one is told again within six minutes: chance decides whether that was so.
    exercised.insert((
        "events.k8s.io".to_owned(),
        "events".to_owned(),
        "patch".to_owned(),
    ));
    let unused: Vec<_> = granted.difference(&exercised).collect();
    assert_eq!(unused, Vec::<&Permission>::new(), "granted and never used");
}

/// No wildcard, nothing on Secrets, no way into a pod or to more permissions.
fn is_harmless(role: &str, rules: &[PolicyRule]) {
    for rule in rules {
        assert!(
            rule.non_resource_urls.iter().flatten().next().is_none(),
            "{role}: {rule:?}"
        );
    }
    for (group, resource, verb) in permissions(rules) {
        let said = format!("{role}: {verb} {resource} in {group:?}");
        for part in [&group, &resource, &verb] {
            assert!(!part.contains('*'), "{said}");
        }
        assert_ne!(resource, "secrets", "{said}");
        assert!(
            !resource.starts_with("pods/") && !resource.starts_with("nodes"),
            "{said}"
        );
        assert!(
            !["escalate", "bind", "impersonate", "deletecollection"].contains(&verb.as_str()),
            "{said}"
        );
        assert_ne!(group, "rbac.authorization.k8s.io", "{said}");
    }
}
