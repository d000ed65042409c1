//! Four bad releases: one errs, one is slow, one never gets ready, one cannot migrate. Each is aborted, and the stable version
//! serves at once, although the spec still asks for the bad one.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::FutureExt as _;
use localcluster::peers::Product;
use serde_json::{Value, json};

use crate::e2e::answers::{self, between, failure_share, is_failure, share_of};
use crate::e2e::case::{Case, Context};
use crate::e2e::stage::{Stage, ensure};
use crate::e2e::timeline::Line;
use crate::e2e::users::Users;
use crate::e2e::watch::{ASKED, REPLICAS, WEIGHT};
use crate::e2e::weights::let_down;

pub const CASE: Case = Case {
    name: "bad-release",
    shows: "a release that errs, is slow, never gets ready or cannot migrate is aborted; stable serves at once",
    is_quick: false,
    needs: &[
        Product::ArgoRollouts,
        Product::CloudNativePg,
        Product::Prometheus,
        Product::Traefik,
    ],
    run: |context| run(context).boxed_local(),
};

/// Requests a second.
const RATE: f64 = 100.0;
/// Users that a change of weights may cost beyond the canary's share, of all: connections that end as they are used.
const SPARE: f64 = 0.001;
/// For which stable must have answered everything after an abort.
const STABLE: Duration = Duration::from_secs(4);
/// After an abort, until every request goes to stable.
const AT_ONCE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(120);

/// A bad release.
struct Bad {
    what: &'static str,
    images: &'static [(&'static str, &'static str)],
    /// `release.config`.
    config: Value,
    /// Whether users meet it at all.
    is_met: bool,
    /// What the reason of its rejection says.
    reason: &'static str,
}

async fn run(context: &Context) -> Result<()> {
    let stage = Stage::create(context, &[web_and_api()]).await?;
    for chart in [WEIGHT, "errors, %", "slowest of a hundred, ms", REPLICAS] {
        context.record.chart(chart);
    }
    let _watch = (stage.watch(), stage.watch_weight("web"));
    stage.apply(json!({})).await?;
    stage.ready(Duration::from_secs(240)).await?;
    let users = stage.users(RATE).await?;

    for bad in [
        Bad {
            what: "errs",
            images: &[("web", "v2")],
            config: json!({"web": {"DEMO_ERROR_PERCENT": "100"}}),
            is_met: true,
            reason: "success",
        },
        Bad {
            what: "is slow",
            images: &[("web", "v2")],
            config: json!({"web": {"DEMO_LATENCY": "800ms"}}),
            is_met: true,
            reason: "latency",
        },
        Bad {
            what: "never gets ready",
            images: &[("web", "v2")],
            config: json!({"web": {"DEMO_NEVER_READY": "true"}}),
            is_met: false,
            reason: "ProgressDeadlineExceeded",
        },
        Bad {
            what: "cannot migrate",
            images: &[("web", "v2"), ("api", "v2")],
            config: json!({"api": {"DEMO_MIGRATION_FAILS": "true"}}),
            is_met: false,
            reason: "DEMO_MIGRATION_FAILS",
        },
    ] {
        release(&stage, &users, &bad)
            .await
            .with_context(|| format!("a release that {}", bad.what))?;
    }
    let (_, all) = users.end().await?;
    let record = &context.record;
    answers::draw(record, (WEIGHT, "measured"), &all, |some| {
        share_of(some, "v2")
    });
    answers::draw(record, ("errors, %", "errors"), &all, failure_share);
    let slowest = |some: &[xtask::load::Seen]| {
        let mut latencies: Vec<_> = some.iter().map(|seen| seen.latency).collect();
        latencies.sort();
        let index = latencies.len().saturating_sub(1 + latencies.len() / 100);
        latencies
            .get(index)
            .map_or(0.0, |latency| latency.as_secs_f64() * 1_000.0)
    };
    answers::draw(
        record,
        ("slowest of a hundred, ms", "latency"),
        &all,
        slowest,
    );
    stage.remove().await
}

fn web_and_api() -> Value {
    json!({
        "components": {
            "worker": null,
            "backup": null,
            "web": {
                "scaling": {"min": 2},
                "rollout": {
                    "strategy": "Canary",
                    "steps": [20, 50],
                    "stepPause": "12s",
                    "progressDeadline": "20s",
                    "analysis": {"latency": "300ms"},
                },
            },
            "api": {"produces": null, "migrate": {"retries": 0}},
        },
        "messaging": null,
    })
}

async fn release(stage: &Stage<'_>, users: &Users, bad: &Bad) -> Result<()> {
    let record = stage.record;
    let begun = record.elapsed();
    record.mark("user", format!("the next release {}", bad.what));
    let config = json!({"release": {"config": bad.config}});
    stage.release("v2", bad.images, config).await?;
    let reason = stage.rejected(PATIENCE).await?;
    let rejected = record.elapsed();
    ensure(reason.contains(bad.reason), || {
        format!("{:?} is not in the reason: {reason}", bad.reason)
    })?;
    tokio::time::sleep(AT_ONCE + STABLE + Duration::from_secs(1)).await;

    let all = users.answers.all();
    let after = between(&all, rejected + AT_ONCE, rejected + AT_ONCE + STABLE);
    let by_stable = after
        .iter()
        .filter(|seen| seen.by.as_deref() == Some("v1") && !is_failure(seen));
    let (good, asked) = (by_stable.count(), after.len());
    record.mark(
        "users",
        format!("after the abort {good} of {asked} are served by v1"),
    );
    ensure(asked > 0 && good == asked, || {
        format!("stable serves {good} of {asked}")
    })?;

    let during = between(&all, begun, rejected + AT_ONCE);
    let met = during
        .iter()
        .filter(|seen| seen.by.as_deref() == Some("v2"))
        .count();
    let (most, failed) = let_down(&weight(stage)?, during);
    record.mark("users", format!(
        "{met} of {} met v2, {failed} were let down; by the canary's weight it could have been {most:.0}",
        during.len()
    ));
    ensure((met > 0) == bad.is_met, || format!("{met} users met v2"))?;
    let spare = during.len() as f64 * SPARE;
    ensure(failed as f64 <= most + spare, || {
        format!("{failed} users were let down, not {most:.0}")
    })?;

    let app = stage.app().await?;
    let (spec, effective) = (
        &app["spec"]["release"]["version"],
        &app["status"]["effectiveRelease"],
    );
    ensure(
        spec == "v2" && effective["reason"] == "Rejected" && effective["version"] == "v1",
        || format!("the spec asks for {spec}, and what serves is {effective}"),
    )?;
    let back: Vec<_> = bad
        .images
        .iter()
        .map(|(component, _)| (*component, "v1"))
        .collect();
    stage
        .release("v1", &back, json!({"release": {"config": null}}))
        .await?;
    stage.ready(PATIENCE).await
}

fn weight(stage: &Stage<'_>) -> Result<Line> {
    let found = stage.record.line(WEIGHT, ASKED);
    found.context("the router was never asked for a weight")
}
