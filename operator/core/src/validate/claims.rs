//! What only one application can have, and who has it.

use std::collections::{BTreeMap, BTreeSet};

use todo_operator_api::component::Component;
use todo_operator_api::data::Topology;
use todo_operator_api::environment::Defaults;
use todo_operator_api::traffic::Router;
use todo_operator_api::{TodoApp, TodoEnvironment};

use super::{Claim, Problems, Scope, resolve, running};
use crate::names;

/// PostgreSQL's port.
const POSTGRES_PORT: i32 = 5432;
/// Services that CloudNativePG makes beside a cluster.
const CLUSTER_SERVICES: [&str; 3] = ["rw", "ro", "r"];

/// Everything that the application claims in its environment. Works on what has not been validated: an application that
/// is older holds its claims even while it is invalid.
pub fn claims(app: &TodoApp, environment: &TodoEnvironment) -> BTreeSet<Claim> {
    claimed(app, environment)
        .into_iter()
        .map(|(claim, _)| claim)
        .collect()
}

pub(super) fn check(scope: &Scope<'_, '_>, problems: &mut Problems) {
    let Some(environment) = scope.environment else {
        return;
    };
    let own = format!("{}/{}", scope.namespace, scope.name);
    let mut claimed_by: BTreeMap<Claim, String> = BTreeMap::new();
    for (claim, field) in claimed(scope.app, environment) {
        if let Some(holder) = scope
            .surroundings
            .holders
            .get(&claim)
            .filter(|holder| **holder != own)
        {
            problems.add(
                &field,
                describe(&claim),
                format!(
                    "{} belongs to the TodoApp {holder}: {}",
                    noun(&claim),
                    remedy(&claim)
                ),
            );
        }
        if let Some(first) = claimed_by.get(&claim) {
            problems.add(
                &field,
                describe(&claim),
                format!("{} belongs to {first}: {}", noun(&claim), remedy(&claim)),
            );
        } else {
            claimed_by.insert(claim, field);
        }
    }
}

/// Claims, each with the field that makes it.
fn claimed(app: &TodoApp, environment: &TodoEnvironment) -> Vec<(Claim, String)> {
    let mut claims = Vec::new();
    let components: Vec<(&str, &Component)> = running(app, Some(environment)).collect();
    objects(&mut claims, app, &components);
    databases(&mut claims, app);
    topics(&mut claims, app, environment, &components);
    routes(
        &mut claims,
        app,
        environment.spec.defaults.as_ref(),
        &components,
    );
    claims
}

fn object(app: &TodoApp, name: String) -> Claim {
    Claim::Object(app.metadata.namespace.clone().unwrap_or_default(), name)
}

/// `<app>-<component>`: `a` with component `b-c` would be `a-b` with component `c`.
fn objects(claims: &mut Vec<(Claim, String)>, app: &TodoApp, components: &[(&str, &Component)]) {
    let app_name = app.metadata.name.as_deref().unwrap_or_default();
    for (name, component) in components {
        let field = format!("spec.components.{name}");
        claims.push((object(app, names::component(app_name, name)), field.clone()));
        if component.route.is_some() {
            claims.push((object(app, names::stable(app_name, name)), field.clone()));
            claims.push((object(app, names::canary(app_name, name)), field));
        }
    }
}

fn databases(claims: &mut Vec<(Claim, String)>, app: &TodoApp) {
    let Some(databases) = &app.spec.databases else {
        return;
    };
    let app_name = app.metadata.name.as_deref().unwrap_or_default();
    let cluster = |name: String, field: &str| {
        let services = CLUSTER_SERVICES.map(|service| format!("{name}-{service}"));
        // CloudNativePG makes a ServiceAccount and PodDisruptionBudgets of the cluster's own name too.
        let objects = services
            .into_iter()
            .chain([name])
            .map(|name| (object(app, name), field.to_owned()));
        objects.collect::<Vec<_>>()
    };
    match databases.topology {
        Topology::Shared if databases.items.is_empty() => {}
        Topology::Shared => {
            claims.extend(cluster(names::shared_cluster(app_name), "spec.databases"))
        }
        Topology::Dedicated => {
            for name in databases.items.keys() {
                let field = format!("spec.databases.items.{name}");
                claims.extend(cluster(names::dedicated_cluster(app_name, name), &field));
            }
        }
        Topology::External => {
            for (name, database) in &databases.items {
                let Some(external) = &database.external else {
                    continue;
                };
                let host = external.host.trim_end_matches('.').to_ascii_lowercase();
                let port = external.port.unwrap_or(POSTGRES_PORT);
                let database = external
                    .database
                    .clone()
                    .unwrap_or_else(|| names::sql_name(name));
                let field = format!("spec.databases.items.{name}.external");
                claims.push((Claim::Database(format!("{host}:{port}/{database}")), field));
            }
        }
    }
}

/// Topics, and the dead-letter topic of each consumer group: who shares one shares the group.
fn topics(
    claims: &mut Vec<(Claim, String)>,
    app: &TodoApp,
    environment: &TodoEnvironment,
    components: &[(&str, &Component)],
) {
    let Some(messaging) = &environment.spec.messaging else {
        return;
    };
    let namespace = app.metadata.namespace.as_deref().unwrap_or_default();
    let mut servers: Vec<String> = messaging
        .bootstrap_servers
        .split(',')
        .map(|server| server.trim().to_ascii_lowercase())
        .collect();
    servers.sort();
    let servers = servers.join(",");
    for topic in app
        .spec
        .messaging
        .iter()
        .flat_map(|messaging| messaging.topics.keys())
    {
        let claim = Claim::Topic(servers.clone(), names::physical_topic(namespace, topic));
        claims.push((claim, format!("spec.messaging.topics.{topic}")));
    }
    for (name, _) in components
        .iter()
        .filter(|(_, component)| !component.consumes.is_empty())
    {
        let claim = Claim::Topic(servers.clone(), names::dead_letter_topic(namespace, name));
        claims.push((claim, format!("spec.components.{name}.consumes")));
    }
}

fn routes(
    claims: &mut Vec<(Claim, String)>,
    app: &TodoApp,
    defaults: Option<&Defaults>,
    components: &[(&str, &Component)],
) {
    if resolve::router(app, defaults) == Router::None {
        return;
    }
    let shared = app
        .spec
        .traffic
        .as_ref()
        .and_then(|traffic| traffic.host.as_ref());
    for (name, component) in components {
        let Some(route) = &component.route else {
            continue;
        };
        let Some(host) = route.host.as_ref().or(shared) else {
            continue;
        };
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        for prefix in &route.paths {
            let prefix = match prefix.trim_end_matches('/') {
                "" => "/",
                prefix => prefix,
            };
            let claim = Claim::Route(host.clone(), prefix.to_owned());
            claims.push((claim, format!("spec.components.{name}.route.paths")));
        }
    }
}

fn describe(claim: &Claim) -> String {
    match claim {
        Claim::Topic(_, name) | Claim::Database(name) | Claim::Object(_, name) => name.clone(),
        Claim::Route(host, path) => format!("{host}{path}"),
    }
}

fn noun(claim: &Claim) -> &'static str {
    match claim {
        Claim::Topic(..) => "this topic in Kafka",
        Claim::Route(..) => "this host and path",
        Claim::Database(_) => "this database",
        Claim::Object(..) => "the name of this object",
    }
}

fn remedy(claim: &Claim) -> &'static str {
    match claim {
        Claim::Topic(..) => "rename the topic or the component",
        Claim::Route(..) => "choose another host or path",
        Claim::Database(_) => "choose another database",
        Claim::Object(..) => "rename the component or the database",
    }
}
