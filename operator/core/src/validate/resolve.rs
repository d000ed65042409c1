//! Defaults: what a component gets from its environment where it says nothing.

use todo_operator_api::TodoApp;
use todo_operator_api::component::{Component, ComponentKind, Resources, Rollout, Scaling};
use todo_operator_api::environment::Defaults;
use todo_operator_api::scalar::Duration;
use todo_operator_api::traffic::Router;

/// Time without being ready after which an application counts as degraded, where nobody says.
const READY_DEADLINE_SECONDS: i64 = 600;

/// The component with the environment's defaults filled in, field by field. What the component says wins.
///
/// `partitions` is the most replicas that a Worker can use. A default yields where it cannot apply to a component: it
/// is made for all of a stage, and must not turn a component invalid that is fine by itself.
pub(super) fn component(
    spec: &Component,
    defaults: Option<&Defaults>,
    partitions: Option<i32>,
) -> Component {
    let mut resolved = spec.clone();
    let Some(defaults) = defaults else {
        return resolved;
    };
    resolved.resources = resources(spec.resources.as_ref(), defaults.resources.as_ref());
    if spec.kind == ComponentKind::CronJob {
        return resolved;
    }
    resolved.rollout = rollout(spec.rollout.as_ref(), defaults.rollout.as_ref());
    resolved.scaling = scaling(spec, defaults.scaling.as_ref(), partitions);
    resolved
}

/// Who routes.
pub(super) fn router(app: &TodoApp, defaults: Option<&Defaults>) -> Router {
    let own = app.spec.traffic.as_ref().and_then(|traffic| traffic.router);
    own.or_else(|| defaults?.router).unwrap_or_default()
}

/// Seconds without being ready after which the application counts as degraded.
pub(super) fn ready_deadline(app: &TodoApp, defaults: Option<&Defaults>) -> i64 {
    let own = app.spec.ready_deadline.as_ref();
    own.or_else(|| defaults?.ready_deadline.as_ref())
        .and_then(Duration::as_secs)
        .and_then(|seconds| i64::try_from(seconds).ok())
        .unwrap_or(READY_DEADLINE_SECONDS)
}

fn resources(own: Option<&Resources>, defaults: Option<&Resources>) -> Option<Resources> {
    let (own, defaults) = match (own, defaults) {
        (Some(own), Some(defaults)) => (own, defaults),
        (own, defaults) => return own.or(defaults).cloned(),
    };
    let mut merged = defaults.clone();
    merged.requests.extend(own.requests.clone());
    merged.limits.extend(own.limits.clone());
    // Half of a pair by default: it follows the half that the component sets.
    for (resource, request) in merged.requests.clone() {
        let Some(limit) = merged.limits.get(&resource).cloned() else {
            continue;
        };
        if request.as_millis() <= limit.as_millis() {
            continue;
        }
        match (
            own.requests.contains_key(&resource),
            own.limits.contains_key(&resource),
        ) {
            (true, false) => merged.limits.insert(resource, request),
            (false, true) => merged.requests.insert(resource, limit),
            _ => None,
        };
    }
    Some(merged)
}

fn rollout(own: Option<&Rollout>, defaults: Option<&Rollout>) -> Option<Rollout> {
    let (own, defaults) = match (own, defaults) {
        (Some(own), Some(defaults)) => (own, defaults),
        (own, defaults) => return own.or(defaults).cloned(),
    };
    let mut merged = own.clone();
    if merged.steps.is_empty() {
        merged.steps.clone_from(&defaults.steps);
    }
    merged.step_pause = merged.step_pause.or_else(|| defaults.step_pause.clone());
    merged.progress_deadline = merged
        .progress_deadline
        .or_else(|| defaults.progress_deadline.clone());
    merged.min_ready_seconds = merged.min_ready_seconds.or(defaults.min_ready_seconds);
    merged.analysis = match (merged.analysis, &defaults.analysis) {
        (Some(mut own), Some(defaults)) => {
            own.success = own.success.or_else(|| defaults.success.clone());
            own.latency = own.latency.or_else(|| defaults.latency.clone());
            Some(own)
        }
        (own, defaults) => own.or_else(|| defaults.clone()),
    };
    Some(merged)
}

fn scaling(
    spec: &Component,
    defaults: Option<&Scaling>,
    partitions: Option<i32>,
) -> Option<Scaling> {
    let own = spec.scaling.clone().unwrap_or_default();
    let Some(defaults) = defaults else {
        return spec.scaling.clone();
    };
    let lag = defaults
        .lag
        .filter(|_| spec.consumes.values().any(|consume| !consume.broadcast));
    let mut merged = Scaling {
        min: own.min.or(defaults.min),
        max: own.max.or(defaults.max),
        cpu: own.cpu.or(defaults.cpu),
        lag: own.lag.or(lag),
    };
    let most = partitions.unwrap_or(i32::MAX);
    if own.max.is_none() {
        let scales = merged.cpu.is_some() || merged.lag.is_some();
        merged.max = merged.max.filter(|_| scales).map(|max| max.min(most));
    }
    if own.min.is_none() {
        merged.min = merged
            .min
            .map(|min| min.min(most).min(merged.max.unwrap_or(i32::MAX)));
    } else if own.max.is_none() {
        merged.max = merged.max.max(merged.max.and(own.min));
    }
    Some(merged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn resolved(spec: Value, defaults: Value, partitions: Option<i32>) -> Component {
        let spec: Component = serde_json::from_value(spec).unwrap();
        let defaults: Defaults = serde_json::from_value(defaults).unwrap();
        component(&spec, Some(&defaults), partitions)
    }

    fn assert_scaling(spec: Value, defaults: Value, partitions: Option<i32>, expected: Value) {
        let resolved = resolved(spec, json!({"scaling": defaults}), partitions);
        assert_eq!(serde_json::to_value(resolved.scaling).unwrap(), expected);
    }

    #[test]
    fn resources_are_merged_by_name() {
        let resolved = resolved(
            json!({"kind": "Service", "resources": {"requests": {"cpu": "200m"}}}),
            json!({"resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}}}),
            None,
        );
        assert_eq!(
            serde_json::to_value(resolved.resources).unwrap(),
            json!({"requests": {"cpu": "200m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}})
        );
    }

    #[test]
    fn a_default_limit_follows_a_higher_request() {
        let defaults =
            json!({"resources": {"requests": {"memory": "64Mi"}, "limits": {"memory": "128Mi"}}});
        let more = resolved(
            json!({"kind": "Service", "resources": {"requests": {"memory": "1Gi"}}}),
            defaults.clone(),
            None,
        );
        assert_eq!(more.resources.unwrap().limits["memory"], "1Gi".into());
        let less = resolved(
            json!({"kind": "Service", "resources": {"limits": {"memory": "32Mi"}}}),
            defaults,
            None,
        );
        assert_eq!(less.resources.unwrap().requests["memory"], "32Mi".into());
    }

    #[test]
    fn a_rollout_is_merged_field_by_field() {
        let resolved = resolved(
            json!({"kind": "Service", "rollout": {"strategy": "Canary", "analysis": {"latency": "200ms"}}}),
            json!({"rollout": {"strategy": "Rolling", "steps": [50], "stepPause": "5m", "analysis": {"success": "99.9"}}}),
            None,
        );
        assert_eq!(
            serde_json::to_value(resolved.rollout).unwrap(),
            json!({"strategy": "Canary", "steps": [50], "stepPause": "5m", "analysis": {"success": "99.9", "latency": "200ms"}})
        );
    }

    #[test]
    fn a_cron_job_gets_neither_scaling_nor_rollout() {
        let resolved = resolved(
            json!({"kind": "CronJob"}),
            json!({"scaling": {"min": 2}, "rollout": {"strategy": "Canary"}, "resources": {"requests": {"cpu": "1"}}}),
            None,
        );
        assert_eq!(resolved.scaling, None);
        assert_eq!(resolved.rollout, None);
        assert!(resolved.resources.is_some());
    }

    #[test]
    fn scaling_is_merged_field_by_field() {
        assert_scaling(
            json!({"kind": "Service", "scaling": {"max": 6}}),
            json!({"min": 2, "max": 10, "cpu": 70}),
            None,
            json!({"min": 2, "max": 6, "cpu": 70}),
        );
    }

    #[test]
    fn default_scaling_yields_where_it_cannot_apply() {
        let worker = json!({"kind": "Worker", "consumes": {"events": {}}});
        assert_scaling(
            worker,
            json!({"min": 5, "max": 10, "lag": 50}),
            Some(3),
            json!({"min": 3, "max": 3, "lag": 50}),
        );
        let site = json!({"kind": "Site"});
        assert_scaling(
            site.clone(),
            json!({"min": 2, "max": 10, "lag": 50}),
            None,
            json!({"min": 2}),
        );
        let broadcast = json!({"kind": "Worker", "consumes": {"events": {"broadcast": true}}});
        assert_scaling(broadcast, json!({"max": 4, "lag": 50}), None, json!({}));
        let one = json!({"kind": "Service", "scaling": {"max": 1}});
        assert_scaling(
            one,
            json!({"min": 2, "cpu": 70}),
            None,
            json!({"min": 1, "max": 1, "cpu": 70}),
        );
        let many = json!({"kind": "Service", "scaling": {"min": 12}});
        assert_scaling(
            many,
            json!({"max": 10, "cpu": 70}),
            None,
            json!({"min": 12, "max": 12, "cpu": 70}),
        );
    }
}
