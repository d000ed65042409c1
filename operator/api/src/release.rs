//! The unit of promotion, and the readable record of one.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What runs: one image per image key, and the configuration values that travel with it.
///
/// Its fingerprint is the SHA-256 of the RFC 8785 form of `images` (sorted by component) and `config`; `version` is a
/// name for people and is left out, so that a new tag alone is no new release.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    /// Name for people, usually a semantic version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub version: Option<String>,
    /// One image per image key (`components.<c>.image`, by default the component's name).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["component"])
    )]
    pub images: Vec<ReleaseImage>,
    /// Configuration by component, key and value; each component's becomes an immutable ConfigMap that its pods read as
    /// environment variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub config: BTreeMap<String, BTreeMap<String, String>>,
}

/// The image of one image key.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseImage {
    /// The image key.
    #[schemars(length(min = 1, max = 63))]
    pub component: String,
    /// The reference, by digest (`registry/name@sha256:…`) where the environment demands it.
    #[schemars(length(min = 1, max = 512))]
    pub image: String,
}

/// A readable record of one release: its content, where it came from, and how it fared in each stage.
///
/// A cache: git decides, and the record is rebuilt from git. Named `<app>-<first 12 of the fingerprint>`.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "todo-operator.dev",
    version = "v1alpha1",
    kind = "TodoRelease",
    shortname = "todorel",
    category = "todo",
    status = "TodoReleaseStatus",
    doc = "A readable record of one release: its content, where it came from, and how it fared in each stage.",
    printcolumn(name = "App", type_ = "string", json_path = ".spec.app"),
    printcolumn(name = "Versions", type_ = "string", json_path = ".status.versions"),
    printcolumn(name = "Stages", type_ = "string", json_path = ".status.summary"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[x_kube(validation = Rule::new("self == oldSelf").message("a TodoRelease is a record of git: its spec cannot change"))]
#[serde(rename_all = "camelCase")]
pub struct TodoReleaseSpec {
    /// Name of the TodoApp, unique across a promotion chain.
    #[schemars(length(min = 1, max = 63))]
    pub app: String,
    /// SHA-256 of the release's canonical form, in hexadecimal.
    #[schemars(length(min = 64, max = 64))]
    pub fingerprint: String,
    /// The content.
    pub content: Release,
    /// Where it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<Provenance>,
}

/// Where a release came from.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    /// The config repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub repository: Option<String>,
    /// The commit of the config repository that first held it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub commit: Option<String>,
    /// Author of that commit, as `Name <e-mail>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub author: Option<String>,
    /// When it was committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
}

/// How a release fared.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TodoReleaseStatus {
    /// Generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Every version name that this content has had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub versions: Vec<String>,
    /// One line: the stages and the phase in each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Where it has been.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub stages: Vec<ReleaseStage>,
    /// What was rejected of it, copied from the TodoApps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub rejected: Vec<crate::status::Rejection>,
    /// Standard conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub conditions: Vec<Condition>,
}

/// A release in one stage.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseStage {
    /// Name of the TodoEnvironment.
    pub environment: String,
    /// How it stands there.
    pub phase: StagePhase,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Why, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How a release stands in a stage.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum StagePhase {
    /// Written to the stage's branch, not yet proven.
    Deploying,
    /// Proven healthy, the soak has not ended.
    Soaking,
    /// Proven healthy for the soak.
    Healthy,
    /// Failed and taken out of git.
    Rejected,
    /// Replaced by a later release.
    Superseded,
}
