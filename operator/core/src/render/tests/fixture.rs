//! A TodoApp with one component of each kind, its environment, and what validation would make of them.

use std::collections::BTreeMap;

use serde_json::Value;
use todo_operator_api::{TodoApp, TodoEnvironment};

use crate::validate::{ValidApp, ValidComponent};

/// An application and its environment, as they are changed by merge patches.
pub(crate) struct Fixture {
    pub(crate) app: TodoApp,
    pub(crate) environment: TodoEnvironment,
}

/// The demonstration application in production: Traefik, topics by the operator itself, one shared database cluster.
pub(crate) fn demo() -> Fixture {
    with("{}", "{}")
}

/// The same with changes, as YAML merge patches, to the application's and the environment's `spec`.
pub(crate) fn with(app: &str, environment: &str) -> Fixture {
    Fixture {
        app: patched(include_str!("demo.yaml"), app),
        environment: patched(include_str!("environment.yaml"), environment),
    }
}

fn patched<T: serde::de::DeserializeOwned>(manifest: &str, patch: &str) -> T {
    let mut manifest: Value = serde_yaml::from_str(manifest).unwrap();
    merge(&mut manifest["spec"], serde_yaml::from_str(patch).unwrap());
    serde_json::from_value(manifest).unwrap()
}

/// JSON merge patch (RFC 7386).
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Default::default());
    }
    for (key, value) in patch {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(&key);
        } else {
            merge(&mut target[key], value);
        }
    }
}

impl Fixture {
    /// The application as validation would hand it over.
    pub(crate) fn valid(&self) -> ValidApp<'_> {
        let (spec, environment) = (&self.app.spec, &self.environment.spec);
        let defaults = environment.defaults.clone().unwrap_or_default();
        let runs = |stages: &[String]| stages.is_empty() || stages.contains(&environment.stage);
        let components: BTreeMap<&str, _> = spec
            .components
            .iter()
            .filter(|(_, component)| runs(&component.environments))
            .map(|(name, component)| {
                let key = component.image.as_deref().unwrap_or(name);
                let image = spec.release.images.iter().find(|i| i.component == key);
                let calls = |other: &&String| spec.components[*other].calls.contains(name);
                let component = ValidComponent {
                    name,
                    spec: component.clone(),
                    image: &image.unwrap().image,
                    config: spec.release.config.get(name).cloned().unwrap_or_default(),
                    callers: spec
                        .components
                        .keys()
                        .filter(calls)
                        .map(|c| c.as_str())
                        .collect(),
                };
                (name.as_str(), component)
            })
            .collect();
        let traffic = spec.traffic.as_ref();
        ValidApp {
            app: &self.app,
            environment: &self.environment,
            name: self.app.metadata.name.as_deref().unwrap(),
            namespace: self.app.metadata.namespace.as_deref().unwrap(),
            uid: self.app.metadata.uid.as_deref().unwrap(),
            components,
            router: traffic
                .and_then(|traffic| traffic.router)
                .or(defaults.router)
                .unwrap_or_default(),
            ready_deadline: 600,
            attempts: BTreeMap::new(),
        }
    }
}
