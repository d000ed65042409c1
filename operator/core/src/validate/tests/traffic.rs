use super::*;

#[test]
fn refuses_a_route_without_a_host() {
    refuses(
        |app, _| {
            app["spec"]["traffic"]["host"] = Value::Null;
            app["spec"]["components"]["api"]["route"]["host"] = json!("api.example.com");
        },
        "spec.components.web.route.host",
        "spec.traffic.host for all",
    );
}

#[test]
fn a_route_needs_no_host_where_nobody_routes() {
    accepts(|app, _| app["spec"]["traffic"] = json!({"router": "None"}));
}

#[test]
fn refuses_two_components_at_one_place() {
    refuses(
        |app, _| app["spec"]["components"]["web"]["route"]["paths"] = json!(["/", "/api/"]),
        "spec.components.web.route.paths",
        "this host and path belongs to spec.components.api.route.paths",
    );
}

#[test]
fn accepts_one_path_on_two_hosts() {
    accepts(|app, _| {
        app["spec"]["components"]["web"]["route"] =
            json!({"paths": ["/api"], "host": "www.example.com"})
    });
}

#[test]
fn refuses_a_malformed_host() {
    refuses(
        |app, _| app["spec"]["traffic"]["host"] = json!("todo.example.com`) || Host(`x"),
        "spec.traffic.host",
        "DNS name",
    );
    refuses(
        |app, _| app["spec"]["components"]["web"]["route"]["host"] = json!("Todo.example.com"),
        "spec.components.web.route.host",
        "lower case",
    );
}

#[test]
fn refuses_a_malformed_path() {
    for path in ["api", "/a`b", "/a b", "//", "/a\"b"] {
        refuses(
            |app, _| app["spec"]["components"]["web"]["route"]["paths"] = json!([path]),
            "spec.components.web.route.paths",
            "begins with /",
        );
    }
    refuses(
        |app, _| app["spec"]["components"]["web"]["route"]["paths"] = json!([]),
        "spec.components.web.route.paths",
        "at least one",
    );
}

#[test]
fn refuses_the_gateway_api_without_a_gateway() {
    let gateway = |app: &mut Value| app["spec"]["traffic"]["router"] = json!("GatewayAPI");
    refuses(
        |app, _| gateway(app),
        "spec.traffic.router",
        "environment test names no Gateway",
    );
    refuses(
        |app, stage| {
            gateway(app);
            stage["spec"]["traffic"] = json!({"entryPoints": ["web"]});
        },
        "spec.traffic.router",
        "environment test names no Gateway",
    );
    accepts(|app, stage| {
        gateway(app);
        stage["spec"]["traffic"] = json!({"gateway": {"name": "public", "namespace": "gateway"}});
    });
}

#[test]
fn refuses_istio_for_now() {
    refuses(
        |app, _| app["spec"]["traffic"]["router"] = json!("Istio"),
        "spec.traffic.router",
        "not supported yet",
    );
}

#[test]
fn refuses_faults_where_they_are_not_allowed() {
    let faults = |app: &mut Value| {
        app["spec"]["traffic"]["faults"] = json!({"delayPercent": 10, "delay": "1s"})
    };
    refuses(
        |app, _| faults(app),
        "spec.traffic.faults",
        "policy.allowFaults",
    );
    accepts(|app, stage| {
        faults(app);
        stage["spec"]["policy"] = json!({"allowFaults": true});
    });
}

#[test]
fn refuses_half_a_fault() {
    let allowed = |stage: &mut Value| stage["spec"]["policy"] = json!({"allowFaults": true});
    refuses(
        |app, stage| {
            allowed(stage);
            app["spec"]["traffic"]["faults"] = json!({"delayPercent": 10});
        },
        "spec.traffic.faults.delay",
        "needs a delay",
    );
    refuses(
        |app, stage| {
            allowed(stage);
            app["spec"]["traffic"]["faults"] = json!({"abortPercent": 10});
        },
        "spec.traffic.faults.abortCode",
        "needs an abortCode",
    );
}

#[test]
fn refuses_a_try_longer_than_the_request() {
    refuses(
        |app, _| app["spec"]["traffic"]["timeouts"] = json!({"request": "1s", "backend": "2s"}),
        "spec.traffic.timeouts.backend",
        "not longer than the whole request, 1s",
    );
}

#[test]
fn refuses_settings_out_of_range() {
    refuses(
        |app, _| app["spec"]["traffic"]["retries"] = json!({"attempts": 11}),
        "spec.traffic.retries.attempts",
        "between 1 and 10",
    );
    refuses(
        |app, _| app["spec"]["traffic"]["circuitBreaker"] = json!({"errorPercent": 101}),
        "spec.traffic.circuitBreaker.errorPercent",
        "between 1 and 100",
    );
    refuses(
        |app, _| app["spec"]["traffic"]["timeouts"] = json!({"request": "0s"}),
        "spec.traffic.timeouts.request",
        "at least 1ms",
    );
}

#[test]
fn refuses_a_header_that_ends_a_rule() {
    refuses(
        |app, _| {
            app["spec"]["traffic"]["headerRouting"] = json!({"name": "X Canary", "value": "yes"})
        },
        "spec.traffic.headerRouting.name",
        "a header's name",
    );
    refuses(
        |app, _| {
            app["spec"]["traffic"]["headerRouting"] = json!({"name": "X-Canary", "value": "a`b"})
        },
        "spec.traffic.headerRouting.value",
        "without back-ticks",
    );
}
