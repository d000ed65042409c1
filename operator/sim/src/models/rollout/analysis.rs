//! The AnalysisRuns of a Rollout: in the background, and at steps (`rollout/analysis.go`).

use std::cmp::Reverse;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{Canary, HASH, INCONCLUSIVE, PAUSE_STEP, REVISION};
use crate::models::analysis::{ANALYSIS_RUNS, ANALYSIS_TEMPLATES, is_over};
use crate::models::client::Interrupted;
use crate::models::fields::{
    annotation, controlled_by, created, integer, is_deleting, is_true, items, label, name,
    namespace, text,
};

const TYPE: &str = "rollout-type";
const STEP_INDEX: &str = "step-index";
const DEFAULT_HISTORY: i64 = 5;

impl Canary<'_> {
    /// `reconcileAnalysisRuns`.
    pub(super) fn reconcile_runs(&mut self) -> Result<(), Interrupted> {
        let is_kept_after = annotation(&self.new_set().0, super::replicas::DEADLINE).is_some();
        let is_skipped = self.is_aborted()
            || is_true(self.rollout, "/status/promoteFull")
            || is_kept_after
            || text(self.rollout, "/status/stableRS").is_empty()
            || self.is_within_window();
        if is_skipped {
            self.background_run = self
                .known_run("currentBackgroundAnalysisRunStatus")
                .as_deref()
                .map(told);
            self.step_run = self
                .known_run("currentStepAnalysisRunStatus")
                .as_deref()
                .map(told);
            return self.cancel_all_but(&[]);
        }
        let step = self.reconcile_step_run()?;
        let background = self.reconcile_background_run()?;
        self.step_run = step.as_deref().map(told);
        self.background_run = background.as_deref().map(told);
        let current: Vec<String> = [&step, &background]
            .into_iter()
            .flatten()
            .map(|run| name(run).to_owned())
            .collect();
        self.cancel_all_but(&current)?;
        self.forget_runs(&current)
    }

    /// A run that the status names.
    fn known_run(&self, field: &str) -> Option<Arc<Value>> {
        let named = text(self.rollout, &format!("/status/canary/{field}/name"));
        self.runs.iter().find(|run| name(run) == named).cloned()
    }

    /// `reconcileBackgroundAnalysisRun`.
    fn reconcile_background_run(&mut self) -> Result<Option<Arc<Value>>, Interrupted> {
        let analysis = &self.strategy()["analysis"];
        let starting =
            integer(analysis, "/startingStep").and_then(|step| usize::try_from(step).ok());
        let is_early =
            starting.is_some_and(|start| self.step_index().is_some_and(|index| index < start));
        if items(analysis, "/templates").is_empty() || self.is_fully_promoted() || is_early {
            return Ok(None);
        }
        let known = self.known_run("currentBackgroundAnalysisRunStatus");
        if self.pause_condition(INCONCLUSIVE).is_some() {
            return Ok(known);
        }
        match known.filter(|known| !self.needs_another(known)) {
            Some(known) => {
                self.judge(&known, "Background");
                Ok(Some(known))
            }
            None => self.start(analysis, "Background", None).map(Some),
        }
    }

    /// `reconcileStepBasedAnalysisRun`.
    fn reconcile_step_run(&mut self) -> Result<Option<Arc<Value>>, Interrupted> {
        let known = self.known_run("currentStepAnalysisRunStatus");
        if !self.pause_conditions().is_empty() || is_true(self.rollout, "/status/abort") {
            return Ok(known);
        }
        let (Some(index), Some(step)) = (self.step_index(), self.step()) else {
            return Ok(None);
        };
        let analysis = &step["analysis"];
        let is_former = |run: &Arc<Value>| label(run, STEP_INDEX) != index.to_string();
        if items(analysis, "/templates").is_empty() || known.as_ref().is_some_and(is_former) {
            return Ok(None);
        }
        match known.filter(|known| !self.needs_another(known)) {
            Some(known) => {
                self.judge(&known, "Step-based");
                Ok(Some(known))
            }
            None => self.start(analysis, "Step", Some(index)).map(Some),
        }
    }

    /// `needsNewAnalysisRun`, for one that is there.
    fn needs_another(&self, run: &Value) -> bool {
        let was_paused = is_true(self.rollout, "/status/controllerPause");
        if was_paused && self.pause_condition(PAUSE_STEP).is_none() {
            return text(run, "/status/phase") == "Inconclusive";
        }
        self.rollout.pointer("/status/abortedAt").is_some()
    }

    fn judge(&mut self, run: &Value, kind: &str) {
        match text(run, "/status/phase") {
            "Inconclusive" => self.pause.add.push(INCONCLUSIVE),
            "Failed" | "Error" => {
                let said = text(run, "/status/message");
                let mut message = format!("{kind} analysis phase error/failed");
                if !said.is_empty() {
                    message = format!("{message}: {said}");
                }
                self.pause.abort = Some(message);
            }
            _ => {}
        }
    }

    /// `createAnalysisRun`. One of that name that is still at work is taken for it; else a number is added.
    fn start(
        &mut self,
        analysis: &Value,
        kind: &str,
        step: Option<usize>,
    ) -> Result<Arc<Value>, Interrupted> {
        let mut metrics = Vec::new();
        for template in items(analysis, "/templates") {
            let named = text(template, "/templateName");
            let template = self
                .client
                .get(ANALYSIS_TEMPLATES, namespace(self.rollout), named);
            let template = template.ok_or(Interrupted)?;
            metrics.extend_from_slice(items(&template, "/spec/metrics"));
        }
        let mut named = format!(
            "{}-{}-{}",
            name(self.rollout),
            self.new_hash(),
            self.revision()
        );
        if let Some(step) = step {
            named = format!("{named}-{step}");
        }
        let taken = |named: &str| self.runs.iter().find(|run| name(run) == named).cloned();
        let mut free = named.clone();
        for number in 1.. {
            match taken(&free) {
                Some(run) if !is_over(&run) => return Ok(run),
                Some(_) => free = format!("{named}.{number}"),
                None => break,
            }
        }
        let mut labels = json!({HASH: self.new_hash(), TYPE: kind});
        if let Some(step) = step {
            labels[STEP_INDEX] = json!(step.to_string());
        }
        let own = self
            .rollout
            .pointer("/spec/selector/matchLabels")
            .and_then(Value::as_object);
        for (key, value) in own.into_iter().flatten() {
            labels[key] = value.clone();
        }
        let run = json!({
            "metadata": {
                "name": free,
                "namespace": namespace(self.rollout),
                "labels": labels,
                "annotations": {REVISION: self.revision().to_string()},
                "ownerReferences": controlled_by(self.rollout),
            },
            "spec": {"args": self.arguments(analysis), "metrics": metrics},
        });
        Ok(self.client.create(ANALYSIS_RUNS, run)?)
    }

    fn arguments(&self, analysis: &Value) -> Vec<Value> {
        let arguments = items(analysis, "/args").iter();
        arguments
            .map(|argument| {
                let value = match text(argument, "/valueFrom/podTemplateHashValue") {
                    "Latest" => self.new_hash(),
                    "Stable" => text(self.rollout, "/status/stableRS"),
                    _ => text(argument, "/value"),
                };
                json!({"name": argument["name"], "value": value})
            })
            .collect()
    }

    /// `cancelAnalysisRuns`.
    fn cancel_all_but(&mut self, current: &[String]) -> Result<(), Interrupted> {
        for run in self.runs.clone() {
            let is_current = current.iter().any(|known| known == name(&run));
            if !is_current && !is_over(&run) && !is_true(&run, "/spec/terminate") {
                let patch = json!({"spec": {"terminate": true}});
                self.client.merge(ANALYSIS_RUNS, &run, patch)?;
            }
        }
        Ok(())
    }

    /// `FilterAnalysisRunsToDelete` in `utils/analysis/filter.go`.
    fn forget_runs(&mut self, current: &[String]) -> Result<(), Interrupted> {
        let mut over: Vec<Arc<Value>> = self.runs.clone();
        over.retain(|run| {
            is_over(run) && !is_deleting(run) && !current.iter().any(|known| known == name(run))
        });
        over.sort_by_key(|run| (Reverse(created(run)), name(run).to_owned()));
        let limit = |field: &str| {
            let limit = integer(self.rollout, &format!("/spec/analysis/{field}"));
            usize::try_from(limit.unwrap_or(DEFAULT_HISTORY)).unwrap_or_default()
        };
        let mut kept = [
            limit("successfulRunHistoryLimit"),
            limit("unsuccessfulRunHistoryLimit"),
        ];
        for run in over {
            let has_set = self
                .sets
                .iter()
                .any(|set| label(&set.0, HASH) == label(&run, HASH));
            let left = &mut kept[usize::from(text(&run, "/status/phase") != "Successful")];
            if has_set && *left > 0 {
                *left -= 1;
            } else {
                self.client.delete(ANALYSIS_RUNS, &run)?;
            }
        }
        Ok(())
    }
}

/// What a Rollout's status says of a run.
fn told(run: &Value) -> Value {
    let mut told = json!({"name": name(run), "status": text(run, "/status/phase")});
    let message = text(run, "/status/message");
    if !message.is_empty() {
        told["message"] = json!(message);
    }
    told
}
