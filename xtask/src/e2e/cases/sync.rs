//! A release that is committed for every stage: stages that sync automatically have it, the one that syncs by hand waits.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::FutureExt as _;
use localcluster::Tool;
use serde_json::Value;

use super::pull;
use crate::config_repo::STAGES;
use crate::e2e::case::{Case, Context};
use crate::e2e::delivery::Delivery;
use crate::e2e::objects::until;
use crate::e2e::stage::ensure;

pub const CASE: Case = Case {
    name: "sync",
    shows: "an environment that syncs by hand waits; those that sync automatically follow a commit",
    is_quick: false,
    needs: pull::CASE.needs,
    run: |context| run(context).boxed_local(),
};

const PATIENCE: Duration = Duration::from_secs(60);
/// Long enough for Argo CD to look four times.
const WAIT: Duration = Duration::from_secs(20);

async fn run(context: &Context) -> Result<()> {
    let delivery = Delivery::prepare(context).await?;
    pull::deliver(context, &delivery).await?;
    let (first, second) = (
        &context.platform.images["v1"],
        &context.platform.images["v2"],
    );
    for stage in STAGES {
        ensure(runs(&delivery, stage).await? == *first, || {
            format!("{stage} does not begin with v1")
        })?;
        set_image(&delivery, stage, second).await?;
    }
    delivery.repository.commit("demo v2 in every stage").await?;
    delivery.push(false).await?;

    for stage in ["test", "staging"] {
        until(&format!("{stage} follows"), PATIENCE, async || {
            Ok((runs(&delivery, stage).await? == *second).then_some(()))
        })
        .await?;
        context.record.mark(stage, "asks for v2");
    }
    until(
        "Argo CD sees that production differs",
        PATIENCE,
        async || {
            let opinion = delivery.application("production").await?;
            Ok(opinion
                .is_some_and(|opinion| opinion.sync == "OutOfSync")
                .then_some(()))
        },
    )
    .await?;
    context
        .record
        .mark("production", "differs from what is committed");
    tokio::time::sleep(WAIT).await;
    ensure(runs(&delivery, "production").await? == *first, || {
        "production did not wait".to_owned()
    })?;
    context.record.mark(
        "production",
        format!("still asks for v1, {} s later", WAIT.as_secs()),
    );

    delivery.sync("production").await?;
    until("production follows", PATIENCE, async || {
        Ok((runs(&delivery, "production").await? == *second).then_some(()))
    })
    .await?;
    context.record.mark("production", "asks for v2");
    delivery.clear().await
}

/// Releases as CI does: with kustomize, in the stage's release folder.
async fn set_image(delivery: &Delivery<'_>, stage: &str, image: &str) -> Result<()> {
    let kustomize = delivery.platform.tool(Tool::Kustomize).await?;
    let folder = delivery
        .repository
        .directory()
        .join(format!("environments/{stage}/demo/release"));
    let mut command = tokio::process::Command::new(kustomize);
    command
        .args(["edit", "set", "image", image])
        .current_dir(&folder);
    let output = command.output().await.context("cannot run kustomize")?;
    ensure(output.status.success(), || {
        format!(
            "kustomize failed: {}",
            String::from_utf8_lossy(&output.stderr)
        )
    })?;
    delivery
        .record
        .mark("ci", format!("sets the image of {stage}"));
    Ok(())
}

/// The image that a stage's TodoApp asks for.
async fn runs(delivery: &Delivery<'_>, stage: &str) -> Result<Value> {
    let app = delivery
        .app(stage)
        .await?
        .with_context(|| format!("{stage} has no TodoApp"))?;
    Ok(app["spec"]["release"]["images"][0]["image"].clone())
}
