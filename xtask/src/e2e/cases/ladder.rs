//! A good release walks the ladder of 5 %, and users meet it exactly as often as it was asked for.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::FutureExt as _;
use kube::api::ListParams;
use localcluster::peers::Product;
use serde_json::json;

use super::web_alone;
use crate::e2e::answers::{self, failure_share, share_of};
use crate::e2e::case::{Case, Context};
use crate::e2e::objects::Kind;
use crate::e2e::stage::{Stage, ensure};
use crate::e2e::watch::{ASKED, REPLICAS, WEIGHT};
use crate::e2e::weights::compare;

pub const CASE: Case = Case {
    name: "ladder",
    shows: "a good release walks the 5 % ladder; each asked weight is measured within a percentage point",
    is_quick: false,
    needs: &[Product::ArgoRollouts, Product::Prometheus, Product::Traefik],
    run: |context| run(context).boxed_local(),
};

/// Requests a second.
const RATE: f64 = 500.0;
/// So many answers count at each step.
const ANSWERS: usize = 10_000;
/// Long enough for them, and for the weight to settle.
const PAUSE: &str = "23s";
/// Percentage points.
const MOST_ERROR: f64 = 1.0;
const STEPS: usize = 19;

async fn run(context: &Context) -> Result<()> {
    let ladder = json!({"components": {"web": {"rollout": {"strategy": "Canary", "steps": null, "stepPause": PAUSE}}}});
    let stage = Stage::create(context, &[web_alone(), ladder]).await?;
    for chart in [WEIGHT, "errors, %", REPLICAS] {
        context.record.chart(chart);
    }
    let _watch = (stage.watch(), stage.watch_weight("web"));
    stage.apply(json!({})).await?;
    stage.ready(Duration::from_secs(120)).await?;
    let users = stage.users(RATE).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;

    stage.release("v2", &[("web", "v2")], json!({})).await?;
    stage.ready(Duration::from_secs(STEPS as u64 * 35)).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (outcome, all) = users.end().await?;
    let asked = context
        .record
        .line(WEIGHT, ASKED)
        .context("the router was asked for no weight")?;
    answers::draw(&context.record, (WEIGHT, "measured"), &all, |some| {
        share_of(some, "v2")
    });
    answers::draw(
        &context.record,
        ("errors, %", "errors"),
        &all,
        failure_share,
    );

    let on_the_way = |step: &crate::e2e::weights::Step| step.asked > 0.0 && step.asked < 100.0;
    let end = context.record.elapsed();
    let steps: Vec<_> = compare(&asked.points, end, &all, "v2", ANSWERS)
        .into_iter()
        .filter(on_the_way)
        .collect();
    for step in &steps {
        let what = format!(
            "asked {} %, measured {:.2} % of {}",
            step.asked, step.measured, step.answers
        );
        context.record.mark_at(step.to, "weight", what);
    }
    let worst = steps.iter().map(|step| step.error()).fold(0.0, f64::max);
    context.record.mark(
        "weight",
        format!("worst error {worst:.2} percentage points"),
    );
    context.record.figure("worst_point_error", worst);
    context.record.mark(
        "users",
        format!(
            "{} of {} were answered, {:.3} % badly",
            outcome.all.answers(),
            outcome.due,
            failure_share(&all)
        ),
    );
    ensure(steps.len() == STEPS, || {
        format!("{} steps instead of {STEPS}", steps.len())
    })?;
    ensure(steps.iter().all(|step| step.answers == ANSWERS), || {
        "too few answers at a step".to_owned()
    })?;
    ensure(worst <= MOST_ERROR, || {
        format!("{worst:.2} percentage points off")
    })?;
    ensure(failure_share(&all) == 0.0, || {
        "a good release let users down".to_owned()
    })?;
    measured_by_prometheus(&stage).await?;
    stage.remove().await
}

/// The analysis has had data, and found it good.
async fn measured_by_prometheus(stage: &Stage<'_>) -> Result<()> {
    let runs = stage.api(Kind("argoproj.io/v1alpha1", "AnalysisRun"));
    let listed = runs.list(&ListParams::default()).await?;
    let mut successful = 0;
    for run in listed.items.iter().map(|run| json!(run)) {
        for metric in run["status"]["metricResults"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let count = |field: &str| metric[field].as_i64().unwrap_or_default();
            let what = format!(
                "{}: {} good measurements, {} bad, {} inconclusive, {} errors",
                metric["name"].as_str().unwrap_or_default(),
                count("successful"),
                count("failed"),
                count("inconclusive"),
                count("error"),
            );
            stage.record.mark("analysis", what);
            successful += count("successful");
        }
    }
    ensure(successful > 20, || {
        format!("{successful} measurements alone")
    })
}
