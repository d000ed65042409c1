//! Network policies: what the application declares is allowed, and nothing else.
//!
//! The environment denies everything by default; each policy here opens what one kind of pod needs. What is declared but
//! whose place the environment does not name (its router, Kafka) is allowed wherever it is; what is not declared
//! (monitoring) only where the environment names it.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use todo_operator_api::environment::NetworkIsolation;

use super::database::{self, Place};
use super::metadata::{child, selector};
use super::{migration, pod, variables};
use crate::child::Child;
use crate::kind::Kind;
use crate::names;
use crate::validate::{ValidApp, ValidComponent};

/// Name of every namespace, as a label that Kubernetes sets.
const NAMESPACE_LABEL: &str = "kubernetes.io/metadata.name";
/// Label of the pods of a CloudNativePG cluster, its Jobs included.
const CLUSTER_LABEL: &str = "cnpg.io/cluster";
const DNS_NAMESPACE: &str = "kube-system";
const DNS_PORT: i32 = 53;
const KAFKA_PORT: i32 = 9092;
/// Where an instance manager of CloudNativePG answers its operator and its neighbours.
const INSTANCE_MANAGER_PORT: i32 = 8000;
/// Ports of Kubernetes' API, which instance managers need: of its Service, and of its servers, whose addresses no policy
/// can name.
const API_PORTS: [i32; 2] = [443, 6443];

/// The policies of an application; none where the environment isolates nothing.
pub(super) fn policies(app: &ValidApp<'_>) -> Vec<Child> {
    let policy = app.environment.spec.policy.as_ref();
    let default = NetworkIsolation::default();
    let isolation = policy
        .and_then(|policy| policy.network.as_ref())
        .unwrap_or(&default);
    if isolation.disabled {
        return Vec::new();
    }
    let mut children = Vec::new();
    for component in app.components.values() {
        children.push(of_component(app, component, isolation));
        children.extend(of_migration(app, component));
    }
    let clusters = database::cluster_names(app);
    children.extend(
        clusters
            .iter()
            .map(|(cluster, databases)| of_cluster(app, cluster, databases, isolation)),
    );
    children
}

fn policy(
    app: &ValidApp<'_>,
    name: &str,
    component: Option<&str>,
    pods: Value,
    ingress: Vec<Value>,
    egress: Vec<Value>,
) -> Child {
    let spec = json!({
        "podSelector": {"matchLabels": pods},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": ingress,
        "egress": egress,
    });
    let content = json!({"spec": spec});
    child(app, Kind::NetworkPolicy, name, component, content)
}

fn of_component(
    app: &ValidApp<'_>,
    component: &ValidComponent<'_>,
    isolation: &NetworkIsolation,
) -> Child {
    let name = names::component(app.name, component.name);
    policy(
        app,
        &name,
        Some(component.name),
        selector(app.name, component.name),
        into_component(app, component, isolation),
        out_of_component(app, component, isolation),
    )
}

fn into_component(
    app: &ValidApp<'_>,
    component: &ValidComponent<'_>,
    isolation: &NetworkIsolation,
) -> Vec<Value> {
    let mut rules = Vec::new();
    if let Some(port) = pod::port(&component.spec) {
        if component.spec.route.is_some() {
            let environment = app.environment.spec.traffic.as_ref();
            let gateway = environment.and_then(|traffic| traffic.gateway.as_ref());
            let router = isolation
                .ingress_namespace
                .as_deref()
                .or_else(|| Some(gateway?.namespace.as_str()));
            rules.push(from(router.map(namespace), &[port]));
        }
        let callers = component.callers.iter();
        rules.extend(callers.map(|caller| from(Some(component_pods(app, caller)), &[port])));
    }
    if let Some(monitoring) = &isolation.monitoring_namespace {
        let admin = pod::admin_port(&component.spec);
        rules.push(from(Some(namespace(monitoring)), &[admin]));
    }
    rules
}

fn out_of_component(
    app: &ValidApp<'_>,
    component: &ValidComponent<'_>,
    isolation: &NetworkIsolation,
) -> Vec<Value> {
    let mut rules = vec![dns()];
    for callee in &component.spec.calls {
        let port = app
            .components
            .get(callee.as_str())
            .and_then(|callee| pod::port(&callee.spec));
        rules.extend(port.map(|port| to(vec![component_pods(app, callee)], &[port])));
    }
    rules.extend(to_kafka(app, component, isolation));
    rules.extend(to_database(app, component));
    if let Some(telemetry) = &app.environment.spec.telemetry {
        let collector = isolation.telemetry_namespace.as_deref().map(namespace);
        let port = url_port(&telemetry.otlp_endpoint);
        rules.push(to(collector.into_iter().collect(), &[port]));
    }
    for egress in &component.spec.egress {
        let place = match (&egress.cidr, &egress.namespace) {
            (Some(cidr), _) => address(cidr),
            (None, Some(name)) => namespace(name),
            (None, None) => continue,
        };
        rules.push(to(vec![place], &egress.ports));
    }
    rules
}

fn to_kafka(
    app: &ValidApp<'_>,
    component: &ValidComponent<'_>,
    isolation: &NetworkIsolation,
) -> Option<Value> {
    let messaging = variables::messaging(app, component)?;
    let ports: BTreeSet<i32> = messaging
        .bootstrap_servers
        .split(',')
        .map(|server| host_port(server).unwrap_or(KAFKA_PORT))
        .collect();
    let strimzi = messaging.strimzi.as_ref();
    let brokers = isolation
        .kafka_namespace
        .as_deref()
        .or_else(|| Some(strimzi?.namespace.as_str()).filter(|_| isolation.kafka_cidrs.is_empty()));
    let places = brokers
        .map(namespace)
        .into_iter()
        .chain(isolation.kafka_cidrs.iter().map(|cidr| address(cidr)))
        .collect();
    Some(to(places, &Vec::from_iter(ports)))
}

fn to_database(app: &ValidApp<'_>, component: &ValidComponent<'_>) -> Option<Value> {
    let (_, place) = database::used(app, component)?;
    Some(match place {
        Place::Cluster(cluster) => to(vec![cluster_pods(&cluster)], &[database::PORT]),
        Place::External(external) => {
            let places = external.cidr.as_deref().map(address).into_iter().collect();
            to(places, &[external.port.unwrap_or(database::PORT)])
        }
    })
}

/// A migration reaches its database and nothing else. A dot is in no component's name, so that no other policy can be
/// named like this one.
fn of_migration(app: &ValidApp<'_>, component: &ValidComponent<'_>) -> Option<Child> {
    component.spec.migrate.as_ref()?;
    let name = names::component(app.name, component.name);
    Some(policy(
        app,
        &format!("{name}.{}", migration::ROLE),
        Some(component.name),
        migration_pods(app, component.name),
        Vec::new(),
        [Some(dns()), to_database(app, component)]
            .into_iter()
            .flatten()
            .collect(),
    ))
}

/// A PostgreSQL cluster: reached by who uses a database in it, by its own instances and by its operator.
fn of_cluster(
    app: &ValidApp<'_>,
    cluster: &str,
    databases: &[&str],
    isolation: &NetworkIsolation,
) -> Child {
    const SERVING: [i32; 1] = [database::PORT];
    const INTERNAL: [i32; 2] = [database::PORT, INSTANCE_MANAGER_PORT];
    let mut ingress = vec![from(Some(cluster_pods(cluster)), &INTERNAL)];
    if let Some(operator) = &isolation.database_operator_namespace {
        ingress.push(from(Some(namespace(operator)), &INTERNAL));
    }
    for component in app.components.values() {
        let database = component.spec.database.as_deref();
        if !database.is_some_and(|database| databases.contains(&database)) {
            continue;
        }
        ingress.push(from(Some(component_pods(app, component.name)), &SERVING));
        if component.spec.migrate.is_some() {
            let pods = migration_pods(app, component.name);
            ingress.push(from(Some(pods_with(pods)), &SERVING));
        }
    }
    let egress = vec![
        dns(),
        to(vec![cluster_pods(cluster)], &INTERNAL),
        to(Vec::new(), &API_PORTS),
    ];
    let pods = json!({CLUSTER_LABEL: cluster});
    policy(
        app,
        &format!("{cluster}.postgres"),
        None,
        pods,
        ingress,
        egress,
    )
}

fn migration_pods(app: &ValidApp<'_>, component: &str) -> Value {
    json!({
        names::LABEL_APP: app.name,
        names::LABEL_ROLE: migration::ROLE,
        names::LABEL_NAME: component,
    })
}

fn dns() -> Value {
    let port = |protocol: &str| json!({"protocol": protocol, "port": DNS_PORT});
    json!({"to": [namespace(DNS_NAMESPACE)], "ports": [port("UDP"), port("TCP")]})
}

/// From one place, or from anywhere.
fn from(place: Option<Value>, ports: &[i32]) -> Value {
    json!({"from": place.map(|place| [place]), "ports": tcp(ports)})
}

/// To any of some places, or anywhere where there are none; on all ports where there are none.
fn to(places: Vec<Value>, ports: &[i32]) -> Value {
    json!({"to": places, "ports": tcp(ports)})
}

fn tcp(ports: &[i32]) -> Vec<Value> {
    ports
        .iter()
        .map(|port| json!({"protocol": "TCP", "port": port}))
        .collect()
}

fn namespace(name: &str) -> Value {
    json!({"namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: name}}})
}

fn address(cidr: &str) -> Value {
    json!({"ipBlock": {"cidr": cidr}})
}

fn pods_with(labels: Value) -> Value {
    json!({"podSelector": {"matchLabels": labels}})
}

fn component_pods(app: &ValidApp<'_>, component: &str) -> Value {
    pods_with(selector(app.name, component))
}

fn cluster_pods(cluster: &str) -> Value {
    pods_with(json!({CLUSTER_LABEL: cluster}))
}

/// Port of `host:port`; `None` where there is none.
fn host_port(server: &str) -> Option<i32> {
    server.trim().rsplit_once(':')?.1.parse().ok()
}

/// Port of a URL, by its scheme where it names none.
fn url_port(url: &str) -> i32 {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    host_port(authority).unwrap_or(if scheme == "https" { 443 } else { 80 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_from_addresses() {
        assert_eq!(host_port("kafka.kafka:9093"), Some(9093));
        assert_eq!(host_port("kafka"), None);
        assert_eq!(url_port("http://collector.telemetry:4317/v1"), 4317);
        assert_eq!(url_port("https://collector"), 443);
        assert_eq!(url_port("http://[fd00::1]:4318"), 4318);
    }
}
