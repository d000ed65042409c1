//! Waits until objects serve.

use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use kube::Client;
use kube::api::{Api, DynamicObject};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;

use crate::error::{Error, Result};

/// How long a peer may take to become ready on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// Waits until an object serves, if it is one that does.
pub(super) async fn wait(client: &Client, object: &Value) -> Result<()> {
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
    fn an_api_service_is_available_when_it_says_so() {
        let with = |status| serde_json::json!({"status": {"conditions": [{"type": "Available", "status": status}]}});
        assert!(is_available(&with("True")));
        assert!(!is_available(&with("False")));
        assert!(!is_available(&serde_json::json!({})));
    }
}
