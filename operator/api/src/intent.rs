//! One person's act, authorised by Kubernetes RBAC and kept as a record.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One person's act. Immutable; its author withdraws it by deleting it. Never in git.
///
/// The `todo-intents` admission policy proves `user` and `groups`, and that the author may `verb` the environment.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "todo-operator.dev",
    version = "v1alpha1",
    kind = "TodoIntent",
    shortname = "intent",
    category = "todo",
    status = "TodoIntentStatus",
    doc = "One person's act: Approve, Promote, Hold, Freeze, Stop, Resume, Retry or Rollback. Immutable.",
    printcolumn(name = "Verb", type_ = "string", json_path = ".spec.verb"),
    printcolumn(
        name = "Environment",
        type_ = "string",
        json_path = ".spec.environment"
    ),
    printcolumn(name = "App", type_ = "string", json_path = ".spec.app"),
    printcolumn(name = "User", type_ = "string", json_path = ".spec.user"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[x_kube(validation = Rule::new("self == oldSelf").message("an intent is immutable: delete it and create another"))]
#[x_kube(validation = Rule::new("self.verb != 'Approve' || has(self.release)").message("Approve names the release that it approves: set release").field_path(".release"))]
#[x_kube(validation = Rule::new("!(self.verb in ['Retry', 'Rollback', 'Promote']) || has(self.app)").message("this verb acts on one application: set app").field_path(".app"))]
#[x_kube(validation = Rule::new("!has(self.skip) || self.verb == 'Promote'").message("only Promote can skip stages").field_path(".skip"))]
#[x_kube(validation = Rule::new("self.environment != '*' || self.verb in ['Hold', 'Freeze', 'Stop', 'Resume']").message("only Hold, Freeze, Stop and Resume take every environment").field_path(".environment"))]
#[serde(rename_all = "camelCase")]
pub struct TodoIntentSpec {
    /// What is to be done.
    pub verb: Verb,
    /// Name of the TodoEnvironment, or `*` for all.
    #[schemars(length(min = 1, max = 63))]
    pub environment: String,
    /// Name of the TodoApp; all of the environment's where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub app: Option<String>,
    /// The release: a fingerprint (12 characters suffice) or a version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub release: Option<String>,
    /// Stages that a Promote skips.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub skip: Vec<String>,
    /// When a Hold, Freeze or Stop ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// Why, for those who read it later.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
    /// The author, as the API server knows them.
    #[schemars(length(min = 1, max = 256))]
    pub user: String,
    /// Groups of the author that count for approvals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(length(max = 256)))]
    pub groups: Vec<String>,
}

/// What a person can ask for.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Let a release enter an environment.
    Approve,
    /// Promote a release now.
    Promote,
    /// Let nothing into an environment.
    Hold,
    /// As Hold, announced and for a time.
    Freeze,
    /// Stop every automatic act at once.
    Stop,
    /// End anyone's Hold, Freeze or Stop.
    Resume,
    /// Try again what was rejected.
    Retry,
    /// Go back to an earlier release.
    Rollback,
}

/// What became of an intent.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TodoIntentStatus {
    /// Generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// How it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<IntentPhase>,
    /// Why, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Standard conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub conditions: Vec<Condition>,
}

/// How an intent stands.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntentPhase {
    /// In force.
    Active,
    /// Carried out.
    Done,
    /// Not counted: the message says why.
    Refused,
    /// Over: `until` has passed or a Resume ended it.
    Ended,
}
