use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::fixture::{Fixture, demo, with};
use crate::child::Child;
use crate::environment::canary_headroom;
use crate::inputs::PodInputs;
use crate::render::{self, autoscaled, ladder, pod_inputs, replicas};
use crate::topics::WantedTopic;

fn inputs(fixture: &Fixture) -> BTreeMap<String, PodInputs> {
    pod_inputs(&fixture.valid())
}

fn all(fixture: &Fixture) -> Vec<Child> {
    let app = fixture.valid();
    let inputs = pod_inputs(&app);
    let given: Vec<_> = inputs
        .iter()
        .map(|(name, inputs)| (name.as_str(), inputs))
        .collect();
    [
        render::policy(&app, &given),
        render::storage(&app),
        render::roles(&app),
        render::databases(&app),
        render::migrations(&app, &inputs),
        render::services(&app),
        render::workloads(&app, &inputs),
        render::traffic(&app),
        crate::environment::render(&fixture.environment),
    ]
    .concat()
}

fn find<'a>(children: &'a [Child], kind: &str, name: &str) -> &'a Value {
    let matches = |child: &&Child| child.key.kind.name() == kind && &*child.key.name == name;
    &children.iter().find(matches).unwrap().body
}

fn container(inputs: &PodInputs) -> &Value {
    &inputs.template["spec"]["containers"][0]
}

fn variable(inputs: &PodInputs, name: &str) -> Option<Value> {
    let variables = container(inputs)["env"].as_array().unwrap();
    variables
        .iter()
        .find(|variable| variable["name"] == name)
        .cloned()
}

fn value(inputs: &PodInputs, name: &str) -> Option<String> {
    Some(variable(inputs, name)?["value"].as_str()?.to_owned())
}

fn assert_nothing_empty(value: &Value, path: &str) {
    match value {
        Value::Null => panic!("{path} is null"),
        Value::Object(map) => {
            assert!(!map.is_empty(), "{path} is empty");
            map.iter()
                .for_each(|(key, value)| assert_nothing_empty(value, &format!("{path}.{key}")));
        }
        Value::Array(list) => {
            assert!(!list.is_empty(), "{path} is empty");
            list.iter()
                .for_each(|value| assert_nothing_empty(value, &format!("{path}[]")));
        }
        _ => (),
    }
}

#[test]
fn every_child_is_labelled_owned_and_free_of_empty_values() {
    for child in all(&demo()) {
        assert_nothing_empty(&child.body, &child.key.to_string());
        let metadata = &child.body["metadata"];
        assert_eq!(
            metadata["labels"]["app.kubernetes.io/managed-by"],
            "todo-operator"
        );
        let owned = !child.key.kind.is_stateful() && child.key.kind.is_namespaced();
        assert_eq!(
            metadata["ownerReferences"].is_array(),
            owned,
            "{}",
            child.key
        );
        assert_eq!(child.body["kind"], child.key.kind.name());
    }
}

#[test]
fn each_child_comes_in_its_wave_and_once() {
    let mut keys = BTreeSet::new();
    let children = all(&demo());
    assert!(children.iter().all(|child| keys.insert(child.key.clone())));
    let app = demo();
    let app = app.valid();
    let waves = [
        (crate::wave::Wave::Storage, render::storage(&app)),
        (crate::wave::Wave::Roles, render::roles(&app)),
        (crate::wave::Wave::Databases, render::databases(&app)),
        (crate::wave::Wave::Services, render::services(&app)),
        (crate::wave::Wave::Traffic, render::traffic(&app)),
    ];
    for (wave, children) in waves {
        assert!(!children.is_empty());
        assert!(children.iter().all(|child| child.key.kind.wave() == wave));
    }
}

#[test]
fn offline_there_is_no_owner() {
    let mut fixture = demo();
    fixture.app.metadata.uid = Some(String::new());
    let children = render::services(&fixture.valid());
    assert_eq!(
        find(&children, "Service", "demo-web")["metadata"]["ownerReferences"],
        Value::Null
    );
}

#[test]
fn releasing_one_component_changes_only_its_own_pods() {
    let before = inputs(&demo());
    let mut fixture = demo();
    let image = fixture
        .app
        .spec
        .release
        .images
        .iter_mut()
        .find(|i| i.component == "api");
    image.unwrap().image = "registry.example.com/api:2.0.0".into();
    fixture.app.spec.release.version = Some("2.0.0".into());
    let after = inputs(&fixture);
    for (component, inputs) in &before {
        assert_eq!(
            inputs.hash() == after[component].hash(),
            component != "api",
            "{component}"
        );
        assert_eq!(
            inputs == &after[component],
            component != "api",
            "{component}"
        );
    }
    let job = |inputs: &BTreeMap<String, PodInputs>| inputs["api"].migration.clone().unwrap().job;
    assert_ne!(job(&before), job(&after));
}

#[test]
fn configuring_one_component_changes_only_its_own_pods() {
    let before = inputs(&demo());
    let after = inputs(&with("release: {config: {worker: {BATCH: '200'}}}", "{}"));
    for (component, inputs) in &before {
        assert_eq!(
            inputs.hash() == after[component].hash(),
            component != "worker",
            "{component}"
        );
    }
    let name = before["worker"].config_map("demo", "worker").unwrap();
    assert_eq!(
        container(&before["worker"])["envFrom"],
        json!([{"configMapRef": {"name": name}}])
    );
    assert_ne!(
        before["worker"].config_map("demo", "worker"),
        after["worker"].config_map("demo", "worker")
    );
}

#[test]
fn a_further_attempt_makes_another_job_but_restarts_no_pod() {
    let fixture = demo();
    let mut app = fixture.valid();
    let before = pod_inputs(&app);
    app.attempts.insert("api".into(), 1);
    let after = pod_inputs(&app);
    assert_eq!(before["api"].hash(), after["api"].hash());
    assert_ne!(
        before["api"].migration.as_ref().unwrap().job,
        after["api"].migration.as_ref().unwrap().job
    );
}

#[test]
fn variables_win_in_the_documented_order() {
    let inputs = inputs(&with(
        "components: {api: {env: {APP_NAME: mine, LOG_FORMAT: text}}}",
        "{}",
    ));
    let api = &inputs["api"];
    // In the release and in the component: `env` wins over `envFrom`.
    assert_eq!(api.config["GREETING"], "from the release");
    assert_eq!(value(api, "GREETING").as_deref(), Some("hello"));
    // In the release alone: by `envFrom`.
    assert_eq!(value(api, "PAGE_SIZE"), None);
    // In the component and in `*`; in `*` and for the component.
    assert_eq!(value(api, "LOG_FORMAT").as_deref(), Some("json"));
    assert_eq!(value(api, "LOG_LEVEL").as_deref(), Some("debug"));
    assert_eq!(value(&inputs["web"], "LOG_LEVEL").as_deref(), Some("warn"));
    // The contract's own names.
    assert_eq!(value(api, "APP_NAME").as_deref(), Some("demo"));
}

#[test]
fn an_empty_value_is_left_out_as_the_api_server_does() {
    assert_eq!(
        variable(&inputs(&demo())["api"], "EMPTY"),
        Some(json!({"name": "EMPTY"}))
    );
}

#[test]
fn peers_are_named_where_they_run_and_serve() {
    let fixture = with("components: {web: {calls: [api, worker]}}", "{}");
    assert_eq!(
        value(&inputs(&fixture)["web"], "SERVICE_API").as_deref(),
        Some("demo-api:80")
    );
    assert_eq!(value(&inputs(&fixture)["web"], "SERVICE_WORKER"), None);
    let elsewhere = with("components: {api: {environments: [test]}}", "{}");
    assert_eq!(value(&inputs(&elsewhere)["web"], "SERVICE_API"), None);
}

#[test]
fn a_migration_runs_as_the_owner_and_is_no_pod_of_the_component() {
    let inputs = inputs(&demo());
    let migration = inputs["api"].migration.as_ref().unwrap();
    let pod = &migration.template;
    let env = pod["spec"]["containers"][0]["env"].as_array().unwrap();
    assert!(env.contains(&json!({"name": "PGUSER", "value": "tasks_owner"})));
    assert_eq!(
        value(&inputs["api"], "PGUSER").as_deref(),
        Some("tasks_app")
    );
    assert_eq!(pod["spec"]["containers"][0]["args"], json!(["migrate"]));
    assert_eq!(
        pod["metadata"]["labels"]["todo-operator.dev/component"],
        Value::Null
    );
    let certificate = &pod["spec"]["volumes"][0]["projected"]["sources"][0]["secret"]["name"];
    assert_eq!(certificate, "demo-db-tasks-owner-client-cert");
}

#[test]
fn probes_on_the_serving_port_declare_one_port() {
    let inputs = inputs(&with("components: {web: {probes: {port: 8080}}}", "{}"));
    let ports = container(&inputs["web"])["ports"].as_array().unwrap();
    assert_eq!(ports.len(), 1);
    assert_eq!(
        container(&inputs["web"])["readinessProbe"]["httpGet"]["port"],
        "http"
    );
}

#[test]
fn ladders_follow_router_steps_and_replicas() {
    let rungs = |fixture: &Fixture, component: &str| {
        let app = fixture.valid();
        ladder(&app, &app.components[component])
    };
    let routed: Vec<i64> = (1..20).map(|step| step * 5).collect();
    assert_eq!(rungs(&demo(), "web"), routed);
    assert_eq!(rungs(&demo(), "api"), [34, 67]);
    assert_eq!(rungs(&demo(), "worker"), [50]);
    assert_eq!(rungs(&demo(), "backup"), Vec::<i64>::new());
    let fixture = with(
        "components:
  web: {rollout: {steps: [1, 50, 100]}}
  api: {scaling: {min: 40}}
  worker: {consumes: {task-events: {}}}
messaging: {topics: {task-events: {partitions: 1}}}",
        "{}",
    );
    assert_eq!(rungs(&fixture, "web"), [1, 50, 100]);
    assert_eq!(rungs(&fixture, "api"), routed);
    assert_eq!(
        rungs(&fixture, "worker"),
        [100],
        "no second consumer fits on one partition"
    );
    let unrouted = with("{}", "defaults: {router: None}");
    assert_eq!(rungs(&unrouted, "web"), [50]);
}

#[test]
fn a_worker_surges_while_a_partition_is_spare() {
    let strategy = |min: i32| {
        let fixture = with(
            &format!("components: {{worker: {{scaling: {{min: {min}}}}}}}"),
            "{}",
        );
        let children = all(&fixture);
        let canary = &find(&children, "Rollout", "demo-worker")["spec"]["strategy"]["canary"];
        (canary["maxSurge"].clone(), canary["maxUnavailable"].clone())
    };
    assert_eq!(strategy(5), (json!(1), json!(0)));
    assert_eq!(strategy(6), (json!(0), json!(1)));
}

#[test]
fn a_canary_worker_never_rests_at_none() {
    let app = demo();
    let app = app.valid();
    assert!(autoscaled(&app.components["worker"]) && autoscaled(&app.components["web"]));
    assert!(!autoscaled(&app.components["api"]) && !autoscaled(&app.components["backup"]));
    assert_eq!(replicas(&app.components["worker"]), 1);
    let rolling = with("components: {worker: {rollout: {strategy: Rolling}}}", "{}");
    assert_eq!(replicas(&rolling.valid().components["worker"]), 0);
    let cpu = with(
        "components: {web: {scaling: {min: 0}, rollout: {strategy: Rolling}}}",
        "{}",
    );
    assert_eq!(
        replicas(&cpu.valid().components["web"]),
        1,
        "CPU alone cannot wake it"
    );
}

#[test]
fn only_lag_has_a_fallback() {
    let children = all(&demo());
    let lag = find(&children, "ScaledObject", "demo-worker");
    let cpu = find(&children, "ScaledObject", "demo-web");
    assert!(lag["spec"]["fallback"].is_object() && cpu["spec"]["fallback"].is_null());
    assert_eq!(
        lag["spec"]["triggers"].as_array().unwrap().len(),
        1,
        "a broadcast topic has no shared lag"
    );
    assert_eq!(
        lag["spec"]["triggers"][0]["metadata"]["topic"],
        "todo.task-events"
    );
}

/// KEDA writes the whole object as it has read it, without what is false: the operator would take that for drift.
#[test]
fn a_scaler_says_nothing_that_keda_leaves_out() {
    fn is_false_somewhere(value: &Value) -> bool {
        match value {
            Value::Bool(is) => !is,
            Value::Array(items) => items.iter().any(is_false_somewhere),
            Value::Object(fields) => fields.values().any(is_false_somewhere),
            _ => false,
        }
    }
    let children = all(&demo());
    for name in ["demo-worker", "demo-web"] {
        let scaler = find(&children, "ScaledObject", name);
        assert!(!is_false_somewhere(&scaler["spec"]), "{scaler}");
    }
}

#[test]
fn the_operator_makes_topics_only_where_nobody_else_does() {
    let topics = render::topics(&demo().valid());
    let names: Vec<_> = topics
        .iter()
        .map(|topic| topic.physical_name.as_str())
        .collect();
    assert_eq!(
        names,
        ["todo.task-events", "todo.updates", "todo.worker.dlq"]
    );
    let parked: &WantedTopic = &topics[2];
    assert_eq!(
        (parked.partitions, parked.replicas, parked.allow_growth),
        (1, 3, false)
    );
    assert_eq!(parked.config["max.message.bytes"], "2097152");
    assert_eq!((topics[1].replicas, topics[1].allow_growth), (1, true));
    let strimzi = with(
        "{}",
        "messaging: {provider: Strimzi, strimzi: {cluster: main, namespace: kafka}}",
    );
    assert!(render::topics(&strimzi.valid()).is_empty());
    let children = render::storage(&strimzi.valid());
    let topic = find(&children, "KafkaTopic", "todo.task-events");
    assert_eq!(topic["metadata"]["namespace"], "kafka");
    assert_eq!(
        topic["metadata"]["labels"]["todo-operator.dev/namespace"],
        "todo"
    );
}

#[test]
fn configuration_of_both_versions_is_kept_once_each() {
    let (fixture, newer) = (
        demo(),
        with("release: {config: {worker: {BATCH: '200'}}}", "{}"),
    );
    let (old, new) = (inputs(&fixture), inputs(&newer));
    let given = [
        ("worker", &old["worker"]),
        ("worker", &new["worker"]),
        ("api", &old["api"]),
        ("api", &new["api"]),
    ];
    let children = render::policy(&newer.valid(), &given);
    let maps = children
        .iter()
        .filter(|child| child.key.kind == crate::kind::Kind::ConfigMap);
    assert_eq!(maps.count(), 3);
}

#[test]
fn without_isolation_there_is_no_network_policy() {
    let fixture = with("{}", "policy: {network: {disabled: true}}");
    let policies = all(&fixture)
        .into_iter()
        .filter(|child| child.key.kind.name() == "NetworkPolicy");
    assert_eq!(policies.count(), 0);
}

#[test]
fn deletion_policy_reaches_the_databases() {
    let fixture = with("deletionPolicy: Delete", "{}");
    let children = all(&fixture);
    assert_eq!(
        find(&children, "Database", "demo-db-tasks")["spec"]["databaseReclaimPolicy"],
        "delete"
    );
    assert_eq!(
        find(&all(&demo()), "Database", "demo-db-tasks")["spec"]["databaseReclaimPolicy"],
        "retain"
    );
}

#[test]
fn a_header_never_outranks_a_longer_path() {
    let fixture = with("components: {api: {route: {paths: [/api]}}}", "{}");
    let children = all(&fixture);
    let priority = |name: &str, rule: usize| {
        let route = &find(&children, "IngressRoute", name)["spec"]["routes"][rule];
        route["priority"].as_u64().unwrap()
    };
    let (header, plain) = (priority("demo-web", 0), priority("demo-web", 1));
    assert!(header > plain && header < priority("demo-api", 1));
}

#[test]
fn a_quota_without_room_for_a_canary_is_a_warning() {
    let headroom = |quota: &str| {
        let fixture = with("{}", &format!("policy: {{quota: {quota}}}"));
        canary_headroom(&fixture.valid(), &fixture.environment)
    };
    // 6 web, 3 api, 6 worker, 1 backup, 2 database servers; the largest canary is web's, with 6 more.
    assert_eq!(headroom("{pods: '24'}"), None);
    let problem = headroom("{pods: '23'}").unwrap();
    assert_eq!(problem.field, "spec.policy.quota.pods");
    assert!(problem.rule.contains("needs 24"), "{}", problem.rule);
    // 6 × 50m, 3 × 100m, 6 × 100m, 10m by the LimitRange, 2 × 500m, and 6 × 50m for the canary.
    assert_eq!(headroom("{requests.cpu: 2510m, pods: '60'}"), None);
    assert_eq!(
        headroom("{requests.cpu: 2509m}").unwrap().field,
        "spec.policy.quota.requests.cpu"
    );
}
