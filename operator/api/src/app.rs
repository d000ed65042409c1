//! `TodoApp`: the application in one stage.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::component::Component;
use crate::data::{Databases, Messaging};
use crate::release::Release;
use crate::scalar::Duration;
use crate::status::TodoAppStatus;
use crate::traffic::Traffic;

/// The application in one stage: its components, topics, databases and traffic, and the release that it runs.
///
/// Its environment is the TodoEnvironment whose `spec.namespace` is this namespace.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "todo-operator.dev",
    version = "v1alpha1",
    kind = "TodoApp",
    namespaced,
    shortname = "tapp",
    category = "todo",
    status = "TodoAppStatus",
    derive = "PartialEq",
    doc = "The application in one stage: its components, topics, databases and traffic, and the release that it runs.",
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Components", type_ = "string", json_path = ".status.ready"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.effectiveRelease.version"),
    printcolumn(name = "Wanted", type_ = "string", json_path = ".spec.release.version", priority = "1"),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("a TodoApp's name is lower case letters, digits and '-', and begins with a letter: it becomes the name of Services"),
    validation = Rule::new("self.spec.components.all(c, size(self.metadata.name) + 1 + size(c) <= 45)").message("<app>-<component> must have at most 45 characters: shorten one of the names").field_path(".spec.components")
)]
#[x_kube(validation = Rule::new("!has(self.release.config) || self.release.config.all(c, c in self.components)").message("release.config names a component that does not exist").field_path(".release.config"))]
#[x_kube(validation = Rule::new("self.components.all(c, !has(self.components[c].calls) || self.components[c].calls.all(d, d in self.components))").message("calls names a component that does not exist").field_path(".components"))]
#[x_kube(validation = Rule::new("self.components.all(c, !has(self.components[c].database) || (has(self.databases) && self.components[c].database in self.databases.items))").message("a component uses a database that databases.items does not declare").field_path(".components"))]
#[x_kube(validation = Rule::new("self.components.all(c, !has(self.components[c].produces) || self.components[c].produces.all(t, has(self.messaging) && has(self.messaging.topics) && t in self.messaging.topics))").message("a component produces a topic that messaging.topics does not declare").field_path(".components"))]
#[x_kube(validation = Rule::new("self.components.all(c, !has(self.components[c].consumes) || self.components[c].consumes.all(t, has(self.messaging) && has(self.messaging.topics) && t in self.messaging.topics))").message("a component consumes a topic that messaging.topics does not declare").field_path(".components"))]
#[serde(rename_all = "camelCase")]
pub struct TodoAppSpec {
    /// The programs, by name.
    #[schemars(extend("maxProperties" = 40, "minProperties" = 1))]
    #[x_kube(validation = Rule::new("self.all(c, c.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$'))").message("a component's name is lower case letters, digits and '-', and begins with a letter"))]
    pub components: BTreeMap<String, Component>,
    /// Topics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messaging: Option<Messaging>,
    /// Databases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub databases: Option<Databases>,
    /// How the routed components are reached from outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<Traffic>,
    /// What runs. The unit of promotion.
    pub release: Release,
    /// What happens to databases and topics when they leave the spec, or the TodoApp is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// Time without being ready after which the application counts as degraded; the environment's default, else 10m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_deadline: Option<Duration>,
}

/// What happens to stateful children that are no longer wanted.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeletionPolicy {
    /// They stay, with their data.
    #[default]
    Retain,
    /// They are deleted, with their data.
    Delete,
}
