use super::*;

#[test]
fn refuses_an_application_without_components() {
    let found = problems_after(|app, _| app["spec"]["components"] = json!({}));
    assert!(
        found
            .iter()
            .any(|problem| problem.field == "spec.components"
                && problem.rule.contains("at least one"))
    );
}

#[test]
fn refuses_a_canary_of_a_cron_job() {
    refuses(
        |app, _| app["spec"]["components"]["cleanup"]["rollout"] = json!({"strategy": "Canary"}),
        "spec.components.cleanup.rollout.strategy",
        "use strategy Rolling",
    );
}

#[test]
fn refuses_scaling_of_a_cron_job() {
    refuses(
        |app, _| app["spec"]["components"]["cleanup"]["scaling"] = json!({"min": 1}),
        "spec.components.cleanup.scaling",
        "does not scale",
    );
}

#[test]
fn refuses_a_migration_by_a_cron_job() {
    refuses(
        |app, _| {
            app["spec"]["components"]["cleanup"]["database"] = json!("main");
            app["spec"]["components"]["cleanup"]["migrate"] = json!({});
        },
        "spec.components.cleanup.migrate",
        "does not migrate",
    );
}

#[test]
fn refuses_a_migration_without_a_database() {
    refuses(
        |app, _| app["spec"]["components"]["worker"]["migrate"] = json!({}),
        "spec.components.worker.migrate",
        "set database",
    );
}

#[test]
fn refuses_a_cron_job_without_a_schedule() {
    refuses(
        |app, _| app["spec"]["components"]["cleanup"]["schedule"] = Value::Null,
        "spec.components.cleanup.schedule",
        "needs a schedule",
    );
}

#[test]
fn refuses_a_schedule_of_anything_else() {
    refuses(
        |app, _| app["spec"]["components"]["web"]["schedule"] = json!({"cron": "@daily"}),
        "spec.components.web.schedule",
        "only a CronJob",
    );
}

#[test]
fn refuses_a_cron_expression_of_six_fields() {
    refuses(
        |app, _| app["spec"]["components"]["cleanup"]["schedule"]["cron"] = json!("0 0 3 * * *"),
        "spec.components.cleanup.schedule.cron",
        "five fields",
    );
}

#[test]
fn accepts_a_cron_nickname() {
    accepts(|app, _| app["spec"]["components"]["cleanup"]["schedule"]["cron"] = json!("@daily"));
}

#[test]
fn refuses_an_unknown_time_zone() {
    refuses(
        |app, _| {
            app["spec"]["components"]["cleanup"]["schedule"]["timeZone"] = json!("Europe/Atlantis")
        },
        "spec.components.cleanup.schedule.timeZone",
        "IANA",
    );
}

#[test]
fn refuses_a_time_zone_in_another_spelling() {
    refuses(
        |app, _| {
            app["spec"]["components"]["cleanup"]["schedule"]["timeZone"] = json!("europe/berlin")
        },
        "spec.components.cleanup.schedule.timeZone",
        "write Europe/Berlin",
    );
}

#[test]
fn refuses_a_routed_worker() {
    refuses(
        |app, _| app["spec"]["components"]["worker"]["route"] = json!({"paths": ["/work"]}),
        "spec.components.worker.route",
        "only a Service or a Site",
    );
}

#[test]
fn refuses_the_admin_port_as_the_serving_one() {
    refuses(
        |app, _| app["spec"]["components"]["web"]["port"] = json!(9090),
        "spec.components.web.port",
        "must be another",
    );
    refuses(
        |app, _| app["spec"]["components"]["web"]["probes"] = json!({"port": 8080}),
        "spec.components.web.probes.port",
        "must be another",
    );
}

#[test]
fn refuses_a_port_out_of_range() {
    refuses(
        |app, _| app["spec"]["components"]["web"]["port"] = json!(70_000),
        "spec.components.web.port",
        "between 1 and 65535",
    );
}

#[test]
fn refuses_a_probe_without_a_path() {
    refuses(
        |app, _| {
            app["spec"]["components"]["web"]["probes"] = json!({"readiness": {"path": "readyz"}})
        },
        "spec.components.web.probes.readiness.path",
        "begins with /",
    );
}

#[test]
fn refuses_calls_to_an_unknown_component() {
    refuses(
        |app, _| app["spec"]["components"]["web"]["calls"] = json!(["ghost"]),
        "spec.components.web.calls",
        "no component has this name",
    );
}

#[test]
fn refuses_calls_to_itself() {
    refuses(
        |app, _| app["spec"]["components"]["web"]["calls"] = json!(["web"]),
        "spec.components.web.calls",
        "does not call itself",
    );
}

#[test]
fn refuses_calls_twice() {
    refuses(
        |app, _| app["spec"]["components"]["web"]["calls"] = json!(["api", "api"]),
        "spec.components.web.calls",
        "each stands once",
    );
}

#[test]
fn refuses_calls_to_what_serves_nothing() {
    refuses(
        |app, _| app["spec"]["components"]["web"]["calls"] = json!(["worker"]),
        "spec.components.web.calls",
        "set its port",
    );
}

#[test]
fn refuses_calls_to_what_runs_in_another_stage() {
    refuses(
        |app, _| app["spec"]["components"]["api"]["environments"] = json!(["production"]),
        "spec.components.web.calls",
        "does not run in test",
    );
}

#[test]
fn refuses_malformed_egress() {
    let egress = |egress: Value| {
        move |app: &mut Value, _: &mut Value| {
            app["spec"]["components"]["web"]["egress"] = json!([egress])
        }
    };
    refuses(
        egress(json!({"cidr": "10.0.0.0/40"})),
        "spec.components.web.egress[0].cidr",
        "prefix length",
    );
    refuses(
        egress(json!({"namespace": "Mail"})),
        "spec.components.web.egress[0].namespace",
        "lower-case",
    );
    refuses(
        egress(json!({})),
        "spec.components.web.egress[0]",
        "exactly one",
    );
    refuses(
        egress(json!({"cidr": "10.0.0.0/8", "namespace": "mail"})),
        "spec.components.web.egress[0]",
        "exactly one",
    );
    refuses(
        egress(json!({"cidr": "10.0.0.0/8", "ports": [0]})),
        "spec.components.web.egress[0].ports",
        "between 1 and 65535",
    );
    accepts(egress(json!({"cidr": "10.0.0.0/8", "ports": [443]})));
}

#[test]
fn refuses_a_malformed_quantity() {
    refuses(
        |app, _| {
            app["spec"]["components"]["web"]["resources"] = json!({"requests": {"memory": "64MB"}})
        },
        "spec.components.web.resources.requests.memory",
        "as 100m, 0.5 or 128Mi",
    );
}

#[test]
fn refuses_a_negative_quantity() {
    refuses(
        |app, _| {
            app["spec"]["components"]["web"]["resources"] = json!({"requests": {"memory": "-1Mi"}})
        },
        "spec.components.web.resources.requests.memory",
        "not negative",
    );
}

#[test]
fn refuses_a_request_above_its_limit() {
    refuses(
        |app, _| {
            app["spec"]["components"]["web"]["resources"] =
                json!({"requests": {"memory": "1Gi"}, "limits": {"memory": "512Mi"}});
        },
        "spec.components.web.resources.requests.memory",
        "not above its limit, 512Mi",
    );
}

#[test]
fn refuses_more_than_the_limit_range() {
    refuses(
        |app, stage| {
            stage["spec"]["policy"] = json!({"limitRange": {"max": {"memory": "1Gi"}}});
            app["spec"]["components"]["web"]["resources"] = json!({"limits": {"memory": "2Gi"}});
        },
        "spec.components.web.resources.limits.memory",
        "at most 1Gi",
    );
}

#[test]
fn refuses_min_above_max() {
    refuses(
        |app, _| app["spec"]["components"]["api"]["scaling"]["min"] = json!(5),
        "spec.components.api.scaling.min",
        "not be above max, 4",
    );
}

#[test]
fn refuses_max_with_nothing_to_scale_by() {
    refuses(
        |app, _| app["spec"]["components"]["web"]["scaling"] = json!({"max": 3}),
        "spec.components.web.scaling.max",
        "set cpu or lag",
    );
}

#[test]
fn refuses_max_above_the_partitions_of_a_worker() {
    refuses(
        |app, _| app["spec"]["components"]["worker"]["scaling"]["max"] = json!(4),
        "spec.components.worker.scaling.max",
        "partitions, 3",
    );
}

#[test]
fn refuses_fixed_replicas_above_the_partitions_of_a_worker() {
    refuses(
        |app, _| app["spec"]["components"]["worker"]["scaling"] = json!({"min": 4}),
        "spec.components.worker.scaling.min",
        "partitions, 3",
    );
}

#[test]
fn the_smallest_topic_bounds_a_worker_and_a_broadcast_one_does_not() {
    let two_topics = |broadcast: bool| {
        move |app: &mut Value, _: &mut Value| {
            app["spec"]["messaging"]["topics"]["few"] = json!({"partitions": 2});
            app["spec"]["components"]["worker"]["consumes"]["few"] =
                json!({"broadcast": broadcast});
        }
    };
    refuses(
        two_topics(false),
        "spec.components.worker.scaling.max",
        "partitions, 2",
    );
    accepts(two_topics(true));
}

#[test]
fn refuses_lag_scaling_without_a_consumed_topic() {
    refuses(
        |app, _| app["spec"]["components"]["web"]["scaling"] = json!({"max": 3, "lag": 10}),
        "spec.components.web.scaling.lag",
        "consume a topic",
    );
    refuses(
        |app, _| {
            app["spec"]["components"]["worker"]["consumes"]["events"] = json!({"broadcast": true})
        },
        "spec.components.worker.scaling.lag",
        "not broadcast",
    );
}

#[test]
fn refuses_lag_scaling_without_messaging() {
    let found = problems_after(|_, stage| stage["spec"]["messaging"] = Value::Null);
    assert!(
        found.iter().any(
            |problem| problem.field == "spec.components.worker.scaling.lag"
                && problem.rule.contains("environment test has no messaging")
        ),
        "{found:#?}"
    );
}

#[test]
fn refuses_cpu_scaling_without_a_cpu_request() {
    refuses(
        |app, _| app["spec"]["components"]["api"]["resources"] = Value::Null,
        "spec.components.api.scaling.cpu",
        "resources.requests.cpu",
    );
}

#[test]
fn a_cpu_request_may_be_the_environments() {
    accepts(|app, stage| {
        app["spec"]["components"]["api"]["resources"] = Value::Null;
        stage["spec"]["defaults"] = json!({"resources": {"requests": {"cpu": "50m"}}});
    });
    accepts(|app, stage| {
        app["spec"]["components"]["api"]["resources"] = Value::Null;
        stage["spec"]["policy"] = json!({"limitRange": {"defaultRequest": {"cpu": "50m"}}});
    });
}

#[test]
fn refuses_cpu_scaling_from_zero() {
    refuses(
        |app, _| app["spec"]["components"]["api"]["scaling"]["min"] = json!(0),
        "spec.components.api.scaling.min",
        "set min: 1",
    );
}

#[test]
fn refuses_steps_that_do_not_rise() {
    for steps in [
        json!([10, 10]),
        json!([20, 10]),
        json!([0, 50]),
        json!([50, 101]),
    ] {
        refuses(
            |app, _| app["spec"]["components"]["api"]["rollout"]["steps"] = steps,
            "spec.components.api.rollout.steps",
            "rise strictly",
        );
    }
}

#[test]
fn refuses_a_malformed_duration() {
    for (field, value) in [
        ("stepPause", json!("1 minute")),
        ("progressDeadline", json!("0s")),
        ("progressDeadline", json!("9999999d")),
    ] {
        let found =
            problems_after(|app, _| app["spec"]["components"]["api"]["rollout"][field] = value);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert_eq!(
            found[0].field,
            format!("spec.components.api.rollout.{field}")
        );
    }
}

#[test]
fn refuses_a_pod_that_must_be_ready_longer_than_the_deadline() {
    refuses(
        |app, _| {
            app["spec"]["components"]["api"]["rollout"]["progressDeadline"] = json!("1m");
            app["spec"]["components"]["api"]["rollout"]["minReadySeconds"] = json!(60);
        },
        "spec.components.api.rollout.minReadySeconds",
        "shorter than progressDeadline, 60s",
    );
}

#[test]
fn refuses_a_share_above_one_hundred_per_cent() {
    for success in ["100.5", "99.999", "", "x", ".5", "9."] {
        refuses(
            |app, _| {
                app["spec"]["components"]["api"]["rollout"]["analysis"] =
                    json!({"success": success})
            },
            "spec.components.api.rollout.analysis.success",
            "0 to 100",
        );
    }
}

#[test]
fn refuses_volumes_that_overlap() {
    refuses(
        |app, _| {
            app["spec"]["components"]["web"]["writable"] = json!(["/cache"]);
            app["spec"]["components"]["web"]["secretFiles"] =
                json!({"keys": {"secret": "keys", "path": "/cache/keys/"}});
        },
        "spec.components.web.writable[0]",
        "another volume is mounted at /cache/keys/",
    );
    refuses(
        |app, _| app["spec"]["components"]["web"]["writable"] = json!(["/cache", "/cache/"]),
        "spec.components.web.writable[1]",
        "another volume is mounted at /cache",
    );
    accepts(|app, _| app["spec"]["components"]["web"]["writable"] = json!(["/cache", "/cache2"]));
}

#[test]
fn refuses_volumes_over_the_operators() {
    for directory in ["/etc/app", "/etc/app/kafka", "/etc"] {
        refuses(
            |app, _| app["spec"]["components"]["web"]["writable"] = json!([directory]),
            "spec.components.web.writable[0]",
            "/etc/app belongs to the operator",
        );
    }
    accepts(|app, _| app["spec"]["components"]["web"]["writable"] = json!(["/etc/apps"]));
}

#[test]
fn refuses_what_is_no_directory() {
    for directory in ["cache", "/", "//", "/a/../etc/app", "/a//b", "/a:b"] {
        refuses(
            |app, _| app["spec"]["components"]["web"]["writable"] = json!([directory]),
            "spec.components.web.writable[0]",
            "absolute path",
        );
    }
}

#[test]
fn refuses_a_volume_with_a_long_name() {
    let name = "v".repeat(57);
    refuses(
        |app, _| {
            app["spec"]["components"]["web"]["secretFiles"] =
                json!({name: {"secret": "keys", "path": "/keys"}})
        },
        &format!("spec.components.web.secretFiles.{}", "v".repeat(57)),
        "at most 56",
    );
}
