//! The intent `Retry`: a person asks to try again what was rejected.

use std::sync::Arc;

use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::events::EventType;
use serde_json::json;
use todo_operator_api::intent::{IntentPhase, TodoIntentStatus, Verb};
use todo_operator_api::status::TodoAppStatus;
use todo_operator_api::{TodoApp, TodoEnvironment, TodoIntent};
use todo_operator_core::intents;

use super::{Error, status};
use crate::context::Context;
use crate::index::AppKey;

/// Carries out the Retry intents for an application: clears its rejections and counts the attempt. Returns the
/// application with its new status.
pub async fn carry_out(
    app: &Arc<TodoApp>,
    context: &Context,
    key: &AppKey,
    environment: Option<&TodoEnvironment>,
) -> Result<Arc<TodoApp>, Error> {
    let Some(environment) = environment else {
        return Ok(Arc::clone(app));
    };
    let open: Vec<Arc<TodoIntent>> = context
        .all_intents()
        .into_iter()
        .filter(|intent| intent.spec.verb == Verb::Retry && is_open(intent))
        .collect();
    if open.is_empty() {
        return Ok(Arc::clone(app));
    }
    let open: Vec<&TodoIntent> = open.iter().map(AsRef::as_ref).collect();
    let retries = intents::retries(&open, &environment.name_any(), app);
    let mut app = Arc::clone(app);
    for retry in retries {
        if let Err(reason) = context.intent_policy.check() {
            let message = format!(
                "no intent counts while the admission policy is not the expected one: {reason}"
            );
            close(&retry.intent, IntentPhase::Refused, &message, context).await?;
            continue;
        }
        if let Some(message) = &retry.refused {
            close(&retry.intent, IntentPhase::Refused, message, context).await?;
            continue;
        }
        let (rejected, attempts) = intents::retried(std::slice::from_ref(&retry), &app);
        let changed = TodoAppStatus {
            rejected,
            attempts,
            ..app.status.clone().unwrap_or_default()
        };
        app = status::write(&app, changed, context, key).await?;
        let components = retry.components.join(", ");
        context
            .tell(
                app.as_ref(),
                EventType::Normal,
                "Retry",
                "Retry",
                &format!("{components}: tried again, as intent {} asks", retry.intent),
            )
            .await;
        close(
            &retry.intent,
            IntentPhase::Done,
            &format!("tried again: {components}"),
            context,
        )
        .await?;
    }
    Ok(app)
}

fn is_open(intent: &TodoIntent) -> bool {
    intent.metadata.deletion_timestamp.is_none()
        && intent
            .status
            .as_ref()
            .and_then(|status| status.phase)
            .is_none_or(|phase| phase == IntentPhase::Active)
}

async fn close(
    name: &str,
    phase: IntentPhase,
    message: &str,
    context: &Context,
) -> Result<(), Error> {
    let api: Api<TodoIntent> = Api::all(context.client.clone());
    let status = TodoIntentStatus {
        phase: Some(phase),
        message: Some(message.to_owned()),
        ..TodoIntentStatus::default()
    };
    let patch = json!({"status": status});
    match api
        .patch_status(name, &PatchParams::default(), &Patch::Merge(&patch))
        .await
    {
        Ok(_) => Ok(()),
        // Withdrawn meanwhile.
        Err(kube::Error::Api(answer)) if answer.code == 404 => Ok(()),
        Err(error) => Err(Error::Status(error)),
    }
}
