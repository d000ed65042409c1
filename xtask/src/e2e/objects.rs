//! Objects of any kind, as a person handles them with kubectl.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

/// The field manager of what cases apply.
const MANAGER: &str = "e2e";
/// Time between two looks.
pub const LOOK: Duration = Duration::from_millis(200);

/// A kind, by its `apiVersion` and name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind(pub &'static str, pub &'static str);

pub const APP: Kind = Kind("todo-operator.dev/v1alpha1", "TodoApp");
pub const ENVIRONMENT: Kind = Kind("todo-operator.dev/v1alpha1", "TodoEnvironment");
pub const NAMESPACE: Kind = Kind("v1", "Namespace");
pub const POD: Kind = Kind("v1", "Pod");
pub const SERVICE: Kind = Kind("v1", "Service");
pub const DEPLOYMENT: Kind = Kind("apps/v1", "Deployment");
pub const TRAEFIK_SERVICE: Kind = Kind("traefik.io/v1alpha1", "TraefikService");

/// The API of a kind: in a namespace, or of the whole cluster.
pub fn api(client: &Client, kind: Kind, namespace: Option<&str>) -> Api<DynamicObject> {
    let (group, version) = kind.0.rsplit_once('/').unwrap_or(("", kind.0));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind.1));
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

/// Applies an object that says itself what and where it is.
pub async fn apply(client: &Client, object: &Value) -> Result<()> {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str);
    let (Some(version), Some(kind), Some(name)) =
        (text("/apiVersion"), text("/kind"), text("/metadata/name"))
    else {
        bail!("this is no object, it has no kind or no name: {object}");
    };
    let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    let api: Api<DynamicObject> = match text("/metadata/namespace") {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let params = PatchParams::apply(MANAGER).force();
    api.patch(name, &params, &Patch::Apply(object))
        .await
        .with_context(|| format!("cannot apply {kind} {name}"))?;
    Ok(())
}

/// An object, whole; none if it does not exist.
pub async fn get(api: &Api<DynamicObject>, name: &str) -> Result<Option<Value>> {
    let found = api
        .get_opt(name)
        .await
        .with_context(|| format!("cannot read {name}"))?;
    Ok(found.map(|object| json!(object)))
}

/// Changes an object as somebody else would who does not know whose fields these are.
pub async fn meddle(api: &Api<DynamicObject>, name: &str, patch: Value) -> Result<()> {
    let params = PatchParams {
        field_manager: Some("kubectl-edit".to_owned()),
        ..PatchParams::default()
    };
    api.patch(name, &params, &Patch::Merge(patch))
        .await
        .with_context(|| format!("cannot change {name}"))?;
    Ok(())
}

/// Asks for the deletion of an object, if it exists.
pub async fn ask_to_go(api: &Api<DynamicObject>, name: &str) -> Result<()> {
    match api.delete(name, &DeleteParams::background()).await {
        // The kind may not be there either.
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        other => other
            .map(drop)
            .with_context(|| format!("cannot delete {name}")),
    }
}

/// Deletes an object, if it exists, and waits until it is gone.
pub async fn delete(api: &Api<DynamicObject>, name: &str, patience: Duration) -> Result<()> {
    ask_to_go(api, name).await?;
    until(&format!("{name} is gone"), patience, async || {
        Ok(get(api, name).await?.is_none().then_some(()))
    })
    .await
}

/// Deletes a TodoApp with its databases and topics, if there is one.
pub async fn remove_app(apps: &Api<DynamicObject>, name: &str, patience: Duration) -> Result<()> {
    if get(apps, name).await?.is_none() {
        return Ok(());
    }
    meddle(apps, name, json!({"spec": {"deletionPolicy": "Delete"}})).await?;
    // The operator must have taken hold of it first, where it has something to clean up.
    until(
        "the operator has seen that all shall go",
        patience,
        async || {
            let app = get(apps, name).await?;
            let is_seen = app.is_none_or(|app| {
                app["status"]["observedGeneration"] == app["metadata"]["generation"]
            });
            Ok(is_seen.then_some(()))
        },
    )
    .await?;
    delete(apps, name, patience).await
}

/// Waits until no pod of CloudNativePG is left in a namespace that is to be deleted: Kubernetes looks at one again only after
/// half of the time that its pods may take to end, and PostgreSQL is given half an hour.
pub async fn postgres_ends(client: &Client, namespace: &str, patience: Duration) -> Result<()> {
    let pods = api(client, POD, Some(namespace));
    let postgres = ListParams::default().labels("cnpg.io/cluster");
    until("PostgreSQL has ended", patience, async || {
        let left = pods.list(&postgres).await?;
        Ok(left.items.is_empty().then_some(()))
    })
    .await
}

/// Looks until there is something.
pub async fn until<T>(
    what: &str,
    patience: Duration,
    mut look: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let begun = Instant::now();
    loop {
        // What does not answer now may answer later: a cluster that is under test is allowed to.
        let found = look().await;
        match found {
            Ok(Some(found)) => return Ok(found),
            Err(error) if begun.elapsed() > patience => {
                return Err(error.context(format!("not within {} s: {what}", patience.as_secs())));
            }
            Ok(None) if begun.elapsed() > patience => {
                bail!("not within {} s: {what}", patience.as_secs());
            }
            _ => {}
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Merges a JSON merge patch (RFC 7386) into an object.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in fields {
        match (value, target.as_object_mut()) {
            (Value::Null, Some(target)) => drop(target.remove(name)),
            _ => merge(&mut target[name], value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_changes_what_it_names_and_null_removes() {
        let mut app = json!({"spec": {"web": {"min": 1, "max": 2}, "api": {}}});
        merge(
            &mut app,
            &json!({"spec": {"web": {"min": 3}, "api": null, "new": {"a": [1]}}}),
        );
        assert_eq!(
            app,
            json!({"spec": {"web": {"min": 3, "max": 2}, "new": {"a": [1]}}})
        );
    }
}
