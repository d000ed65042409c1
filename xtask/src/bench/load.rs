//! A bare load: server-side applies, as many at once as asked, and nothing else.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kube::Client;
use kube::api::{Patch, PatchParams, Request, ValidationDirective};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind, Resource as _};
use todo_operator_core::child::{Child, ChildKey};
use todo_operator_core::names::FIELD_MANAGER;
use tokio::task::JoinSet;

/// Calls `work` for every number below `count`, `workers` at once.
pub async fn each<F, Fut>(count: usize, workers: usize, work: F) -> Result<()>
where
    F: Fn(usize) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<()>> + Send,
{
    let (work, next) = (Arc::new(work), Arc::new(AtomicUsize::new(0)));
    let mut set: JoinSet<Result<()>> = JoinSet::new();
    for _ in 0..workers {
        let (work, next) = (Arc::clone(&work), Arc::clone(&next));
        set.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok(());
                }
                work(number).await?;
            }
        });
    }
    while let Some(worker) = set.join_next().await {
        worker.context("a worker of the load ended")??;
    }
    Ok(())
}

/// Applies all children with `workers` requests at once; gives the time that it took.
pub async fn apply(
    client: &Client,
    children: &Arc<Vec<Child>>,
    workers: usize,
) -> Result<Duration> {
    let begun = Instant::now();
    let (client, all) = (client.clone(), Arc::clone(children));
    each(children.len(), workers, move |number| {
        let (client, all) = (client.clone(), Arc::clone(&all));
        async move { apply_one(&client, &all[number]).await }
    })
    .await?;
    Ok(begun.elapsed())
}

async fn apply_one(client: &Client, child: &Child) -> Result<()> {
    // As the operator sends it, so that the API server's part is the same.
    let params = PatchParams {
        field_validation: Some(ValidationDirective::Strict),
        ..PatchParams::apply(FIELD_MANAGER).force()
    };
    let request = Request::new(url(&child.key)).patch(
        &child.key.name,
        &params,
        &Patch::Apply(&child.body),
    )?;
    // Not even parsed: the load that is hardest to match.
    client
        .request_text(request)
        .await
        .with_context(|| format!("the bare load cannot apply {}", child.key))?;
    Ok(())
}

/// URL of the objects of a child's kind in its namespace.
pub fn url(key: &ChildKey) -> String {
    let (group, version, kind, plural) = key.kind.resource();
    let resource =
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
    DynamicObject::url_path(&resource, Some(&key.namespace))
}
