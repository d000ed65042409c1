//! A Gateway controller that accepts every HTTPRoute whose back ends are there (Gateway API 1.6).

use jiff::Timestamp;
use serde_json::{Value, json};

use super::client::{Client, Controller};
use super::fields::{generation, is_deleting, items, namespace, stamp, text};
use crate::actor::{Resource, resource};

pub(crate) const HTTP_ROUTES: Resource = resource("gateway.networking.k8s.io", "httproutes");
pub(crate) const SERVICES: Resource = resource("", "services");
const CONTROLLER: &str = "todo-operator.dev/simulated-gateway";

/// The controller of a Gateway.
pub(crate) struct Gateway;

impl Controller for Gateway {
    const NAME: &'static str = "gateway";
    const MANAGER: &'static str = "gateway-controller";
    const WATCHES: &'static [Resource] = &[HTTP_ROUTES, SERVICES];

    fn sync(&mut self, client: &mut Client, now: Timestamp) {
        for route in client.list(HTTP_ROUTES) {
            if is_deleting(&route) {
                continue;
            }
            let parents = parents(client, &route, now);
            let _ = client.set_status(HTTP_ROUTES, &route, json!({"parents": parents}));
        }
    }
}

fn parents(client: &Client, route: &Value, now: Timestamp) -> Vec<Value> {
    let back_ends = items(route, "/spec/rules")
        .iter()
        .flat_map(|rule| items(rule, "/backendRefs"));
    let missing = back_ends
        .map(|back_end| text(back_end, "/name"))
        .find(|service| client.get(SERVICES, namespace(route), service).is_none());
    let resolved = match missing {
        Some(service) => (
            "False",
            "BackendNotFound",
            format!("service {service:?} not found"),
        ),
        None => (
            "True",
            "ResolvedRefs",
            "Resolved all the Object references for the Route".to_owned(),
        ),
    };
    let accepted = ("True", "Accepted", "Route is accepted".to_owned());
    items(route, "/spec/parentRefs")
        .iter()
        .enumerate()
        .map(|(index, parent)| {
            let said = |kind: &str, (status, reason, message): &(&str, &str, String)| {
                let known = items(route, &format!("/status/parents/{index}/conditions"))
                    .iter()
                    .find(|known| text(known, "/type") == kind && text(known, "/status") == *status);
                json!({
                    "type": kind, "status": status, "reason": reason, "message": message,
                    "observedGeneration": generation(route),
                    "lastTransitionTime": known
                        .map_or_else(|| json!(stamp(now)), |known| known["lastTransitionTime"].clone()),
                })
            };
            json!({
                "parentRef": parent,
                "controllerName": CONTROLLER,
                "conditions": [said("Accepted", &accepted), said("ResolvedRefs", &resolved)],
            })
        })
        .collect()
}
