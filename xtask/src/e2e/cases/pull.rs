//! From nothing to three Ready applications, synced by Argo CD, which agrees with `todoctl` all the time.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::FutureExt as _;
use localcluster::peers::Product;
use serde_json::Value;

use crate::config_repo::STAGES;
use crate::e2e::case::{Case, Context};
use crate::e2e::delivery::{Delivery, Opinion, namespace};
use crate::e2e::objects::until;
use crate::e2e::stage::{ensure, is_ready};
use crate::e2e::timeline::Style;

pub const CASE: Case = Case {
    name: "pull",
    shows: "from nothing to three Ready applications, synced by Argo CD, which agrees with todoctl",
    is_quick: false,
    needs: &[
        Product::ArgoCd,
        Product::ArgoRollouts,
        Product::CloudNativePg,
        Product::GitServer,
        Product::Kafka,
        Product::Keda,
        Product::Prometheus,
        Product::Traefik,
    ],
    run: |context| run(context).boxed_local(),
};

const PATIENCE: Duration = Duration::from_secs(420);

async fn run(context: &Context) -> Result<()> {
    let delivery = Delivery::prepare(context).await?;
    deliver(context, &delivery).await?;
    let status = todoctl_status(context).await?;
    for stage in STAGES {
        let (said, opinion) = (status[stage], delivery.application(stage).await?);
        let opinion = opinion.with_context(|| format!("{stage} has no Application"))?;
        let ready = if said { "ready" } else { "not ready" };
        let what = format!(
            "{stage}: todoctl says {ready}, Argo CD {} and {}",
            opinion.sync, opinion.health
        );
        context.record.mark("case", what);
        ensure(said && opinion.is_good(), || {
            format!("todoctl and Argo CD disagree about {stage}")
        })?;
    }
    delivery.clear().await
}

/// Delivers the three stages through Argo CD, and watches it until all are Ready.
pub(super) async fn deliver(context: &Context, delivery: &Delivery<'_>) -> Result<()> {
    delivery.push(true).await?;
    delivery.apply("argocd").await?;
    context.record.mark("user", "applies config-repo/argocd");
    delivery.make_secrets().await?;
    until(
        "production has an Application",
        Duration::from_secs(60),
        async || delivery.application("production").await,
    )
    .await?;
    delivery.sync("production").await?;

    let mut seen = Seen::default();
    until(
        "three applications are Ready, and Argo CD says so",
        PATIENCE,
        async || {
            let mut good = 0;
            for stage in STAGES {
                let (app, opinion) = (
                    delivery.app(stage).await?,
                    delivery.application(stage).await?,
                );
                good += u32::from(seen.look(context, stage, app.as_ref(), opinion));
            }
            for (who, count) in [("todoctl", seen.ready()), ("Argo CD", good)] {
                context
                    .record
                    .value("Ready applications", who, Style::Steps, count.into());
            }
            Ok((good == 3 && seen.ready() == 3).then_some(()))
        },
    )
    .await?;
    let longest = seen.longest.as_secs_f64();
    context
        .record
        .mark("case", format!("Argo CD was at most {longest:.1} s behind"));
    Ok(())
}

/// What was last seen of each stage.
#[derive(Default)]
struct Seen {
    stages: BTreeMap<&'static str, (bool, Opinion)>,
    /// Since when the two disagree.
    disagree: BTreeMap<&'static str, Duration>,
    /// How long they did at most.
    longest: Duration,
}

impl Seen {
    fn ready(&self) -> u32 {
        self.stages
            .values()
            .map(|(is_ready, _)| u32::from(*is_ready))
            .sum()
    }

    /// Notes what has changed. Whether Argo CD finds all good.
    fn look(
        &mut self,
        context: &Context,
        stage: &'static str,
        app: Option<&Value>,
        opinion: Option<Opinion>,
    ) -> bool {
        let (Some(app), Some(opinion)) = (app, opinion) else {
            return false;
        };
        let now = (is_ready(app), opinion);
        if self.stages.get(stage) != Some(&now) {
            let ready = if now.0 { "Ready" } else { "not Ready" };
            context.record.mark(
                stage,
                format!("{ready}; Argo CD: {}, {}", now.1.sync, now.1.health),
            );
            self.stages.insert(stage, now.clone());
        }
        let at = context.record.elapsed();
        if now.0 == (now.1.health == "Healthy") {
            self.disagree.remove(stage);
        } else {
            let since = *self.disagree.entry(stage).or_insert(at);
            self.longest = self.longest.max(at.saturating_sub(since));
        }
        now.1.is_good()
    }
}

/// Whether `todoctl status` finds the application of each stage ready.
async fn todoctl_status(context: &Context) -> Result<BTreeMap<&'static str, bool>> {
    let text = context
        .platform
        .todoctl(&["status", "--all-namespaces", "--output", "json"])
        .await?;
    let status: Value = serde_json::from_str(&text).context("what todoctl says is no JSON")?;
    let environments = status["environments"]
        .as_array()
        .context("todoctl knows no environments")?;
    let is_ready = |stage: &str| {
        let of_stage = environments
            .iter()
            .filter(|one| one["namespace"] == namespace(stage).as_str());
        let mut apps = of_stage.flat_map(|one| one["apps"].as_array().into_iter().flatten());
        apps.any(|app| {
            let conditions = app["status"]["conditions"].as_array();
            conditions.into_iter().flatten().any(|condition| {
                condition["type"] == "Ready"
                    && condition["status"] == "True"
                    && condition["observedGeneration"] == app["generation"]
            })
        })
    };
    Ok(STAGES
        .into_iter()
        .map(|stage| (stage, is_ready(stage)))
        .collect())
}
