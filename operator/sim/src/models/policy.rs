//! The controllers of PodDisruptionBudgets (`k8s.io/kubernetes`, `pkg/controller/disruption`) and of ResourceQuotas
//! (`pkg/controller/resourcequota`): their word that a policy is in force. What a quota refuses is a knob.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::client::{Client, Controller};
use super::fields::{generation, holds, is_deleting, label, namespace};
use super::replicaset::PODS;
use crate::actor::{Resource, resource};

const BUDGETS: Resource = resource("policy", "poddisruptionbudgets");
const QUOTAS: Resource = resource("", "resourcequotas");

/// The disruption controller.
pub(crate) struct Budgets;

impl Controller for Budgets {
    const NAME: &'static str = "disruption";
    const MANAGER: &'static str = "kube-controller-manager";
    const WATCHES: &'static [Resource] = &[BUDGETS, PODS];

    fn sync(&mut self, client: &mut Client, _now: Timestamp) {
        let budgets = client.list(BUDGETS);
        if budgets.is_empty() {
            return;
        }
        let pods = client.list(PODS);
        for budget in budgets.iter().filter(|budget| !is_deleting(budget)) {
            let mine = pods
                .iter()
                .filter(|pod| namespace(pod) == namespace(budget) && selects(budget, pod));
            let (mut expected, mut healthy) = (0_i64, 0_i64);
            for pod in mine {
                expected += 1;
                healthy += i64::from(holds(pod, "Ready"));
            }
            let least = (expected - unavailable(budget, expected)).max(0);
            let status = json!({
                "observedGeneration": generation(budget),
                "currentHealthy": healthy,
                "desiredHealthy": least,
                "expectedPods": expected,
                "disruptionsAllowed": if expected > 0 { (healthy - least).max(0) } else { 0 },
            });
            let _ = client.set_status(BUDGETS, budget, status);
        }
    }
}

fn selects(budget: &Value, pod: &Value) -> bool {
    let labels = budget
        .pointer("/spec/selector/matchLabels")
        .and_then(Value::as_object);
    labels.is_some_and(|labels| labels.iter().all(|(key, value)| label(pod, key) == *value))
}

fn unavailable(budget: &Value, expected: i64) -> i64 {
    let zero = json!(0);
    let most = budget.pointer("/spec/maxUnavailable").unwrap_or(&zero);
    match most
        .as_str()
        .and_then(|text| text.strip_suffix('%')?.parse::<i64>().ok())
    {
        Some(percent) => (percent * expected + 99) / 100,
        None => most.as_i64().unwrap_or_default(),
    }
}

/// The quota controller.
pub(crate) struct Quotas;

impl Controller for Quotas {
    const NAME: &'static str = "resourcequota";
    const MANAGER: &'static str = "kube-controller-manager";
    const WATCHES: &'static [Resource] = &[QUOTAS];

    fn sync(&mut self, client: &mut Client, _now: Timestamp) {
        for quota in client.list(QUOTAS) {
            if is_deleting(&quota) {
                continue;
            }
            let mut used = json!({});
            let limits = quota.pointer("/spec/hard").and_then(Value::as_object);
            for (limit, _) in limits.into_iter().flatten() {
                used[limit] = json!("0");
            }
            let status = json!({"hard": quota["spec"]["hard"], "used": used});
            let _ = client.set_status(QUOTAS, &quota, status);
        }
    }
}
