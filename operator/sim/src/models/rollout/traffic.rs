//! Where requests go: the selectors of the stable and the canary Service, and the weights of the router
//! (`rollout/service.go`, `rollout/trafficrouting.go`, `rollout/trafficrouting/traefik`, and the Gateway API plugin
//! v0.15, `pkg/plugin/httproute.go`).

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Canary, HASH, HTTP_ROUTES, SERVICES};
use crate::actor::{Resource, resource};
use crate::models::analysis::ANALYSIS_TEMPLATES;
use crate::models::client::{Client, Interrupted};
use crate::models::fields::{annotation, integer, is_true, items, label, name, namespace, text};

pub(super) const TRAEFIK_SERVICES: Resource = resource("traefik.io", "traefikservices");
const MANAGED_BY: &str = "argo-rollouts.argoproj.io/managed-by-rollouts";
const IN_PROGRESS: &str = "rollouts.argoproj.io/gatewayapi-canary";
/// When what is missing is looked for again.
const RETRY: std::time::Duration = std::time::Duration::from_secs(10);

/// Why a Rollout is invalid: something that it names is not there (`ValidateRolloutReferencedResources`).
pub(super) fn missing_reference(client: &Client, rollout: &Value) -> Option<String> {
    let at = namespace(rollout);
    let canary = &rollout["spec"]["strategy"]["canary"];
    for field in ["stableService", "canaryService"] {
        let Some(service) = canary.get(field).and_then(Value::as_str) else {
            continue;
        };
        if client.get(SERVICES, at, service).is_none() {
            return Some(format!(
                "spec.strategy.canary.{field}: Invalid value: {service:?}: service {service:?} not found"
            ));
        }
    }
    let templates = items(canary, "/analysis/templates").iter();
    let of_steps = items(canary, "/steps")
        .iter()
        .flat_map(|step| items(step, "/analysis/templates"));
    templates
        .chain(of_steps)
        .map(|template| text(template, "/templateName"))
        .find(|template| client.get(ANALYSIS_TEMPLATES, at, template).is_none())
        .map(|template| {
            format!(
                "spec.strategy.canary.analysis.templates: Invalid value: {template:?}: AnalysisTemplate '{template}' \
                 not found"
            )
        })
}

impl Canary<'_> {
    /// `reconcileStableAndCanaryService`.
    pub(super) fn reconcile_services(&mut self) -> Result<(), Interrupted> {
        if let Some(stable) = self.stable {
            self.lead("stableService", stable, true)?;
            if self.is_aborted() && !self.is_routed() {
                return self.lead("canaryService", stable, true);
            }
        }
        self.lead("canaryService", self.new, true)
    }

    /// Narrows a Service to a ReplicaSet that can serve (`ensureSVCTargets`).
    fn lead(&mut self, field: &str, set: usize, checks: bool) -> Result<(), Interrupted> {
        let Some(service) = self.strategy().get(field).and_then(Value::as_str) else {
            return Ok(());
        };
        let Some(service) = self.client.get(SERVICES, namespace(self.rollout), service) else {
            self.client.again_in(RETRY);
            return Err(Interrupted);
        };
        let set = &self.sets[set];
        let hash = label(&set.0, HASH);
        if service["spec"]["selector"][HASH].as_str() == Some(hash) {
            return Ok(());
        }
        let is_adopted = annotation(&service, MANAGED_BY).is_some();
        let is_whole = set.replicas() > 0 && set.available() >= set.replicas();
        let serves = if is_adopted {
            set.available() > 0
        } else {
            is_whole
        };
        if checks && !serves {
            return Ok(());
        }
        let mut patch = json!({"spec": {"selector": {HASH: hash}}});
        if !is_adopted {
            patch["metadata"] = json!({"annotations": {MANAGED_BY: name(self.rollout)}});
        }
        self.client.merge(SERVICES, &service, patch)?;
        Ok(())
    }

    /// `reconcileTrafficRouting`.
    pub(super) fn reconcile_routing(&mut self) -> Result<(), Interrupted> {
        if !self.is_routed() {
            self.weights = None;
            return Ok(());
        }
        let weight = self.routed_weight()?;
        let stable_share = (100 - weight) * self.replicas() / 100;
        if self
            .stable_set()
            .is_none_or(|stable| stable.available() < stable_share)
        {
            return Ok(());
        }
        self.write_weight(weight)?;
        let hash = |set: Option<usize>| {
            set.map(|set| label(&self.sets[set].0, HASH))
                .unwrap_or_default()
        };
        let destination = |weight: i64, hash: &str, field: &str| json!({"weight": weight, "podTemplateHash": hash, "serviceName": self.strategy()[field]});
        self.weights = Some(json!({
            "canary": destination(weight, hash(Some(self.new)), "canaryService"),
            "stable": destination(100 - weight, hash(self.stable), "stableService"),
        }));
        Ok(())
    }

    fn routed_weight(&mut self) -> Result<i64, Interrupted> {
        if self.is_fully_promoted() {
            return Ok(0);
        }
        if self.is_aborted() {
            if let Some(stable) = self.stable {
                self.lead("canaryService", stable, false)?;
            }
            return Ok(0);
        }
        if self.new_set().available() == 0 {
            return Ok(0);
        }
        if is_true(self.rollout, "/status/promoteFull") {
            let known = integer(self.rollout, "/status/canary/weights/canary/weight");
            return Ok(known.unwrap_or_default());
        }
        let Some(index) = self.step_index() else {
            return Ok(0);
        };
        Ok(if !self.is_at_desired_counts() {
            self.weight_before(index.min(self.steps().len()))
        } else if index < self.steps().len() {
            self.set_weight()
        } else {
            100
        })
    }

    fn write_weight(&mut self, weight: i64) -> Result<(), Interrupted> {
        let routing = &self.strategy()["trafficRouting"];
        let traefik = text(routing, "/traefik/weightedTraefikServiceName");
        if !traefik.is_empty() {
            let object = self.find(TRAEFIK_SERVICES, namespace(self.rollout), traefik)?;
            let mut next = Value::clone(&object);
            self.weigh(next.pointer_mut("/spec/weighted/services"), weight)?;
            return self.update(TRAEFIK_SERVICES, &object, next);
        }
        let plugin = routing.pointer("/plugins/argoproj-labs~1gatewayAPI");
        let Some(plugin) = plugin else {
            return Ok(());
        };
        let object = self.find(
            HTTP_ROUTES,
            text(plugin, "/namespace"),
            text(plugin, "/httpRoute"),
        )?;
        let mut next = Value::clone(&object);
        let canary = text(self.strategy(), "/canaryService");
        let rules = next
            .pointer_mut("/spec/rules")
            .and_then(Value::as_array_mut);
        for rule in rules.into_iter().flatten() {
            // A rule that leads to the canary alone is a header's.
            let back_ends = items(rule, "/backendRefs");
            if back_ends.len() == 1 && text(&back_ends[0], "/name") == canary {
                continue;
            }
            self.weigh(rule.get_mut("backendRefs"), weight)?;
        }
        let labels = &mut next["metadata"]["labels"];
        if weight > 0 {
            labels[IN_PROGRESS] = json!("in-progress");
        } else if let Some(labels) = labels.as_object_mut() {
            labels.remove(IN_PROGRESS);
        }
        self.update(HTTP_ROUTES, &object, next)
    }

    fn find(
        &mut self,
        resource: Resource,
        at: &str,
        named: &str,
    ) -> Result<Arc<Value>, Interrupted> {
        let object = self.client.get(resource, at, named);
        if object.is_none() {
            self.client.again_in(RETRY);
        }
        object.ok_or(Interrupted)
    }

    /// Writes the weights into a list of back ends, which must have both Services.
    fn weigh(&mut self, back_ends: Option<&mut Value>, weight: i64) -> Result<(), Interrupted> {
        let shares = [("/canaryService", weight), ("/stableService", 100 - weight)];
        let shares = shares.map(|(field, share)| (text(self.strategy(), field), share));
        let mut found = 0;
        let list = back_ends.and_then(Value::as_array_mut);
        for back_end in list.into_iter().flatten() {
            for (service, share) in shares {
                if text(back_end, "/name") == service {
                    back_end["weight"] = json!(share);
                    found += 1;
                }
            }
        }
        if found < shares.len() {
            self.client.again_in(RETRY);
            return Err(Interrupted);
        }
        Ok(())
    }

    fn update(
        &mut self,
        resource: Resource,
        object: &Value,
        next: Value,
    ) -> Result<(), Interrupted> {
        if next != *object {
            self.client.replace(resource, next)?;
        }
        Ok(())
    }
}
