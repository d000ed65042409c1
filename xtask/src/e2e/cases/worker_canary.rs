//! A worker's canary is judged by its lag: one that is too slow is rejected, one that is not is taken, and meanwhile no worker
//! is missing and no message is lost.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::FutureExt as _;
use localcluster::peers::Product;
use serde_json::json;

use crate::e2e::case::{Case, Context};
use crate::e2e::objects::{self, Kind, until};
use crate::e2e::replicas::lowest;
use crate::e2e::stage::{Stage, ensure};
use crate::e2e::watch::{REPLICAS, watch_lag};

pub const CASE: Case = Case {
    name: "worker-canary",
    shows: "a worker's canary is judged by lag: a slow one is rejected, a good one taken; no worker is missing",
    is_quick: false,
    needs: &[
        Product::ArgoRollouts,
        Product::Kafka,
        Product::Keda,
        Product::Prometheus,
    ],
    run: |context| run(context).boxed_local(),
};

const WORKERS: f64 = 3.0;
/// Long enough for both releases.
const MESSAGES: &str = "15000";
const RATE: &str = "60";
const PATIENCE: Duration = Duration::from_secs(180);

async fn run(context: &Context) -> Result<()> {
    let app = json!({
        "components": {
            "web": null,
            "api": null,
            "backup": null,
            "worker": {
                "consumes": {"orders": {"lag": 20}},
                "scaling": {"min": WORKERS as u32, "max": 6, "lag": 200},
                "rollout": {"strategy": "Canary", "stepPause": "20s"},
            },
        },
        "databases": null,
        "traffic": null,
    });
    let stage = Stage::create(context, &[app]).await?;
    let record = &context.record;
    record.chart(REPLICAS);
    let _watch = stage.watch();
    stage.apply(json!({})).await?;
    stage.ready(PATIENCE).await?;
    let _lag = watch_lag(&stage).await?;
    record.mark("users", format!("{RATE} messages a second"));
    let produce = [
        "produce",
        "--keys",
        "60",
        "--rate",
        RATE,
        "--messages",
        MESSAGES,
    ];
    stage.start(&stage.kafka_task("produce", &produce)).await?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let begun = record.elapsed();

    // A sixth or more of the messages comes to a worker: 10 a second, of which it takes 2.
    let slow = json!({"release": {"config": {"worker": {"DEMO_PROCESSING_TIME": "500ms"}}}});
    stage.release("v2", &[("worker", "v2")], slow).await?;
    until("the scaler is held", PATIENCE, async || {
        Ok(is_held(&stage).await?.then_some(()))
    })
    .await?;
    record.mark("operator", "holds the scaler");
    let reason = stage.rejected(PATIENCE).await?;
    ensure(reason.contains("lag"), || {
        format!("it was not rejected for its lag: {reason}")
    })?;
    stage
        .release(
            "v1",
            &[("worker", "v1")],
            json!({"release": {"config": null}}),
        )
        .await?;
    stage.ready(PATIENCE).await?;
    until("the scaler is let go", PATIENCE, async || {
        Ok((!is_held(&stage).await?).then_some(()))
    })
    .await?;
    record.mark("operator", "lets the scaler go");

    stage.release("v2", &[("worker", "v2")], json!({})).await?;
    stage.ready(PATIENCE).await?;
    let line = record
        .line(REPLICAS, "worker")
        .context("no worker was seen")?;
    let least = lowest(&line, begun, record.elapsed()).context("no worker was seen")?;
    record.mark(
        "case",
        format!(
            "at least {} workers, at {:.1} s",
            least.value,
            least.at.as_secs_f64()
        ),
    );
    ensure(least.value >= WORKERS, || {
        format!("{} of {WORKERS} workers", least.value)
    })?;

    stage.end("produce", Duration::from_secs(300)).await?;
    let check = stage.kafka_task("check", &["check", "--wait", "240s"]);
    stage.start(&check).await?;
    let checked = stage.end(check.name, Duration::from_secs(300)).await?;
    let report = checked.report("produced")?;
    record.mark("check", report.to_string());
    ensure(checked.is_good, || {
        format!("messages were lost or out of order: {report}")
    })?;
    stage.remove().await
}

/// Whether KEDA is told not to change the number of workers.
async fn is_held(stage: &Stage<'_>) -> Result<bool> {
    let scalers = stage.api(Kind("keda.sh/v1alpha1", "ScaledObject"));
    let scaler = objects::get(&scalers, "demo-worker")
        .await?
        .context("there is no scaler")?;
    let annotations = &scaler["metadata"]["annotations"];
    Ok(["paused-scale-in", "paused-scale-out"]
        .iter()
        .all(|what| annotations[format!("autoscaling.keda.sh/{what}")] == "true"))
}
