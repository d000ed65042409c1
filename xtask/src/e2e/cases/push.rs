//! The same three applications by `kubectl apply -k` alone.

use std::time::Duration;

use anyhow::Result;
use futures::FutureExt as _;
use localcluster::peers::Product;

use crate::config_repo::STAGES;
use crate::e2e::case::{Case, Context};
use crate::e2e::delivery::Delivery;
use crate::e2e::objects::until;
use crate::e2e::stage::{ensure, is_ready};

pub const CASE: Case = Case {
    name: "push",
    shows: "three Ready applications by kubectl apply -k alone; applied again, nothing changes",
    is_quick: false,
    needs: &[
        Product::ArgoRollouts,
        Product::CloudNativePg,
        Product::Kafka,
        Product::Keda,
        Product::Traefik,
    ],
    run: |context| run(context).boxed_local(),
};

const PATIENCE: Duration = Duration::from_secs(420);

async fn run(context: &Context) -> Result<()> {
    let delivery = Delivery::prepare(context).await?;
    delivery.apply("platform").await?;
    context.record.mark("user", "kubectl apply -k platform");
    delivery.make_secrets().await?;
    apply_all(&delivery).await?;
    let mut ready = Vec::new();
    until("three applications are Ready", PATIENCE, async || {
        for stage in STAGES {
            let is = delivery.app(stage).await?.is_some_and(|app| is_ready(&app));
            if is && !ready.contains(&stage) {
                context.record.mark(stage, "Ready");
                ready.push(stage);
            }
        }
        Ok(delivery.are_ready().await?.then_some(()))
    })
    .await?;
    let before = generations(&delivery).await?;
    apply_all(&delivery).await?;
    let after = generations(&delivery).await?;
    ensure(before == after, || {
        format!("the same files make another spec: {before:?}, then {after:?}")
    })?;
    ensure(delivery.are_ready().await?, || {
        "an application is not Ready any more".to_owned()
    })?;
    context.record.mark("case", "nothing has changed");
    delivery.clear().await
}

async fn apply_all(delivery: &Delivery<'_>) -> Result<()> {
    for stage in STAGES {
        delivery.apply(&format!("environments/{stage}")).await?;
        delivery
            .record
            .mark("user", format!("kubectl apply -k environments/{stage}"));
    }
    Ok(())
}

async fn generations(delivery: &Delivery<'_>) -> Result<Vec<Option<i64>>> {
    let mut generations = Vec::new();
    for stage in STAGES {
        let app = delivery.app(stage).await?;
        generations.push(app.and_then(|app| app["metadata"]["generation"].as_i64()));
    }
    Ok(generations)
}
