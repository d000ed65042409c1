//! Routing by the Gateway API: one HTTPRoute for every routed component.
//!
//! `parentRefs` and `rules` are atomic lists that the API server fills with defaults, so each default is written here.

use serde_json::{Value, json};
use todo_operator_api::component::Route;
use todo_operator_api::traffic::{Router, Traffic};

use super::metadata::child;
use super::{duration, weighted};
use crate::child::Child;
use crate::kind::Kind;
use crate::names;
use crate::validate::{ValidApp, ValidComponent};

/// The routes; none where something else routes.
pub(super) fn routes(app: &ValidApp<'_>) -> Vec<Child> {
    if app.router != Router::GatewayAPI {
        return Vec::new();
    }
    app.components
        .values()
        .filter_map(|component| Some(http_route(app, component, component.spec.route.as_ref()?)))
        .collect()
}

fn http_route(app: &ValidApp<'_>, component: &ValidComponent<'_>, route: &Route) -> Child {
    let traffic = app.app.spec.traffic.as_ref();
    let environment = app.environment.spec.traffic.as_ref();
    let parents = environment
        .and_then(|traffic| traffic.gateway.as_ref())
        .map(|gateway| {
            json!([{
                "group": "gateway.networking.k8s.io",
                "kind": "Gateway",
                "name": gateway.name,
                "namespace": gateway.namespace,
                "sectionName": gateway.section_name,
            }])
        });
    let spec = json!({
        "parentRefs": parents,
        "hostnames": host(app, route).map(|host| json!([host])),
        "rules": rules(app, component, route, traffic),
    });
    let name = names::component(app.name, component.name);
    let content = json!({"spec": spec});
    child(app, Kind::HttpRoute, &name, Some(component.name), content)
}

/// The host of a route: its own, else the application's.
pub(super) fn host<'a>(app: &ValidApp<'a>, route: &'a Route) -> Option<&'a str> {
    let traffic = app.app.spec.traffic.as_ref();
    route.host.as_deref().or_else(|| traffic?.host.as_deref())
}

/// The rule that weighs, and for a canary the one that leads there by a header: more specific, so that it wins wherever
/// it stands.
fn rules(
    app: &ValidApp<'_>,
    component: &ValidComponent<'_>,
    route: &Route,
    traffic: Option<&Traffic>,
) -> Vec<Value> {
    let timeouts = traffic.and_then(|traffic| traffic.timeouts.as_ref());
    let timeouts = timeouts.map(|timeouts| {
        let text = |limit| Option::map(limit, |limit| duration::text(Some(limit), 0));
        json!({
            "request": text(timeouts.request.as_ref()),
            "backendRequest": text(timeouts.backend.as_ref()),
        })
    });
    let rule = |headers: Value, backends: Value| {
        let matches: Vec<_> = route
            .paths
            .iter()
            .map(|path| json!({"path": {"type": "PathPrefix", "value": path}, "headers": headers}))
            .collect();
        json!({"matches": matches, "backendRefs": backends, "timeouts": timeouts})
    };
    let stable = names::stable(app.name, component.name);
    let canary = names::canary(app.name, component.name);
    if !weighted(app, component) {
        let service = names::component(app.name, component.name);
        return vec![rule(Value::Null, json!([backend(&service, 1)]))];
    }
    let weighing = json!([backend(&stable, 100), backend(&canary, 0)]);
    let mut rules = vec![rule(Value::Null, weighing)];
    if let Some(header) = traffic.and_then(|traffic| traffic.header_routing.as_ref()) {
        let headers = json!([{"type": "Exact", "name": header.name, "value": header.value}]);
        rules.push(rule(headers, json!([backend(&canary, 1)])));
    }
    rules
}

fn backend(service: &str, weight: i32) -> Value {
    json!({
        "group": "",
        "kind": "Service",
        "name": service,
        "port": names::SERVICE_PORT,
        "weight": weight,
    })
}
