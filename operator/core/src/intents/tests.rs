use super::*;
use serde_json::json;

/// The policy as API server 1.36 returns it.
fn live_policy() -> Value {
    serde_json::from_str(include_str!("live-policy.json")).unwrap()
}

/// The binding as API server 1.36 returns it.
fn live_binding() -> Value {
    serde_json::from_str(include_str!("live-binding.json")).unwrap()
}

#[test]
fn the_installed_policy_is_trusted() {
    assert_eq!(policy_matches(&live_policy(), &live_binding()), Ok(()));
}

#[test]
fn foreign_labels_are_free() {
    let mut policy = live_policy();
    policy["metadata"]["labels"] = json!({"team": "platform"});
    assert_eq!(policy_matches(&policy, &live_binding()), Ok(()));
}

/// Changes the policy and expects that the message names `path`.
fn assert_policy_refused(path: &str, value: Value) {
    let mut policy = live_policy();
    let (parent, key) = path.rsplit_once('/').unwrap();
    match policy.pointer_mut(parent).unwrap() {
        Value::Array(list) => list.push(value),
        object => object[key] = value,
    }
    let error = policy_matches(&policy, &live_binding()).unwrap_err();
    assert!(error.contains(path), "{error}");
    assert!(error.contains(POLICY_INSTALL), "{error}");
}

#[test]
fn a_weakened_policy_is_not_trusted() {
    assert_policy_refused("/spec/failurePolicy", json!("Ignore"));
    assert_policy_refused(
        "/spec/matchConditions",
        json!([{"name": "off", "expression": "false"}]),
    );
    assert_policy_refused(
        "/spec/paramKind",
        json!({"apiVersion": "v1", "kind": "ConfigMap"}),
    );
    assert_policy_refused("/spec/matchConstraints/matchPolicy", json!("Exact"));
    assert_policy_refused(
        "/spec/matchConstraints/objectSelector/matchLabels",
        json!({"guarded": "yes"}),
    );
    assert_policy_refused(
        "/spec/matchConstraints/namespaceSelector/matchLabels",
        json!({"a": "b"}),
    );
    assert_policy_refused(
        "/spec/matchConstraints/excludeResourceRules",
        json!([{"resources": ["*"]}]),
    );
    assert_policy_refused(
        "/spec/matchConstraints/resourceRules/0/scope",
        json!("Namespaced"),
    );
    assert_policy_refused(
        "/spec/matchConstraints/resourceRules/0/operations",
        json!(["CREATE", "UPDATE"]),
    );
    assert_policy_refused(
        "/spec/matchConstraints/resourceRules/0/resourceNames",
        json!(["one"]),
    );
    assert_policy_refused("/spec/validations/3/expression", json!("true"));
    assert_policy_refused(
        "/spec/variables/6",
        json!({"name": "more", "expression": "true"}),
    );
}

#[test]
fn a_policy_with_fewer_rules_is_not_trusted() {
    let mut policy = live_policy();
    policy["spec"]["validations"].as_array_mut().unwrap().pop();
    let error = policy_matches(&policy, &live_binding()).unwrap_err();
    assert!(error.contains("/spec/validations/3 is missing"), "{error}");
}

#[test]
fn a_weakened_binding_is_not_trusted() {
    let weaker = [
        ("validationActions", json!(["Warn", "Audit"])),
        ("validationActions", json!(["Audit"])),
        ("policyName", json!("other")),
        (
            "matchResources",
            json!({"objectSelector": {"matchLabels": {"guarded": "yes"}}}),
        ),
        (
            "paramRef",
            json!({"name": "none", "parameterNotFoundAction": "Allow"}),
        ),
    ];
    for (field, value) in weaker {
        let mut binding = live_binding();
        binding["spec"][field] = value;
        let error = policy_matches(&live_policy(), &binding).unwrap_err();
        assert!(error.contains(&format!("/spec/{field}")), "{error}");
    }
}

#[test]
fn a_policy_under_another_name_or_on_its_way_out_is_not_trusted() {
    let mut policy = live_policy();
    policy["metadata"]["name"] = json!("todo-intents-2");
    assert!(
        policy_matches(&policy, &live_binding())
            .unwrap_err()
            .contains("/metadata/name")
    );

    let mut policy = live_policy();
    policy["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert!(
        policy_matches(&policy, &live_binding())
            .unwrap_err()
            .contains("being deleted")
    );
}

#[test]
fn neither_stands_for_the_other() {
    let error = policy_matches(&live_policy(), &live_policy()).unwrap_err();
    assert!(
        error.contains("ValidatingAdmissionPolicyBinding todo-intents"),
        "{error}"
    );
    let error = policy_matches(&Value::Null, &live_binding()).unwrap_err();
    assert!(error.contains("/metadata/name is missing"), "{error}");
}

#[test]
fn an_item_of_a_list_names_no_kind() {
    let without_kind = |mut object: Value| {
        object.as_object_mut().unwrap().remove("kind");
        object
    };
    let (policy, binding) = (without_kind(live_policy()), without_kind(live_binding()));
    assert_eq!(policy_matches(&policy, &binding), Ok(()));
}

fn app() -> TodoApp {
    serde_json::from_value(json!({
        "apiVersion": "todo-operator.dev/v1alpha1",
        "kind": "TodoApp",
        "metadata": {"name": "todo", "namespace": "todo-test"},
        "spec": {
            "components": {
                "web": {"kind": "Site"},
                "tasks": {"kind": "Service", "image": "backend", "database": "tasks", "migrate": {}},
            },
            "databases": {"items": {"tasks": {}}},
            "release": {
                "version": "1.1.0",
                "images": [
                    {"component": "web", "image": "r.example/web:2"},
                    {"component": "backend", "image": "r.example/backend:2"},
                ],
                "config": {"web": {"THEME": "dark"}},
            },
        },
        "status": {
            "effectiveRelease": {"fingerprint": "f", "revision": "todo-1", "reason": "Rejected"},
            "attempts": {"tasks": 1},
            "rejected": [
                rejection("web", "r.example/web:1", &[]),
                rejection("web", "r.example/web:2", &[("THEME", "dark")]),
                rejection("tasks", "r.example/backend:2", &[]),
                rejection("tasks", "r.example/backend:2", &[("LEVEL", "1")]),
                rejection("gone", "r.example/gone:1", &[]),
            ],
        },
    }))
    .unwrap()
}

fn rejection(component: &str, image: &str, config: &[(&str, &str)]) -> Value {
    let config = config
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    json!({
        "component": component,
        "image": image,
        "configHash": canonical::config_hash(&config),
        "inputsHash": "0123456789ab",
        "reason": "RolloutAborted",
        "time": "2026-01-01T00:00:00Z",
    })
}

fn intent(name: &str, changes: Value) -> TodoIntent {
    let mut object = json!({
        "apiVersion": "todo-operator.dev/v1alpha1",
        "kind": "TodoIntent",
        "metadata": {"name": name, "creationTimestamp": "2026-01-02T00:00:00Z"},
        "spec": {"verb": "Retry", "environment": "test", "app": "todo", "reason": "fixed", "user": "alice"},
    });
    for (key, value) in changes.as_object().unwrap() {
        if key == "phase" {
            object["status"] = json!({"phase": value});
        } else if key == "created" {
            object["metadata"]["creationTimestamp"] = value.clone();
        } else {
            object["spec"][key] = value.clone();
        }
    }
    serde_json::from_value(object).unwrap()
}

#[test]
fn a_retry_clears_what_was_rejected_of_this_release() {
    let app = app();
    let retries = retries(&[&intent("again", json!({}))], "test", &app);
    assert_eq!(
        retries,
        [Retry {
            intent: "again".into(),
            components: vec!["tasks".into(), "web".into()],
            refused: None
        }]
    );

    let (rejected, attempts) = retried(&retries, &app);
    let left: Vec<(&str, &str)> = rejected
        .iter()
        .map(|r| (r.component.as_str(), r.image.as_str()))
        .collect();
    assert_eq!(
        left,
        [
            ("web", "r.example/web:1"),
            ("tasks", "r.example/backend:2"),
            ("gone", "r.example/gone:1")
        ],
        "other images and other configurations stay rejected"
    );
    assert_eq!(
        attempts,
        BTreeMap::from([("tasks".into(), 2), ("web".into(), 1)])
    );
}

#[test]
fn what_is_not_for_this_app_or_not_open_is_left_out() {
    let app = app();
    for changes in [
        json!({"environment": "staging"}),
        json!({"app": "other"}),
        json!({"verb": "Rollback"}),
        json!({"phase": "Done"}),
        json!({"phase": "Refused"}),
        json!({"phase": "Ended"}),
    ] {
        assert_eq!(
            retries(&[&intent("again", changes.clone())], "test", &app),
            [],
            "{changes}"
        );
    }
    let active = intent("again", json!({"phase": "Active"}));
    assert_eq!(retries(&[&active], "test", &app).len(), 1);
}

#[test]
fn a_retry_may_name_the_release() {
    let app = app();
    let fingerprint = canonical::fingerprint(&app.spec.release);
    for release in ["1.1.0", fingerprint.get(..12).unwrap(), &fingerprint] {
        let retries = retries(
            &[&intent("again", json!({"release": release}))],
            "test",
            &app,
        );
        assert_eq!(retries[0].refused, None, "{release}");
    }
    let retries = retries(
        &[&intent("again", json!({"release": "1.0.0"}))],
        "test",
        &app,
    );
    assert!(retries[0].components.is_empty());
    let refused = retries[0].refused.as_deref().unwrap();
    assert!(
        refused.starts_with("todo does not ask for release 1.0.0: it asks for 1.1.0 ("),
        "{refused}"
    );
}

#[test]
fn a_retry_of_nothing_is_refused() {
    let mut app = app();
    app.status.as_mut().unwrap().rejected.clear();
    let mut without_status = app.clone();
    without_status.status = None;
    for app in [app, without_status] {
        let retries = retries(&[&intent("again", json!({}))], "test", &app);
        assert_eq!(
            retries[0].refused.as_deref(),
            Some("nothing of todo is rejected")
        );
        assert_eq!(
            retried(&retries, &app).1,
            app.status.unwrap_or_default().attempts
        );
    }
}

#[test]
fn two_retries_count_once() {
    let app = app();
    let later = intent("a-later", json!({"created": "2026-01-03T00:00:00Z"}));
    let first = intent("b-first", json!({}));
    let retries = retries(&[&later, &first], "test", &app);
    assert_eq!(retries[0].intent, "b-first");
    assert_eq!(retries[0].refused, None);
    assert_eq!(
        retries[1].refused.as_deref(),
        Some("nothing of todo is rejected any more: intent b-first retries it")
    );
    assert_eq!(retried(&retries, &app).1["tasks"], 2);
}

#[test]
fn a_first_migration_that_failed_is_retried() {
    let mut app = app();
    let status = app.status.as_mut().unwrap();
    status.rejected.clear();
    status.effective_release.as_mut().unwrap().revision = None;
    status.components = serde_json::from_value(json!({
        "web": {"kind": "Site", "state": "Degraded"},
        "tasks": {"kind": "Service", "state": "Degraded"},
    }))
    .unwrap();
    let first = retries(&[&intent("again", json!({}))], "test", &app);
    assert_eq!(first[0].components, ["tasks"]);

    app.status
        .as_mut()
        .unwrap()
        .effective_release
        .as_mut()
        .unwrap()
        .revision = Some("todo-1".into());
    assert!(
        retries(&[&intent("again", json!({}))], "test", &app)[0]
            .refused
            .is_some()
    );
}
