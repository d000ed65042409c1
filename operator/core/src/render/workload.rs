//! What runs pods: Deployments, CronJobs (Rollouts: [`rollout`]), and the budgets that protect them.

use serde_json::{Value, json};
use todo_operator_api::component::{ComponentKind, Concurrency, Schedule};

use super::metadata::{child, selector};
use super::variables::text;
use super::{duration, rollout, scaler};
use crate::child::Child;
use crate::inputs::PodInputs;
use crate::kind::Kind;
use crate::names;
use crate::validate::{ValidApp, ValidComponent};

/// Old ReplicaSets that are kept to go back to.
pub(super) const REVISION_HISTORY: i32 = 5;
/// Time without progress after which a new version is given up.
const DEFAULT_PROGRESS_SECONDS: u64 = 600;
const DEFAULT_RUN_SECONDS: u64 = 3_600;
/// A run that could not start in this time is skipped; without a bound a long pause of the controller ends a CronJob.
const STARTING_DEADLINE_SECONDS: i64 = 600;
/// Pods of one run that may fail.
const RUN_RETRIES: i32 = 2;
/// Kubernetes would take the zone of its controller manager.
const DEFAULT_TIME_ZONE: &str = "Etc/UTC";

/// The workload of a component and, where its pods are meant to stay, their disruption budget.
pub(super) fn children(
    app: &ValidApp<'_>,
    component: &ValidComponent<'_>,
    inputs: &PodInputs,
) -> Vec<Child> {
    let name = names::component(app.name, component.name);
    let (kind, spec) = match &component.spec.schedule {
        Some(schedule) if component.spec.kind == ComponentKind::CronJob => {
            (Kind::CronJob, cron_job(schedule, inputs))
        }
        _ if rollout::is_canary(component) => {
            (Kind::Rollout, rollout::spec(app, component, inputs))
        }
        _ => (Kind::Deployment, deployment(app, component, inputs)),
    };
    let content = json!({"spec": spec});
    let mut workload = child(app, kind, &name, Some(component.name), content);
    workload.body["metadata"]["annotations"] = json!({names::ANNOTATION_INPUTS: inputs.hash()});
    let budget = (kind != Kind::CronJob).then(|| disruption_budget(app, component, &name));
    std::iter::once(workload).chain(budget).collect()
}

/// What Deployments and Rollouts have in common.
pub(super) fn replicated(
    app: &ValidApp<'_>,
    component: &ValidComponent<'_>,
    inputs: &PodInputs,
) -> Value {
    let rollout = component.spec.rollout.as_ref();
    let deadline = rollout.and_then(|rollout| rollout.progress_deadline.as_ref());
    let min_ready = rollout.and_then(|rollout| rollout.min_ready_seconds);
    json!({
        "replicas": scaler::replicas(component),
        "revisionHistoryLimit": REVISION_HISTORY,
        "progressDeadlineSeconds": duration::seconds(deadline, DEFAULT_PROGRESS_SECONDS),
        "minReadySeconds": min_ready.filter(|seconds| *seconds > 0),
        "selector": {"matchLabels": selector(app.name, component.name)},
        "template": inputs.template,
    })
}

fn deployment(app: &ValidApp<'_>, component: &ValidComponent<'_>, inputs: &PodInputs) -> Value {
    let mut spec = replicated(app, component, inputs);
    spec["strategy"] = json!({
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0},
    });
    spec
}

/// Jobs of a CronJob carry no label of ours, only their pods do: they are the CronJob's children, not the application's.
fn cron_job(schedule: &Schedule, inputs: &PodInputs) -> Value {
    let concurrency: &Concurrency = &schedule.concurrency;
    json!({
        "schedule": schedule.cron,
        "timeZone": schedule.time_zone.as_deref().unwrap_or(DEFAULT_TIME_ZONE),
        "concurrencyPolicy": text(concurrency),
        "suspend": schedule.suspend,
        "startingDeadlineSeconds": STARTING_DEADLINE_SECONDS,
        "jobTemplate": {"spec": {
            "backoffLimit": RUN_RETRIES,
            "activeDeadlineSeconds": duration::seconds(schedule.timeout.as_ref(), DEFAULT_RUN_SECONDS),
            "template": inputs.template,
        }},
    })
}

/// `maxUnavailable`, because `minAvailable: 1` of one replica would block every drain.
fn disruption_budget(app: &ValidApp<'_>, component: &ValidComponent<'_>, name: &str) -> Child {
    let spec = json!({
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": selector(app.name, component.name)},
    });
    let content = json!({"spec": spec});
    child(
        app,
        Kind::PodDisruptionBudget,
        name,
        Some(component.name),
        content,
    )
}
