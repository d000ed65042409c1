//! What the operator may do is what it does: under an audit log of the real API server, every permission that
//! `kustomize/overlays/host` grants is exercised, and none that the operator needs is missing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panic")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, Subject,
};
use kube::Client;
use kube::api::{Api, ListParams};
use localcluster::Cluster;

use support::{Operator, apply, audited, life, until_ready};

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

/// Makes children of every kind, changes some, and lets all of them go again.
async fn live_through_everything(cluster: &Cluster, client: &Client) {
    let kafka = cluster.kafka_bootstrap().unwrap();
    apply(client, &support::namespace("kafka")).await;
    let lives = life::VARIANTS.map(async |variant| {
        life::make_and_release(client, &kafka, variant).await;
        let (name, ..) = variant;
        apply(client, &life::tiny(name, 1)).await;
        until_ready(client, &life::tiny(name, 1)).await;
    });
    futures::future::join_all(lives).await;
    life::leave_components(client, "traefik").await;
    // Told once, an Event is created; told again, it is patched.
    for _ in 0..2 {
        life::lose_service(client, "traefik", "demo-tiny").await;
        until_ready(client, &life::tiny("traefik", 2)).await;
    }
    life::drop_policies(client, "traefik").await;
    assert_eq!(life::retry(client, "traefik").await, "Refused");
}

#[tokio::test]
async fn every_permission_is_used_and_none_is_dangerous() {
    let cluster = support::cluster(life::cluster().audit()).await;
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
