//! One TodoEnvironment: its namespace's labels and policies.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};
use serde_json::json;
use todo_operator_api::TodoEnvironment;
use todo_operator_api::environment::TodoEnvironmentStatus;
use todo_operator_core::canonical;
use todo_operator_core::child::Child;
use todo_operator_core::environment;
use todo_operator_core::health::Cause;
use todo_operator_core::live::Children;
use todo_operator_core::names::FIELD_MANAGER;
use todo_operator_core::plan::{self, Write};
use todo_operator_core::projection;
use todo_operator_core::status::{READY, reasons};
use todo_operator_core::validate::{self, Problem};

use super::{Error, is_deleting};
use crate::apply::ApplyError;
use crate::context::Context;
use crate::index::AppKey;
use crate::metrics::{KindLabel, ReconcileLabels};

/// Reconciles one TodoEnvironment.
pub async fn reconcile(
    environment: Arc<TodoEnvironment>,
    context: Arc<Context>,
) -> Result<Action, Error> {
    let span = tracing::info_span!(
        "reconcile",
        environment = environment.name_any(),
        namespace = environment.spec.namespace
    );
    let result = tracing::Instrument::instrument(steps(&environment, &context), span).await;
    if result.is_ok() {
        context
            .metrics
            .reconciles
            .get_or_create(&ReconcileLabels {
                kind: "TodoEnvironment",
                result: "ok",
            })
            .inc();
        context
            .memory
            .update(&AppKey::new("", &environment.name_any()), |memory| {
                memory.failures = 0
            });
    }
    result
}

/// Everything that is wrong with an environment, beside the others and its Namespace.
pub(super) fn problems(environment: &TodoEnvironment, context: &Context) -> Vec<Problem> {
    let all = context.all_environments();
    let all: Vec<&TodoEnvironment> = all.iter().map(AsRef::as_ref).collect();
    let namespace = context.index.namespace(&environment.spec.namespace);
    let facts = validate::NamespaceFacts::of(namespace.as_deref(), environment);
    validate::environment(environment, &all, Some(&facts), &context.namespace)
        .err()
        .unwrap_or_default()
}

async fn steps(environment: &TodoEnvironment, context: &Context) -> Result<Action, Error> {
    if is_deleting(environment) {
        // What it owns goes by garbage collection; the namespace and its labels stay.
        return Ok(Action::await_change());
    }
    let problems = problems(environment, context);
    if !problems.is_empty() {
        write_status(environment, Some(invalid(&problems)), context).await?;
        return Ok(Action::await_change());
    }
    let wanted = environment::render(environment);
    let live = live(environment, context);
    let memory = AppKey::new("", &environment.name_any());
    let bodies: Vec<_> = wanted.iter().map(|child| &child.body).collect();
    let digest = canonical::digest(&json!(bodies));
    // A write although nothing else is asked for than what was in place.
    let is_drift = context.memory.get(&memory).settled == Some(digest);
    let mut failures = Vec::new();
    for child in &wanted {
        if !is_as_wanted(child, &live) {
            let applied = apply(child, &live, context).await;
            if applied.is_ok() && is_drift {
                context.tell_correction(environment, &child.key).await;
            }
            failures.extend(applied.err());
        }
    }
    for (key, orphan) in &live {
        let is_wanted = wanted.iter().any(|child| child.key == *key);
        let is_ours = orphan.owner.as_deref() == environment.metadata.uid.as_deref();
        if !is_wanted && is_ours && !orphan.deleting {
            failures.extend(
                context
                    .applier
                    .delete(&plan::deletion(key, orphan))
                    .await
                    .err(),
            );
        }
    }
    context.memory.update(&memory, |memory| {
        memory.settled = failures.is_empty().then_some(digest)
    });
    let trouble = failures
        .iter()
        .find(|failure| !failure.is_conflict())
        .map(|failure| {
            Cause::new(
                reasons::APPLY_FAILED,
                format!("{}: {}", failure.key(), failure.message()),
            )
        })
        .or_else(|| not_ready(&wanted, &self::live(environment, context)));
    write_status(environment, trouble, context).await?;
    let mut failures = failures.into_iter();
    match failures.next() {
        Some(first) => Err(Error::Apply {
            first,
            count: 1 + failures.count(),
        }),
        None => Ok(Action::await_change()),
    }
}

async fn apply(child: &Child, live: &Children, context: &Context) -> Result<(), ApplyError> {
    let write = Write {
        child: child.clone(),
        exists: live.contains_key(&child.key),
    };
    let applied = context.applier.apply(&write).await?;
    let kind = child.key.kind.name();
    context
        .metrics
        .writes
        .get_or_create(&KindLabel { kind })
        .inc();
    context.index.insert_applied(applied.into_record());
    Ok(())
}

/// What the environment owns, and its Namespace.
fn live(environment: &TodoEnvironment, context: &Context) -> Children {
    let mut live = context.index.environment(&environment.name_any());
    if let Some(namespace) = context.index.namespace(&environment.spec.namespace) {
        let key = todo_operator_core::child::ChildKey::new(
            todo_operator_core::kind::Kind::Namespace,
            "",
            &environment.spec.namespace,
        );
        live.insert(key, namespace);
    }
    live
}

fn is_as_wanted(child: &Child, live: &Children) -> bool {
    let wanted = canonical::digest(&projection::neutral(child.key.kind, &child.body));
    live.get(&child.key)
        .is_some_and(|live| live.owned == wanted)
}

fn not_ready(wanted: &[Child], live: &Children) -> Option<Cause> {
    wanted.iter().find_map(|child| match live.get(&child.key) {
        None => Some(Cause::new(
            "Creating",
            format!("{} does not exist yet", child.key),
        )),
        Some(live) => live
            .health
            .cause()
            .map(|cause| Cause::new(&cause.reason, format!("{}: {}", child.key, cause.message))),
    })
}

fn invalid(problems: &[Problem]) -> Cause {
    let message: Vec<String> = problems.iter().map(ToString::to_string).collect();
    Cause::new(reasons::INVALID_SPEC, message.join("; "))
}

async fn write_status(
    environment: &TodoEnvironment,
    trouble: Option<Cause>,
    context: &Context,
) -> Result<(), Error> {
    let before = environment.status.clone().unwrap_or_default();
    let generation = environment.metadata.generation;
    let (status, reason, message) = match &trouble {
        None => ("True", reasons::READY, ""),
        Some(cause) => ("False", &*cause.reason, &*cause.message),
    };
    let since = before
        .conditions
        .iter()
        .find(|condition| condition.type_ == READY && condition.status == status)
        .map_or_else(
            || Time(context.now()),
            |condition| condition.last_transition_time.clone(),
        );
    let after = TodoEnvironmentStatus {
        observed_generation: generation,
        apps: Some(apps(environment, context)),
        conditions: vec![Condition {
            type_: READY.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: message.chars().take(1_024).collect(),
            observed_generation: generation,
            last_transition_time: since,
        }],
    };
    if before == after {
        return Ok(());
    }
    let api: Api<TodoEnvironment> = Api::all(context.client.clone());
    let body = json!({
        "apiVersion": TodoEnvironment::api_version(&()),
        "kind": TodoEnvironment::kind(&()),
        "metadata": {"name": environment.name_any(), "uid": environment.uid()},
        "status": after,
    });
    let params = PatchParams::apply(FIELD_MANAGER).force();
    match api
        .patch_status(&environment.name_any(), &params, &Patch::Apply(&body))
        .await
    {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(answer)) if answer.code == 404 => Ok(()),
        Err(error) => Err(Error::Status(error)),
    }
}

/// `ready/total` of the applications in the namespace.
fn apps(environment: &TodoEnvironment, context: &Context) -> String {
    let apps = context.apps.state();
    let here: Vec<_> = apps
        .iter()
        .filter(|app| app.namespace().as_deref() == Some(&environment.spec.namespace))
        .collect();
    let ready = here.iter().filter(|app| app.is_ready()).count();
    format!("{ready}/{}", here.len())
}
