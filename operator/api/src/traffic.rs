//! How the application is reached from outside.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scalar::Duration;

/// How the routed components are reached from outside.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Traffic {
    /// Host of every route that names none of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub host: Option<String>,
    /// Who routes; the environment's default, else `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<Router>,
    /// Encryption of the outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Time limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
    /// Requests that are tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
    /// When a failing component is left alone for a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit_breaker: Option<CircuitBreaker>,
    /// A header that leads to the canary whatever its weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header_routing: Option<HeaderRouting>,
    /// Faults to inject, for tests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub faults: Option<Faults>,
}

/// Who routes.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Router {
    /// HTTPRoutes of the Gateway API; weights by Argo Rollouts' gatewayAPI plugin.
    GatewayAPI,
    /// IngressRoutes and weighted TraefikServices.
    Traefik,
    /// VirtualServices and DestinationRules.
    Istio,
    /// Nobody: Services only.
    #[default]
    None,
}

/// Encryption of the outside.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// Secret with the certificate, in the application's namespace; the router's own certificate where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub secret: Option<String>,
    /// cert-manager ClusterIssuer that makes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub issuer: Option<String>,
}

/// Time limits.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Timeouts {
    /// Of the whole request, with its retries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Duration>,
    /// Of one try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<Duration>,
}

/// Requests that are tried again.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Retries {
    /// Tries in all, the first included.
    #[schemars(range(min = 1, max = 10))]
    pub attempts: i32,
    /// Wait before the second, doubled each time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_interval: Option<Duration>,
}

/// When a failing component is left alone for a while.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CircuitBreaker {
    /// Share of failing requests that opens it, in per cent.
    #[schemars(range(min = 1, max = 100))]
    pub error_percent: i32,
    /// How long it stays open; 10s by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_for: Option<Duration>,
}

/// A header that leads to the canary.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HeaderRouting {
    /// Name of the header.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
    /// Its exact value.
    #[schemars(length(min = 1, max = 256))]
    pub value: String,
}

/// Faults to inject, for tests. Refused where the environment's stage does not allow them.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Faults {
    /// Share of requests that are delayed, in per cent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub delay_percent: Option<i32>,
    /// The delay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Duration>,
    /// Share of requests that are answered with `abortCode`, in per cent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub abort_percent: Option<i32>,
    /// The status code of those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 400, max = 599))]
    pub abort_code: Option<i32>,
}
