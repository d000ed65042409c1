//! Jobs (`k8s.io/kubernetes`, `pkg/controller/job`): one pod after the other until one succeeds, or too many have failed.
//!
//! CronJobs are not run: the operator reads nothing of what their Jobs do.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::client::{Client, Controller, Interrupted};
use super::fields::{
    by_controller, controlled_by, created, holds, integer, is_deleting, is_true, name, namespace,
    plus, stamp, text, time, uid, until,
};
use super::replicaset::PODS;
use crate::actor::{Resource, resource};

const JOBS: Resource = resource("batch", "jobs");
const DEFAULT_BACKOFF_LIMIT: i64 = 6;
/// Wait before the second pod; doubled before each further one.
const BACKOFF: Duration = Duration::from_secs(10);
const LONGEST_BACKOFF: Duration = Duration::from_secs(600);

/// The controller of Jobs.
pub(crate) struct Jobs;

impl Controller for Jobs {
    const NAME: &'static str = "job";
    const MANAGER: &'static str = "kube-controller-manager";
    const WATCHES: &'static [Resource] = &[JOBS, PODS];

    fn sync(&mut self, client: &mut Client, now: Timestamp) {
        let jobs = client.list(JOBS);
        if jobs.is_empty() {
            return;
        }
        let pods = client.list(PODS);
        let pods = by_controller(&pods);
        for job in &jobs {
            let is_over = holds(job, "Complete") || holds(job, "Failed");
            if is_deleting(job) || is_over || is_true(job, "/spec/suspend") {
                continue;
            }
            let mine = pods.get(uid(job)).map(Vec::as_slice).unwrap_or_default();
            // What interrupts it is tried again.
            let _ = reconcile(client, job, mine, now);
        }
    }
}

fn reconcile(
    client: &mut Client,
    job: &Value,
    pods: &[&Arc<Value>],
    now: Timestamp,
) -> Result<(), Interrupted> {
    let in_phase = |phase: &str| {
        pods.iter()
            .filter(|pod| text(pod, "/status/phase") == phase)
            .count()
    };
    let (succeeded, failed) = (in_phase("Succeeded"), in_phase("Failed"));
    let active = pods.iter().filter(|pod| !is_deleting(pod)).count() - succeeded - failed;
    let failures = i64::try_from(failed).unwrap_or(i64::MAX);
    let limit = integer(job, "/spec/backoffLimit").unwrap_or(DEFAULT_BACKOFF_LIMIT);
    let started = time(job, "/status/startTime").unwrap_or(now);
    let failure = if failures > limit {
        Some((
            "BackoffLimitExceeded",
            "Job has reached the specified backoff limit",
        ))
    } else if is_past_deadline(client, job, started, now) {
        Some((
            "DeadlineExceeded",
            "Job was active longer than specified deadline",
        ))
    } else {
        None
    };
    let mut status = json!({
        "startTime": stamp(started),
        "uncountedTerminatedPods": {},
        "ready": 0,
    });
    for (field, number) in [
        ("active", active),
        ("succeeded", succeeded),
        ("failed", failed),
    ] {
        if number > 0 {
            status[field] = json!(number);
        }
    }
    let told = |kind: &str, reason: &str, message: &str| {
        json!({
            "type": kind, "status": "True", "reason": reason, "message": message,
            "lastProbeTime": stamp(now), "lastTransitionTime": stamp(now),
        })
    };
    if succeeded > 0 {
        let (reason, message) = (
            "CompletionsReached",
            "Reached expected number of succeeded pods",
        );
        status["completionTime"] = json!(stamp(now));
        status["conditions"] = json!([
            told("SuccessCriteriaMet", reason, message),
            told("Complete", reason, message),
        ]);
    } else if let Some((reason, message)) = failure {
        for pod in pods
            .iter()
            .filter(|pod| text(pod, "/status/phase") != "Failed")
        {
            client.delete(PODS, pod)?;
        }
        if let Some(status) = status.as_object_mut() {
            status.remove("active");
        }
        status["conditions"] = json!([
            told("FailureTarget", reason, message),
            told("Failed", reason, message),
        ]);
    } else if active == 0 && may_start(client, pods, failed, now) {
        start(client, job)?;
        status["active"] = json!(1);
    }
    client.set_status(JOBS, job, status)?;
    Ok(())
}

fn is_past_deadline(client: &mut Client, job: &Value, started: Timestamp, now: Timestamp) -> bool {
    let Some(seconds) = job
        .pointer("/spec/activeDeadlineSeconds")
        .and_then(Value::as_u64)
    else {
        return false;
    };
    let deadline = plus(started, Duration::from_secs(seconds));
    if deadline > now {
        client.again_in(until(deadline, now));
    }
    deadline <= now
}

/// Whether the wait after the last failure is over.
fn may_start(client: &mut Client, pods: &[&Arc<Value>], failed: usize, now: Timestamp) -> bool {
    let Some(last) = pods.iter().map(|pod| ended(pod)).max() else {
        return true;
    };
    let doubled = u32::try_from(failed.saturating_sub(1))
        .unwrap_or(u32::MAX)
        .min(6);
    let at = plus(last, (BACKOFF * 2_u32.pow(doubled)).min(LONGEST_BACKOFF));
    if at > now {
        client.again_in(until(at, now));
    }
    at <= now
}

fn ended(pod: &Value) -> Timestamp {
    time(
        pod,
        "/status/containerStatuses/0/state/terminated/finishedAt",
    )
    .unwrap_or_else(|| created(pod))
}

fn start(client: &mut Client, job: &Value) -> Result<(), Interrupted> {
    let template = &job["spec"]["template"];
    let mut labels = template["metadata"]
        .get("labels")
        .cloned()
        .unwrap_or_else(|| json!({}));
    for (key, value) in [
        ("batch.kubernetes.io/controller-uid", uid(job)),
        ("batch.kubernetes.io/job-name", name(job)),
        ("controller-uid", uid(job)),
        ("job-name", name(job)),
    ] {
        labels[key] = json!(value);
    }
    let pod = json!({
        "metadata": {
            "generateName": format!("{}-", name(job)),
            "namespace": namespace(job),
            "labels": labels,
            "ownerReferences": controlled_by(job),
        },
        "spec": template["spec"],
    });
    client.create(PODS, pod)?;
    Ok(())
}
