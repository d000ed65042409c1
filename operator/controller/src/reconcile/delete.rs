//! The end of a TodoApp: what garbage collection cannot reach.
//!
//! Children with an owner reference go by themselves. Databases and topics have none; they stay, unless
//! `deletionPolicy` is `Delete`, and then a finalizer holds the TodoApp until they are gone.

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::controller::Action;
use serde_json::json;
use todo_operator_api::app::DeletionPolicy;
use todo_operator_api::environment::MessagingProvider;
use todo_operator_api::{TodoApp, TodoEnvironment};
use todo_operator_core::mutants::Mutant;
use todo_operator_core::names::FINALIZER;
use todo_operator_core::plan;
use todo_operator_core::topics;

use super::Error;
use crate::context::Context;
use crate::index::AppKey;
use crate::kafka::KafkaCluster;

/// Sets or removes the finalizer, as the spec asks.
pub async fn keep_finalizer(
    app: &TodoApp,
    context: &Context,
    key: &AppKey,
    needed: bool,
) -> Result<(), Error> {
    let has = app
        .finalizers()
        .iter()
        .any(|finalizer| finalizer == FINALIZER);
    if has != needed {
        set_finalizer(app, context, key, needed).await?;
    }
    Ok(())
}

async fn set_finalizer(
    app: &TodoApp,
    context: &Context,
    key: &AppKey,
    wanted: bool,
) -> Result<(), Error> {
    let mut finalizers: Vec<&str> = app
        .finalizers()
        .iter()
        .map(String::as_str)
        .filter(|finalizer| *finalizer != FINALIZER)
        .collect();
    if wanted {
        finalizers.push(FINALIZER);
    }
    let api: Api<TodoApp> = Api::namespaced(context.client.clone(), &key.namespace);
    let patch =
        json!({"metadata": {"finalizers": finalizers, "resourceVersion": app.resource_version()}});
    match api
        .patch(&key.name, &PatchParams::default(), &Patch::Merge(&patch))
        .await
    {
        Ok(written) => {
            context
                .memory
                .update(key, |memory| memory.newest = Some(Arc::new(written)));
            Ok(())
        }
        Err(kube::Error::Api(answer)) if answer.code == 404 => Ok(()),
        Err(error) => Err(Error::Status(error)),
    }
}

/// Deletes what must go, waits until it is gone, and lets go of the TodoApp.
pub async fn finalize(
    app: &Arc<TodoApp>,
    context: &Context,
    key: &AppKey,
    environment: Option<&TodoEnvironment>,
) -> Result<Action, Error> {
    if !app
        .finalizers()
        .iter()
        .any(|finalizer| finalizer == FINALIZER)
    {
        context.memory.forget(key);
        return Ok(Action::await_change());
    }
    if app.spec.deletion_policy == DeletionPolicy::Delete || Mutant::DeletesData.is_on() {
        let children = context.index.app(key);
        let stateful: Vec<_> = children
            .iter()
            .filter(|(child, _)| child.kind.is_stateful())
            .collect();
        for (child, live) in stateful.iter().filter(|(_, live)| !live.deleting) {
            let deletion = plan::deletion(child, live);
            context
                .applier
                .delete(&deletion)
                .await
                .map_err(|first| Error::Apply { first, count: 1 })?;
            tracing::info!(%child, "deleted with its data: deletionPolicy is Delete");
        }
        delete_topics(app, context, environment).await?;
        if !stateful.is_empty() {
            // Their deletion's watch events bring us back.
            return Ok(Action::requeue(Duration::from_secs(30)));
        }
    }
    set_finalizer(app, context, key, false).await?;
    context.memory.forget(key);
    Ok(Action::await_change())
}

async fn delete_topics(
    app: &TodoApp,
    context: &Context,
    environment: Option<&TodoEnvironment>,
) -> Result<(), Error> {
    let messaging = environment.and_then(|environment| environment.spec.messaging.as_ref());
    let Some(messaging) = messaging else {
        if app.spec.messaging.is_some() {
            tracing::warn!("the environment is gone, and with it where Kafka is: topics stay");
        }
        return Ok(());
    };
    if messaging.provider != MessagingProvider::Direct {
        return Ok(());
    }
    let cluster = KafkaCluster::from(messaging);
    let names = topics::physical_names(app);
    // Before the first goes: who makes the application again must find them gone.
    context.topics.forget(&cluster, &names);
    for topic in names {
        context
            .kafka
            .delete(&cluster, &topic)
            .await
            .map_err(Error::Kafka)?;
        tracing::info!(topic, "deleted with its data: deletionPolicy is Delete");
    }
    Ok(())
}
