//! From a TodoApp and its surroundings to a [`ValidApp`], or every problem at once.

use std::collections::{BTreeMap, BTreeSet};

use todo_operator_api::component::Component;
use todo_operator_api::traffic::Router;
use todo_operator_api::{TodoApp, TodoEnvironment};

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
