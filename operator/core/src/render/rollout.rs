//! Canaries: Rollouts of Argo Rollouts, step by step and judged at each.

use serde_json::{Value, json};
use todo_operator_api::component::{ComponentKind, Strategy};
use todo_operator_api::traffic::Router;

use super::{analysis, duration, scaler, topic, weighted, workload};
use crate::inputs::PodInputs;
use crate::names;
use crate::validate::{ValidApp, ValidComponent};

/// Going back to one of so many versions skips the steps.
const ROLLBACK_WINDOW: i32 = 3;
/// How long the canary of an aborted rollout lives on, for connections that are still open.
const ABORT_SCALE_DOWN_SECONDS: i32 = 30;
const DEFAULT_PAUSE_SECONDS: u64 = 60;
/// Most steps that a ladder has: each is 5 per cent.
const FINEST_LADDER: i64 = 20;

/// Whether new versions of a component come as canaries.
pub(super) fn is_canary(component: &ValidComponent<'_>) -> bool {
    let strategy = component
        .spec
        .rollout
        .as_ref()
        .map(|rollout| rollout.strategy);
    component.spec.kind != ComponentKind::CronJob && strategy == Some(Strategy::Canary)
}

/// The weights of a canary's steps, in per cent; empty for a component that has none.
///
/// The steps that it asks for; else 5, 10, … 95 where a router weighs; else one step for each replica but the last, at
/// most as fine as the routed ladder. One replica has one step: beside the stable pod where there may be one more,
/// else in its place.
pub fn ladder(app: &ValidApp<'_>, component: &ValidComponent<'_>) -> Vec<i64> {
    if !is_canary(component) {
        return Vec::new();
    }
    let asked = component
        .spec
        .rollout
        .as_ref()
        .map(|rollout| &rollout.steps);
    if let Some(steps) = asked.filter(|steps| !steps.is_empty()) {
        return steps.iter().copied().map(i64::from).collect();
    }
    let parts = match scaler::replicas(component) {
        _ if weighted(app, component) => FINEST_LADDER,
        replicas @ 2.. => replicas.min(FINEST_LADDER),
        _ if surge(app, component) == Surge::Never => return vec![100],
        _ => 2,
    };
    (1..parts)
        .map(|part| (part * 100 + parts - 1) / parts)
        .collect()
}

/// How many pods there may be beside the wanted ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Surge {
    /// A quarter, as a Deployment has.
    Quarter,
    /// One: a canary without a router takes its share by the number of its pods.
    One,
    /// None: one more consumer would get no partition, and would never be judged by its work.
    Never,
}

fn surge(app: &ValidApp<'_>, component: &ValidComponent<'_>) -> Surge {
    if weighted(app, component) {
        return Surge::Quarter;
    }
    let partitions = topic::fewest_partitions(app, component);
    let spare = partitions.is_none_or(|partitions| scaler::replicas(component).max(1) < partitions);
    if component.spec.kind != ComponentKind::Worker || spare {
        Surge::One
    } else {
        Surge::Never
    }
}

/// The Rollout's `spec`.
pub(super) fn spec(
    app: &ValidApp<'_>,
    component: &ValidComponent<'_>,
    inputs: &PodInputs,
) -> Value {
    let ladder = ladder(app, component);
    let pause = component
        .spec
        .rollout
        .as_ref()
        .and_then(|rollout| rollout.step_pause.as_ref());
    let pause = duration::text(pause, DEFAULT_PAUSE_SECONDS);
    let steps: Vec<_> = ladder
        .iter()
        .flat_map(|weight| {
            [
                json!({"setWeight": weight}),
                json!({"pause": {"duration": pause}}),
            ]
        })
        .collect();
    let name = names::component(app.name, component.name);
    let routed = weighted(app, component);
    let (max_surge, max_unavailable) = match surge(app, component) {
        Surge::Quarter => (json!("25%"), 0),
        Surge::One => (json!(1), 0),
        Surge::Never => (json!(0), 1),
    };
    let judged = analysis::is_judged(app, component) && !ladder.is_empty();
    let mut spec = workload::replicated(app, component, inputs);
    spec["progressDeadlineAbort"] = true.into();
    spec["rollbackWindow"] = json!({"revisions": ROLLBACK_WINDOW});
    spec["strategy"] = json!({"canary": {
        "maxSurge": max_surge,
        "maxUnavailable": max_unavailable,
        // Means nothing without a router.
        "abortScaleDownDelaySeconds": routed.then_some(ABORT_SCALE_DOWN_SECONDS),
        "stableService": routed.then(|| names::stable(app.name, component.name)),
        "canaryService": routed.then(|| names::canary(app.name, component.name)),
        "trafficRouting": routed.then(|| traffic_routing(app, &name)),
        "analysis": judged.then(|| json!({
            "startingStep": 1,
            "templates": [{"templateName": name}],
            "args": [{"name": analysis::CANARY_HASH, "valueFrom": {"podTemplateHashValue": "Latest"}}],
        })),
        "steps": steps,
    }});
    spec
}

fn traffic_routing(app: &ValidApp<'_>, name: &str) -> Value {
    match app.router {
        Router::GatewayAPI => json!({"plugins": {
            "argoproj-labs/gatewayAPI": {"httpRoute": name, "namespace": app.namespace},
        }}),
        Router::Traefik => json!({"traefik": {"weightedTraefikServiceName": name}}),
        Router::Istio | Router::None => Value::Null,
    }
}
