//! Every field of an application, changed and changed back.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use todo_operator_api::TodoApp;

use super::{Outcome, Stage};
use crate::mutation;
use crate::oracle::{self, Violation};

/// What every field is changed of: one component of each kind, with every field that the tests on a real API server set.
const APP: &str = include_str!("../../../controller/tests/manifests/traefik.yaml");
const ENVIRONMENT: &str =
    include_str!("../../../controller/tests/manifests/traefik-environment.yaml");

/// Time without a write after which autoscalers have gone back to what the load asks for: their window is 300 s.
const STABLE: Duration = Duration::from_secs(400);

/// Changes each field, waits until the world is at rest, changes it back, and compares with what was there before. A
/// change that is refused leaves everything as it is; one that cannot be taken back is where the next one begins.
pub async fn play(stage: &Stage) -> Outcome {
    // The Secrets that the manifests name are somebody else's to make.
    stage
        .world
        .knobs
        .change(|settings| settings.needs_references = false);
    // Without load an autoscaler goes back to its least.
    for workload in ["shop-web", "shop-worker"] {
        stage.world.knobs.set_load(workload, 0);
    }
    stage.apply(
        "
apiVersion: v1
kind: Namespace
metadata: {name: test, labels: {todo-operator.dev/environment: test}}
",
    )?;
    let mut environment = manifest("TodoEnvironment", json!({"name": "test"}), ENVIRONMENT)?;
    environment["spec"]["stage"] = json!("test");
    environment["spec"]["namespace"] = json!("test");
    stage.put(environment)?;
    let metadata = json!({"name": "shop", "namespace": "test"});
    let mut manifest = manifest("TodoApp", metadata, APP)?;
    stage.put(manifest.clone())?;
    stage.until_app("shop", "Ready", "Ready").await?;
    stage.rest_for(STABLE).await?;
    let mut before = oracle::end_state(&stage.world).without_history();
    let schema = schema();
    // Each in turn, of the manifest as it now is.
    let paths: Vec<String> = mutation::of(&schema, &manifest)
        .into_iter()
        .map(|mutation| mutation.path)
        .collect();
    for path in paths {
        let mutations = mutation::of(&schema, &manifest);
        let Some(mutation) = mutations.into_iter().find(|mutation| mutation.path == path) else {
            continue;
        };
        if let Err(refused) = stage.put(mutation.manifest.clone()) {
            stage.world.note(|| format!("— {path}: {refused}"));
            continue;
        }
        stage.rest_for(STABLE).await?;
        // Of an object of which nothing is left, server-side apply makes a null, which its schema refuses.
        let taken_back = stage
            .put(manifest.clone())
            .or_else(|_| stage.replace_spec(&manifest["spec"]));
        if let Err(refused) = taken_back {
            stage.world.note(|| format!("— {path} stays: {refused}"));
            manifest = mutation.manifest;
            before = oracle::end_state(&stage.world).without_history();
            continue;
        }
        stage.until_app("shop", "Ready", "Ready").await?;
        stage.rest_for(STABLE).await?;
        let after = oracle::end_state(&stage.world).without_history();
        after.compare(&before).map_err(|violation| {
            Violation::new("changed back", format!("{path}: {}", violation.what))
        })?;
        stage
            .world
            .note(|| format!("— {path} changed and changed back"));
    }
    Ok(())
}

fn schema() -> Value {
    use kube::CustomResourceExt as _;
    let crd = serde_json::to_value(TodoApp::crd()).unwrap_or_default();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

fn manifest(kind: &str, metadata: Value, spec: &str) -> Result<Value, Violation> {
    let spec = spec
        .replace("NAME", "test")
        .replace("KAFKA", "kafka.example:9092");
    let spec = Value::deserialize(serde_yaml::Deserializer::from_str(&spec))
        .map_err(|error| Violation::new("scenario", error.to_string()))?;
    Ok(json!({
        "apiVersion": "todo-operator.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec,
    }))
}
