//! AnalysisRuns: how Argo Rollouts' measurements turned out.

use serde_json::Value;

use super::{Cause, Health};
use crate::fields::{boxed, is_true, items, label, text};
use crate::live::Detail;
use crate::names::ROLLOUTS_POD_TEMPLATE_HASH;

/// An AnalysisRun of a Rollout; others (an Experiment's) tell us nothing.
pub(super) fn read(object: &Value) -> (Health, Detail) {
    let failure = failure(object);
    let phase = text(object, "/status/phase").unwrap_or("Pending");
    let cause = || {
        Cause::new(
            &format!("Analysis{phase}"),
            failure.clone().unwrap_or_default(),
        )
    };
    let health = match phase {
        "Successful" => Health::Ready,
        "Failed" | "Error" => Health::Degraded(cause()),
        "Inconclusive" => Health::Paused(cause()),
        _ => Health::progressing("AnalysisRunning", "it is still measuring"),
    };
    let rollout = items(object, "/metadata/ownerReferences")
        .find(|owner| text(owner, "/kind") == Some("Rollout"))
        .and_then(|owner| text(owner, "/name"));
    let detail = match rollout {
        Some(rollout) => Detail::Analysis {
            rollout: boxed(rollout),
            hash: label(object, ROLLOUTS_POD_TEMPLATE_HASH).map(boxed),
            failure: failure.map(String::into_boxed_str),
        },
        None => Detail::None,
    };
    (health, detail)
}

/// The measurement that decided against the new version, in a sentence.
fn failure(object: &Value) -> Option<String> {
    let phase = text(object, "/status/phase").filter(|phase| is_against(phase))?;
    let said = text(object, "/status/message");
    let metric = items(object, "/status/metricResults")
        .filter(|metric| !is_true(metric, "/dryRun"))
        .find(|metric| text(metric, "/phase").is_some_and(is_against));
    let Some(metric) = metric else {
        return Some(said.unwrap_or(phase).to_owned());
    };
    let name = text(metric, "/name").unwrap_or("unnamed");
    let phase = text(metric, "/phase").unwrap_or(phase);
    // The measurement that is as bad as the metric; a later good one did not save it.
    let measurement = items(metric, "/measurements")
        .rev()
        .find(|measurement| text(measurement, "/phase") == Some(phase))
        .or_else(|| items(metric, "/measurements").next_back());
    let value = measurement.and_then(|measurement| text(measurement, "/value"));
    let message = text(metric, "/message")
        .or_else(|| measurement.and_then(|measurement| text(measurement, "/message")))
        .or(said);
    let mut sentence = match phase {
        "Error" => format!("metric {name} could not be measured"),
        "Inconclusive" => format!("metric {name} was inconclusive"),
        _ => format!("metric {name} failed"),
    };
    if let Some(value) = value {
        sentence.push_str(&format!(", last measured {value}"));
    }
    if let Some(message) = message {
        sentence.push_str(&format!(": {message}"));
    }
    Some(sentence)
}

fn is_against(phase: &str) -> bool {
    matches!(phase, "Failed" | "Error" | "Inconclusive")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(status: Value) -> Value {
        json!({
            "metadata": {
                "ownerReferences": [{"kind": "Rollout", "name": "todo-web", "uid": "u"}],
                "labels": {ROLLOUTS_POD_TEMPLATE_HASH: "5f6"},
            },
            "status": status,
        })
    }

    fn failure_of(status: Value) -> Option<String> {
        match read(&run(status)).1 {
            Detail::Analysis {
                rollout,
                hash,
                failure,
            } => {
                assert_eq!(hash.as_deref(), Some("5f6"));
                assert_eq!(&*rollout, "todo-web");
                failure.map(Into::into)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn failing_measurement_is_told_in_one_sentence() {
        let failed = json!({"phase": "Failed", "message": "Metric \"success\" assessed Failed", "metricResults": [
            {"name": "latency", "phase": "Successful", "measurements": [{"phase": "Successful", "value": "[0.1]"}]},
            {"name": "trial", "phase": "Failed", "dryRun": true},
            {"name": "success", "phase": "Failed", "measurements": [
                {"phase": "Failed", "value": "[0.91]"},
                {"phase": "Failed", "value": "[0.87]"},
                {"phase": "Successful", "value": "[1]"},
            ]},
        ]});
        assert_eq!(
            failure_of(failed).as_deref(),
            Some("metric success failed, last measured [0.87]: Metric \"success\" assessed Failed")
        );
    }

    #[test]
    fn error_and_inconclusive_are_told_apart() {
        let error = json!({"phase": "Error", "metricResults": [{"name": "success", "phase": "Error",
            "measurements": [{"phase": "Error", "message": "dial tcp: no such host"}]}]});
        assert_eq!(
            failure_of(error.clone()).as_deref(),
            Some("metric success could not be measured: dial tcp: no such host")
        );
        assert!(matches!(read(&run(error)).0, Health::Degraded(_)));
        let inconclusive = json!({"phase": "Inconclusive", "metricResults": [{"name": "success", "phase": "Inconclusive",
            "measurements": [{"phase": "Inconclusive", "value": "[]"}]}]});
        assert_eq!(
            failure_of(inconclusive.clone()).as_deref(),
            Some("metric success was inconclusive, last measured []")
        );
        assert!(matches!(read(&run(inconclusive)).0, Health::Paused(_)));
    }

    #[test]
    fn run_without_metrics_quotes_its_own_message() {
        let status = json!({"phase": "Error", "message": "args.canary-hash was not resolved"});
        assert_eq!(
            failure_of(status).as_deref(),
            Some("args.canary-hash was not resolved")
        );
    }

    #[test]
    fn run_that_went_well_or_still_goes_has_no_failure() {
        for (phase, ready) in [("Successful", true), ("Running", false), ("Pending", false)] {
            let status =
                json!({"phase": phase, "metricResults": [{"name": "a", "phase": "Failed"}]});
            assert_eq!(read(&run(status.clone())).0.is_ready(), ready);
            assert_eq!(failure_of(status), None, "{phase}");
        }
    }

    #[test]
    fn run_of_no_rollout_tells_nothing() {
        assert_eq!(
            read(&json!({"status": {"phase": "Failed"}})).1,
            Detail::None
        );
    }
}
