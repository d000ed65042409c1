//! Environment variables: their names, and which of them are the operator's.

use std::collections::BTreeMap;

use todo_operator_api::TodoEnvironment;

use super::{Problems, Scope, syntax};

/// Names that the operator sets.
const RESERVED: [&str; 6] = [
    "APP_NAME",
    "APP_COMPONENT",
    "APP_ENVIRONMENT",
    "POD_NAME",
    "OTEL_SERVICE_NAME",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];
/// Beginnings of names that the operator sets, or that a client library would read beside them.
const RESERVED_PREFIXES: [&str; 4] = ["PG", "KAFKA_", "TOPIC_", "SERVICE_"];

pub(super) fn check(scope: &Scope<'_, '_>, problems: &mut Problems) {
    let spec = &scope.app.spec;
    for (component, config) in &spec.release.config {
        names(
            problems,
            &format!("spec.release.config.{component}"),
            config,
        );
    }
    for (name, component) in &spec.components {
        let path = format!("spec.components.{name}");
        names(problems, &format!("{path}.env"), &component.env);
        names(
            problems,
            &format!("{path}.secretEnv"),
            &component.secret_env,
        );
        for (variable, key) in &component.secret_env {
            let field = format!("{path}.secretEnv.{variable}");
            if component.env.contains_key(variable) {
                problems.add(
                    &field,
                    variable,
                    "env sets it too: a variable stands in one of env and secretEnv",
                );
            }
            secret_key(problems, &field, &key.secret, &key.key);
        }
    }
}

/// The environment's own variables.
pub(super) fn of_environment(environment: &TodoEnvironment, problems: &mut Problems) {
    for (component, variables) in &environment.spec.variables {
        names(problems, &format!("spec.variables.{component}"), variables);
    }
}

/// A reference to one key of a Secret.
pub(super) fn secret_key(problems: &mut Problems, path: &str, secret: &str, key: &str) {
    syntax::object_name(problems, &format!("{path}.secret"), Some(secret));
    let fits = !key.is_empty()
        && key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if !fits {
        problems.add(
            format!("{path}.key"),
            key,
            "a Secret's key is letters, digits, '-', '_' and '.'",
        );
    }
}

fn names<T>(problems: &mut Problems, path: &str, variables: &BTreeMap<String, T>) {
    for name in variables.keys() {
        let field = format!("{path}.{name}");
        if !is_variable(name) {
            problems.add(
                field,
                name,
                "a variable's name is letters, digits, '_', '-' and '.', and begins with no digit",
            );
        } else if RESERVED.contains(&name.as_str())
            || RESERVED_PREFIXES
                .iter()
                .any(|prefix| name.starts_with(prefix))
        {
            problems.add(
                field,
                name,
                format!(
                    "the operator sets {} and all that begin with {}: choose another name",
                    RESERVED.join(", "),
                    RESERVED_PREFIXES.join(", ")
                ),
            );
        }
    }
}

/// Kubernetes' strict rule, which ConfigMaps read by `envFrom` are held to: others it leaves out in silence.
fn is_variable(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    !name.is_empty()
        && name.chars().all(fits)
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name != "."
        && !name.starts_with("..")
}
