//! Where a stage's releases come from, and what they must pass.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scalar::Duration;

/// The git repository that a stage is synced from.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// URL of the repository, without credentials.
    #[schemars(length(min = 1, max = 512))]
    pub repository: String,
    /// Branch; `main` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub branch: Option<String>,
    /// Folder of this stage; `environments/<name>` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub path: Option<String>,
    /// Name of the credential: a directory below the operator's `--git-credentials`, into which a Secret is mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub credential: Option<String>,
    /// The Argo CD Application whose sync is the proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argocd: Option<ArgoApplication>,
}

/// An Argo CD Application.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ArgoApplication {
    /// Its namespace.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub application: String,
}

/// How a promotion is written.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// A commit on the branch.
    #[default]
    Commit,
    /// A pull request.
    PullRequest,
}

/// Who syncs the branch to the cluster.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sync {
    /// Argo CD by itself.
    #[default]
    Automatic,
    /// A person.
    Manual,
}

/// What a release must pass to come to a stage.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(validation = Rule::new("!has(self.trigger) || self.trigger.type != 'Tag' || has(self.trigger.pattern)").message("trigger Tag needs a pattern, as v*.*.*").field_path(".trigger"))]
#[serde(rename_all = "camelCase")]
pub struct Promotion {
    /// The TodoEnvironment that releases come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub from: Option<String>,
    /// What starts a promotion; `Automatic` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Trigger>,
    /// What a release must pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gates: Option<Gates>,
    /// What happens when a release fails here.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// Time within which a promoted release must be proven healthy; 30m by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Duration>,
}

/// What starts a promotion.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Trigger {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: TriggerType,
    /// For `Tag`: the versions that count, with `*` for any run of characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub pattern: Option<String>,
}

/// What starts a promotion.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum TriggerType {
    /// As soon as the gates are passed.
    Automatic,
    /// A `Promote` intent.
    Manual,
    /// A git tag that matches the pattern.
    Tag,
}

/// What a release must pass.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Gates {
    /// Time for which the release must have been healthy in `from`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soak: Option<Duration>,
    /// Prometheus queries about `from`, each of which must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub analysis: Vec<AnalysisGate>,
    /// A Job in `from` that must succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smoke_test: Option<SmokeTest>,
    /// People who must agree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvals: Option<Approvals>,
    /// When a promotion may happen; always where empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub windows: Vec<Window>,
}

/// A Prometheus query that must hold.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AnalysisGate {
    /// Its name.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// PromQL that gives one number.
    #[schemars(length(min = 1, max = 4096))]
    pub query: String,
    /// Condition on `result`, as `result >= 0.99`.
    #[schemars(length(min = 1, max = 256))]
    pub condition: String,
}

/// A Job that must succeed.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SmokeTest {
    /// Image key in the release, or a full reference.
    #[schemars(length(min = 1, max = 512))]
    pub image: String,
    /// Arguments of the process.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 1024)))]
    pub args: Vec<String>,
    /// Longest time that it may take; 10m by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
}

/// People who must agree. The author of the release does not count.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Approvals {
    /// How many.
    #[schemars(range(min = 1, max = 10))]
    pub required: i32,
    /// Groups whose members count; everybody who may `approve` where empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(min = 1, max = 256)))]
    pub groups: Vec<String>,
    /// E-mail addresses of commits to users of Kubernetes, so that an author is known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 500))]
    pub identities: BTreeMap<String, String>,
}

/// When a promotion may happen.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// When it opens: a cron expression of five fields.
    #[schemars(length(min = 1, max = 128))]
    pub cron: String,
    /// How long it stays open.
    pub duration: Duration,
    /// IANA time zone; UTC by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
}

/// What happens when a release fails in a stage.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// Git goes back to the last good release, and the failed one is quarantined.
    #[default]
    Revert,
    /// Git stays, and nothing more comes in until a person decides.
    Hold,
}

/// Short-lived environments for branches.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Preview {
    /// Branches that get one, with `*` for any run of characters.
    #[schemars(length(min = 1, max = 128))]
    pub branches: String,
    /// Time after the last commit until it is removed; 3d by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Duration>,
    /// Most that exist at once; 5 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub max: Option<i32>,
}
