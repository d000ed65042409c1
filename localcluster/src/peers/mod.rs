//! The peers themselves, in pods of a real node: their images are made, their manifests rendered and applied.

mod images;
mod manifests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use kube::Client;
use kube::api::{Api, DynamicObject};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::crds::Peer;
use crate::error::{Error, Result};
use crate::manifests::apply;
use crate::progress::Event;
use crate::tools::Tool;

/// How long a peer may take to become ready on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// What can be installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Product {
    /// Argo CD without its web server, in the namespace `argocd`.
    ArgoCd,
    /// The Argo Rollouts controller, in the namespace `argo-rollouts`.
    ArgoRollouts,
    /// The operator, in the namespace `cnpg-system`, and [`POSTGRESQL`] for its Clusters.
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

/// The image for the Clusters of CloudNativePG.
pub const POSTGRESQL: &str = "localhost/postgresql:15";

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

/// Builds what is missing, gives the cluster's real node the images, applies the manifests and waits until all that is in them serves.
///
/// # Errors
/// If there is no real node, something cannot be built or is refused, or does not become ready in time.
pub async fn install(cluster: &Cluster, products: &[Product]) -> Result<()> {
    let client = cluster.client()?;
    for product in products {
        let begun = Instant::now();
        let objects = prepare(cluster, *product).await?;
        cluster.install_peers(product.definitions()).await?;
        for object in &objects {
            apply(&client, object).await?;
        }
        for object in &objects {
            wait(&client, object).await?;
        }
        cluster.progress().event(Event::Ready {
            what: product.name(),
            took: begun.elapsed(),
        });
    }
    Ok(())
}

/// Loads the images, and renders the manifests.
async fn prepare(cluster: &Cluster, product: Product) -> Result<Vec<Value>> {
    let (tools, progress) = (cluster.tools().clone(), Arc::clone(cluster.progress()));
    // Not in the cache: they are large, made in seconds, and containerd keeps what it has imported.
    let dir = cluster.state().join("images");
    let made = dir.clone();
    let (objects, files) = tokio::task::spawn_blocking(move || {
        let objects = manifests::render(&tools, product, progress.as_ref())?;
        let files = images::write(&tools, product, &made, progress.as_ref())?;
        Ok::<_, Error>((objects, files))
    })
    .await
    .map_err(|e| Error::Task(e.to_string()))??;
    for file in files {
        cluster.load_image(&file).await?;
        std::fs::remove_file(&file).map_err(Error::io("remove", &file))?;
    }
    Ok(objects)
}

/// Waits until an object serves, if it is one that does.
async fn wait(client: &Client, object: &Value) -> Result<()> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (kind, name) = (text(&object["kind"]), text(&object["metadata"]["name"]));
    let namespace = text(&object["metadata"]["namespace"]);
    let begun = Instant::now();
    while !serves(client, &kind, &namespace, &name).await {
        if begun.elapsed() > PATIENCE {
            return Err(Error::NotServing {
                object: format!("{kind} {namespace}/{name}"),
                seconds: PATIENCE.as_secs(),
            });
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

/// An answer that does not come is a no: the API server and its aggregated parts may be busy.
async fn serves(client: &Client, kind: &str, namespace: &str, name: &str) -> bool {
    match kind {
        "Deployment" => {
            let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
            api.get(name).await.is_ok_and(|found| {
                let status = found.status.unwrap_or_default();
                status.observed_generation == found.metadata.generation
                    && status.available_replicas.unwrap_or(0) >= 1
                    && status.unavailable_replicas.unwrap_or(0) == 0
            })
        }
        "StatefulSet" => {
            let api: Api<StatefulSet> = Api::namespaced(client.clone(), namespace);
            api.get(name).await.is_ok_and(|found| {
                let status = found.status.unwrap_or_default();
                status.observed_generation == found.metadata.generation
                    && status.available_replicas.unwrap_or(0) >= 1
            })
        }
        "APIService" => {
            let kind = GroupVersionKind::gvk("apiregistration.k8s.io", "v1", kind);
            let api: Api<DynamicObject> =
                Api::all_with(client.clone(), &ApiResource::from_gvk(&kind));
            api.get(name)
                .await
                .is_ok_and(|found| is_available(&found.data))
        }
        _ => true,
    }
}

fn is_available(object: &Value) -> bool {
    object["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Available" && condition["status"] == "True")
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
    fn an_api_service_is_available_when_it_says_so() {
        let with = |status| serde_json::json!({"status": {"conditions": [{"type": "Available", "status": status}]}});
        assert!(is_available(&with("True")));
        assert!(!is_available(&with("False")));
        assert!(!is_available(&serde_json::json!({})));
    }
}
