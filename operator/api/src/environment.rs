//! `TodoEnvironment`: a stage, its namespace and its rules.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::component::{Resources, Rollout, Scaling};
use crate::promotion::{Delivery, Preview, Promotion, Source, Sync};
use crate::scalar::{Duration, Quantity};
use crate::traffic::Router;

/// A stage: its namespace, its policy, where releases come from and what they must pass.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "todo-operator.dev",
    version = "v1alpha1",
    kind = "TodoEnvironment",
    shortname = "tenv",
    category = "todo",
    status = "TodoEnvironmentStatus",
    derive = "PartialEq",
    doc = "A stage: its namespace, its policy, where releases come from and what they must pass.",
    printcolumn(name = "Stage", type_ = "string", json_path = ".spec.stage"),
    printcolumn(name = "Namespace", type_ = "string", json_path = ".spec.namespace"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(name = "Apps", type_ = "string", json_path = ".status.apps"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    selectable = ".spec.namespace"
)]
#[serde(rename_all = "camelCase")]
pub struct TodoEnvironmentSpec {
    /// What kind of stage it is, as `test`, `staging` or `production`; `components.<c>.environments` names stages.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub stage: String,
    /// Its namespace; the TodoApps there belong to it.
    #[x_kube(validation = Rule::new("self == oldSelf").message("an environment's namespace cannot change: make another TodoEnvironment"))]
    #[x_kube(validation = Rule::new("!self.startsWith('kube-')").message("kube-* namespaces belong to Kubernetes"))]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub namespace: String,
    /// What its applications get where they say nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub defaults: Option<Defaults>,
    /// Environment variables by component, or `*` for all. They win over the application's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub variables: BTreeMap<String, BTreeMap<String, String>>,
    /// What is allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
    /// Where Kafka is, and who makes topics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messaging: Option<EnvironmentMessaging>,
    /// How canaries are measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis: Option<EnvironmentAnalysis>,
    /// Where the routers of this stage are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<EnvironmentTraffic>,
    /// Where pods send traces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<Telemetry>,
    /// The git repository that this stage is synced from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// How a promotion is written: straight to the branch, or as a pull request.
    #[serde(default)]
    pub delivery: Delivery,
    /// Who syncs: Argo CD by itself, or a person.
    #[serde(default)]
    pub sync: Sync,
    /// What a release must pass to come here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promotion: Option<Promotion>,
    /// Short-lived environments for branches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<Preview>,
}

/// What applications get where they say nothing.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Defaults {
    /// Compute resources of a component.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Replicas of a component.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scaling>,
    /// How a new release reaches a component.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// Who routes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<Router>,
    /// Copies of each partition of a topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10))]
    pub topic_replicas: Option<i32>,
    /// Servers of a PostgreSQL cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 20))]
    pub database_instances: Option<i32>,
    /// Time without being ready after which an application counts as degraded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_deadline: Option<Duration>,
}

/// What is allowed in a stage.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// Hard limits of the namespace, as in a ResourceQuota. Leave room for a canary: stable at full strength and the
    /// canary beside it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub quota: BTreeMap<String, Quantity>,
    /// What a container gets or may ask for, as in a LimitRange.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_range: Option<LimitRange>,
    /// Who may talk to whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkIsolation>,
    /// Pod Security level of the namespace; `restricted` by default.
    #[serde(default)]
    pub pod_security: PodSecurity,
    /// Registries (or prefixes of image names) that images may come from; any where empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(length(min = 1, max = 253)))]
    pub allowed_registries: Vec<String>,
    /// Images must be named by digest.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub require_digests: bool,
    /// Fault injection (`traffic.faults`) is allowed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_faults: bool,
}

/// What a container gets or may ask for.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LimitRange {
    /// Limits of a container that names none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8))]
    pub default: BTreeMap<String, Quantity>,
    /// Requests of a container that names none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8))]
    pub default_request: BTreeMap<String, Quantity>,
    /// The most that a container may ask for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8))]
    pub max: BTreeMap<String, Quantity>,
}

/// Who may talk to whom. Nobody, but for what the applications declare and the namespaces named here.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NetworkIsolation {
    /// No network policies at all.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    /// Namespace of the router that reaches routed components.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub ingress_namespace: Option<String>,
    /// Namespace of Prometheus, which reads the admin port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub monitoring_namespace: Option<String>,
    /// Namespace of the Kafka brokers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub kafka_namespace: Option<String>,
    /// Addresses of Kafka brokers outside the cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 64)))]
    pub kafka_cidrs: Vec<String>,
    /// Namespace of the CloudNativePG operator, which reaches the database pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub database_operator_namespace: Option<String>,
    /// Namespace of the telemetry collector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub telemetry_namespace: Option<String>,
}

/// Pod Security levels (<https://kubernetes.io/docs/concepts/security/pod-security-standards/>).
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum PodSecurity {
    /// Nothing is refused.
    Privileged,
    /// Known escalations are refused.
    Baseline,
    /// Hardened pods only.
    #[default]
    Restricted,
}

/// Where Kafka is, and who makes topics.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(validation = Rule::new("self.provider != 'Strimzi' || has(self.strimzi)").message("provider Strimzi needs strimzi.cluster and strimzi.namespace").field_path(".strimzi"))]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentMessaging {
    /// Who makes topics.
    pub provider: MessagingProvider,
    /// `host:port`, comma-separated, as the pods reach Kafka.
    #[schemars(length(min = 1, max = 1024))]
    pub bootstrap_servers: String,
    /// The same as the operator reaches it, where that differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub admin_bootstrap_servers: Option<String>,
    /// How the connection is protected.
    #[serde(default)]
    pub security_protocol: SecurityProtocol,
    /// How a SASL client says who it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sasl_mechanism: Option<SaslMechanism>,
    /// Name of the administrator's credential: a directory below the operator's `--kafka-credentials`, into which a Secret
    /// is mounted with `ca.crt`, `user.crt` and `user.key`, or `username` and `password`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub admin_credential: Option<String>,
    /// Secret in the applications' namespace with the clients' credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub client_secret: Option<String>,
    /// The Strimzi cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strimzi: Option<Strimzi>,
}

/// Who makes topics.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessagingProvider {
    /// Strimzi's topic operator, from KafkaTopics.
    Strimzi,
    /// This operator, through Kafka's admin API.
    Direct,
}

/// Kafka's `security.protocol`.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecurityProtocol {
    /// No protection.
    #[default]
    #[serde(rename = "PLAINTEXT")]
    Plaintext,
    /// TLS, with a client certificate where the credential holds one.
    #[serde(rename = "SSL")]
    Ssl,
    /// A name and a password, unprotected.
    #[serde(rename = "SASL_PLAINTEXT")]
    SaslPlaintext,
    /// A name and a password over TLS.
    #[serde(rename = "SASL_SSL")]
    SaslSsl,
}

/// Kafka's `sasl.mechanism`.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaslMechanism {
    /// The password itself; only over TLS.
    #[serde(rename = "PLAIN")]
    Plain,
    /// Challenge and response with SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// Challenge and response with SHA-512.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

/// A Strimzi cluster.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Strimzi {
    /// Name of the `Kafka` resource.
    #[schemars(length(min = 1, max = 63))]
    pub cluster: String,
    /// Its namespace.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
}

/// How canaries are measured.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentAnalysis {
    /// URL of Prometheus, as Argo Rollouts reaches it.
    #[schemars(length(min = 1, max = 512))]
    pub prometheus: String,
    /// Wait before the first measurement; 1m by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Duration>,
    /// Time between measurements; 30s by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
    /// Time that a measurement looks back; 2m by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Duration>,
}

/// Where the routers of a stage are.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentTraffic {
    /// The Gateway that HTTPRoutes attach to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<GatewayRef>,
    /// Traefik's entry points; `web`, or `websecure` with TLS, by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 63)))]
    pub entry_points: Vec<String>,
}

/// A Gateway of the Gateway API.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct GatewayRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its namespace.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// One listener of it; all by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
}

/// Where pods send traces.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Telemetry {
    /// OTLP endpoint, handed to pods as `OTEL_EXPORTER_OTLP_ENDPOINT`.
    #[schemars(length(min = 1, max = 512))]
    pub otlp_endpoint: String,
}

/// What was observed of a TodoEnvironment.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TodoEnvironmentStatus {
    /// Generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `ready/total` applications, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apps: Option<String>,
    /// Standard conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 20),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
}
