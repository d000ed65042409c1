//! A component: one program of the application.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scalar::{Duration, Quantity};

/// One program of the application: what it is, what it needs, how it is released.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(validation = Rule::new("self.kind != 'CronJob' || !has(self.rollout) || !has(self.rollout.strategy) || self.rollout.strategy != 'Canary'").message("a CronJob cannot have a canary: use strategy Rolling, or leave rollout out").field_path(".rollout"))]
#[x_kube(validation = Rule::new("(self.kind == 'CronJob') == has(self.schedule)").message("a CronJob needs a schedule, and nothing else has one").field_path(".schedule"))]
#[x_kube(validation = Rule::new("self.kind in ['Service', 'Site'] || !has(self.route)").message("only a Service or a Site can be routed").field_path(".route"))]
#[x_kube(validation = Rule::new("self.kind != 'CronJob' || !has(self.scaling)").message("a CronJob does not scale: remove scaling").field_path(".scaling"))]
#[x_kube(validation = Rule::new("!has(self.migrate) || has(self.database)").message("migrate needs a database to migrate: set database").field_path(".migrate"))]
#[serde(rename_all = "camelCase")]
pub struct Component {
    /// What it is.
    pub kind: ComponentKind,
    /// Key of its image in `release.images`; by default the component's name. Components that share an image name the
    /// same key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub image: Option<String>,
    /// Arguments of the process; the image's own by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 1024)))]
    pub args: Vec<String>,
    /// Stages (`TodoEnvironment.spec.stage`) in which it runs; all by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(min = 1, max = 63)))]
    pub environments: Vec<String>,
    /// The port that serves, 8080 by default. A Worker or CronJob has none unless it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// What it speaks on that port.
    #[serde(default)]
    pub protocol: Protocol,
    /// How it is reached from outside; it is not where this is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Route>,
    /// Health checks on the admin port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probes: Option<Probes>,
    /// Compute resources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Environment variables. They win over `release.config` and lose to `TodoEnvironment.spec.variables`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 128))]
    pub env: BTreeMap<String, String>,
    /// Environment variables whose values stand in Secrets of this namespace.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub secret_env: BTreeMap<String, SecretKey>,
    /// Secrets mounted as files, by name of the volume.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub secret_files: BTreeMap<String, SecretFiles>,
    /// Directories that the process may write to, each an empty volume: the root file system is read-only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        inner(length(min = 1, max = 256), regex(pattern = r"^/.+"))
    )]
    pub writable: Vec<String>,
    /// How many replicas run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scaling>,
    /// Name of the database in `databases.items` that it uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub database: Option<String>,
    /// A Job with the component's image that must succeed before the first new pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migrate: Option<Migrate>,
    /// Topics that it writes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 128)))]
    pub produces: Vec<String>,
    /// Topics that it reads, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub consumes: BTreeMap<String, Consume>,
    /// Components that it calls; each becomes `SERVICE_<COMPONENT>` and a network allow.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 40), inner(length(min = 1, max = 63)))]
    pub calls: Vec<String>,
    /// What else it may reach.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub egress: Vec<Egress>,
    /// How a new release reaches its pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// When a CronJob runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
}

/// What a component is.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ComponentKind {
    /// Serves HTTP or gRPC.
    Service,
    /// Consumes topics.
    Worker,
    /// Serves files to browsers.
    Site,
    /// Runs on a schedule.
    CronJob,
}

/// What a component speaks on its port.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http,
    /// gRPC over cleartext HTTP/2.
    Grpc,
}

/// How a component is reached from outside.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// Path prefixes that lead here.
    #[schemars(
        length(min = 1, max = 16),
        inner(length(min = 1, max = 256), regex(pattern = r"^/"))
    )]
    pub paths: Vec<String>,
    /// Host, where it is not `traffic.host`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub host: Option<String>,
}

/// Health checks. Each is an HTTP GET on the admin port.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Probes {
    /// Port that answers them; 9090 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// Until it succeeds the others wait; `/livez` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup: Option<Probe>,
    /// While it fails the pod gets no traffic; `/readyz` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Probe>,
    /// When it fails the container is restarted; `/livez` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Probe>,
}

/// One health check.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// Path of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^/"))]
    pub path: Option<String>,
    /// Seconds between two checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub period_seconds: Option<i32>,
    /// Seconds until a check counts as failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub timeout_seconds: Option<i32>,
    /// Failures in a row that decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub failure_threshold: Option<i32>,
}

/// Compute resources of one container.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What is reserved.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8))]
    pub requests: BTreeMap<String, Quantity>,
    /// What is the most.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8))]
    pub limits: BTreeMap<String, Quantity>,
}

/// One key of a Secret.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SecretKey {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub secret: String,
    /// The key.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
    /// Start without it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

/// A Secret as files.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SecretFiles {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub secret: String,
    /// Directory in the container.
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^/.+"))]
    pub path: String,
    /// Keys to mount; all by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 253)))]
    pub keys: Vec<String>,
}

/// How many replicas run, and what moves the number.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(validation = Rule::new("!has(self.min) || !has(self.max) || self.min <= self.max").message("min must not be above max").field_path(".min"))]
#[x_kube(validation = Rule::new("!has(self.max) || has(self.cpu) || has(self.lag)").message("max needs something to scale by: set cpu or lag").field_path(".max"))]
#[serde(rename_all = "camelCase")]
pub struct Scaling {
    /// Fewest replicas, and the fixed number where nothing scales; 1 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub min: Option<i32>,
    /// Most replicas. A Worker's cannot be above the partitions of the topics that it reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max: Option<i32>,
    /// Target CPU use, in per cent of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub cpu: Option<i32>,
    /// Target lag a replica, in messages, over the topics that it reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub lag: Option<i64>,
}

/// A migration of the component's database.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Migrate {
    /// Arguments of the Job's process; `[migrate]` by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 1024)))]
    pub args: Vec<String>,
    /// Longest time that it may take; 10m by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Pods that may fail before the Job has; 3 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub retries: Option<i32>,
    /// Says that the earlier version cannot run on the new schema, so that a promotion can tell before it starts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub irreversible: bool,
}

/// How a component reads a topic.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Consume {
    /// Lag in messages above which a canary of this component fails, if it is so for a whole window and still grows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub lag: Option<i64>,
    /// Every replica reads everything (no shared consumer group): it does not bound the replicas by partitions.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub broadcast: bool,
}

/// Something outside the application that a component may reach: exactly one of `cidr` and `namespace`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(validation = Rule::new("has(self.cidr) != has(self.__namespace__)").message("set exactly one of cidr and namespace"))]
#[serde(rename_all = "camelCase")]
pub struct Egress {
    /// An address range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub cidr: Option<String>,
    /// A namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// TCP ports; all by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(range(min = 1, max = 65535)))]
    pub ports: Vec<i32>,
}

/// How a new release reaches a component's pods.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(validation = Rule::new("!has(self.steps) || size(self.steps) < 2 || self.steps.all(s, self.steps.exists_one(t, t == s))").message("each step stands once: steps rise").field_path(".steps"))]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// `Rolling` replaces pods as fast as they become ready; `Canary` goes step by step and is judged at each.
    #[serde(default)]
    pub strategy: Strategy,
    /// Weights of the steps in per cent, rising. By default 5, 10, … 95 where the component is routed, else a ladder made
    /// of its replicas.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 40), inner(range(min = 1, max = 100)))]
    #[x_kube(validation = Rule::new("self.isSorted()").message("steps must rise"))]
    pub steps: Vec<i32>,
    /// Pause after each step; 1m by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_pause: Option<Duration>,
    /// What the canary is judged by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis: Option<Analysis>,
    /// Time without progress after which the new version is rejected; 10m by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_deadline: Option<Duration>,
    /// Seconds for which a new pod must be ready before it counts; 0 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3600))]
    pub min_ready_seconds: Option<i32>,
}

/// How pods are replaced.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// A Deployment.
    #[default]
    Rolling,
    /// An Argo Rollout.
    Canary,
}

/// What a canary is judged by.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Analysis {
    /// Least share of requests (or messages) that succeed, in per cent with up to two decimals, as `99` or `99.5`;
    /// 99 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 6),
        regex(pattern = r"^(100(\.0{1,2})?|[0-9]{1,2}(\.[0-9]{1,2})?)$")
    )]
    pub success: Option<String>,
    /// Longest 99th percentile of the request duration; not judged where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Duration>,
    /// Do not judge by measurements at all; the steps and the pods' own readiness still apply.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
}

/// When a CronJob runs.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// Five fields: minute, hour, day of the month, month, day of the week.
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new("self.startsWith('@') || self.trim().split(' ').filter(f, f != '').size() == 5").message("cron takes five fields: minute hour day month weekday"))]
    pub cron: String,
    /// IANA time zone; UTC by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
    /// What happens when the last run has not ended; `Forbid` by default.
    #[serde(default)]
    pub concurrency: Concurrency,
    /// No new runs while true.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// Longest time that a run may take; 1h by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
}

/// What happens when the last run of a CronJob has not ended.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Concurrency {
    /// Runs go side by side.
    Allow,
    /// The new run is skipped.
    #[default]
    Forbid,
    /// The old run is ended.
    Replace,
}
