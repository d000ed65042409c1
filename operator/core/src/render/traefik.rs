//! Routing by Traefik: IngressRoutes, weighted TraefikServices and Middlewares.
//!
//! Traefik has no limit on the duration of a request that a Middleware could set: `timeouts.request` bounds the retries
//! where there are any, and nothing else here.

use serde_json::{Value, json};
use todo_operator_api::component::{Protocol, Route};
use todo_operator_api::traffic::{CircuitBreaker, Retries, Router, Timeouts, Tls};

use super::metadata::child;
use super::{duration, gateway, weighted};
use crate::child::Child;
use crate::kind::Kind;
use crate::names;
use crate::validate::{ValidApp, ValidComponent};

const DEFAULT_OPEN_SECONDS: u64 = 10;

fn routed<'a, 'b>(
    app: &'b ValidApp<'a>,
) -> impl Iterator<Item = (&'b ValidComponent<'a>, &'b Route)> {
    app.components
        .values()
        .filter(|_| app.router == Router::Traefik)
        .filter_map(|component| Some((component, component.spec.route.as_ref()?)))
}

/// The weighted services, whose weights Argo Rollouts moves.
pub(super) fn weighted_services(app: &ValidApp<'_>) -> Vec<Child> {
    routed(app)
        .filter(|(component, _)| weighted(app, component))
        .map(|(component, _)| {
            let share = |name: String, weight: i32| {
                let mut service = service(component, &name);
                service["weight"] = weight.into();
                service
            };
            let services = [
                share(names::stable(app.name, component.name), 100),
                share(names::canary(app.name, component.name), 0),
            ];
            let name = names::component(app.name, component.name);
            let content = json!({"spec": {"weighted": {"services": services}}});
            child(
                app,
                Kind::TraefikService,
                &name,
                Some(component.name),
                content,
            )
        })
        .collect()
}

fn service(component: &ValidComponent<'_>, name: &str) -> Value {
    let cleartext_http2 = (component.spec.protocol == Protocol::Grpc).then_some("h2c");
    json!({
        "kind": "Service",
        "name": name,
        "port": names::SERVICE_PORT,
        "scheme": cleartext_http2,
    })
}

/// The middlewares that every route of the application passes. Each router has an own instance: one component's open
/// circuit closes no other.
pub(super) fn middlewares(app: &ValidApp<'_>) -> Vec<Child> {
    if routed(app).next().is_none() {
        return Vec::new();
    }
    let Some(traffic) = &app.app.spec.traffic else {
        return Vec::new();
    };
    let breaker = traffic.circuit_breaker.as_ref().map(circuit_breaker);
    let retry = traffic
        .retries
        .as_ref()
        .map(|retries| retry(retries, traffic.timeouts.as_ref()));
    [(CIRCUIT_BREAKER, breaker), (RETRY, retry)]
        .into_iter()
        .filter_map(|(suffix, spec)| {
            let name = format!("{}-{suffix}", app.name);
            Some(child(
                app,
                Kind::Middleware,
                &name,
                None,
                json!({"spec": spec?}),
            ))
        })
        .collect()
}

const CIRCUIT_BREAKER: &str = "circuit-breaker";
const RETRY: &str = "retry";

fn circuit_breaker(breaker: &CircuitBreaker) -> Value {
    let percent = breaker.error_percent;
    let share = format!("{}.{:02}", percent / 100, percent % 100);
    json!({"circuitBreaker": {
        "expression": format!("ResponseCodeRatio(500, 600, 0, 600) > {share}"),
        "fallbackDuration": duration::text(breaker.open_for.as_ref(), DEFAULT_OPEN_SECONDS),
    }})
}

fn retry(retries: &Retries, timeouts: Option<&Timeouts>) -> Value {
    let text = |limit| Option::map(limit, |limit| duration::text(Some(limit), 0));
    json!({"retry": {
        "attempts": retries.attempts,
        "initialInterval": text(retries.initial_interval.as_ref()),
        "timeout": text(timeouts.and_then(|timeouts| timeouts.request.as_ref())),
    }})
}

/// One IngressRoute for every routed component.
pub(super) fn ingress_routes(app: &ValidApp<'_>) -> Vec<Child> {
    routed(app)
        .map(|(component, route)| ingress_route(app, component, route))
        .collect()
}

fn ingress_route(app: &ValidApp<'_>, component: &ValidComponent<'_>, route: &Route) -> Child {
    let tls = app.app.spec.traffic.as_ref().and_then(|t| t.tls.as_ref());
    let environment = app.environment.spec.traffic.as_ref();
    let default_entry = if tls.is_some() { "websecure" } else { "web" };
    let entry_points = environment
        .map(|traffic| traffic.entry_points.clone())
        .filter(|entry_points| !entry_points.is_empty())
        .unwrap_or_else(|| vec![default_entry.to_owned()]);
    let name = names::component(app.name, component.name);
    let host = gateway::host(app, route);
    let spec = json!({
        "entryPoints": entry_points,
        "routes": rules(app, component, route, host),
        "tls": tls.map(|tls| encryption(app, tls, host)),
    });
    let content = json!({"spec": spec});
    child(
        app,
        Kind::IngressRoute,
        &name,
        Some(component.name),
        content,
    )
}

/// Without a Secret Traefik's own certificate serves; naming the host says "encrypt" where an empty object would.
fn encryption(app: &ValidApp<'_>, tls: &Tls, host: Option<&str>) -> Value {
    let issued = || tls.issuer.as_ref().map(|_| format!("{}-tls", app.name));
    match tls.secret.clone().or_else(issued) {
        Some(secret) => json!({"secretName": secret}),
        None => json!({"domains": host.map(|host| json!([{"main": host}]))}),
    }
}

/// One rule for each path, ranked by its length, since Traefik would rank by the length of the whole rule; with a
/// header that leads to the canary a second one that just outranks it.
fn rules(
    app: &ValidApp<'_>,
    component: &ValidComponent<'_>,
    route: &Route,
    host: Option<&str>,
) -> Vec<Value> {
    let traffic = app.app.spec.traffic.as_ref();
    let mut middlewares = Vec::new();
    if traffic.is_some_and(|traffic| traffic.circuit_breaker.is_some()) {
        middlewares.push(json!({"name": format!("{}-{CIRCUIT_BREAKER}", app.name)}));
    }
    if traffic.is_some_and(|traffic| traffic.retries.is_some()) {
        middlewares.push(json!({"name": format!("{}-{RETRY}", app.name)}));
    }
    let rule = |matcher: String, priority: usize, service: Value| {
        json!({
            "kind": "Rule",
            "match": matcher,
            "priority": priority,
            "middlewares": middlewares,
            "services": [service],
        })
    };
    let canary = weighted(app, component);
    let header = traffic
        .and_then(|traffic| traffic.header_routing.as_ref())
        .filter(|_| canary);
    let name = names::component(app.name, component.name);
    let mut rules = Vec::new();
    for path in &route.paths {
        let prefix = format!("PathPrefix(`{path}`)");
        let matcher = match host {
            Some(host) => format!("Host(`{host}`) && {prefix}"),
            None => prefix,
        };
        let rank = path.len() * 2;
        if let Some(header) = header {
            let matcher = format!("{matcher} && Header(`{}`, `{}`)", header.name, header.value);
            let service = service(component, &names::canary(app.name, component.name));
            rules.push(rule(matcher, rank + 1, service));
        }
        let service = if canary {
            json!({"kind": "TraefikService", "name": name})
        } else {
            service(component, &name)
        };
        rules.push(rule(matcher, rank, service));
    }
    rules
}
