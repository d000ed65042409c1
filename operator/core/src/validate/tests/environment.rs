use super::*;

const OPERATORS: &str = "todo-operator";

fn facts() -> NamespaceFacts {
    NamespaceFacts {
        exists: true,
        environment_label: Some("test".into()),
        adopt: false,
        created_before_environment: true,
    }
}

/// Problems of [`stage`] changed by `change`, among the environments `others`.
fn found(
    change: impl FnOnce(&mut Value),
    others: Vec<Value>,
    facts: &NamespaceFacts,
) -> Vec<Problem> {
    let mut stage = stage();
    change(&mut stage);
    let stage: TodoEnvironment = parse(stage);
    let others: Vec<TodoEnvironment> = others.into_iter().map(parse).collect();
    let all: Vec<&TodoEnvironment> = others.iter().chain([&stage]).collect();
    super::environment(&stage, &all, Some(facts), OPERATORS)
        .err()
        .unwrap_or_default()
}

/// Asserts that a change of the environment leads to one problem.
#[track_caller]
fn refuses(change: impl FnOnce(&mut Value), field: &str, rule: &str) {
    assert_only(&found(change, vec![], &facts()), field, rule);
}

#[track_caller]
fn accepts(change: impl FnOnce(&mut Value)) {
    assert_eq!(found(change, vec![], &facts()), []);
}

fn other(name: &str, namespace: &str, from: Option<&str>) -> Value {
    let promotion = from.map(|from| json!({"from": from}));
    json!({
        "metadata": {"name": name},
        "spec": {"stage": name, "namespace": namespace, "promotion": promotion},
    })
}

#[test]
fn accepts_an_environment_with_everything() {
    accepts(|stage| {
        stage["spec"]["defaults"] = json!({
            "resources": {"requests": {"cpu": "50m"}},
            "scaling": {"min": 1, "max": 3, "cpu": 70},
            "rollout": {"strategy": "Canary", "steps": [10, 50]},
            "router": "Traefik",
            "readyDeadline": "5m",
        });
        stage["spec"]["variables"] =
            json!({"*": {"LOG_LEVEL": "info"}, "broadcaster": {"LOG_ONLY": "true"}});
        stage["spec"]["policy"] = json!({
            "quota": {"requests.cpu": "20", "pods": 60},
            "limitRange": {"defaultRequest": {"cpu": "50m"}, "default": {"cpu": "1"}, "max": {"cpu": "4"}},
            "network": {"ingressNamespace": "traefik", "kafkaCidrs": ["10.0.0.0/8"]},
        });
        stage["spec"]["analysis"] =
            json!({"prometheus": "http://prometheus:9090", "delay": "0s", "interval": "30s"});
        stage["spec"]["telemetry"] = json!({"otlpEndpoint": "http://collector:4317"});
        stage["spec"]["promotion"] = json!({
            "trigger": {"type": "Tag", "pattern": "v*.*.*"},
            "gates": {
                "soak": "10m",
                "approvals": {"required": 2},
                "windows": [{"cron": "0 9 * * MON-FRI", "duration": "8h", "timeZone": "Europe/Berlin"}],
            },
        });
    });
}

#[test]
fn refuses_namespaces_that_are_not_for_applications() {
    for (namespace, rule) in [
        ("kube-system", "belong to Kubernetes"),
        ("kube-anything", "belong to Kubernetes"),
        ("default", "everybody's"),
        (OPERATORS, "operator's own namespace"),
    ] {
        refuses(
            |stage| stage["spec"]["namespace"] = json!(namespace),
            "spec.namespace",
            rule,
        );
    }
}

#[test]
fn refuses_a_namespace_that_does_not_exist() {
    let facts = NamespaceFacts::default();
    assert_only(
        &found(|_| {}, vec![], &facts),
        "spec.namespace",
        "create it, with label todo-operator.dev/environment: test",
    );
}

#[test]
fn refuses_a_namespace_of_another_environment() {
    for adopt in [false, true] {
        let facts = NamespaceFacts {
            environment_label: Some("staging".into()),
            adopt,
            ..facts()
        };
        assert_only(
            &found(|_| {}, vec![], &facts),
            "spec.namespace",
            "belongs to environment staging",
        );
    }
}

#[test]
fn refuses_a_namespace_that_existed_before() {
    let facts = NamespaceFacts {
        environment_label: None,
        ..facts()
    };
    assert_only(
        &found(|_| {}, vec![], &facts),
        "spec.namespace",
        "todo-operator.dev/adopt: \"true\"",
    );
}

#[test]
fn accepts_a_namespace_that_is_adopted_or_younger() {
    let adopted = NamespaceFacts {
        environment_label: None,
        adopt: true,
        ..facts()
    };
    assert_eq!(found(|_| {}, vec![], &adopted), []);
    let younger = NamespaceFacts {
        environment_label: None,
        created_before_environment: false,
        ..facts()
    };
    assert_eq!(found(|_| {}, vec![], &younger), []);
}

#[test]
fn offline_only_the_name_of_the_namespace_is_judged() {
    let stage: TodoEnvironment = parse(stage());
    assert_eq!(
        super::environment(&stage, &[&stage], None, OPERATORS),
        Ok(())
    );
}

#[test]
fn refuses_two_environments_with_one_namespace() {
    let problems = found(|_| {}, vec![other("qa", "todo-test", None)], &facts());
    assert_only(
        &problems,
        "spec.namespace",
        "test and qa share this namespace",
    );
}

#[test]
fn refuses_malformed_defaults() {
    refuses(
        |stage| stage["spec"]["defaults"] = json!({"rollout": {"steps": [50, 10]}}),
        "spec.defaults.rollout.steps",
        "rise strictly",
    );
    refuses(
        |stage| {
            stage["spec"]["defaults"] =
                json!({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}})
        },
        "spec.defaults.resources.requests.cpu",
        "not above its limit",
    );
    refuses(
        |stage| stage["spec"]["defaults"] = json!({"scaling": {"min": 3, "max": 2}}),
        "spec.defaults.scaling.min",
        "not be above max",
    );
    refuses(
        |stage| stage["spec"]["defaults"] = json!({"scaling": {"max": 2, "cpu": 70}}),
        "spec.defaults.scaling.cpu",
        "defaults.resources.requests.cpu",
    );
    refuses(
        |stage| stage["spec"]["defaults"] = json!({"readyDeadline": "x"}),
        "spec.defaults.readyDeadline",
        "a duration",
    );
    refuses(
        |stage| stage["spec"]["defaults"] = json!({"router": "Istio"}),
        "spec.defaults.router",
        "not supported yet",
    );
}

#[test]
fn refuses_sasl_without_a_mechanism() {
    refuses(
        |stage| {
            stage["spec"]["messaging"]["securityProtocol"] = json!("SASL_SSL");
            stage["spec"]["messaging"]["adminCredential"] = json!("admin");
        },
        "spec.messaging.saslMechanism",
        "a SASL protocol needs it",
    );
}

#[test]
fn refuses_a_mechanism_without_sasl() {
    refuses(
        |stage| stage["spec"]["messaging"]["saslMechanism"] = json!("PLAIN"),
        "spec.messaging.saslMechanism",
        "only a SASL protocol",
    );
}

#[test]
fn refuses_a_password_in_the_clear() {
    refuses(
        |stage| {
            stage["spec"]["messaging"]["securityProtocol"] = json!("SASL_PLAINTEXT");
            stage["spec"]["messaging"]["saslMechanism"] = json!("PLAIN");
            stage["spec"]["messaging"]["adminCredential"] = json!("admin");
        },
        "spec.messaging.saslMechanism",
        "SASL_SSL only",
    );
}

#[test]
fn refuses_sasl_without_the_administrators_credential() {
    refuses(
        |stage| {
            stage["spec"]["messaging"]["securityProtocol"] = json!("SASL_SSL");
            stage["spec"]["messaging"]["saslMechanism"] = json!("SCRAM-SHA-512");
        },
        "spec.messaging.adminCredential",
        "name the credential",
    );
}

#[test]
fn refuses_strimzi_without_its_cluster() {
    refuses(
        |stage| stage["spec"]["messaging"]["provider"] = json!("Strimzi"),
        "spec.messaging.strimzi",
        "strimzi.cluster and strimzi.namespace",
    );
}

#[test]
fn refuses_malformed_addresses() {
    refuses(
        |stage| stage["spec"]["messaging"]["bootstrapServers"] = json!("kafka"),
        "spec.messaging.bootstrapServers",
        "host:port",
    );
    refuses(
        |stage| stage["spec"]["telemetry"] = json!({"otlpEndpoint": "collector:4317"}),
        "spec.telemetry.otlpEndpoint",
        "http://",
    );
    refuses(
        |stage| stage["spec"]["analysis"] = json!({"prometheus": "prometheus"}),
        "spec.analysis.prometheus",
        "http://",
    );
    refuses(
        |stage| stage["spec"]["policy"] = json!({"network": {"kafkaCidrs": ["10.0.0.0"]}}),
        "spec.policy.network.kafkaCidrs[0]",
        "prefix length",
    );
    refuses(
        |stage| stage["spec"]["policy"] = json!({"network": {"kafkaNamespace": "Kafka"}}),
        "spec.policy.network.kafkaNamespace",
        "a namespace's name",
    );
}

#[test]
fn refuses_a_malformed_analysis() {
    refuses(
        |stage| {
            stage["spec"]["analysis"] = json!({"prometheus": "http://p:9090", "interval": "0s"})
        },
        "spec.analysis.interval",
        "at least 1000ms",
    );
}

#[test]
fn refuses_a_malformed_quota() {
    refuses(
        |stage| stage["spec"]["policy"] = json!({"quota": {"pods": "many"}}),
        "spec.policy.quota.pods",
        "a quantity",
    );
}

#[test]
fn refuses_a_limit_range_that_contradicts_itself() {
    refuses(
        |stage| {
            stage["spec"]["policy"] =
                json!({"limitRange": {"default": {"cpu": "2"}, "max": {"cpu": "1"}}})
        },
        "spec.policy.limitRange.default.cpu",
        "not be above max.cpu, 1",
    );
    refuses(
        |stage| {
            stage["spec"]["policy"] =
                json!({"limitRange": {"defaultRequest": {"cpu": "2"}, "default": {"cpu": "1"}}})
        },
        "spec.policy.limitRange.defaultRequest.cpu",
        "not be above default.cpu, 1",
    );
}

#[test]
fn refuses_promotion_from_itself() {
    refuses(
        |stage| stage["spec"]["promotion"] = json!({"from": "test"}),
        "spec.promotion.from",
        "not promote from itself",
    );
}

#[test]
fn refuses_promotion_from_nowhere() {
    refuses(
        |stage| stage["spec"]["promotion"] = json!({"from": "qa"}),
        "spec.promotion.from",
        "no TodoEnvironment has this name",
    );
}

#[test]
fn refuses_promotion_in_a_circle() {
    let others = vec![
        other("a", "ns-a", Some("b")),
        other("b", "ns-b", Some("test")),
    ];
    let problems = found(
        |stage| stage["spec"]["promotion"] = json!({"from": "a"}),
        others,
        &facts(),
    );
    assert_only(
        &problems,
        "spec.promotion.from",
        "test from a from b from test",
    );
}

#[test]
fn a_circle_elsewhere_ends_the_search() {
    let others = vec![other("a", "ns-a", Some("b")), other("b", "ns-b", Some("a"))];
    let problems = found(
        |stage| stage["spec"]["promotion"] = json!({"from": "a"}),
        others,
        &facts(),
    );
    assert_eq!(problems, []);
}

#[test]
fn refuses_a_tag_trigger_without_a_pattern() {
    refuses(
        |stage| stage["spec"]["promotion"] = json!({"trigger": {"type": "Tag"}}),
        "spec.promotion.trigger.pattern",
        "v*.*.*",
    );
}

#[test]
fn refuses_malformed_gates() {
    let gates = |gates: Value| {
        move |stage: &mut Value| stage["spec"]["promotion"] = json!({"gates": gates})
    };
    refuses(
        gates(json!({"soak": "long"})),
        "spec.promotion.gates.soak",
        "a duration",
    );
    refuses(
        gates(json!({"windows": [{"cron": "0 9 * *", "duration": "1h"}]})),
        "spec.promotion.gates.windows[0].cron",
        "five fields",
    );
    refuses(
        gates(json!({"windows": [{"cron": "@daily", "duration": "0s"}]})),
        "spec.promotion.gates.windows[0].duration",
        "at least",
    );
    refuses(
        gates(json!({"windows": [{"cron": "@daily", "duration": "1h", "timeZone": "Mars"}]})),
        "spec.promotion.gates.windows[0].timeZone",
        "IANA",
    );
    refuses(
        gates(json!({"approvals": {"required": 0}})),
        "spec.promotion.gates.approvals.required",
        "between 1 and 10",
    );
    refuses(
        gates(json!({"smokeTest": {"image": "smoke", "timeout": "x"}})),
        "spec.promotion.gates.smokeTest.timeout",
        "a duration",
    );
    let gate = json!({"name": "errors", "query": "q", "condition": "result < 1"});
    refuses(
        gates(json!({"analysis": [gate, gate]})),
        "spec.promotion.gates.analysis",
        "each stands once",
    );
}

#[test]
fn refuses_a_malformed_preview() {
    refuses(
        |stage| stage["spec"]["preview"] = json!({"branches": "*", "ttl": "x"}),
        "spec.preview.ttl",
        "a duration",
    );
}

#[test]
fn a_bad_promotion_stops_no_application() {
    super::accepts(|_, stage| {
        stage["spec"]["promotion"] = json!({"from": "test", "gates": {"soak": "x"}})
    });
}

#[test]
fn refuses_an_application_without_an_environment() {
    let problems = problems(app(), Around::default());
    assert_only(
        &problems,
        "metadata.namespace",
        "no TodoEnvironment has spec.namespace todo-test: create one",
    );
}

#[test]
fn refuses_an_application_with_two_environments() {
    let mut second = stage();
    second["metadata"]["name"] = json!("qa");
    let problems = problems(
        app(),
        Around {
            environments: vec![stage(), second],
            ..Around::default()
        },
    );
    assert_only(
        &problems,
        "metadata.namespace",
        "test and qa share this namespace",
    );
}

#[test]
fn refuses_an_application_in_a_namespace_of_kubernetes() {
    super::refuses(
        |app, stage| {
            app["metadata"]["namespace"] = json!("kube-system");
            stage["spec"]["namespace"] = json!("kube-system");
        },
        "metadata.namespace",
        "belong to Kubernetes",
    );
}

#[test]
fn refuses_an_application_without_a_namespace() {
    let mut app = app();
    app["metadata"]["namespace"] = Value::Null;
    assert_only(
        &problems(app, Around::default()),
        "metadata.namespace",
        "set metadata.namespace",
    );
}
