//! Writes that come about rarely: many managers, the change from kubectl's client-side apply, and changed schemas.

use std::time::Duration;

use serde_json::{Value, json};
use todo_operator_sim::apiserver::schema::Resource;

use crate::custom::{Answered, Run, definition, until_served};
use crate::server::{Call, Server, Write};

const PATH: &str = "/apis/schemas.test/v1/namespaces/default/samples";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// Compares all of them. The test's own definition is installed.
pub async fn compare(server: &Server) {
    let resource = Resource::from_crd(&definition()).unwrap();
    many_managers(server, &resource).await;
    client_side_apply(server, &resource).await;
    changed_schema(server, &resource).await;
}

fn sample(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "schemas.test/v1", "kind": "Sample", "metadata": {"name": name}, "spec": spec})
}

fn apply(manager: &'static str, object: Value) -> Write {
    Write {
        manager,
        status: false,
        call: Call::Apply {
            force: false,
            object,
        },
    }
}

fn patch(manager: &'static str, patch: Value) -> Write {
    Write {
        manager,
        status: false,
        call: Call::Merge { patch },
    }
}

async fn accepted(run: &mut Run<'_>, write: Write) {
    assert!(
        matches!(run.write(write).await, Answered::Accepted),
        "refused"
    );
}

/// The oldest of more than ten managers that update are merged.
async fn many_managers(server: &Server, resource: &Resource) {
    const NAMES: [&str; 16] = [
        "m01", "m02", "m03", "m04", "m05", "m06", "m07", "m08", "m09", "m10", "m11", "m12", "m13",
        "aa", "ab", "zz",
    ];
    let mut run = Run::new(server, resource, PATH, 1001);
    let object = sample("sample-1001", json!({}));
    accepted(&mut run, apply("applier", object)).await;
    for (index, name) in NAMES.into_iter().enumerate() {
        if index % 6 == 5 {
            // Entries are sorted by whole seconds.
            tokio::time::sleep(Duration::from_millis(1100)).await;
        }
        accepted(
            &mut run,
            patch(name, json!({"spec": {"labels": {name: "x"}}})),
        )
        .await;
    }
}

/// kubectl may take over what its annotation says it applied.
async fn client_side_apply(server: &Server, resource: &Resource) {
    const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
    let mut run = Run::new(server, resource, PATH, 1002);
    let spec = json!({"text": "abc", "labels": {"k": "p"}, "set": ["a"], "mode": "a"});
    let last = sample("sample-1002", spec.clone()).to_string();
    let mut object = sample("sample-1002", spec);
    object["metadata"]["annotations"] = json!({ANNOTATION: last});
    let create = Call::Create { object };
    accepted(
        &mut run,
        Write {
            manager: "client-side",
            status: false,
            call: create,
        },
    )
    .await;

    // All that differs was applied on the client's side.
    let changed = json!({"text": "abd", "labels": {"k": "q"}, "set": ["a", "b"]});
    accepted(&mut run, apply("kubectl", sample("sample-1002", changed))).await;
    // What somebody has changed since is in the way.
    accepted(
        &mut run,
        patch("bob", json!({"spec": {"mode": "b", "labels": {"k": "r"}}})),
    )
    .await;
    let changed = json!({"text": "abe", "mode": "a", "labels": {"k": "s"}});
    assert!(matches!(
        run.write(apply("kubectl", sample("sample-1002", changed)))
            .await,
        Answered::Refused
    ));
    // The annotation helps nobody else.
    let changed = json!({"text": "xyz"});
    assert!(matches!(
        run.write(apply("alice", sample("sample-1002", changed)))
            .await,
        Answered::Refused
    ));
}

/// Fields that become atomic, or cease to be, keep their owners.
async fn changed_schema(server: &Server, resource: &Resource) {
    let name = "sample-1003";
    let mut run = Run::new(server, resource, PATH, 1003);
    let spec = json!({"labels": {"k": "p", "l": "p"}, "atomicMap": {"k": "p"}, "set": ["a", "b"],
        "ports": [{"port": 80, "name": "x"}], "atomicPair": {"x": 1}, "pairs": {"k": {"x": 1}}});
    accepted(&mut run, apply("alice", sample(name, spec))).await;
    accepted(
        &mut run,
        patch(
            "bob",
            json!({"spec": {"labels": {"m": "q"}, "pairs": {"l": {"x": 2}}}}),
        ),
    )
    .await;

    let mut crd = server
        .get(&format!("{DEFINITIONS}/samples.schemas.test"))
        .await
        .unwrap();
    let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    let spec = crd.pointer_mut(spec).unwrap();
    spec["labels"]["x-kubernetes-map-type"] = json!("atomic");
    spec["pairs"]["x-kubernetes-map-type"] = json!("atomic");
    spec["atomicMap"]["x-kubernetes-map-type"] = json!("granular");
    spec["set"]["x-kubernetes-list-type"] = json!("atomic");
    spec["ports"]["x-kubernetes-list-type"] = json!("atomic");
    spec["ports"]
        .as_object_mut()
        .unwrap()
        .remove("x-kubernetes-list-map-keys");
    let changed = Resource::from_crd(&crd).unwrap();
    let put = Write {
        manager: "test",
        status: false,
        call: Call::Put { object: crd },
    };
    server
        .write(DEFINITIONS, "samples.schemas.test", &put)
        .await
        .unwrap();
    // The server goes on with the old schema for a moment.
    tokio::time::sleep(Duration::from_secs(3)).await;
    until_served(server, PATH).await;

    run.resource = &changed;
    let spec = json!({"labels": {"k": "p", "l": "p", "m": "q"}, "atomicMap": {"k": "p"}, "set": ["a"],
        "ports": [{"port": 80, "name": "x"}]});
    run.write(apply("alice", sample(name, spec.clone()))).await;
    accepted(
        &mut run,
        patch(
            "carol",
            json!({"spec": {"atomicMap": {"l": "q"}, "text": "abc"}}),
        ),
    )
    .await;
    let mut forced = apply("bob", sample(name, spec));
    if let Call::Apply { force, .. } = &mut forced.call {
        *force = true;
    }
    accepted(&mut run, forced).await;
    accepted(
        &mut run,
        apply("alice", sample(name, json!({"atomicMap": {"k": "p"}}))),
    )
    .await;
}
