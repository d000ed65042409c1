use super::*;

fn topic(change: Value) -> impl FnOnce(&mut Value, &mut Value) {
    move |app, _| app["spec"]["messaging"]["topics"]["other"] = change
}

#[test]
fn refuses_a_topic_that_is_not_declared() {
    refuses(
        |app, _| app["spec"]["components"]["api"]["produces"] = json!(["ghost"]),
        "spec.components.api.produces",
        "declare the topic",
    );
    refuses(
        |app, _| app["spec"]["components"]["worker"]["consumes"]["ghost"] = json!({}),
        "spec.components.worker.consumes.ghost",
        "declare the topic",
    );
}

#[test]
fn refuses_a_topic_produced_twice() {
    refuses(
        |app, _| app["spec"]["components"]["api"]["produces"] = json!(["events", "events"]),
        "spec.components.api.produces",
        "each stands once",
    );
}

#[test]
fn refuses_a_database_that_is_not_declared() {
    refuses(
        |app, _| app["spec"]["components"]["api"]["database"] = json!("ghost"),
        "spec.components.api.database",
        "declare the database",
    );
}

#[test]
fn refuses_topics_without_messaging() {
    refuses(
        |app, stage| {
            stage["spec"]["messaging"] = Value::Null;
            app["spec"]["components"]["worker"]["scaling"] = Value::Null;
        },
        "spec.messaging.topics",
        "environment test has no messaging",
    );
}

#[test]
fn refuses_sasl_without_a_client_secret() {
    let sasl = |stage: &mut Value| {
        stage["spec"]["messaging"]["securityProtocol"] = json!("SASL_SSL");
        stage["spec"]["messaging"]["saslMechanism"] = json!("SCRAM-SHA-512");
        stage["spec"]["messaging"]["adminCredential"] = json!("admin");
    };
    refuses(
        |_, stage| sasl(stage),
        "spec.messaging.clientSecret",
        "name the Secret",
    );
    accepts(|app, stage| {
        sasl(stage);
        app["spec"]["messaging"]["clientSecret"] = json!("kafka");
    });
}

#[test]
fn refuses_partitions_out_of_range() {
    refuses(
        topic(json!({"partitions": 0})),
        "spec.messaging.topics.other.partitions",
        "between 1 and",
    );
    refuses(
        topic(json!({"replicas": 11})),
        "spec.messaging.topics.other.replicas",
        "between 1 and 10",
    );
}

#[test]
fn refuses_an_illegal_topic_setting() {
    refuses(
        topic(json!({"config": {"Retention": "1"}})),
        "spec.messaging.topics.other.config.Retention",
        "retention.ms",
    );
}

#[test]
fn refuses_more_replicas_in_sync_than_there_are() {
    refuses(
        topic(json!({"replicas": 1, "config": {"min.insync.replicas": "2"}})),
        "spec.messaging.topics.other.config.min.insync.replicas",
        "nothing could be written",
    );
}

fn with_live_partitions(live: i32, change: impl FnOnce(&mut Value)) -> Vec<Problem> {
    let mut app = app();
    change(&mut app);
    let around = Around {
        environments: vec![stage()],
        partitions: BTreeMap::from([("todo-test.events".to_owned(), live)]),
        ..Around::default()
    };
    problems(app, around)
}

#[test]
fn refuses_fewer_partitions() {
    let found = with_live_partitions(12, |_| {});
    assert_only(
        &found,
        "spec.messaging.topics.events.partitions",
        "set partitions: 12",
    );
}

#[test]
fn refuses_partitions_that_shrink_to_the_default() {
    let found = with_live_partitions(12, |app| {
        app["spec"]["messaging"]["topics"]["events"] = json!({})
    });
    assert_only(
        &found,
        "spec.messaging.topics.events.partitions",
        "set partitions: 12",
    );
}

#[test]
fn refuses_more_partitions_unasked() {
    let found = with_live_partitions(2, |_| {});
    assert_only(
        &found,
        "spec.messaging.topics.events.partitions",
        "allowPartitionGrowth: true",
    );
}

#[test]
fn accepts_more_partitions_where_that_is_allowed() {
    let found = with_live_partitions(2, |app| {
        app["spec"]["messaging"]["topics"]["events"]["allowPartitionGrowth"] = json!(true);
    });
    assert_eq!(found, []);
    assert_eq!(with_live_partitions(3, |_| {}), []);
}

fn external() -> Value {
    let role = |user: &str| json!({"user": user, "password": {"secret": "db", "key": user}});
    json!({"host": "db.example", "cidr": "10.1.0.0/16", "owner": role("owner"), "app": role("app")})
}

/// The databases of an application, replaced.
fn databases(databases: Value) -> impl FnOnce(&mut Value, &mut Value) {
    move |app, _| app["spec"]["databases"] = databases
}

#[test]
fn accepts_every_topology() {
    accepts(databases(
        json!({"topology": "Dedicated", "items": {"main": {"cluster": {"storage": "5Gi"}}}}),
    ));
    accepts(databases(
        json!({"topology": "External", "items": {"main": {"external": external()}}}),
    ));
}

#[test]
fn refuses_external_without_external() {
    refuses(
        databases(json!({"topology": "External", "items": {"main": {}}})),
        "spec.databases.items.main.external",
        "set external",
    );
}

#[test]
fn refuses_external_under_another_topology() {
    refuses(
        databases(json!({"topology": "Shared", "items": {"main": {"external": external()}}})),
        "spec.databases.items.main.external",
        "only topology External",
    );
}

#[test]
fn refuses_a_cluster_that_nobody_makes() {
    refuses(
        databases(
            json!({"topology": "External", "cluster": {}, "items": {"main": {"external": external()}}}),
        ),
        "spec.databases.cluster",
        "makes no cluster",
    );
    refuses(
        databases(json!({"items": {"main": {"cluster": {"storage": "5Gi"}}}})),
        "spec.databases.items.main.cluster",
        "topology Dedicated",
    );
}

#[test]
fn refuses_storage_that_is_no_quantity() {
    refuses(
        databases(json!({"cluster": {"storage": "much"}, "items": {"main": {}}})),
        "spec.databases.cluster.storage",
        "a quantity",
    );
    refuses(
        databases(json!({"cluster": {"walStorage": "0"}, "items": {"main": {}}})),
        "spec.databases.cluster.walStorage",
        "has a size",
    );
}

#[test]
fn refuses_a_database_image_from_elsewhere() {
    refuses(
        |app, stage| {
            stage["spec"]["policy"] = json!({"allowedRegistries": ["ghcr.io/acme"]});
            app["spec"]["databases"]["cluster"] = json!({"image": "evil.example/postgresql:18"});
        },
        "spec.databases.cluster.image",
        "ghcr.io/acme only",
    );
}

#[test]
fn refuses_a_malformed_external_server() {
    for (field, value, rule) in [
        ("host", json!("db_1"), "DNS name"),
        ("port", json!(0), "between 1 and 65535"),
        ("cidr", json!("10.1.0.0"), "prefix length"),
    ] {
        let mut server = external();
        server[field] = value;
        refuses(
            databases(json!({"topology": "External", "items": {"main": {"external": server}}})),
            &format!("spec.databases.items.main.external.{field}"),
            rule,
        );
    }
}

#[test]
fn refuses_one_external_database_twice() {
    let item = || {
        let mut server = external();
        server["database"] = json!("shared");
        json!({"external": server})
    };
    refuses(
        databases(json!({"topology": "External", "items": {"main": item(), "other": item()}})),
        "spec.databases.items.other.external",
        "belongs to spec.databases.items.main.external",
    );
}
