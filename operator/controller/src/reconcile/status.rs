//! Writing the status, and telling people what changed in it.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::events::EventType;
use serde_json::json;
use todo_operator_api::TodoApp;
use todo_operator_api::status::{Rejection, TodoAppStatus};
use todo_operator_core::mutants::Mutant;
use todo_operator_core::names::FIELD_MANAGER;
use todo_operator_core::release::Decision;
use todo_operator_core::status::{DEGRADED, READY};

use super::Error;
use crate::context::Context;
use crate::index::AppKey;

/// Writes the status where it differs from what is there.
pub async fn write(
    app: &Arc<TodoApp>,
    status: TodoAppStatus,
    context: &Context,
    key: &AppKey,
) -> Result<Arc<TodoApp>, Error> {
    let before = app.status.clone().unwrap_or_default();
    if before == status && !Mutant::WritesStatusWithoutDifference.is_on() {
        return Ok(Arc::clone(app));
    }
    let api: Api<TodoApp> = Api::namespaced(context.client.clone(), &key.namespace);
    let body = json!({
        "apiVersion": TodoApp::api_version(&()),
        "kind": TodoApp::kind(&()),
        // A TodoApp of the same name that was made meanwhile may get this status, until its own reconcile a moment later:
        // the API server does not look at the UID in a status of a custom resource.
        "metadata": {"name": key.name, "namespace": key.namespace},
        "status": status,
    });
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let written = match api
        .patch_status(&key.name, &params, &Patch::Apply(&body))
        .await
    {
        Ok(written) => Arc::new(written),
        // Deleted meanwhile: there is nobody left to tell.
        Err(kube::Error::Api(answer)) if answer.code == 404 => return Ok(Arc::clone(app)),
        Err(error) => return Err(Error::Status(error)),
    };
    context
        .memory
        .update(key, |memory| memory.newest = Some(Arc::clone(&written)));
    tell_transitions(app, &before, &status, context).await;
    Ok(written)
}

/// Records rejections, and nothing else, before anything goes back.
pub async fn record_rejections(
    app: &Arc<TodoApp>,
    rejected: &[Rejection],
    decision: &Decision,
    context: &Context,
    key: &AppKey,
) -> Result<Arc<TodoApp>, Error> {
    let status = TodoAppStatus {
        rejected: rejected.to_vec(),
        ..app.status.clone().unwrap_or_default()
    };
    let app = write(app, status, context, key).await?;
    for rejection in &decision.rejections {
        context.metrics.rejections.inc();
        let measurement = rejection.measurement.as_deref().unwrap_or("no measurement");
        let note = format!(
            "{} {} was rejected, the last good release serves: {}: {measurement}",
            rejection.component, rejection.image, rejection.reason
        );
        tracing::warn!(
            component = rejection.component,
            reason = rejection.reason,
            measurement,
            "release rejected"
        );
        context
            .tell(
                app.as_ref(),
                EventType::Warning,
                "ReleaseRejected",
                "Rollback",
                &note,
            )
            .await;
    }
    Ok(app)
}

async fn tell_transitions(
    app: &TodoApp,
    before: &TodoAppStatus,
    after: &TodoAppStatus,
    context: &Context,
) {
    let find = |status: &TodoAppStatus, kind: &str| -> Option<Condition> {
        status
            .conditions
            .iter()
            .find(|condition| condition.type_ == kind)
            .cloned()
    };
    for (kind, type_) in [(READY, EventType::Normal), (DEGRADED, EventType::Warning)] {
        let Some(now) = find(after, kind).filter(|condition| condition.status == "True") else {
            continue;
        };
        let was = find(before, kind)
            .is_some_and(|condition| condition.status == "True" && condition.reason == now.reason);
        if !was {
            tracing::info!(
                condition = kind,
                reason = now.reason,
                message = now.message,
                "condition is true"
            );
            // A Degraded event bears the reason, so that `kubectl get events` shows it; Ready is its own.
            let reason = if kind == READY { READY } else { &now.reason };
            context
                .tell(app, type_, reason, "Observe", &now.message)
                .await;
        }
    }
}
