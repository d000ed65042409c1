//! More messages than one worker can process: KEDA scales out and in again, and every message is processed, in order.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::FutureExt as _;
use localcluster::peers::Product;
use serde_json::json;

use crate::e2e::case::{Case, Context};
use crate::e2e::objects::until;
use crate::e2e::replicas::{highest, turns};
use crate::e2e::stage::{Stage, ensure};
use crate::e2e::timeline::Line;
use crate::e2e::watch::{LAG, REPLICAS, WAITING, watch_lag};

pub const CASE: Case = Case {
    name: "scale-out",
    shows: "load makes Kafka lag; KEDA scales the worker out and in; no message is lost or out of order",
    is_quick: false,
    needs: &[Product::Kafka, Product::Keda, Product::Prometheus],
    run: |context| run(context).boxed_local(),
};

/// One worker takes 20 ms for a message: 50 a second.
const PROCESSING_TIME: &str = "20ms";
const RATE: &str = "180";
/// Ends before the autoscaler may take away workers that have caught up.
const DURATION: &str = "25s";
/// Messages that may wait for each worker.
const TARGET: u32 = 50;
/// That many can keep up.
const NEEDED: f64 = 4.0;

async fn run(context: &Context) -> Result<()> {
    let app = json!({
        "components": {
            "web": null,
            "api": null,
            "backup": null,
            "worker": {
                "env": {"DEMO_PROCESSING_TIME": PROCESSING_TIME},
                "scaling": {"min": 1, "max": 6, "lag": TARGET},
            },
        },
        "databases": null,
        "traffic": null,
    });
    let stage = Stage::create(context, &[app]).await?;
    context.record.chart(REPLICAS);
    let _watch = stage.watch();
    stage.apply(json!({})).await?;
    stage.ready(Duration::from_secs(180)).await?;

    context
        .record
        .mark("users", format!("{RATE} messages a second for {DURATION}"));
    let produce = [
        "produce",
        "--run",
        "a",
        "--keys",
        "30",
        "--rate",
        RATE,
        "--duration",
        DURATION,
    ];
    stage.start(&stage.kafka_task("produce", &produce)).await?;
    let _lag = watch_lag(&stage).await?;
    out_and_in(&stage).await?;
    let line = workers(&stage)?;
    let most = highest(&line).unwrap_or_default();
    ensure(turns(&line.points) <= 1, || {
        "the number of workers swings".to_owned()
    })?;
    context
        .record
        .mark("case", format!("at most {most} workers"));
    stage.remove().await
}

async fn out_and_in(stage: &Stage<'_>) -> Result<()> {
    let enough = |line: &Line| highest(line).is_some_and(|most| most >= NEEDED);
    until("enough workers", Duration::from_secs(150), async || {
        Ok(enough(&workers(stage)?).then_some(()))
    })
    .await?;
    stage.record.mark("keda", format!("{NEEDED} workers"));
    let lag = stage.record.line(WAITING, LAG);
    let late = lag.and_then(|lag| first_at_least(&lag, f64::from(TARGET)));
    let helped = first_at_least(&workers(stage)?, 2.0);
    if let (Some(late), Some(helped)) = (late, helped) {
        let seconds = helped.saturating_sub(late).as_secs_f64();
        stage.record.figure("seconds", seconds);
    }
    let produced = stage
        .end("produce", Duration::from_secs(120))
        .await?
        .report("messages")?;
    stage.record.mark(
        "users",
        format!("{} messages were produced", produced["messages"]),
    );
    let check = stage.kafka_task("check", &["check", "--wait", "240s"]);
    stage.start(&check).await?;
    let checked = stage.end(check.name, Duration::from_secs(300)).await?;
    let report = checked.report("produced")?;
    stage.record.mark("check", report.to_string());
    ensure(checked.is_good, || {
        format!("messages were lost or out of order: {report}")
    })?;
    ensure(report["produced"] == produced["messages"], || {
        format!("{produced} were produced, {report}")
    })?;
    until("one worker again", Duration::from_secs(240), async || {
        let line = workers(stage)?;
        Ok(line
            .points
            .last()
            .is_some_and(|last| last.value == 1.0)
            .then_some(()))
    })
    .await?;
    stage.record.mark("keda", "one worker again");
    Ok(())
}

/// When a line reached a value.
fn first_at_least(line: &Line, value: f64) -> Option<Duration> {
    let reached = line.points.iter().find(|point| point.value >= value);
    reached.map(|point| point.at)
}

/// The ready workers so far.
fn workers(stage: &Stage<'_>) -> Result<Line> {
    stage
        .record
        .line(REPLICAS, "worker")
        .context("no worker was seen yet")
}
