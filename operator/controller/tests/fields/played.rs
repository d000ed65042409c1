//! Controllers of workloads, played: what is asked for is there at once. Hundreds of releases in a minute are no test of
//! those controllers; other tests run the real ones.

use futures::StreamExt as _;
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::{Value, json};
use todo_operator_controller::apply::api_resource;
use todo_operator_core::kind::Kind;

/// Plays them until it is dropped.
pub async fn play(client: Client) {
    let kinds = [Kind::Deployment, Kind::Rollout, Kind::Job];
    let played = kinds.map(|kind| play_kind(client.clone(), kind));
    futures::future::join_all(played).await;
}

async fn play_kind(client: Client, kind: Kind) {
    let all: Api<DynamicObject> = Api::all_with(client.clone(), &api_resource(kind));
    let objects = watcher(all, watcher::Config::default())
        .default_backoff()
        .applied_objects();
    objects
        .for_each(async |object| {
            let Ok(object) = object else { return };
            let object = serde_json::to_value(object).unwrap();
            let status = status(kind, &object);
            if object["status"] == status {
                return;
            }
            let text = |field: &str| object["metadata"][field].as_str().unwrap();
            let api: Api<DynamicObject> =
                Api::namespaced_with(client.clone(), text("namespace"), &api_resource(kind));
            let patch = Patch::Merge(json!({"status": status}));
            // One that is gone, or that has changed meanwhile, needs nothing more.
            let _ = api
                .patch_status(text("name"), &PatchParams::default(), &patch)
                .await;
        })
        .await;
}

fn status(kind: Kind, object: &Value) -> Value {
    let generation = &object["metadata"]["generation"];
    let replicas = object["spec"]["replicas"].as_i64().unwrap_or(1);
    let since = &object["metadata"]["creationTimestamp"];
    match kind {
        Kind::Deployment => json!({
            "observedGeneration": generation,
            "replicas": replicas,
            "updatedReplicas": replicas,
            "readyReplicas": replicas,
            "availableReplicas": replicas,
        }),
        Kind::Rollout => json!({
            "observedGeneration": generation.to_string(),
            "phase": "Healthy",
            "stableRS": "played",
            "currentPodHash": "played",
            "replicas": replicas,
            "updatedReplicas": replicas,
            "readyReplicas": replicas,
            "availableReplicas": replicas,
        }),
        _ => {
            let condition = |kind| json!({"type": kind, "status": "True", "reason": "Played", "lastTransitionTime": since, "lastProbeTime": since});
            json!({
                "startTime": since,
                "completionTime": since,
                "succeeded": 1,
                "uncountedTerminatedPods": {},
                "ready": 0,
                "terminating": 0,
                "conditions": [condition("SuccessCriteriaMet"), condition("Complete")],
            })
        }
    }
}
