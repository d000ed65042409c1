//! Services in front of components.

use serde_json::json;

use super::metadata::{child, selector};
use super::{pod, weighted};
use crate::child::Child;
use crate::kind::Kind;
use crate::names;
use crate::validate::{ValidApp, ValidComponent};
use todo_operator_api::component::Protocol;

/// One Service for every component with a port, which selects all its pods. A canary that a router weighs has two more:
/// Argo Rollouts narrows their selectors to the stable and to the new pods.
pub(super) fn services(app: &ValidApp<'_>) -> Vec<Child> {
    let mut children = Vec::new();
    for component in app.components.values() {
        if pod::port(&component.spec).is_none() {
            continue;
        }
        let mut names = vec![names::component(app.name, component.name)];
        if weighted(app, component) {
            names.push(names::stable(app.name, component.name));
            names.push(names::canary(app.name, component.name));
        }
        children.extend(names.iter().map(|name| service(app, component, name)));
    }
    children
}

fn service(app: &ValidApp<'_>, component: &ValidComponent<'_>, name: &str) -> Child {
    let port = pod::port_name(&component.spec);
    let cleartext_http2 =
        (component.spec.protocol == Protocol::Grpc).then_some("kubernetes.io/h2c");
    let spec = json!({
        "selector": selector(app.name, component.name),
        "ports": [{
            "name": port,
            "port": names::SERVICE_PORT,
            "targetPort": port,
            "protocol": "TCP",
            "appProtocol": cleartext_http2,
        }],
    });
    let content = json!({"spec": spec});
    child(app, Kind::Service, name, Some(component.name), content)
}
