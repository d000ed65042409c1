//! Argo CD's Applications of config-repo/argocd.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

/// The namespaces, environments and teams.
pub const PLATFORM: &str = "todo-platform";

const PATIENCE: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(200);

/// The Application of a stage.
pub fn application(stage: &str) -> String {
    format!("todo-{stage}")
}

fn applications(client: &Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Application");
    Api::namespaced_with(client.clone(), "argocd", &ApiResource::from_gvk(&kind))
}

/// Waits until an Application has applied a commit.
pub async fn until_synced(client: &Client, name: &str, commit: &str) -> Result<()> {
    let is_synced = |found: &Value| {
        let sync = &found["status"]["sync"];
        sync["status"] == "Synced" && sync["revision"] == commit
    };
    until(client, name, "Synced", is_synced).await.map(drop)
}

/// Syncs an Application by hand, as a person does where that is not automatic, if nobody ever has.
pub async fn sync_first_time(client: &Client, name: &str) -> Result<()> {
    let has_compared = |found: &Value| found["status"]["sync"]["status"].is_string();
    let found = until(client, name, "compared with git", has_compared).await?;
    if found["status"]["history"].is_array() || found["operation"].is_object() {
        return Ok(());
    }
    applications(client)
        .patch(
            name,
            &PatchParams::default(),
            &Patch::Merge(first_sync(&found)),
        )
        .await
        .with_context(|| format!("cannot sync the Application {name}"))?;
    Ok(())
}

/// The same options as an automatic sync would have.
fn first_sync(application: &Value) -> Value {
    let policy = &application["spec"]["syncPolicy"];
    json!({"operation": {
        "initiatedBy": {"username": "cargo xtask up"},
        "retry": policy["retry"],
        "sync": {"syncOptions": policy["syncOptions"]},
    }})
}

async fn until(
    client: &Client,
    name: &str,
    what: &str,
    condition: impl Fn(&Value) -> bool,
) -> Result<Value> {
    let api = applications(client);
    let begun = Instant::now();
    loop {
        let found = api
            .get_opt(name)
            .await
            .with_context(|| format!("cannot read the Application {name}"))?;
        let found = found.map(|found| found.data).unwrap_or_default();
        if condition(&found) {
            return Ok(found);
        }
        if begun.elapsed() > PATIENCE {
            bail!(
                "the Application {name} is not {what} after {} s: {}",
                PATIENCE.as_secs(),
                complaint(&found)
            );
        }
        tokio::time::sleep(POLL).await;
    }
}

/// What an Application says of itself.
fn complaint(application: &Value) -> String {
    let status = &application["status"];
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let messages: Vec<_> = conditions
        .map(|condition| &condition["message"])
        .chain([&status["operationState"]["message"]])
        .filter_map(Value::as_str)
        .collect();
    match messages[..] {
        [] => "it says nothing; see `kubectl logs -n argocd statefulset/argocd-application-controller`"
            .to_owned(),
        _ => messages.join("; "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_by_hand_has_the_options_of_the_application() {
        let options = json!(["ServerSideApply=true"]);
        let application = json!({"spec": {"syncPolicy": {"syncOptions": options}}});
        let sync = first_sync(&application);
        assert_eq!(sync["operation"]["sync"]["syncOptions"], options);
        // Null is what a merge patch leaves out.
        assert!(sync["operation"]["retry"].is_null());
    }

    #[test]
    fn everything_that_an_application_says_is_told() {
        let application = json!({"status": {
            "conditions": [{"message": "no such path"}],
            "operationState": {"message": "one or more objects failed"},
        }});
        assert_eq!(
            complaint(&application),
            "no such path; one or more objects failed"
        );
        assert!(complaint(&Value::Null).contains("kubectl logs"));
    }
}
