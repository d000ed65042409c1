use super::*;

#[test]
fn refuses_a_component_whose_name_is_too_long_with_the_applications() {
    let name = "w".repeat(41);
    refuses(
        |app, _| {
            app["spec"]["components"][name.as_str()] = json!({"kind": "Worker", "image": "api"});
        },
        &format!("spec.components.{name}"),
        "at most 45 characters",
    );
    accepts(|app, _| {
        app["spec"]["components"]["w".repeat(40)] = json!({"kind": "Worker", "image": "api"});
    });
}

#[test]
fn refuses_an_illegal_component_name() {
    refuses(
        |app, _| app["spec"]["components"]["1st"] = json!({"kind": "Worker", "image": "api"}),
        "spec.components.1st",
        "beginning with a letter",
    );
}

#[test]
fn refuses_an_application_without_a_proper_name() {
    refuses(
        |app, _| app["metadata"]["name"] = json!("1todo"),
        "metadata.name",
        "beginning with a letter",
    );
    refuses(
        |app, _| app["metadata"]["name"] = Value::Null,
        "metadata.name",
        "has a name",
    );
}

#[test]
fn refuses_an_illegal_stage() {
    refuses(
        |app, _| {
            app["spec"]["components"]["cleanup"]["environments"] = json!(["test", "Production"])
        },
        "spec.components.cleanup.environments",
        "spec.stage of a TodoEnvironment",
    );
    refuses(
        |app, _| app["spec"]["components"]["cleanup"]["environments"] = json!(["test", "test"]),
        "spec.components.cleanup.environments",
        "each stands once",
    );
}

#[test]
fn refuses_an_illegal_database_name() {
    refuses(
        |app, _| app["spec"]["databases"]["items"]["a_b"] = json!({}),
        "spec.databases.items.a_b",
        "at most 40",
    );
    for name in ["postgres", "pg", "pg-stats", "template1"] {
        refuses(
            |app, _| app["spec"]["databases"]["items"][name] = json!({}),
            &format!("spec.databases.items.{name}"),
            "PostgreSQL keeps",
        );
    }
}

#[test]
fn refuses_a_database_cluster_with_a_long_name() {
    let name = "d".repeat(40);
    refuses(
        |app, _| {
            app["metadata"]["name"] = json!("long-name-of-app");
            app["spec"]["databases"]["topology"] = json!("Dedicated");
            app["spec"]["databases"]["items"][name.as_str()] = json!({});
        },
        &format!("spec.databases.items.{name}"),
        "<app>-<database> has at most 50 characters",
    );
}

#[test]
fn refuses_a_shared_cluster_with_a_long_name() {
    let found = problems_after(|app, _| app["metadata"]["name"] = json!("a".repeat(48)));
    assert!(
        found.iter().any(|problem| problem.field == "spec.databases"
            && problem.rule.contains("<app>-db has at most 50")),
        "{found:#?}"
    );
}

#[test]
fn refuses_an_illegal_topic_name() {
    for name in ["Events", "a.b", "a_b", "-a"] {
        refuses(
            |app, _| app["spec"]["messaging"]["topics"][name] = json!({}),
            &format!("spec.messaging.topics.{name}"),
            "lower-case letters, digits and '-'",
        );
    }
}

#[test]
fn refuses_a_topic_that_is_too_long_in_kafka() {
    let found = problems_after(|app, _| {
        app["spec"]["messaging"]["topics"]["t".repeat(240)] = json!({});
    });
    assert!(
        found
            .iter()
            .any(|problem| problem.rule.contains("at most 249 characters in Kafka")),
        "{found:#?}"
    );
}
