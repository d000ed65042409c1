//! The kinds of children that the operator makes or reads.

use crate::wave::Wave;

/// A kind of child, or of an object that tells how a child is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Kind {
    Namespace,
    ResourceQuota,
    LimitRange,
    ServiceAccount,
    ConfigMap,
    Service,
    ControllerRevision,
    Deployment,
    Job,
    CronJob,
    PodDisruptionBudget,
    NetworkPolicy,
    Rollout,
    AnalysisTemplate,
    Cluster,
    Database,
    DatabaseRole,
    KafkaTopic,
    ScaledObject,
    TriggerAuthentication,
    HttpRoute,
    IngressRoute,
    TraefikService,
    Middleware,
    // Only read.
    Pod,
    ReplicaSet,
    HorizontalPodAutoscaler,
    AnalysisRun,
    Event,
}

/// Who serves a kind: Kubernetes itself, or a peer that may be absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer {
    /// Its name.
    pub name: &'static str,
    /// The command that installs it.
    pub install: &'static str,
}

/// Argo Rollouts.
pub const ARGO_ROLLOUTS: Peer = Peer {
    name: "Argo Rollouts",
    install: "kubectl apply -k https://github.com/argoproj/argo-rollouts/manifests/cluster-install?ref=v1.9.1",
};
/// CloudNativePG.
pub const CLOUDNATIVE_PG: Peer = Peer {
    name: "CloudNativePG",
    install: "kubectl apply --server-side -f https://raw.githubusercontent.com/cloudnative-pg/cloudnative-pg/v1.30.0/releases/cnpg-1.30.0.yaml",
};
/// KEDA.
pub const KEDA: Peer = Peer {
    name: "KEDA",
    install: "kubectl apply --server-side -f https://github.com/kedacore/keda/releases/download/v2.20.2/keda-2.20.2.yaml",
};
/// Strimzi.
pub const STRIMZI: Peer = Peer {
    name: "Strimzi",
    install: "kubectl apply --server-side -n kafka -f https://strimzi.io/install/latest?namespace=kafka",
};
/// The Gateway API.
pub const GATEWAY_API: Peer = Peer {
    name: "Gateway API",
    install: "kubectl apply --server-side -f https://github.com/kubernetes-sigs/gateway-api/releases/download/v1.6.1/standard-install.yaml",
};
/// Traefik.
pub const TRAEFIK: Peer = Peer {
    name: "Traefik",
    install: "kubectl apply --server-side -f https://raw.githubusercontent.com/traefik/traefik/v3.7/docs/content/reference/dynamic-configuration/kubernetes-crd-definition-v1.yml",
};

impl Kind {
    /// Every kind that is made: what is watched by label and swept for orphans.
    pub const CHILDREN: [Self; 24] = [
        Self::Namespace,
        Self::ResourceQuota,
        Self::LimitRange,
        Self::ServiceAccount,
        Self::ConfigMap,
        Self::Service,
        Self::ControllerRevision,
        Self::Deployment,
        Self::Job,
        Self::CronJob,
        Self::PodDisruptionBudget,
        Self::NetworkPolicy,
        Self::Rollout,
        Self::AnalysisTemplate,
        Self::Cluster,
        Self::Database,
        Self::DatabaseRole,
        Self::KafkaTopic,
        Self::ScaledObject,
        Self::TriggerAuthentication,
        Self::HttpRoute,
        Self::IngressRoute,
        Self::TraefikService,
        Self::Middleware,
    ];
    /// Every kind that is only read.
    pub const READ: [Self; 5] = [
        Self::Pod,
        Self::ReplicaSet,
        Self::HorizontalPodAutoscaler,
        Self::AnalysisRun,
        Self::Event,
    ];

    /// `(group, version, kind, plural)`.
    pub const fn resource(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Self::Namespace => ("", "v1", "Namespace", "namespaces"),
            Self::ResourceQuota => ("", "v1", "ResourceQuota", "resourcequotas"),
            Self::LimitRange => ("", "v1", "LimitRange", "limitranges"),
            Self::ServiceAccount => ("", "v1", "ServiceAccount", "serviceaccounts"),
            Self::ConfigMap => ("", "v1", "ConfigMap", "configmaps"),
            Self::Service => ("", "v1", "Service", "services"),
            Self::Pod => ("", "v1", "Pod", "pods"),
            Self::Event => ("", "v1", "Event", "events"),
            Self::ControllerRevision => ("apps", "v1", "ControllerRevision", "controllerrevisions"),
            Self::Deployment => ("apps", "v1", "Deployment", "deployments"),
            Self::ReplicaSet => ("apps", "v1", "ReplicaSet", "replicasets"),
            Self::Job => ("batch", "v1", "Job", "jobs"),
            Self::CronJob => ("batch", "v1", "CronJob", "cronjobs"),
            Self::PodDisruptionBudget => (
                "policy",
                "v1",
                "PodDisruptionBudget",
                "poddisruptionbudgets",
            ),
            Self::NetworkPolicy => (
                "networking.k8s.io",
                "v1",
                "NetworkPolicy",
                "networkpolicies",
            ),
            Self::HorizontalPodAutoscaler => (
                "autoscaling",
                "v2",
                "HorizontalPodAutoscaler",
                "horizontalpodautoscalers",
            ),
            Self::Rollout => ("argoproj.io", "v1alpha1", "Rollout", "rollouts"),
            Self::AnalysisTemplate => (
                "argoproj.io",
                "v1alpha1",
                "AnalysisTemplate",
                "analysistemplates",
            ),
            Self::AnalysisRun => ("argoproj.io", "v1alpha1", "AnalysisRun", "analysisruns"),
            Self::Cluster => ("postgresql.cnpg.io", "v1", "Cluster", "clusters"),
            Self::Database => ("postgresql.cnpg.io", "v1", "Database", "databases"),
            Self::DatabaseRole => ("postgresql.cnpg.io", "v1", "DatabaseRole", "databaseroles"),
            Self::KafkaTopic => ("kafka.strimzi.io", "v1", "KafkaTopic", "kafkatopics"),
            Self::ScaledObject => ("keda.sh", "v1alpha1", "ScaledObject", "scaledobjects"),
            Self::TriggerAuthentication => (
                "keda.sh",
                "v1alpha1",
                "TriggerAuthentication",
                "triggerauthentications",
            ),
            Self::HttpRoute => ("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes"),
            Self::IngressRoute => ("traefik.io", "v1alpha1", "IngressRoute", "ingressroutes"),
            Self::TraefikService => (
                "traefik.io",
                "v1alpha1",
                "TraefikService",
                "traefikservices",
            ),
            Self::Middleware => ("traefik.io", "v1alpha1", "Middleware", "middlewares"),
        }
    }

    /// `group/version`, or `v1` for the core group.
    pub fn api_version(self) -> String {
        match self.resource() {
            ("", version, ..) => version.to_owned(),
            (group, version, ..) => format!("{group}/{version}"),
        }
    }

    /// The kind's name, as in a manifest.
    pub const fn name(self) -> &'static str {
        self.resource().2
    }

    /// The peer that serves it; `None` for Kubernetes itself.
    pub const fn peer(self) -> Option<Peer> {
        match self {
            Self::Rollout | Self::AnalysisTemplate | Self::AnalysisRun => Some(ARGO_ROLLOUTS),
            Self::Cluster | Self::Database | Self::DatabaseRole => Some(CLOUDNATIVE_PG),
            Self::KafkaTopic => Some(STRIMZI),
            Self::ScaledObject | Self::TriggerAuthentication => Some(KEDA),
            Self::HttpRoute => Some(GATEWAY_API),
            Self::IngressRoute | Self::TraefikService | Self::Middleware => Some(TRAEFIK),
            _ => None,
        }
    }

    /// Whether it holds data: never deleted unasked, and owned by nobody, so that garbage collection cannot take it.
    pub const fn is_stateful(self) -> bool {
        matches!(
            self,
            Self::Cluster | Self::Database | Self::DatabaseRole | Self::KafkaTopic
        )
    }

    /// Whether its objects stand in namespaces.
    pub const fn is_namespaced(self) -> bool {
        !matches!(self, Self::Namespace)
    }

    /// The wave that it is applied in.
    pub const fn wave(self) -> Wave {
        match self {
            Self::Cluster | Self::KafkaTopic => Wave::Storage,
            Self::DatabaseRole => Wave::Roles,
            Self::Database => Wave::Databases,
            Self::Job => Wave::Migrations,
            Self::Service
            | Self::AnalysisTemplate
            | Self::HttpRoute
            | Self::TraefikService
            | Self::Middleware => Wave::Services,
            Self::Deployment | Self::Rollout | Self::CronJob | Self::PodDisruptionBudget => {
                Wave::Workloads
            }
            Self::ScaledObject | Self::TriggerAuthentication | Self::IngressRoute => Wave::Traffic,
            _ => Wave::Policy,
        }
    }
}
