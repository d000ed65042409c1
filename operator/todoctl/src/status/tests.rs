use super::*;

fn app(status: Value) -> TodoApp {
    serde_json::from_value(json!({
        "apiVersion": "todo-operator.dev/v1alpha1",
        "kind": "TodoApp",
        "metadata": {"name": "demo", "namespace": "todo-test", "generation": 2},
        "spec": {"components": {"web": {"kind": "Service"}}, "release": {"version": "v2"}},
        "status": status,
    }))
    .unwrap()
}

fn is(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "observedGeneration": 2, "lastTransitionTime": "2026-01-01T00:00:00Z",
    })
}

#[test]
fn a_rejected_release_shows_what_serves_and_what_is_wrong() {
    let app = app(json!({
        "observedGeneration": 2,
        "ready": "1/2",
        "effectiveRelease": {"fingerprint": "f".repeat(64), "version": "v1", "reason": "Rejected"},
        "components": {
            "api": {"kind": "Service", "state": "Healthy", "desired": 2, "ready": 2,
                    "image": format!("ghcr.io/x/api@sha256:{}", "0123456789abcdef".repeat(4))},
            "web": {"kind": "Service", "state": "Degraded", "desired": 2, "ready": 1, "step": "3/20", "weight": 10,
                    "image": "web:2", "message": "metric success failed\nlast measured [0.4]"},
        },
        "databases": {"Cluster/demo-db": {"ready": false, "message": "Setting up primary"}},
        "topics": {"orders": {"physicalName": "todo-test.orders", "partitions": 6, "ready": true}},
        "conditions": [
            is("Ready", "False", "ReleaseRejected", "serving the last good release"),
            is("Progressing", "False", "ReleaseRejected", ""),
            is("Degraded", "True", "ReleaseRejected", "web was rejected"),
            is("Applied", "True", "Applied", ""),
            is("ComponentsReady", "False", "ComponentDegraded", "web: …"),
        ],
    }));
    insta::assert_snapshot!(draw_app(&app, Paint::plain()).draw(), @r"
    ✗ demo ReleaseRejected 1/2, v2 wanted, v1 serves: Rejected
    ├─ ✓ api Healthy 2/2 api@0123456789ab
    ├─ ✗ web Degraded 1/2 step 3/20 10% web:2
    │  └─ metric success failed
    │     last measured [0.4]
    ├─ … Cluster demo-db
    │  └─ Setting up primary
    ├─ ✓ topic orders 6 partitions todo-test.orders
    └─ ! Degraded=True ReleaseRejected
       └─ web was rejected
    ");
}

#[test]
fn a_status_of_an_older_spec_is_not_trusted() {
    let mut app =
        app(json!({"observedGeneration": 2, "conditions": [is("Ready", "True", "Ready", "")]}));
    assert!(is_ready(&app));
    assert!(
        draw_app(&app, Paint::plain())
            .text
            .starts_with("✓ demo Ready")
    );
    app.metadata.generation = Some(3);
    assert!(!is_ready(&app));
    let title = draw_app(&app, Paint::plain()).text;
    assert!(
        title.starts_with("… demo the operator has not seen this spec yet"),
        "{title}"
    );
}

#[test]
fn images_are_shortened_to_what_tells_them_apart() {
    assert_eq!(short_image("ghcr.io/a/b/web:v1"), "web:v1");
    assert_eq!(
        short_image("localhost:5000/web@sha256:0123456789abcdef0123"),
        "web@0123456789ab"
    );
}
