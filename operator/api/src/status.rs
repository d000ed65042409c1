//! `TodoApp.status`: what runs, whether it is fine, and if not, why.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::component::ComponentKind;

/// What was observed of a TodoApp, and what was decided.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TodoAppStatus {
    /// Generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Name of the TodoEnvironment whose namespace this is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// `spec.release.version`, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Fingerprint of `spec.release`: SHA-256 in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// What serves, which may be older than what the spec asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective_release: Option<EffectiveRelease>,
    /// `ready/total` components, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<String>,
    /// Components by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub components: BTreeMap<String, ComponentStatus>,
    /// PostgreSQL clusters and databases, as `Cluster/demo-db` or `Database/demo-db-orders`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub databases: BTreeMap<String, ResourceStatus>,
    /// Topics by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub topics: BTreeMap<String, TopicStatus>,
    /// What was rejected, newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub rejected: Vec<Rejection>,
    /// How often a person asked to try again what had failed, by component; it numbers the migration Jobs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attempts: BTreeMap<String, i64>,
    /// `Ready`, `Progressing`, `Degraded` and one per concern.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 20),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
}

/// The release whose pods serve.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveRelease {
    /// Fingerprint of the release that serves.
    pub fingerprint: String,
    /// Its version, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The ControllerRevision that holds its pod inputs; none before the first release was proven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Why it serves: `Spec`, `RollingOut`, `Rejected`, `Barrier`, `StableFirst` or `Invalid`.
    pub reason: String,
}

/// One component.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ComponentStatus {
    /// Its kind.
    pub kind: ComponentKind,
    /// The image that its workload asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Replicas asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<i64>,
    /// Replicas available.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<i64>,
    /// Canary step, as `2/20`, while one is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Share of the traffic (or of the replicas) that the canary has, in per cent, while one is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<i64>,
    /// The ladder of weights that is in force, for a canary.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ladder: Vec<i64>,
    /// `Healthy`, `Progressing`, `Paused`, `Degraded`, `Waiting`, `Missing`.
    pub state: String,
    /// What a person needs to know, with the leaf object's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// One database or another child with nothing to say but how it is.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ResourceStatus {
    /// Whether it can be used.
    pub ready: bool,
    /// What a person needs to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// One topic.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TopicStatus {
    /// Its name in Kafka.
    pub physical_name: String,
    /// Partitions that it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<i64>,
    /// Whether it is as the spec asks.
    pub ready: bool,
    /// What a person needs to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Something that was tried, failed, and is not tried again by itself.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Rejection {
    /// The component.
    pub component: String,
    /// Its image.
    pub image: String,
    /// Hash of its configuration.
    pub config_hash: String,
    /// Hash of all its pod inputs.
    pub inputs_hash: String,
    /// Reason, from the documented list.
    pub reason: String,
    /// The measurement or message that decided, in the leaf object's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measurement: Option<String>,
    /// When.
    pub time: Time,
}
