//! The commands that need no cluster, as people run them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

mod tools;

const APP: &str = "\
apiVersion: todo-operator.dev/v1alpha1
kind: TodoApp
metadata:
  name: demo
spec:
  components:
    web:
      kind: Service
  release:
    images:
    - component: web
      image: example.com/web:1
";

const ENVIRONMENT: &str = "\
apiVersion: todo-operator.dev/v1alpha1
kind: TodoEnvironment
metadata:
  name: test
spec:
  stage: test
  namespace: todo-test
";

fn todoctl(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_todoctl"))
        .args(arguments)
        .current_dir(directory)
        .env_remove("KUBECONFIG")
        .env("PATH", tools::path())
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What a command that failed says.
fn refusal(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    directory
}

fn config_repo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config-repo")
}

#[test]
fn a_directory_is_rendered_with_its_environment() {
    let directory = directory(&[
        ("apps/demo.yaml", APP),
        ("test.yml", ENVIRONMENT),
        (".hidden/bad.yaml", "a: ["),
    ]);
    let output = todoctl(directory.path(), &["render", ".", "-o", "names"]);
    let names = stdout(&output);
    assert!(output.status.success(), "{output:?}");
    let lines: Vec<&str> = names.lines().collect();
    assert_eq!(lines[0], "Namespace todo-test");
    assert!(lines.contains(&"Deployment todo-test/demo-web"), "{names}");
    assert!(lines.contains(&"Service todo-test/demo-web"), "{names}");
}

#[test]
fn yaml_and_json_hold_the_same_objects() {
    let directory = directory(&[("demo.yaml", APP), ("test.yaml", ENVIRONMENT)]);
    let yaml = stdout(&todoctl(directory.path(), &["render", "."]));
    let json = stdout(&todoctl(directory.path(), &["render", ".", "-o", "json"]));
    let from_yaml: Vec<serde_json::Value> = serde_yaml::Deserializer::from_str(&yaml)
        .map(|document| serde::Deserialize::deserialize(document).unwrap())
        .collect();
    let from_json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(from_json["kind"], "List");
    assert!(from_yaml.len() > 5, "{yaml}");
    assert_eq!(from_json["items"], serde_json::Value::Array(from_yaml));
}

#[test]
fn standard_input_is_read() {
    use std::io::Write;
    let mut child = Command::new(env!("CARGO_BIN_EXE_todoctl"))
        .args(["render", "-", "--output", "names"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let input = format!("{ENVIRONMENT}---\n{APP}");
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        stdout(&output).contains("Deployment todo-test/demo-web"),
        "{output:?}"
    );
}

#[test]
fn every_problem_is_named_with_file_and_line() {
    let bad = APP
        .replace(
            "kind: Service",
            "kind: Service\n      calls: [api]\n      scaling: {min: 5, max: 2, cpu: 50}",
        )
        .replace("  name: demo", "  name: demo\n  namespace: todo-test");
    let directory = directory(&[("demo.yaml", &bad), ("test.yaml", ENVIRONMENT)]);
    let said = refusal(&todoctl(
        directory.path(),
        &["render", "demo.yaml", "test.yaml"],
    ));
    assert!(
        said.contains("demo.yaml:10: spec.components.web.calls"),
        "{said}"
    );
    assert!(
        said.contains("demo.yaml:11: spec.components.web.scaling.min"),
        "{said}"
    );
}

#[test]
fn unknown_fields_and_environments_are_refused() {
    let directory = directory(&[
        ("demo.yaml", APP),
        ("bad.yaml", &APP.replace("kind: Service", "knd: Service")),
    ]);
    let said = refusal(&todoctl(directory.path(), &["render", "bad.yaml"]));
    assert!(
        said.contains("bad.yaml:8: spec.components.web.knd: there is no such field"),
        "{said}"
    );
    assert!(said.contains("missing field `kind`"), "{said}");

    let said = refusal(&todoctl(directory.path(), &["render", "demo.yaml"]));
    assert!(
        said.contains("demo.yaml:3: it names no namespace"),
        "{said}"
    );
    let said = refusal(&todoctl(
        directory.path(),
        &["render", "demo.yaml", "-e", "test"],
    ));
    assert!(
        said.contains("no TodoEnvironment test in demo.yaml"),
        "{said}"
    );
    let said = refusal(&todoctl(directory.path(), &["render", "missing.yaml"]));
    assert!(said.contains("missing.yaml: "), "{said}");
}

#[test]
fn an_application_without_its_environment_says_what_to_give() {
    let app = APP.replace("  name: demo", "  name: demo\n  namespace: todo-test");
    let directory = directory(&[("demo.yaml", &app)]);
    let said = refusal(&todoctl(directory.path(), &["render", "."]));
    assert!(
        said.contains("demo.yaml:5: no TodoEnvironment has namespace todo-test: give its file too"),
        "{said}"
    );
}

#[test]
fn what_only_one_application_can_have_is_refused_to_the_second() {
    let host = APP.replace(
        "  release:",
        "  traffic: {host: a.example.com, router: Traefik}\n  release:",
    );
    let routed = host.replace("kind: Service", "kind: Service\n      route: {paths: [/]}");
    let other = routed.replace("name: demo", "name: other");
    let directory = directory(&[
        ("a.yaml", &routed),
        ("b.yaml", &other),
        ("test.yaml", ENVIRONMENT),
    ]);
    let said = refusal(&todoctl(directory.path(), &["render", "."]));
    assert!(said.contains("b.yaml:"), "{said}");
    assert!(said.contains("todo-test/demo"), "{said}");
    assert!(!said.contains("a.yaml:"), "{said}");
}

#[test]
fn one_environment_of_several_is_rendered() {
    let production = ENVIRONMENT.replace("test", "production");
    let directory = directory(&[
        ("demo.yaml", APP),
        ("test.yaml", ENVIRONMENT),
        ("production.yaml", &production),
    ]);
    let names = stdout(&todoctl(
        directory.path(),
        &["render", ".", "-e", "production", "-o", "names"],
    ));
    assert!(
        names.contains("Deployment todo-production/demo-web"),
        "{names}"
    );
    assert!(!names.contains("todo-test"), "{names}");
}

#[test]
fn a_kustomize_directory_is_built_and_its_errors_are_told() {
    let directory = directory(&[
        (
            "good/kustomization.yaml",
            "resources: [demo.yaml, test.yaml]\n",
        ),
        ("good/demo.yaml", APP),
        ("good/test.yaml", ENVIRONMENT),
        ("bad/kustomization.yaml", "resources: [missing.yaml]\n"),
        ("unknown/kustomization.yaml", "resources: [demo.yaml]\n"),
        (
            "unknown/demo.yaml",
            &APP.replace("kind: Service", "kind: Service\n      prt: 1"),
        ),
    ]);
    let output = todoctl(directory.path(), &["render", "good", "-o", "names"]);
    assert!(
        stdout(&output).contains("Deployment todo-test/demo-web"),
        "{output:?}"
    );
    let said = refusal(&todoctl(directory.path(), &["render", "bad"]));
    assert!(said.contains("todoctl: bad: `"), "{said}");
    assert!(said.contains("missing.yaml"), "{said}");
    let said = refusal(&todoctl(directory.path(), &["render", "unknown"]));
    assert!(
        said.contains(
            "unknown (kustomize): TodoApp demo: spec.components.web.prt: there is no such field"
        ),
        "{said}"
    );
}

#[test]
fn without_kustomize_a_kustomize_directory_says_what_to_install() {
    let directory = directory(&[("kustomization.yaml", "resources: []\n")]);
    let output = Command::new(env!("CARGO_BIN_EXE_todoctl"))
        .args(["render", "."])
        .current_dir(directory.path())
        .env("PATH", directory.path())
        .output()
        .unwrap();
    assert!(
        refusal(&output).contains("neither kubectl nor kustomize is installed"),
        "{output:?}"
    );
}

#[test]
fn every_stage_of_the_template_repository_renders() {
    for stage in ["test", "staging", "production"] {
        let (apps, platform) = (format!("environments/{stage}"), format!("platform/{stage}"));
        let output = todoctl(&config_repo(), &["render", &apps, &platform, "-o", "names"]);
        assert!(output.status.success(), "{output:?}");
        let names = stdout(&output);
        for wanted in [
            "Rollout",
            "ScaledObject",
            "Job",
            "Cluster",
            "Namespace",
            "topic",
        ] {
            assert!(
                names
                    .lines()
                    .any(|line| line.starts_with(&format!("{wanted} "))),
                "{stage}: {wanted}: {names}"
            );
        }
        assert_eq!(names.contains("CronJob"), stage == "production", "{names}");
    }
}

#[test]
fn completions_are_printed_for_every_shell() {
    let directory = directory(&[]);
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(&todoctl(directory.path(), &["completions", shell]));
        assert!(
            script.contains("todoctl") && script.contains("render"),
            "{shell}"
        );
    }
}

#[test]
fn a_cluster_that_is_not_there_says_what_to_check() {
    let directory = directory(&[]);
    let output = todoctl(
        directory.path(),
        &["status", "--kubeconfig", "no-such-file"],
    );
    let said = refusal(&output);
    assert!(said.contains("no cluster to ask"), "{said}");
    assert!(said.contains("--kubeconfig"), "{said}");
}
