//! KEDA scales a routed component out while its canary is under way, and in again after it: users notice nothing, no pod is
//! missing, and the number of pods does not swing.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::FutureExt as _;
use localcluster::peers::Product;
use serde_json::{Value, json};

use crate::e2e::answers::{self, failure_share, share_of};
use crate::e2e::case::{Case, Context};
use crate::e2e::objects::until;
use crate::e2e::replicas::{highest, lowest, turns};
use crate::e2e::stage::{Stage, ensure};
use crate::e2e::timeline::Line;
use crate::e2e::watch::{REPLICAS, WANTED, WEIGHT};

pub const CASE: Case = Case {
    name: "canary-scaling",
    shows: "KEDA scales a routed component during its canary: no dip, no swinging, no error",
    is_quick: false,
    needs: &[
        Product::ArgoRollouts,
        Product::Kafka,
        Product::Keda,
        Product::Prometheus,
        Product::Traefik,
    ],
    run: |context| run(context).boxed_local(),
};

const LEAST: f64 = 2.0;
const MOST: f64 = 5.0;
const LAG: u32 = 100;
const PATIENCE: Duration = Duration::from_secs(240);

async fn run(context: &Context) -> Result<()> {
    let stage = Stage::create(context, &[serves_and_consumes()]).await?;
    let record = &context.record;
    for chart in [WEIGHT, "errors, %", WANTED, REPLICAS] {
        record.chart(chart);
    }
    let _watch = (stage.watch(), stage.watch_weight("web"));
    stage.apply(json!({})).await?;
    stage.ready(PATIENCE).await?;
    let users = stage.users(100.0).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let begun = record.elapsed();

    stage.release("v2", &[("web", "v2")], json!({})).await?;
    until("the canary gets requests", PATIENCE, async || {
        let asked = record.line(WEIGHT, crate::e2e::watch::ASKED);
        Ok(asked
            .is_some_and(|line| highest(&line) > Some(0.0))
            .then_some(()))
    })
    .await?;
    // More than the most workers are for.
    let messages = (f64::from(LAG) * (MOST + 1.0)).to_string();
    record.mark("users", format!("{messages} messages at once"));
    let produce = ["produce", "--messages", &messages, "--rate", "1000"];
    stage
        .run(&stage.kafka_task("produce", &produce), PATIENCE)
        .await?;
    until("KEDA scales out", PATIENCE, async || {
        Ok((wanted(&stage)?.points.last().map(|last| last.value) == Some(MOST)).then_some(()))
    })
    .await?;
    record.mark("keda", format!("asks for {MOST}"));
    stage.ready(PATIENCE).await?;

    // The half of the component that takes messages, which the demonstration service has not.
    let group = format!("{}.web", stage.name);
    let mut consumer = stage.kafka_task("consumer", &["worker", "--group", &group]);
    consumer
        .variables
        .retain(|(name, _)| name != "TOPIC_PROCESSED");
    record.mark("users", "every message is taken");
    stage.start(&consumer).await?;
    until("KEDA scales in", PATIENCE, async || {
        Ok((wanted(&stage)?.points.last().map(|last| last.value) == Some(LEAST)).then_some(()))
    })
    .await?;
    record.mark("keda", format!("asks for {LEAST}"));
    stage.ready(PATIENCE).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;

    let (_, all) = users.end().await?;
    answers::draw(record, (WEIGHT, "measured"), &all, |some| {
        share_of(some, "v2")
    });
    answers::draw(record, ("errors, %", "errors"), &all, failure_share);
    let ready = record.line(REPLICAS, "web").context("no pod was seen")?;
    let least = lowest(&ready, begun, record.elapsed()).context("no pod was seen")?;
    let (swings, failures) = (turns(&wanted(&stage)?.points), failure_share(&all));
    record.mark(
        "case",
        format!(
            "at least {} pods, {swings} turns of what is asked for, {failures:.3} % errors of {}",
            least.value,
            all.len()
        ),
    );
    ensure(least.value >= LEAST, || {
        format!("{} of {LEAST} pods", least.value)
    })?;
    ensure(swings <= 1, || {
        format!("the number of pods turned round {swings} times")
    })?;
    ensure(failures == 0.0, || {
        format!("{failures:.3} % of the users were let down")
    })?;
    stage.remove().await
}

/// Serves users, and is scaled by messages: `args` make it what it is, as by its variables it would be a worker.
fn serves_and_consumes() -> Value {
    json!({
        "components": {
            "api": null,
            "worker": null,
            "backup": null,
            "web": {
                "args": ["serve"],
                "calls": null,
                "secretEnv": null,
                "consumes": {"orders": {}},
                "scaling": {"min": LEAST as u32, "max": MOST as u32, "lag": LAG},
                "rollout": {"strategy": "Canary", "steps": [25, 50, 75], "stepPause": "20s"},
            },
        },
        "databases": null,
        "messaging": {"topics": {"processed": null}},
    })
}

fn wanted(stage: &Stage<'_>) -> Result<Line> {
    stage
        .record
        .line(WANTED, "web")
        .context("no pod was asked for yet")
}
