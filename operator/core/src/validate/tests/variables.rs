use super::*;

#[test]
fn refuses_an_illegal_name() {
    for name in ["1A", "A B", "A=B", "", "..A", "Ä"] {
        refuses(
            |app, _| app["spec"]["components"]["web"]["env"] = json!({name: "x"}),
            &format!("spec.components.web.env.{name}"),
            "begins with no digit",
        );
    }
}

#[test]
fn refuses_the_operators_names_wherever_they_are_set() {
    let rule = "the operator sets";
    refuses(
        |app, _| app["spec"]["release"]["config"]["web"] = json!({"PGHOST": "x"}),
        "spec.release.config.web.PGHOST",
        rule,
    );
    refuses(
        |app, _| app["spec"]["components"]["web"]["env"] = json!({"KAFKA_GROUP_ID": "x"}),
        "spec.components.web.env.KAFKA_GROUP_ID",
        rule,
    );
    refuses(
        |app, _| {
            app["spec"]["components"]["web"]["secretEnv"] =
                json!({"SERVICE_API": {"secret": "s", "key": "k"}})
        },
        "spec.components.web.secretEnv.SERVICE_API",
        rule,
    );
    refuses(
        |_, stage| stage["spec"]["variables"] = json!({"*": {"TOPIC_EVENTS": "x"}}),
        "TodoEnvironment test: spec.variables.*.TOPIC_EVENTS",
        rule,
    );
}

#[test]
fn refuses_each_of_the_operators_names() {
    for name in [
        "APP_NAME",
        "APP_COMPONENT",
        "APP_ENVIRONMENT",
        "POD_NAME",
        "OTEL_SERVICE_NAME",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "PGPASSWORD",
    ] {
        refuses(
            |app, _| app["spec"]["components"]["web"]["env"] = json!({name: "x"}),
            &format!("spec.components.web.env.{name}"),
            "choose another name",
        );
    }
    accepts(|app, _| {
        app["spec"]["components"]["web"]["env"] =
            json!({"APP_COLOUR": "x", "OTEL_LOG_LEVEL": "x", "MY_PGHOST": "x"});
    });
}

#[test]
fn refuses_a_variable_that_is_set_twice() {
    refuses(
        |app, _| {
            app["spec"]["components"]["web"]["env"] = json!({"TOKEN": "x"});
            app["spec"]["components"]["web"]["secretEnv"] =
                json!({"TOKEN": {"secret": "s", "key": "k"}});
        },
        "spec.components.web.secretEnv.TOKEN",
        "one of env and secretEnv",
    );
}

#[test]
fn refuses_a_malformed_secret_reference() {
    refuses(
        |app, _| {
            app["spec"]["components"]["web"]["secretEnv"] =
                json!({"TOKEN": {"secret": "S", "key": "k"}})
        },
        "spec.components.web.secretEnv.TOKEN.secret",
        "lower-case",
    );
    refuses(
        |app, _| {
            app["spec"]["components"]["web"]["secretEnv"] =
                json!({"TOKEN": {"secret": "s", "key": "a/b"}})
        },
        "spec.components.web.secretEnv.TOKEN.key",
        "a Secret's key",
    );
}

#[test]
fn variables_of_other_applications_are_of_no_concern() {
    accepts(|_, stage| stage["spec"]["variables"] = json!({"broadcaster": {"LOG_ONLY": "true"}}));
}
