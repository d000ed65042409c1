//! How each component is, down to the leaf object that explains it.

use std::collections::BTreeMap;

use todo_operator_api::status::ComponentStatus;

use super::Outcome;
use crate::cause::{Cause, Health};
use crate::kind::Kind;
use crate::live::Children;
use crate::live::{Detail, Live, Workload};
use crate::names;
use crate::release;
use crate::render;
use crate::validate::ValidComponent;

/// It is as it should be.
pub const HEALTHY: &str = "Healthy";
/// It is on its way.
pub const PROGRESSING: &str = "Progressing";
/// Its canary waits.
pub const PAUSED: &str = "Paused";
/// It will not come right by waiting.
pub const DEGRADED: &str = "Degraded";
/// It waits for what comes before it.
pub const WAITING: &str = "Waiting";

/// Every component's status.
pub fn all(outcome: &Outcome<'_>) -> BTreeMap<String, ComponentStatus> {
    outcome
        .app
        .components
        .iter()
        .map(|(name, component)| ((*name).to_owned(), one(outcome, name, component)))
        .collect()
}

/// The component that explains most why not all are healthy, and whether it is degraded.
pub fn trouble(components: &BTreeMap<String, ComponentStatus>) -> Option<(Cause, bool)> {
    let cause = |name: &str, status: &ComponentStatus| {
        let message = status.message.as_deref().unwrap_or("not ready yet");
        Cause::new(
            &format!("Component{}", status.state),
            format!("{name}: {message}"),
        )
    };
    let degraded = components
        .iter()
        .find(|(_, status)| status.state == DEGRADED);
    if let Some((name, status)) = degraded {
        return Some((cause(name, status), true));
    }
    components
        .iter()
        .find(|(_, status)| status.state != HEALTHY)
        .map(|(name, status)| (cause(name, status), false))
}

fn one(outcome: &Outcome<'_>, name: &str, component: &ValidComponent<'_>) -> ComponentStatus {
    let children = outcome.observed.children;
    let mut status = ComponentStatus {
        kind: component.spec.kind,
        image: None,
        desired: None,
        ready: None,
        step: None,
        weight: None,
        ladder: Vec::new(),
        state: WAITING.to_owned(),
        message: None,
    };
    if release::workload_kind(component) == Kind::Rollout {
        status.ladder = render::ladder(outcome.app, component);
    }
    let Some(live) = release::workload_live(outcome.app, name, children) else {
        status.message = Some(waiting_for(outcome));
        return status;
    };
    if let Detail::Workload(workload) = &live.detail {
        status.image = Some(workload.image.to_string());
        if component.spec.kind != todo_operator_api::component::ComponentKind::CronJob {
            status.desired = workload.replicas;
            status.ready = Some(workload.available);
        }
        if workload.in_flight {
            status.step = workload.step.map(|(step, of)| format!("{step}/{of}"));
            status.weight = workload.weight;
        }
    }
    let (state, cause) = match &live.health {
        Health::Ready => (HEALTHY, None),
        Health::Progressing(cause) => (PROGRESSING, Some(cause)),
        Health::Paused(cause) => (PAUSED, Some(cause)),
        Health::Degraded(cause) => (DEGRADED, Some(cause)),
    };
    status.state = state.to_owned();
    status.message = cause.map(|cause| {
        let workload = names::component(outcome.app.name, name);
        leaf(children, outcome.app.namespace, name, &workload, live)
            .unwrap_or_else(|| cause.message.to_string())
    });
    status
}

fn waiting_for(outcome: &Outcome<'_>) -> String {
    match &outcome.plan.barrier {
        Some(barrier) => match barrier.waits_for.first() {
            Some((key, cause)) => format!("waits for {key}: {}", cause.message),
            None => "waits for what comes before it".to_owned(),
        },
        None => "not created yet".to_owned(),
    }
}

/// What the leaf objects say: a pod's problem, a mount that fails, a quota in the way, a failing measurement.
fn leaf(
    children: &Children,
    namespace: &str,
    component: &str,
    workload_name: &str,
    workload: &Live,
) -> Option<String> {
    let current = match &workload.detail {
        Detail::Workload(workload) => workload.current_hash.as_deref(),
        _ => None,
    };
    let own = |live: &&std::sync::Arc<Live>| live.component.as_deref() == Some(component);
    let pods: Vec<_> = children
        .iter()
        .filter(|(key, live)| key.kind == Kind::Pod && own(live))
        .filter_map(|(key, live)| match &live.detail {
            Detail::Pod { hash, problem } => Some((key, hash.as_deref(), problem.as_deref())),
            _ => None,
        })
        .collect();
    let is_new = |hash: Option<&str>| current.is_none() || hash == current;
    // The newest version's pods explain most: an older one's problem is not what keeps the new one back.
    let pod = pods
        .iter()
        .find(|(_, hash, problem)| problem.is_some() && is_new(*hash))
        .or_else(|| pods.iter().find(|(_, _, problem)| problem.is_some()));
    let mount = children.iter().find_map(|(key, live)| match &live.detail {
        Detail::Event {
            about,
            reason,
            message,
            ..
        } if key.kind == Kind::Event
            && *key.namespace == *namespace
            && &**reason == "FailedMount"
            && pods
                .iter()
                .any(|(pod, _, problem)| *pod.name == **about && problem.is_some()) =>
        {
            Some(format!("Pod {about}: FailedMount: {message}"))
        }
        _ => None,
    });
    if let Some(mount) = mount {
        return Some(mount);
    }
    if let Some((key, _, Some(problem))) = pod {
        return Some(format!("{key}: {}: {}", problem.reason, problem.message));
    }
    let replica_set = children
        .iter()
        .filter(|(key, live)| key.kind == Kind::ReplicaSet && own(live))
        .find_map(|(key, live)| match &live.health {
            Health::Degraded(cause) => Some(format!("{key}: {}: {}", cause.reason, cause.message)),
            _ => None,
        });
    replica_set.or_else(|| {
        let Detail::Workload(workload) = &workload.detail else {
            return None;
        };
        is_rejected(workload)
            .then(|| release::failing_measurement(children, namespace, workload_name, workload))
            .flatten()
    })
}

fn is_rejected(workload: &Workload) -> bool {
    workload.rejected.is_some()
}
