//! The controllers of peers that do not run here, played: what they would write is written, and nothing is behind it.
//!
//! Everything that these write is what the real controllers write for an object with which all is well. The operator has
//! no branch for it.

mod gateway;
mod keda;
mod strimzi;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, future};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher;
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::error::{Error, Result};

/// Plays KEDA, a Gateway controller and Strimzi's topic operator until it is dropped. A peer whose CRDs are missing is
/// waited for.
pub async fn run(client: Client) {
    future::join3(
        keda::run(client.clone()),
        gateway::run(client.clone()),
        strimzi::run(client),
    )
    .await;
}

/// The models on a thread of their own: a runtime that is not the one of a test, which ends with it.
#[derive(Debug)]
pub(crate) struct Thread {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Thread {
    pub(crate) fn start(config: kube::Config) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Error::Task(format!("the models' runtime: {e}")))?;
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                if let Ok(client) = Client::try_from(config) {
                    // Stops when told to, or when the owner is gone.
                    let _ = future::select(stopped, Box::pin(run(client))).await;
                }
            });
        });
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.thread.as_ref().is_some_and(|t| !t.is_finished())
    }

    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing to say, and a panic there has been printed.
            let _ = thread.join();
        }
    }
}

fn resource(group: &str, version: &str, kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

/// How soon a CRD that appears late is noticed, and how soon a failed reconcile is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Reconciles all objects of a kind for ever, through times in which its CRD is missing.
async fn play<F>(
    client: Client,
    kind: ApiResource,
    owns_scalers: bool,
    reconcile: fn(Client, Arc<DynamicObject>) -> F,
) where
    F: Future<Output = Result<(), kube::Error>> + Send + 'static,
{
    loop {
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &kind);
        if api
            .list_metadata(&ListParams::default().limit(1))
            .await
            .is_err()
        {
            tokio::time::sleep(RETRY).await;
            continue;
        }
        let mut controller = Controller::new_with(api, watcher::Config::default(), kind.clone());
        if owns_scalers {
            let scalers = Api::<HorizontalPodAutoscaler>::all(client.clone());
            controller = controller.owns(scalers, watcher::Config::default());
        }
        let client = client.clone();
        let events = controller.run(
            move |object, context: Arc<Client>| {
                let client = Client::clone(&context);
                async move {
                    reconcile(client, object)
                        .await
                        .map(|()| Action::await_change())
                }
            },
            |_, _, _| Action::requeue(RETRY),
            Arc::new(client),
        );
        // Its own back-off after a failed watch grows to half a minute: begin anew instead, which looks for the CRD twice a second.
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            if matches!(event, Err(kube::runtime::controller::Error::QueueError(_))) {
                break;
            }
        }
    }
}

/// Writes the status if it is not already what it should be.
async fn write_status(
    client: Client,
    kind: &ApiResource,
    object: &DynamicObject,
    status: Value,
) -> Result<(), kube::Error> {
    if is_contained(&status, object.data.get("status").unwrap_or(&Value::Null)) {
        return Ok(());
    }
    let api: Api<DynamicObject> =
        Api::namespaced_with(client, &object.namespace().unwrap_or_default(), kind);
    let patch = json!({"status": status});
    match api
        .patch_status(
            &object.name_any(),
            &PatchParams::default(),
            &Patch::Merge(&patch),
        )
        .await
    {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other.map(drop),
    }
}

/// Whether every field of `wanted` has that value in `found`. Lists are compared whole.
fn is_contained(wanted: &Value, found: &Value) -> bool {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => wanted
            .iter()
            .all(|(name, value)| found.get(name).is_some_and(|f| is_contained(value, f))),
        (wanted, found) => wanted == found,
    }
}

/// A condition that is as old as the object: a status that depends on nothing but the object is written only once.
fn condition(object: &DynamicObject, kind: &str, reason: &str, message: &str) -> Value {
    json!({
        "type": kind,
        "status": "True",
        "reason": reason,
        "message": message,
        "lastTransitionTime": object.creation_timestamp(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_others_do_not_count() {
        assert!(is_contained(
            &json!({"a": {"b": 1}}),
            &json!({"a": {"b": 1, "c": 2}, "d": 3})
        ));
        assert!(!is_contained(
            &json!({"a": {"b": 1}}),
            &json!({"a": {"b": 2}})
        ));
        assert!(!is_contained(&json!({"a": [1]}), &json!({"a": [1, 2]})));
        assert!(!is_contained(&json!({"a": 1}), &Value::Null));
    }
}
