//! A Gateway controller that accepts every HTTPRoute.

use std::sync::Arc;

use kube::Client;
use kube::api::DynamicObject;
use kube::core::ApiResource;
use serde_json::{Value, json};

use super::{condition, play, resource, write_status};

const CONTROLLER: &str = "todo-operator.dev/modelled-gateway";

fn kind() -> ApiResource {
    resource("gateway.networking.k8s.io", "v1", "HTTPRoute")
}

pub(super) async fn run(client: Client) {
    play(client, kind(), false, reconcile).await;
}

async fn reconcile(client: Client, route: Arc<DynamicObject>) -> Result<(), kube::Error> {
    write_status(client, &kind(), &route, json!({"parents": parents(&route)})).await
}

fn parents(route: &DynamicObject) -> Vec<Value> {
    let with_generation = |kind: &str, reason: &str, message: &str| {
        let mut condition = condition(route, kind, reason, message);
        condition["observedGeneration"] = json!(route.metadata.generation);
        condition
    };
    let refs = route.data["spec"]["parentRefs"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    refs.into_iter()
        .map(|parent| {
            json!({
                "parentRef": parent,
                "controllerName": CONTROLLER,
                "conditions": [
                    with_generation("Accepted", "Accepted", "Route is accepted"),
                    with_generation("ResolvedRefs", "ResolvedRefs", "Resolved all the Object references for the Route"),
                ],
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parent_is_answered_for_the_current_generation() {
        let mut route = DynamicObject::new("r", &kind());
        route.metadata.generation = Some(7);
        route.data = json!({"spec": {"parentRefs": [{"name": "a"}, {"name": "b"}]}});
        let parents = parents(&route);
        assert_eq!(parents.len(), 2);
        assert_eq!(parents[1]["parentRef"]["name"], "b");
        assert_eq!(parents[1]["conditions"][0]["observedGeneration"], 7);
    }
}
