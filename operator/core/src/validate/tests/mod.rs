//! One test per problem, each of which changes one thing in an application that is valid.

mod claims;
mod component;
mod data;
mod environment;
mod names;
mod release;
mod traffic;
mod variables;

use serde_json::{Value, json};
use todo_operator_api::component::{ComponentKind, Strategy};

use super::*;

/// The smallest application that does something.
const SMALLEST: &str = "
apiVersion: todo-operator.dev/v1alpha1
kind: TodoApp
metadata:
  name: todo
  namespace: todo-test
spec:
  components:
    web:
      kind: Site
  release:
    version: 1.0.0
    images:
      - component: web
        image: ghcr.io/acme/web:1.0.0
";

const DIGEST: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// An application with something of everything.
fn app() -> Value {
    json!({
        "apiVersion": "todo-operator.dev/v1alpha1",
        "kind": "TodoApp",
        "metadata": {"name": "todo", "namespace": "todo-test", "uid": "u-1"},
        "spec": {
            "components": {
                "web": {"kind": "Site", "route": {"paths": ["/"]}, "calls": ["api"]},
                "api": {
                    "kind": "Service",
                    "route": {"paths": ["/api"]},
                    "database": "main",
                    "migrate": {},
                    "produces": ["events"],
                    "resources": {"requests": {"cpu": "100m"}},
                    "scaling": {"max": 4, "cpu": 70},
                    "rollout": {"strategy": "Canary"},
                },
                "worker": {
                    "kind": "Worker",
                    "consumes": {"events": {}},
                    "scaling": {"min": 1, "max": 3, "lag": 100},
                },
                "cleanup": {"kind": "CronJob", "image": "api", "schedule": {"cron": "0 3 * * *"}, "environments": ["test"]},
            },
            "messaging": {"topics": {"events": {"partitions": 3}}},
            "databases": {"items": {"main": {}}},
            "traffic": {"host": "todo.example.com", "router": "Traefik"},
            "release": {
                "version": "1.0.0",
                "images": [
                    {"component": "web", "image": "ghcr.io/acme/web:1.0.0"},
                    {"component": "api", "image": format!("ghcr.io/acme/api@{DIGEST}")},
                    {"component": "worker", "image": "ghcr.io/acme/worker:1.0.0"},
                ],
                "config": {"web": {"THEME": "dark"}},
            },
        },
    })
}

/// Its environment.
fn stage() -> Value {
    json!({
        "apiVersion": "todo-operator.dev/v1alpha1",
        "kind": "TodoEnvironment",
        "metadata": {"name": "test"},
        "spec": {
            "stage": "test",
            "namespace": "todo-test",
            "messaging": {"provider": "Direct", "bootstrapServers": "kafka.example:9092"},
        },
    })
}

fn parse<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// What surrounds an application in a test.
#[derive(Default)]
struct Around {
    environments: Vec<Value>,
    holders: Holders,
    partitions: BTreeMap<String, i32>,
}

/// Problems of `app`.
fn problems(app: Value, around: Around) -> Vec<Problem> {
    let app: TodoApp = parse(app);
    let environments: Vec<TodoEnvironment> = around.environments.into_iter().map(parse).collect();
    let surroundings = Surroundings {
        environments: &environments.iter().collect::<Vec<_>>(),
        holders: &around.holders,
        partitions: &around.partitions,
    };
    validate(&app, &surroundings).err().unwrap_or_default()
}

/// Problems of [`app`] in [`stage`], both changed by `change`.
fn problems_after(change: impl FnOnce(&mut Value, &mut Value)) -> Vec<Problem> {
    let (mut app, mut stage) = (app(), stage());
    change(&mut app, &mut stage);
    problems(
        app,
        Around {
            environments: vec![stage],
            ..Around::default()
        },
    )
}

/// Asserts that a change leads to one problem, with this field, and with this text in its rule.
#[track_caller]
fn refuses(change: impl FnOnce(&mut Value, &mut Value), field: &str, rule: &str) {
    assert_only(&problems_after(change), field, rule);
}

#[track_caller]
fn assert_only(problems: &[Problem], field: &str, rule: &str) {
    let [problem] = problems else {
        panic!("one problem with {field} was expected: {problems:#?}");
    };
    assert_eq!(problem.field, field, "{problem:?}");
    assert!(
        problem.rule.contains(rule),
        "{rule:?} was expected in {:?}",
        problem.rule
    );
    assert!(!problem.value.is_empty(), "{problem:?}");
}

/// Asserts that a change leads to no problem.
#[track_caller]
fn accepts(change: impl FnOnce(&mut Value, &mut Value)) {
    assert_eq!(problems_after(change), []);
}

#[test]
fn fifteen_lines_are_enough() {
    assert!(SMALLEST.trim().lines().count() <= 15);
    let app: Value = serde_yaml::from_str(SMALLEST).unwrap();
    let environment = json!({
        "apiVersion": "todo-operator.dev/v1alpha1",
        "kind": "TodoEnvironment",
        "metadata": {"name": "test"},
        "spec": {"stage": "test", "namespace": "todo-test"},
    });
    assert_eq!(
        problems(
            app,
            Around {
                environments: vec![environment],
                ..Around::default()
            }
        ),
        []
    );
}

#[test]
fn something_of_everything_is_valid() {
    accepts(|_, _| {});
}

#[test]
fn all_problems_come_at_once_and_sorted() {
    let found = problems_after(|app, stage| {
        app["spec"]["components"]["web"]["calls"] = json!(["nobody"]);
        app["spec"]["components"]["api"]["database"] = json!("other");
        app["spec"]["components"]["worker"]["scaling"]["max"] = json!(4);
        app["spec"]["components"]["cleanup"]["schedule"]["cron"] = json!("daily");
        app["spec"]["release"]["images"][0]["image"] = json!("Web");
        app["spec"]["traffic"]["faults"] = json!({"abortPercent": 1, "abortCode": 500});
        app["spec"]["readyDeadline"] = json!("soon");
        stage["spec"]["messaging"]["securityProtocol"] = json!("SASL_SSL");
    });
    let fields: Vec<&str> = found.iter().map(|problem| problem.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "TodoEnvironment test: spec.messaging.adminCredential",
            "TodoEnvironment test: spec.messaging.saslMechanism",
            "spec.components.api.database",
            "spec.components.cleanup.schedule.cron",
            "spec.components.web.calls",
            "spec.components.worker.scaling.max",
            "spec.messaging.clientSecret",
            "spec.readyDeadline",
            "spec.release.images[web].image",
            "spec.traffic.faults",
        ]
    );
}

#[test]
fn a_problem_reads_as_field_value_and_rule() {
    let found =
        problems_after(|app, _| app["spec"]["components"]["worker"]["scaling"]["max"] = json!(4));
    assert_eq!(
        found[0].to_string(),
        "spec.components.worker.scaling.max: 4: a Worker has at most as many replicas as the topics that it consumes have \
         partitions, 3: the others would be idle"
    );
}

#[test]
fn a_long_value_is_shortened() {
    let found = problems_after(|app, _| {
        app["spec"]["release"]["images"][0]["image"] = json!("É".repeat(500))
    });
    assert_eq!(found[0].value, format!("{}…", "É".repeat(80)));
}

#[test]
fn a_valid_app_has_its_defaults_filled_in() {
    let mut app = app();
    app["status"] = json!({"attempts": {"api": 2}});
    app["spec"]["components"]["cleanup"]["environments"] = json!(["production"]);
    app["spec"]["traffic"]
        .as_object_mut()
        .unwrap()
        .remove("router");
    let mut stage = stage();
    stage["spec"]["defaults"] = json!({
        "router": "Traefik",
        "readyDeadline": "2m",
        "rollout": {"strategy": "Canary", "stepPause": "10s"},
        "resources": {"requests": {"memory": "64Mi"}},
        "scaling": {"min": 2},
    });
    let (app, stage): (TodoApp, TodoEnvironment) = (parse(app), parse(stage));
    let surroundings = Surroundings {
        environments: &[&stage],
        holders: &Holders::new(),
        partitions: &BTreeMap::new(),
    };
    let valid = validate(&app, &surroundings).unwrap();
    assert_eq!(
        (valid.name, valid.namespace, valid.uid),
        ("todo", "todo-test", "u-1")
    );
    assert_eq!(valid.environment, &stage);
    assert_eq!(valid.router, Router::Traefik);
    assert_eq!(valid.ready_deadline, 120);
    assert_eq!(valid.attempts, BTreeMap::from([("api".to_owned(), 2)]));
    assert_eq!(
        valid.components.keys().copied().collect::<Vec<_>>(),
        ["api", "web", "worker"],
        "cleanup runs elsewhere"
    );

    let api = &valid.components["api"];
    assert_eq!(api.image, format!("ghcr.io/acme/api@{DIGEST}"));
    assert_eq!(api.callers, BTreeSet::from(["web"]));
    let rollout = api.spec.rollout.as_ref().unwrap();
    assert_eq!(rollout.step_pause, Some("10s".into()));
    let resources = api.spec.resources.as_ref().unwrap();
    assert_eq!(resources.requests.len(), 2);
    assert_eq!(api.spec.scaling.as_ref().unwrap().min, Some(2));

    let web = &valid.components["web"];
    assert_eq!(web.spec.kind, ComponentKind::Site);
    assert_eq!(
        web.spec.rollout.as_ref().unwrap().strategy,
        Strategy::Canary
    );
    assert_eq!(
        web.config,
        BTreeMap::from([("THEME".to_owned(), "dark".to_owned())])
    );
    assert!(web.callers.is_empty());
}

#[test]
fn where_nobody_says_there_are_ten_minutes_and_no_router() {
    let mut app = app();
    app["spec"]["traffic"]
        .as_object_mut()
        .unwrap()
        .remove("router");
    let (app, stage): (TodoApp, TodoEnvironment) = (parse(app), parse(stage()));
    let surroundings = Surroundings {
        environments: &[&stage],
        holders: &Holders::new(),
        partitions: &BTreeMap::new(),
    };
    let valid = validate(&app, &surroundings).unwrap();
    assert_eq!((valid.ready_deadline, valid.router), (600, Router::None));
}
