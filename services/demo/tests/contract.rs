//! What the operator renders for the demonstration application of `config-repo`, and whether this program fits it: it is
//! started as each container would be, probed where the probes look, and its metrics are those that canaries are judged by.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panic"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use support::{Running, Variables, ended, until};
use todo_kit::metrics::{Metrics, Outcome};
use todo_operator_api::{TodoApp, TodoEnvironment};
use todo_operator_core::kind::Kind;
use todo_operator_core::render::{migrations, pod_inputs, services};
use todo_operator_core::validate::{Surroundings, validate};

/// What the operator makes of the application in the stage `test`, with analyses.
struct Rendered {
    /// Container by component, or by component and `-migrate`.
    containers: BTreeMap<String, Value>,
    /// `release.config` by component.
    config: BTreeMap<String, BTreeMap<String, String>>,
    /// Questions to Prometheus.
    queries: Vec<String>,
}

fn rendered() -> Rendered {
    let yaml = |text: &str| -> Value { serde_yaml::from_str(text).unwrap() };
    let mut app = yaml(include_str!("../../../config-repo/base/demo/todoapp.yaml"));
    app["metadata"]["namespace"] = "todo-test".into();
    let image = |component| json!({"component": component, "image": format!("ghcr.io/todo-operator/demo:{component}")});
    let images = ["api", "web", "worker"].map(image);
    app["spec"]["release"] = json!({
        "version": "v2",
        "images": images,
        "config": {
            "web": {"DEMO_VERSION": "v2", "GREETING": "hello"},
            "api": {"DEMO_VERSION": "v2"},
            "worker": {"DEMO_VERSION": "v2", "DEMO_PROCESSING_TIME": "5ms"},
        },
    });
    app["spec"]["traffic"] = json!({"host": "demo.test.localhost"});
    let components = &mut app["spec"]["components"];
    components["worker"]["rollout"] = json!({"strategy": "Canary"});
    components["web"]["rollout"]["analysis"] = json!({"latency": "200ms"});
    let mut environment = yaml(include_str!(
        "../../../config-repo/platform/test/todoenvironment.yaml"
    ));
    environment["spec"]["analysis"] = json!({"prometheus": "http://prometheus:9090"});

    let app: TodoApp = serde_json::from_value(app).unwrap();
    let environment: TodoEnvironment = serde_json::from_value(environment).unwrap();
    let surroundings = Surroundings {
        environments: &[&environment],
        holders: &BTreeMap::new(),
        partitions: &BTreeMap::new(),
    };
    let valid = validate(&app, &surroundings).unwrap();
    let inputs = pod_inputs(&valid);
    let container = |template: &Value| template["spec"]["containers"][0].clone();
    let mut containers: BTreeMap<_, _> = inputs
        .iter()
        .map(|(component, inputs)| (component.clone(), container(&inputs.template)))
        .collect();
    for job in migrations(&valid, &inputs) {
        let name = format!("{}-migrate", job.component.unwrap());
        containers.insert(name, container(&job.body["spec"]["template"]));
    }
    let templates = services(&valid).into_iter();
    let templates = templates.filter(|child| child.key.kind == Kind::AnalysisTemplate);
    let queries = templates.flat_map(|template| {
        let metrics = template.body["spec"]["metrics"].as_array().unwrap().clone();
        let query = |metric: Value| {
            metric["provider"]["prometheus"]["query"]
                .as_str()
                .map(str::to_owned)
        };
        metrics
            .into_iter()
            .map(move |metric| query(metric).unwrap())
    });
    Rendered {
        queries: queries.collect(),
        config: app.spec.release.config.clone(),
        containers,
    }
}

impl Rendered {
    /// The variables and arguments of a container.
    fn process(&self, name: &str) -> (Variables, Vec<String>) {
        let container = &self.containers[name];
        let component = name.trim_end_matches("-migrate");
        let config = self.config.get(component).into_iter().flatten();
        let mut variables: Variables = config
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        for variable in container["env"].as_array().unwrap() {
            let value = match variable["value"].as_str() {
                Some(value) => value.to_owned(),
                None if variable["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name" => {
                    "the-pod".to_owned()
                }
                None if variable["valueFrom"]["secretKeyRef"].is_object() => "s3cret".to_owned(),
                None => String::new(),
            };
            variables.push((variable["name"].as_str().unwrap().to_owned(), value));
        }
        // Nothing of what is named here runs: no server of a database, no broker.
        for (name, value) in &mut variables {
            match name.as_str() {
                "PGHOST" => "127.0.0.1".clone_into(value),
                "KAFKA_BOOTSTRAP_SERVERS" => "127.0.0.1:1".clone_into(value),
                _ => {}
            }
        }
        let arguments = container["args"].as_array().into_iter().flatten();
        let arguments = arguments.map(|argument| argument.as_str().unwrap().to_owned());
        (variables, arguments.collect())
    }

    fn probe(&self, name: &str, probe: &str) -> (String, Value) {
        let probe = &self.containers[name][probe]["httpGet"];
        (
            probe["path"].as_str().unwrap().to_owned(),
            probe["port"].clone(),
        )
    }
}

#[tokio::test]
async fn each_container_starts_as_rendered_and_answers_where_its_probes_look() {
    let rendered = rendered();
    for (name, readiness) in [("web", 200), ("api", 503), ("worker", 503)] {
        let (variables, arguments) = rendered.process(name);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let running = Running::start(&arguments, variables);
        for probe in ["startupProbe", "livenessProbe"] {
            let (path, port) = rendered.probe(name, probe);
            assert_eq!(port, "admin");
            let answer = until("it answers", async || running.admin(&path).await).await;
            assert_eq!(answer.0, 200, "{name} {path}");
        }
        let (path, _) = rendered.probe(name, "readinessProbe");
        assert_eq!(
            running.admin(&path).await.unwrap().0,
            readiness,
            "{name} {path}"
        );
        running.signal(Signal::SIGKILL);
        running.end().await;
    }
}

#[tokio::test]
async fn ports_and_roles_are_the_defaults_of_the_program() {
    let rendered = rendered();
    let ports = |name: &str| -> BTreeMap<String, i64> {
        let ports = rendered.containers[name]["ports"].as_array().unwrap();
        let port = |port: &Value| {
            (
                port["name"].as_str().unwrap().to_owned(),
                port["containerPort"].as_i64().unwrap(),
            )
        };
        ports.iter().map(port).collect()
    };
    let help = ended(&["serve", "--help"], &Vec::new()).await.output;
    for (name, port) in ports("web").iter().chain(&ports("worker")) {
        assert!(
            help.contains(&format!("0.0.0.0:{port}]")),
            "{name} {port}: {help}"
        );
    }
    assert_eq!(rendered.process("api-migrate").1, ["migrate"]);
    // It asks the database, so it is the migration: not a server that goes on for ever.
    let (variables, _) = rendered.process("api-migrate");
    let migration = ended(&["migrate"], &variables).await;
    assert_eq!(migration.code, Some(1), "{migration:?}");
    assert!(
        migration
            .log
            .contains("PostgreSQL at 127.0.0.1:5432/orders"),
        "{migration:?}"
    );
}

#[test]
fn canaries_are_judged_by_metrics_that_there_are() {
    let metrics = Metrics::default();
    metrics.request(500, 0.1);
    metrics.message("todo-test.orders", Outcome::Error);
    metrics.lag("todo-test.orders", 0, Some(1));
    let text = metrics.text();
    let mut asked = BTreeSet::new();
    for query in rendered().queries {
        for (before, selector) in query.split('{').zip(query.split('{').skip(1)) {
            let start = before.rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let metric = &before[start.map_or(0, |start| start + 1)..];
            if metric.is_empty() {
                // The second brace of a placeholder.
                continue;
            }
            asked.insert(metric.to_owned());
            for (label, value) in [
                ("code=", "5"),
                ("result=", "error"),
                ("topic=", "todo-test.orders"),
            ] {
                let wants = selector.contains(&format!(",{label}"));
                let has = text.contains(&format!("{label}\"{value}"));
                assert!(!wants || has, "{query}: {label} in\n{text}");
            }
        }
    }
    let expected = [
        "consumer_lag",
        "http_request_duration_seconds_bucket",
        "http_requests_total",
        "messages_total",
    ];
    assert_eq!(asked, expected.map(str::to_owned).into());
    for metric in asked {
        assert!(
            text.contains(&format!("\n{metric}{{")),
            "{metric} is not in\n{text}"
        );
    }
}
