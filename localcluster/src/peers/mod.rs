//! The peers themselves, in pods of a real node: their images are made, their manifests rendered and applied.

mod images;
mod install;
mod manifests;
mod serving;

pub use install::{build, check_packages, install};

use crate::crds::Peer;
use crate::error::Result;
use crate::tools::Tool;

/// What can be installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Product {
    /// Argo CD without its web server, in the namespace `argocd`.
    ArgoCd,
    /// The Argo Rollouts controller, in the namespace `argo-rollouts`.
    ArgoRollouts,
    /// The operator, in the namespace `cnpg-system`, and PostgreSQL for Clusters that name no image.
    CloudNativePg,
    /// `http://git.git.svc/config.git`, which anyone may read and push.
    GitServer,
    /// A broker at `kafka.kafka.svc:9092`.
    Kafka,
    /// The operator and the metrics adapter, in the namespace `keda`.
    Keda,
    /// `http://prometheus.monitoring.svc:9090`, which asks each port called `metrics` of each pod.
    Prometheus,
    /// `redis.redis.svc:6379`.
    Redis,
    /// The proxy, in the namespace `traefik`, for IngressRoutes, HTTPRoutes of the Gateway `public` and Ingresses of the class `nginx`.
    Traefik,
}

impl Product {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::ArgoCd,
        Self::ArgoRollouts,
        Self::CloudNativePg,
        Self::GitServer,
        Self::Kafka,
        Self::Keda,
        Self::Prometheus,
        Self::Redis,
        Self::Traefik,
    ];

    /// Its name, in lower case with hyphens.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ArgoCd => "argo-cd",
            Self::ArgoRollouts => "argo-rollouts",
            Self::CloudNativePg => "cloudnative-pg",
            Self::GitServer => "git-server",
            Self::Kafka => "kafka",
            Self::Keda => "keda",
            Self::Prometheus => "prometheus",
            Self::Redis => "redis",
            Self::Traefik => "traefik",
        }
    }

    /// The program that gives it its version, if it is built from a Go module.
    const fn tool(self) -> Option<Tool> {
        match self {
            Self::ArgoCd => Some(Tool::ArgoCd),
            Self::ArgoRollouts => Some(Tool::RolloutsController),
            Self::CloudNativePg => Some(Tool::CloudNativePg),
            Self::GitServer => Some(Tool::GitServer),
            Self::Keda => Some(Tool::KedaOperator),
            Self::Prometheus => Some(Tool::Prometheus),
            Self::Traefik => Some(Tool::Traefik),
            Self::Kafka | Self::Redis => None,
        }
    }

    /// As in its image's tag.
    fn version(self) -> Result<String> {
        match (self, self.tool()) {
            (_, Some(tool)) => tool.number(),
            (Self::Kafka, None) => images::kafka_version().map(str::to_owned),
            (_, None) => Ok(images::REDIS_VERSION.to_owned()),
        }
    }

    /// Whose CRDs go before its manifests.
    const fn definitions(self) -> &'static [Peer] {
        match self {
            Self::ArgoCd => &[Peer::ArgoCd],
            Self::ArgoRollouts => &[Peer::ArgoRollouts],
            Self::CloudNativePg => &[Peer::CloudNativePg],
            Self::Keda => &[Peer::Keda],
            Self::Traefik => &[Peer::Traefik, Peer::GatewayApi],
            Self::GitServer | Self::Kafka | Self::Prometheus | Self::Redis => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_product_has_a_version_without_a_letter() {
        for product in Product::ALL {
            let version = product.version().unwrap();
            assert!(
                version.starts_with(|c: char| c.is_ascii_digit()),
                "{} {version}",
                product.name()
            );
        }
    }

    #[test]
    fn the_documentation_names_each_product_and_its_version() {
        let page = include_str!("../../../docs/local-cluster.md");
        for product in Product::ALL {
            let begin = format!("| {} | {} | ", product.name(), product.version().unwrap());
            let is_there = page.lines().any(|line| line.starts_with(&begin));
            assert!(is_there, "docs/local-cluster.md has no row {begin:?}");
        }
    }
}
