use super::*;

#[test]
fn refuses_a_component_that_would_be_the_database_cluster() {
    refuses(
        |app, _| app["spec"]["components"]["db"] = json!({"kind": "Worker", "image": "api"}),
        "spec.databases",
        "the name of this object belongs to spec.components.db",
    );
    refuses(
        |app, _| {
            app["spec"]["databases"] =
                json!({"topology": "Dedicated", "items": {"main": {}, "api": {}}});
        },
        "spec.databases.items.api",
        "belongs to spec.components.api",
    );
}

#[test]
fn refuses_a_component_that_would_be_anothers_canary() {
    refuses(
        |app, _| {
            app["spec"]["components"]["web-canary"] = json!({"kind": "Worker", "image": "api"})
        },
        "spec.components.web-canary",
        "belongs to spec.components.web",
    );
}

/// Problems of [`app`] where another application holds `claim`.
fn with_holder(claim: Claim) -> Vec<Problem> {
    let holders = Holders::from([(claim, "todo-other/older".to_owned())]);
    problems(
        app(),
        Around {
            environments: vec![stage()],
            holders,
            ..Around::default()
        },
    )
}

#[test]
fn refuses_what_another_application_holds() {
    let servers = || "kafka.example:9092".to_owned();
    for (claim, field, rule) in [
        (
            Claim::Topic(servers(), "todo-test.events".into()),
            "spec.messaging.topics.events",
            "this topic in Kafka belongs to the TodoApp todo-other/older",
        ),
        (
            Claim::Topic(servers(), "todo-test.worker.dlq".into()),
            "spec.components.worker.consumes",
            "rename the topic or the component",
        ),
        (
            Claim::Route("todo.example.com".into(), "/api".into()),
            "spec.components.api.route.paths",
            "choose another host or path",
        ),
        (
            Claim::Object("todo-test".into(), "todo-web".into()),
            "spec.components.web",
            "the name of this object belongs to the TodoApp todo-other/older",
        ),
        (
            Claim::Object("todo-test".into(), "todo-db".into()),
            "spec.databases",
            "rename the component or the database",
        ),
    ] {
        assert_only(&with_holder(claim), field, rule);
    }
}

#[test]
fn what_an_application_holds_itself_is_its_own() {
    let (app, stage): (TodoApp, TodoEnvironment) = (parse(app()), parse(stage()));
    let holders = claims(&app, &stage)
        .into_iter()
        .map(|claim| (claim, "todo-test/todo".to_owned()))
        .collect();
    let around = Around {
        environments: vec![self::stage()],
        holders,
        ..Around::default()
    };
    assert_eq!(problems(self::app(), around), []);
}

#[test]
fn claims_are_the_same_however_they_are_written() {
    let (mut one, mut other) = (app(), app());
    one["spec"]["traffic"]["host"] = json!("Todo.Example.com.");
    one["spec"]["components"]["api"]["route"]["paths"] = json!(["/api/"]);
    other["spec"]["traffic"]["host"] = json!("todo.example.com");
    let (mut here, mut there) = (stage(), stage());
    here["spec"]["messaging"]["bootstrapServers"] = json!("a.example:9092, b.example:9092");
    there["spec"]["messaging"]["bootstrapServers"] = json!("B.example:9092,a.example:9092");
    assert_eq!(
        claims(&parse(one), &parse(here)),
        claims(&parse(other), &parse(there))
    );
}

#[test]
fn an_external_database_is_claimed() {
    let mut app = app();
    let role = json!({"user": "u", "password": {"secret": "s", "key": "k"}});
    app["spec"]["databases"] = json!({
        "topology": "External",
        "items": {"main": {"external": {"host": "DB.example", "database": "x", "owner": role, "app": role}}},
    });
    assert!(
        claims(&parse(app), &parse(stage())).contains(&Claim::Database("db.example:5432/x".into()))
    );
}

#[test]
fn nothing_is_claimed_for_another_stage_or_without_a_router() {
    let mut app = app();
    app["spec"]["components"]["api"]["environments"] = json!(["production"]);
    app["spec"]["traffic"]["router"] = json!("None");
    let claims = claims(&parse(app), &parse(stage()));
    assert!(!claims.contains(&Claim::Object("todo-test".into(), "todo-api".into())));
    assert!(!claims.iter().any(|claim| matches!(claim, Claim::Route(..))));
}

#[test]
fn claims_need_nothing_valid() {
    let app: TodoApp = parse(
        json!({"metadata": {}, "spec": {"components": {"": {"kind": "Worker"}}, "release": {}}}),
    );
    assert_eq!(
        claims(&app, &parse(stage())),
        BTreeSet::from([Claim::Object(String::new(), "-".into())])
    );
}
