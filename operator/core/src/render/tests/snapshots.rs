use insta::{Settings, assert_yaml_snapshot};
use serde_json::Value;

use super::fixture::{Fixture, demo, with};
use crate::child::Child;
use crate::render;

/// Gateway API, topics by Strimzi, a database cluster for each database.
fn peers() -> Fixture {
    with(
        "databases: {topology: Dedicated, items: {tasks: {cluster: {instances: 3}}, audit: {}}}
components: {api: {route: {paths: [/api, /v1]}}}",
        "defaults: {router: GatewayAPI}
traffic: {gateway: {name: public, namespace: gateway, sectionName: https}}
messaging: {provider: Strimzi, securityProtocol: SSL, saslMechanism: null, strimzi: {cluster: main, namespace: kafka}}
policy: {network: {ingressNamespace: null, kafkaNamespace: null}}",
    )
}

/// Databases on someone else's server, Kafka without protection, no router, no measurements.
fn external() -> Fixture {
    with(
        "databases:
  topology: External
  cluster: null
  items:
    tasks:
      external:
        host: db.example.com
        caSecret: db-ca
        cidr: 192.0.2.0/24
        owner: {user: tasks_admin, password: {secret: db-owner, key: password}}
        app: {user: tasks, password: {secret: db-app, key: password}}",
        "defaults: {router: None}
analysis: null
messaging: {securityProtocol: PLAINTEXT, saslMechanism: null, clientSecret: null}
policy: {network: {kafkaNamespace: null, kafkaCidrs: [198.51.100.0/24]}}",
    )
}

fn bodies(children: Vec<Child>) -> Vec<Value> {
    children.into_iter().map(|child| child.body).collect()
}

/// Snapshots of every wave of an application.
fn assert_waves(scenario: &str, fixture: &Fixture) {
    let app = fixture.valid();
    let inputs = render::pod_inputs(&app);
    let given: Vec<_> = inputs
        .iter()
        .map(|(name, inputs)| (name.as_str(), inputs))
        .collect();
    let waves = [
        ("1-policy", render::policy(&app, &given)),
        ("2-storage", render::storage(&app)),
        (
            "3-databases",
            [render::roles(&app), render::databases(&app)].concat(),
        ),
        ("4-migrations", render::migrations(&app, &inputs)),
        ("5-services", render::services(&app)),
        ("6-workloads", render::workloads(&app, &inputs)),
        ("7-traffic", render::traffic(&app)),
    ];
    let mut settings = Settings::clone_current();
    settings.set_sort_maps(true);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        for (wave, children) in waves {
            assert_yaml_snapshot!(format!("{scenario}-{wave}"), bodies(children));
        }
    });
}

#[test]
fn traefik_direct_shared() {
    assert_waves("traefik", &demo());
}

#[test]
fn gateway_strimzi_dedicated() {
    assert_waves("gateway", &peers());
}

#[test]
fn external_databases_without_router() {
    assert_waves("external", &external());
}

#[test]
fn environment() {
    let mut settings = Settings::clone_current();
    settings.set_sort_maps(true);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let children = bodies(crate::environment::render(&demo().environment));
    settings.bind(|| assert_yaml_snapshot!("environment", children));
}
