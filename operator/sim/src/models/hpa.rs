//! The HPA controller (`k8s.io/kubernetes`, `pkg/controller/podautoscaler`): moves replicas through `scale`, to what the
//! load asks for and within the bounds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::client::{Client, Controller, Interrupted};
use super::deployment::DEPLOYMENTS;
use super::fields::{
    condition, generation, integer, is_deleting, namespace, plus, stamp, text, uid,
};
use super::rollout::ROLLOUTS;
use crate::actor::{Resource, resource};

pub(crate) const HPAS: Resource = resource("autoscaling", "horizontalpodautoscalers");
const PERIOD: Duration = Duration::from_secs(15);
const DEFAULT_STABILIZATION: i64 = 300;

/// What is scaled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    pub api_version: &'a str,
    pub kind: &'a str,
    pub name: &'a str,
}

/// Reads a `scaleTargetRef`.
pub(crate) fn target(reference: &Value) -> Target<'_> {
    let or = |pointer: &str, default: &'static str| match text(reference, pointer) {
        "" => default,
        given => given,
    };
    Target {
        api_version: or("/apiVersion", "apps/v1"),
        kind: or("/kind", "Deployment"),
        name: text(reference, "/name"),
    }
}

impl Target<'_> {
    pub fn resource(&self) -> Resource {
        if self.kind == "Rollout" {
            ROLLOUTS
        } else {
            DEPLOYMENTS
        }
    }

    pub fn find(&self, client: &Client, namespace: &str) -> Option<Arc<Value>> {
        client.get(self.resource(), namespace, self.name)
    }
}

/// The HPA controller.
#[derive(Default)]
pub(crate) struct Hpas {
    /// What was recommended lately, by the UID of the HPA: it shrinks to the highest of these.
    recommended: BTreeMap<String, Vec<(Timestamp, i64)>>,
}

impl Controller for Hpas {
    const NAME: &'static str = "hpa";
    const MANAGER: &'static str = "kube-controller-manager";
    const WATCHES: &'static [Resource] = &[HPAS];

    fn sync(&mut self, client: &mut Client, now: Timestamp) {
        let hpas = client.list(HPAS);
        self.recommended
            .retain(|known, _| hpas.iter().any(|hpa| uid(hpa) == known));
        for hpa in hpas.iter().filter(|hpa| !is_deleting(hpa)) {
            client.again_in(PERIOD);
            // What interrupts it is tried again.
            let _ = self.reconcile(client, hpa, now);
        }
    }
}

/// A condition, and whether it holds.
type Said = (&'static str, bool, &'static str, String);

impl Hpas {
    fn reconcile(
        &mut self,
        client: &mut Client,
        hpa: &Value,
        now: Timestamp,
    ) -> Result<(), Interrupted> {
        let target = target(&hpa["spec"]["scaleTargetRef"]);
        let Some(live) = target.find(client, namespace(hpa)) else {
            let message = format!(
                "the HPA controller was unable to get the target's current scale: {} {:?} not found",
                target.resource().plural,
                target.name
            );
            let said = [("AbleToScale", false, "FailedGetScale", message)];
            return report(client, hpa, &said, None, false, now);
        };
        let current = integer(&live, "/spec/replicas").unwrap_or(1);
        if current == 0 {
            let message = "scaling is disabled since the replica count of the target is zero";
            let said = [
                able(),
                (
                    "ScalingActive",
                    false,
                    "ScalingDisabled",
                    message.to_owned(),
                ),
            ];
            return report(client, hpa, &said, Some((0, 0)), false, now);
        }
        let load = client.settings().desired.get(target.name).copied();
        let wanted = self.recommend(hpa, current, load, now);
        if wanted != current {
            client.scale(target.resource(), &live, wanted)?;
        }
        let calculated =
            "the HPA was able to successfully calculate a replica count from external metric";
        let active = (
            "ScalingActive",
            true,
            "ValidMetricFound",
            calculated.to_owned(),
        );
        let in_range = "the desired count is within the acceptable range".to_owned();
        let said = [
            able(),
            active,
            ("ScalingLimited", false, "DesiredWithinRange", in_range),
        ];
        let status_replicas = match target.kind {
            "Rollout" => integer(&live, "/status/HPAReplicas"),
            _ => integer(&live, "/status/replicas"),
        };
        let counts = Some((status_replicas.unwrap_or_default(), wanted));
        report(client, hpa, &said, counts, wanted != current, now)
    }

    /// How many replicas it is to be (`reconcileAutoscaler`, `normalizeDesiredReplicasWithBehaviors`).
    fn recommend(&mut self, hpa: &Value, current: i64, load: Option<i64>, now: Timestamp) -> i64 {
        let least = integer(&hpa["spec"], "/minReplicas").unwrap_or(1);
        let most = integer(&hpa["spec"], "/maxReplicas").unwrap_or(current);
        // The bounds hold whatever the metrics say, and whatever scaling policies say.
        if current > most {
            return most;
        }
        if current < least {
            return least;
        }
        let asked = load.unwrap_or(current).clamp(least, most);
        let is_disabled = |direction: &str| {
            text(hpa, &format!("/spec/behavior/{direction}/selectPolicy")) == "Disabled"
        };
        let window = integer(hpa, "/spec/behavior/scaleDown/stabilizationWindowSeconds");
        let window = u64::try_from(window.unwrap_or(DEFAULT_STABILIZATION)).unwrap_or_default();
        let recent = self.recommended.entry(uid(hpa).to_owned()).or_default();
        recent.retain(|(at, _)| plus(*at, Duration::from_secs(window)) > now);
        recent.push((now, asked));
        let highest = recent
            .iter()
            .map(|(_, number)| *number)
            .max()
            .unwrap_or(asked);
        if asked > current && !is_disabled("scaleUp") {
            asked.min((current * 2).max(4))
        } else if highest < current && !is_disabled("scaleDown") {
            highest
        } else {
            current
        }
    }
}

fn able() -> Said {
    let message = "recommended size matches current size".to_owned();
    ("AbleToScale", true, "ReadyForNewScale", message)
}

fn report(
    client: &mut Client,
    hpa: &Value,
    said: &[Said],
    counts: Option<(i64, i64)>,
    has_scaled: bool,
    now: Timestamp,
) -> Result<(), Interrupted> {
    let conditions: Vec<Value> = said
        .iter()
        .map(|(kind, holds, reason, message)| {
            let status = if *holds { "True" } else { "False" };
            let known = condition(hpa, kind)
                .filter(|known| text(known, "/status") == status)
                .map(|known| known["lastTransitionTime"].clone());
            json!({
                "type": kind, "status": status, "reason": reason, "message": message,
                "lastTransitionTime": known.unwrap_or_else(|| json!(stamp(now))),
            })
        })
        .collect();
    let (current, desired) = counts.unwrap_or_default();
    let mut status = json!({
        "observedGeneration": generation(hpa),
        "currentReplicas": current,
        "desiredReplicas": desired,
        "currentMetrics": null,
        "conditions": conditions,
    });
    if has_scaled {
        status["lastScaleTime"] = json!(stamp(now));
    } else if let Some(last) = hpa.pointer("/status/lastScaleTime") {
        status["lastScaleTime"] = last.clone();
    }
    client.set_status(HPAS, hpa, status)?;
    Ok(())
}
