//! The application that is measured: two HTTP services, twelve children, no barrier.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde_json::json;
use todo_operator_api::{TodoApp, TodoEnvironment};
use todo_operator_core::child::Child;
use todo_operator_core::render;
use todo_operator_core::validate::{self, Surroundings};

/// Children of each application: ServiceAccount, ConfigMap, NetworkPolicy, Service, Deployment and PodDisruptionBudget
/// of each component.
pub const CHILDREN: usize = 12;
/// Applications in one environment.
pub const APPS_PER_ENVIRONMENT: usize = 100;

/// Name of an environment, and of its namespace.
pub fn environment_name(number: usize) -> String {
    format!("bench-{number}")
}

/// An environment.
pub fn environment(number: usize) -> Result<TodoEnvironment> {
    let name = environment_name(number);
    serde_json::from_value(json!({
        "apiVersion": "todo-operator.dev/v1alpha1",
        "kind": "TodoEnvironment",
        "metadata": {"name": name},
        "spec": {
            "stage": "bench",
            "namespace": name,
            "defaults": {
                "router": "None",
                "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}},
            },
            "variables": {"*": {"LOG_LEVEL": "info"}},
        },
    }))
    .context("the environment of the bench does not fit its type")
}

/// An application.
pub fn app(namespace: &str, name: &str) -> Result<TodoApp> {
    let digest = "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    serde_json::from_value(json!({
        "apiVersion": "todo-operator.dev/v1alpha1",
        "kind": "TodoApp",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "components": {
                "api": {"kind": "Service", "scaling": {"min": 2}},
                "web": {"kind": "Service", "scaling": {"min": 2}, "calls": ["api"]},
            },
            "release": {
                "version": "1.0.0",
                "images": [
                    {"component": "api", "image": format!("registry.example.com/api:1.0.0{digest}")},
                    {"component": "web", "image": format!("registry.example.com/web:1.0.0{digest}")},
                ],
                "config": {
                    "api": {"PAGE_SIZE": "50", "CURRENCY": "EUR"},
                    "web": {"THEME": "light"},
                },
            },
        },
    }))
    .context("the application of the bench does not fit its type")
}

/// What the operator writes for an application that the API server has accepted, in its order.
pub fn children(app: &TodoApp, environment: &TodoEnvironment) -> Result<Vec<Child>> {
    let surroundings = Surroundings {
        environments: &[environment],
        holders: &BTreeMap::new(),
        partitions: &BTreeMap::new(),
    };
    let valid = match validate::validate(app, &surroundings) {
        Ok(valid) => valid,
        Err(problems) => {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            bail!(
                "the application of the bench is invalid: {}",
                problems.join("; ")
            );
        }
    };
    let inputs = render::pod_inputs(&valid);
    let by_component: Vec<_> = inputs
        .iter()
        .map(|(component, inputs)| (component.as_str(), inputs))
        .collect();
    let children = [
        render::policy(&valid, &by_component),
        render::services(&valid),
        render::workloads(&valid, &inputs),
        render::traffic(&valid),
    ]
    .concat();
    if children.len() != CHILDREN {
        bail!(
            "the application of the bench has {} children, not {CHILDREN}: change bench/fixture.rs",
            children.len()
        );
    }
    Ok(children)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_has_twelve_children_and_nothing_to_wait_for() {
        let mut app = app("bench-0", "app-0").unwrap();
        app.metadata.uid = Some("uid".into());
        let environment = environment(0).unwrap();
        let children = children(&app, &environment).unwrap();
        let mut kinds: Vec<&str> = children.iter().map(|child| child.key.kind.name()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        assert_eq!(
            kinds,
            [
                "ConfigMap",
                "Deployment",
                "NetworkPolicy",
                "PodDisruptionBudget",
                "Service",
                "ServiceAccount"
            ]
        );
        assert!(app.spec.databases.is_none() && app.spec.messaging.is_none());
    }
}
