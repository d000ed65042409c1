//! Traffic: routes, hosts, time limits, faults.

use todo_operator_api::component::{Component, Route};
use todo_operator_api::environment::EnvironmentTraffic;
use todo_operator_api::traffic::{Faults, HeaderRouting, Router, Traffic};

use super::syntax::{self, Shortest};
use super::{NOT_SET, Problems, Scope};

pub(super) fn check(scope: &Scope<'_, '_>, problems: &mut Problems) {
    if let Some(traffic) = &scope.app.spec.traffic {
        settings(scope, problems, traffic);
    }
    for (name, component) in &scope.app.spec.components {
        if let Some(route) = &component.route {
            self::route(problems, &format!("spec.components.{name}.route"), route);
        }
    }
    let routed: Vec<(&str, &Route)> = routed(scope).collect();
    router(scope, problems, &routed);
    let host = scope
        .app
        .spec
        .traffic
        .as_ref()
        .and_then(|traffic| traffic.host.as_ref());
    if scope.router != Router::None && host.is_none() {
        for (name, _) in routed.iter().filter(|(_, route)| route.host.is_none()) {
            problems.add(
                format!("spec.components.{name}.route.host"),
                NOT_SET,
                "a route needs a host: set it here, or spec.traffic.host for all",
            );
        }
    }
}

/// Components of this stage that are reached from outside.
fn routed<'s>(scope: &'s Scope<'_, '_>) -> impl Iterator<Item = (&'s str, &'s Route)> {
    let route =
        |(name, component): (&&'s str, &'s Component)| Some((*name, component.route.as_ref()?));
    scope.running.iter().filter_map(route)
}

fn router(scope: &Scope<'_, '_>, problems: &mut Problems, routed: &[(&str, &Route)]) {
    let field = "spec.traffic.router";
    match scope.router {
        Router::Istio => problems.add(
            field,
            "Istio",
            "Istio is not supported yet: use Traefik, GatewayAPI or None, here or in the environment's defaults.router",
        ),
        Router::GatewayAPI if !routed.is_empty() => {
            let traffic = scope.environment.map(|environment| environment.spec.traffic.as_ref());
            let has_gateway = |traffic: &EnvironmentTraffic| traffic.gateway.is_some();
            if traffic.is_some_and(|traffic| !traffic.is_some_and(has_gateway)) {
                problems.add(
                    field,
                    "GatewayAPI",
                    format!(
                        "environment {} names no Gateway to attach to: set spec.traffic.gateway of that TodoEnvironment",
                        scope.environment_name()
                    ),
                );
            }
        }
        Router::GatewayAPI | Router::Traefik | Router::None => {}
    }
}

fn route(problems: &mut Problems, path: &str, route: &Route) {
    if let Some(host) = &route.host {
        self::host(problems, &format!("{path}.host"), host);
    }
    if route.paths.is_empty() {
        problems.add(
            format!("{path}.paths"),
            NOT_SET,
            "a route has at least one path prefix, as /",
        );
    }
    for prefix in route.paths.iter().filter(|prefix| !is_path(prefix)) {
        problems.add(
            format!("{path}.paths"),
            prefix,
            "a path prefix begins with /, holds only what a URL's path may (no '//', no quotes, no blanks)",
        );
    }
}

/// Routers have rule languages of their own, in which quotes and back-ticks end a text: a path that could hold them could
/// also claim another's host.
fn is_path(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:@".contains(&b);
    text.starts_with('/') && !text.contains("//") && text.bytes().all(fits)
}

fn host(problems: &mut Problems, path: &str, host: &str) {
    if !syntax::is_domain(host) {
        problems.add(
            path,
            host,
            "a host is a DNS name in lower case, as todo.example.com",
        );
    }
}

fn settings(scope: &Scope<'_, '_>, problems: &mut Problems, traffic: &Traffic) {
    let path = "spec.traffic";
    if let Some(host) = &traffic.host {
        self::host(problems, &format!("{path}.host"), host);
    }
    if let Some(tls) = &traffic.tls {
        syntax::object_name(
            problems,
            &format!("{path}.tls.secret"),
            tls.secret.as_deref(),
        );
        syntax::object_name(
            problems,
            &format!("{path}.tls.issuer"),
            tls.issuer.as_deref(),
        );
    }
    if let Some(timeouts) = &traffic.timeouts {
        let (request, backend) = (timeouts.request.as_ref(), timeouts.backend.as_ref());
        syntax::duration(
            problems,
            &format!("{path}.timeouts.request"),
            request,
            Shortest::Millisecond,
        );
        syntax::duration(
            problems,
            &format!("{path}.timeouts.backend"),
            backend,
            Shortest::Millisecond,
        );
        if let (Some(request), Some(backend)) = (request, backend)
            && matches!((request.as_millis(), backend.as_millis()), (Some(whole), Some(one)) if one > whole)
        {
            problems.add(
                format!("{path}.timeouts.backend"),
                backend,
                format!("one try is not longer than the whole request, {request}"),
            );
        }
    }
    if let Some(retries) = &traffic.retries {
        syntax::range(
            problems,
            &format!("{path}.retries.attempts"),
            Some(retries.attempts),
            1..=10,
        );
        let interval = retries.initial_interval.as_ref();
        syntax::duration(
            problems,
            &format!("{path}.retries.initialInterval"),
            interval,
            Shortest::Millisecond,
        );
    }
    if let Some(breaker) = &traffic.circuit_breaker {
        let path = format!("{path}.circuitBreaker");
        syntax::range(
            problems,
            &format!("{path}.errorPercent"),
            Some(breaker.error_percent),
            1..=100,
        );
        syntax::duration(
            problems,
            &format!("{path}.openFor"),
            breaker.open_for.as_ref(),
            Shortest::Millisecond,
        );
    }
    if let Some(header) = &traffic.header_routing {
        header_routing(problems, &format!("{path}.headerRouting"), header);
    }
    if let Some(faults) = &traffic.faults {
        self::faults(scope, problems, &format!("{path}.faults"), faults);
    }
}

fn header_routing(problems: &mut Problems, path: &str, header: &HeaderRouting) {
    // The token of RFC 9110, without its back-tick.
    let in_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_|~".contains(&b);
    if header.name.is_empty() || !header.name.bytes().all(in_token) {
        problems.add(
            format!("{path}.name"),
            &header.name,
            "a header's name is letters, digits and '-', as X-Canary",
        );
    }
    let in_value = |b: u8| (b' '..=b'~').contains(&b) && b != b'`';
    if header.value.is_empty() || !header.value.bytes().all(in_value) {
        problems.add(
            format!("{path}.value"),
            &header.value,
            "a header's value is printable ASCII without back-ticks",
        );
    }
}

fn faults(scope: &Scope<'_, '_>, problems: &mut Problems, path: &str, faults: &Faults) {
    if scope.environment.is_some() && !scope.policy().is_some_and(|policy| policy.allow_faults) {
        problems.add(
            path,
            "set",
            format!("environment {} does not allow faults to be injected (policy.allowFaults): remove them", scope.environment_name()),
        );
    }
    syntax::range(
        problems,
        &format!("{path}.delayPercent"),
        faults.delay_percent,
        0..=100,
    );
    syntax::duration(
        problems,
        &format!("{path}.delay"),
        faults.delay.as_ref(),
        Shortest::Millisecond,
    );
    syntax::range(
        problems,
        &format!("{path}.abortPercent"),
        faults.abort_percent,
        0..=100,
    );
    syntax::range(
        problems,
        &format!("{path}.abortCode"),
        faults.abort_code,
        400..=599,
    );
    if faults.delay_percent.is_some_and(|percent| percent > 0) && faults.delay.is_none() {
        problems.add(
            format!("{path}.delay"),
            NOT_SET,
            "delayPercent needs a delay",
        );
    }
    if faults.abort_percent.is_some_and(|percent| percent > 0) && faults.abort_code.is_none() {
        problems.add(
            format!("{path}.abortCode"),
            NOT_SET,
            "abortPercent needs an abortCode",
        );
    }
}
