//! AnalysisRuns (Argo Rollouts v1.9.1, `analysis/analysis.go`): measurements at intervals, good or bad by the image of the
//! pods that are judged. They have no status subresource.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::client::{Client, Controller};
use super::fields::{
    controller, count, duration, integer, is_deleting, is_true, items, label, namespace, plus,
    stamp, text, time, until,
};
use super::knobs::Fate;
use super::replicaset::REPLICA_SETS;
use crate::actor::{Resource, resource};

pub(crate) const ANALYSIS_RUNS: Resource = resource("argoproj.io", "analysisruns");
pub(crate) const ANALYSIS_TEMPLATES: Resource = resource("argoproj.io", "analysistemplates");
/// Measurements that are kept of each metric.
const RETENTION: u64 = 10;

/// The controller of AnalysisRuns.
pub(crate) struct AnalysisRuns;

impl Controller for AnalysisRuns {
    const NAME: &'static str = "analysis";
    const MANAGER: &'static str = "rollouts-controller";
    const WATCHES: &'static [Resource] = &[ANALYSIS_RUNS];

    fn sync(&mut self, client: &mut Client, now: Timestamp) {
        for run in client.list(ANALYSIS_RUNS) {
            if !is_over(&run) && !is_deleting(&run) {
                measure(client, &run, now);
            }
        }
    }
}

/// Whether a run has ended.
pub(crate) fn is_over(run: &Value) -> bool {
    matches!(
        text(run, "/status/phase"),
        "Successful" | "Failed" | "Error" | "Inconclusive"
    )
}

/// How the measurements of a version turn out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    Bad,
    NoData,
}

impl Verdict {
    fn phase(self) -> &'static str {
        match self {
            Self::Good => "Successful",
            Self::Bad => "Failed",
            Self::NoData => "Inconclusive",
        }
    }

    fn value(self) -> &'static str {
        match self {
            Self::Good => "[100]",
            Self::Bad => "[91.5]",
            Self::NoData => "[NaN]",
        }
    }

    /// The field of a metric's result that counts such measurements.
    fn counter(self) -> &'static str {
        match self {
            Self::Good => "successful",
            Self::Bad => "failed",
            Self::NoData => "inconclusive",
        }
    }
}

fn verdict(client: &Client, run: &Value) -> Verdict {
    let rollout = controller(run)
        .map(|owner| text(owner, "/name"))
        .unwrap_or_default();
    let set = format!("{rollout}-{}", label(run, "rollouts-pod-template-hash"));
    let set = client.get(REPLICA_SETS, namespace(run), &set);
    let image = set
        .as_deref()
        .map(|set| text(set, "/spec/template/spec/containers/0/image"))
        .unwrap_or_default();
    let behaviour = &client.settings().behaviour;
    if behaviour.is(image, Fate::BadMetric) {
        Verdict::Bad
    } else if behaviour.is(image, Fate::NoData) {
        Verdict::NoData
    } else {
        Verdict::Good
    }
}

/// A metric, measured until now.
struct Measured {
    result: Value,
    /// How it ended, and why.
    ended: Option<(&'static str, String)>,
    next: Option<Timestamp>,
}

fn measure(client: &mut Client, run: &Value, now: Timestamp) {
    let verdict = verdict(client, run);
    let started = time(run, "/status/startedAt").unwrap_or(now);
    let is_terminated = is_true(run, "/spec/terminate");
    let metrics = items(run, "/spec/metrics").iter().enumerate();
    let measured: Vec<Measured> = metrics
        .map(|(index, metric)| {
            // Bad is what the first metric says; nothing to measure there is for all.
            let verdict = match verdict {
                Verdict::Bad if index > 0 => Verdict::Good,
                verdict => verdict,
            };
            of_metric(run, metric, verdict, started, is_terminated, now)
        })
        .collect();
    let worst = ["Failed", "Inconclusive"].into_iter().find_map(|phase| {
        let ended = measured.iter().filter_map(|metric| metric.ended.as_ref());
        ended
            .filter(|(ended, _)| *ended == phase)
            .map(|(_, why)| (phase, why.clone()))
            .next()
    });
    let is_done = measured.iter().all(|metric| metric.ended.is_some());
    let (phase, message) = match worst {
        Some(worst) => worst,
        None if is_terminated => ("Successful", "Run Terminated".to_owned()),
        None if is_done => ("Successful", String::new()),
        None => ("Running", String::new()),
    };
    let mut status = json!({"phase": phase, "startedAt": stamp(started)});
    if !message.is_empty() {
        status["message"] = json!(message);
    }
    if phase == "Running" {
        for next in measured.iter().filter_map(|metric| metric.next) {
            client.again_in(until(next, now));
        }
    } else {
        status["completedAt"] = json!(stamp(now));
    }
    let results: Vec<Value> = measured
        .into_iter()
        .map(|metric| metric.result)
        .filter(|result| count(result, "/count") > 0)
        .collect();
    if !results.is_empty() {
        status["metricResults"] = json!(results);
    }
    if run.get("status") != Some(&status) {
        let _ = client.merge(ANALYSIS_RUNS, run, json!({"status": status}));
    }
}

fn of_metric(
    run: &Value,
    metric: &Value,
    verdict: Verdict,
    started: Timestamp,
    is_terminated: bool,
    now: Timestamp,
) -> Measured {
    let wait = |field: &str| metric.get(field).and_then(duration);
    let first = plus(started, wait("initialDelay").unwrap_or_default());
    let interval = wait("interval");
    let most = number(metric, "count").or(interval.is_none().then_some(1));
    let limit = match verdict {
        Verdict::Good => None,
        Verdict::Bad => number(metric, "failureLimit").or(Some(0)),
        Verdict::NoData => number(metric, "inconclusiveLimit").or(Some(0)),
    };
    let due = if is_terminated {
        // Nothing is measured any more.
        let known = items(run, "/status/metricResults").iter();
        let known = known.filter(|known| known["name"] == metric["name"]);
        known
            .filter_map(|known| integer(known, "/count"))
            .next()
            .unwrap_or_default()
    } else if now < first {
        0
    } else {
        let passed = now.duration_since(first).as_secs();
        let interval = interval.unwrap_or(Duration::MAX).as_secs().max(1);
        1 + passed / i64::try_from(interval).unwrap_or(i64::MAX)
    };
    let due = due
        .min(most.unwrap_or(i64::MAX))
        .min(limit.map_or(i64::MAX, |limit| limit + 1));
    let named = text(metric, "/name");
    let ended = match limit {
        Some(limit) if due > limit => {
            let (phase, field) = (verdict.phase(), verdict.counter());
            let why = format!(
                "Metric {named:?} assessed {phase} due to {field} ({due}) > {field}Limit ({limit})"
            );
            Some((phase, why.replace("failedLimit", "failureLimit")))
        }
        _ if is_terminated || most.is_some_and(|most| due >= most) => {
            Some(("Successful", String::new()))
        }
        _ => None,
    };
    let at = |index: i64| {
        let intervals = u32::try_from(index).unwrap_or_default();
        plus(
            first,
            interval.unwrap_or_default().saturating_mul(intervals),
        )
    };
    let kept = (due - i64::try_from(RETENTION).unwrap_or_default()).max(0)..due;
    let measurements: Vec<Value> = kept
        .map(|index| {
            let at = stamp(at(index));
            json!({"phase": verdict.phase(), "value": verdict.value(), "startedAt": at, "finishedAt": at})
        })
        .collect();
    let phase = ended.as_ref().map_or("Running", |(phase, _)| phase);
    let mut result = json!({
        "name": named, "phase": phase, "count": due, "measurements": measurements,
    });
    result[verdict.counter()] = json!(due);
    Measured {
        result,
        next: ended.is_none().then(|| at(due)),
        ended,
    }
}

/// A number, or text that is one.
fn number(metric: &Value, field: &str) -> Option<i64> {
    let value = metric.get(field)?;
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}
