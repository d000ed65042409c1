//! From a TodoApp and its surroundings to a [`ValidApp`], or every problem at once.
//!
//! Nothing is trusted to have passed the API server: `todoctl` validates files, and rules that CEL can see stand there
//! for an early answer, not instead of these. What needs more than one object (the environment, other applications, the
//! topics in Kafka) is checked here alone.

mod claims;
mod component;
mod data;
mod environment;
mod image;
mod mounts;
mod names;
mod release;
mod resolve;
mod syntax;
mod traffic;
mod variables;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use todo_operator_api::component::Component;
use todo_operator_api::environment::{Defaults, EnvironmentMessaging, Policy};
use todo_operator_api::traffic::Router;
use todo_operator_api::{TodoApp, TodoEnvironment};

pub use self::claims::claims;
pub use self::environment::{NamespaceFacts, environment};

/// Something wrong in a spec: where, what it is, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{field}: {value}: {rule}")]
pub struct Problem {
    /// Path of the field, as `spec.components.web.scaling.max`.
    pub field: String,
    /// The value, shortened to what a person can read.
    pub value: String,
    /// What is allowed, and what to do.
    pub rule: String,
}

/// Something that only one application can have, in the whole cluster or in its namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Claim {
    /// A topic of Kafka, by bootstrap servers and physical name.
    Topic(String, String),
    /// A host and path prefix.
    Route(String, String),
    /// An external database: host, port and name. (One inside the cluster is a [`Claim::Object`].)
    Database(String),
    /// The name of an object in a namespace: `<app>-<component>`, `<app>-db`.
    Object(String, String),
}

/// Who holds what, among the other applications: claim → `namespace/name` of the holder.
/// The older application holds; at the same age the one whose `namespace/name` sorts first.
pub type Holders = BTreeMap<Claim, String>;

/// What validation needs beside the TodoApp.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// Every TodoEnvironment whose `spec.namespace` is the app's namespace.
    pub environments: &'a [&'a TodoEnvironment],
    /// Claims that other, older applications hold.
    pub holders: &'a Holders,
    /// Partitions that the app's topics have in Kafka, by physical name; what is not known is absent.
    pub partitions: &'a BTreeMap<String, i32>,
}

/// An application that can be rendered: every name resolved, every default filled in.
#[derive(Clone, Debug)]
pub struct ValidApp<'a> {
    /// The TodoApp.
    pub app: &'a TodoApp,
    /// Its environment.
    pub environment: &'a TodoEnvironment,
    /// `metadata.name`.
    pub name: &'a str,
    /// `metadata.namespace`.
    pub namespace: &'a str,
    /// `metadata.uid`; empty offline.
    pub uid: &'a str,
    /// Components that run in this stage, by name.
    pub components: BTreeMap<&'a str, ValidComponent<'a>>,
    /// Who routes.
    pub router: Router,
    /// Seconds without being ready after which the app counts as degraded.
    pub ready_deadline: i64,
    /// Times that a person asked to try again, by component: `status.attempts`.
    pub attempts: BTreeMap<String, i64>,
}

/// A component that can be rendered.
#[derive(Clone, Debug)]
pub struct ValidComponent<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its spec, with the environment's defaults (resources, scaling, rollout) filled in.
    pub spec: Component,
    /// Its image.
    pub image: &'a str,
    /// `release.config` of it.
    pub config: BTreeMap<String, String>,
    /// Names of the components of this stage that call it.
    pub callers: BTreeSet<&'a str>,
}

/// Checks an application. Every problem is found at once, sorted by field.
pub fn validate<'a>(
    app: &'a TodoApp,
    surroundings: &Surroundings<'a>,
) -> Result<ValidApp<'a>, Vec<Problem>> {
    let scope = Scope::new(app, surroundings);
    let mut problems = Problems::default();
    environment::of_app(&scope, &mut problems);
    names::check(&scope, &mut problems);
    component::check(&scope, &mut problems);
    variables::check(&scope, &mut problems);
    data::check(&scope, &mut problems);
    release::check(&scope, &mut problems);
    traffic::check(&scope, &mut problems);
    claims::check(&scope, &mut problems);
    let problems = problems.into_sorted();
    match scope.environment {
        Some(environment) if problems.is_empty() => Ok(scope.into_valid(environment)),
        _ => Err(problems),
    }
}

/// What every check looks at.
struct Scope<'a, 's> {
    app: &'a TodoApp,
    name: &'a str,
    namespace: &'a str,
    /// The first where there are several, so that all other problems are found too.
    environment: Option<&'a TodoEnvironment>,
    surroundings: &'s Surroundings<'a>,
    router: Router,
    /// Components that run in this stage, with the environment's defaults filled in; all while the stage is unknown.
    running: BTreeMap<&'a str, Component>,
}

impl<'a, 's> Scope<'a, 's> {
    fn new(app: &'a TodoApp, surroundings: &'s Surroundings<'a>) -> Self {
        let environment = surroundings.environments.first().copied();
        let defaults = environment.and_then(|environment| environment.spec.defaults.as_ref());
        let running = running(app, environment)
            .map(|(name, spec)| {
                let partitions = data::usable_replicas(app, spec);
                (name, resolve::component(spec, defaults, partitions))
            })
            .collect();
        Self {
            app,
            name: app.metadata.name.as_deref().unwrap_or_default(),
            namespace: app.metadata.namespace.as_deref().unwrap_or_default(),
            environment,
            surroundings,
            router: resolve::router(app, defaults),
            running,
        }
    }

    fn defaults(&self) -> Option<&'a Defaults> {
        self.environment?.spec.defaults.as_ref()
    }

    fn policy(&self) -> Option<&'a Policy> {
        self.environment?.spec.policy.as_ref()
    }

    fn messaging(&self) -> Option<&'a EnvironmentMessaging> {
        self.environment?.spec.messaging.as_ref()
    }

    /// Name of the environment, for people.
    fn environment_name(&self) -> &'a str {
        self.environment.map_or("?", name_of)
    }

    /// The application without problems. An image is there for each running component: [`release::check`] saw to it.
    fn into_valid(self, environment: &'a TodoEnvironment) -> ValidApp<'a> {
        let defaults = self.defaults();
        let calls: Vec<(&str, Vec<String>)> = self
            .running
            .iter()
            .map(|(name, component)| (*name, component.calls.clone()))
            .collect();
        let callers = |name: &str| {
            calls
                .iter()
                .filter(|(_, calls)| calls.iter().any(|callee| callee == name))
                .map(|(caller, _)| *caller)
                .collect()
        };
        let release = &self.app.spec.release;
        let components = self
            .running
            .into_iter()
            .map(|(name, spec)| {
                let component = ValidComponent {
                    name,
                    image: release::image(release, name, &spec).unwrap_or_default(),
                    config: release.config.get(name).cloned().unwrap_or_default(),
                    callers: callers(name),
                    spec,
                };
                (name, component)
            })
            .collect();
        let status = self.app.status.as_ref();
        ValidApp {
            app: self.app,
            environment,
            name: self.name,
            namespace: self.namespace,
            uid: self.app.metadata.uid.as_deref().unwrap_or_default(),
            components,
            router: self.router,
            ready_deadline: resolve::ready_deadline(self.app, defaults),
            attempts: status
                .map(|status| status.attempts.clone())
                .unwrap_or_default(),
        }
    }
}

/// Components that run in the environment's stage.
fn running<'a>(
    app: &'a TodoApp,
    environment: Option<&TodoEnvironment>,
) -> impl Iterator<Item = (&'a str, &'a Component)> {
    let stage = environment.map(|environment| environment.spec.stage.clone());
    app.spec
        .components
        .iter()
        .filter(move |(_, component)| {
            component.environments.is_empty()
                || stage
                    .as_ref()
                    .is_none_or(|stage| component.environments.contains(stage))
        })
        .map(|(name, component)| (name.as_str(), component))
}

/// `metadata.name` of an environment.
fn name_of(environment: &TodoEnvironment) -> &str {
    environment.metadata.name.as_deref().unwrap_or_default()
}

/// Problems as they are found.
#[derive(Debug, Default)]
struct Problems(BTreeSet<Problem>);

/// [`Problem::value`] of a field that is absent.
const NOT_SET: &str = "not set";
/// Longest [`Problem::value`], in characters.
const LONGEST_VALUE: usize = 80;

impl Problems {
    fn add(&mut self, field: impl Into<String>, value: impl Display, rule: impl Into<String>) {
        let value = value.to_string();
        let value = match value.char_indices().nth(LONGEST_VALUE) {
            Some((end, _)) => format!("{}…", value.get(..end).unwrap_or_default()),
            None if value.is_empty() => "empty".to_owned(),
            None => value,
        };
        self.0.insert(Problem {
            field: field.into(),
            value,
            rule: rule.into(),
        });
    }

    fn into_sorted(self) -> Vec<Problem> {
        self.0.into_iter().collect()
    }
}
