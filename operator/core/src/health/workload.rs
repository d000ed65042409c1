//! Kubernetes' own workloads: Deployment, Job, CronJob; and what a Rollout has in common with them.

use serde_json::Value;

use super::replica_set::replica_failure;
use super::{Cause, Health, template};
use crate::fields::{Condition, boxed, integer, is_observed, is_true, text};
use crate::live::{Detail, Workload};
use crate::mutants::Mutant;
use crate::names;
use crate::projection;

/// Reason of the condition `Progressing`, of Deployments and Rollouts alike, when the new version takes too long.
pub(super) const DEADLINE_EXCEEDED: &str = "ProgressDeadlineExceeded";

/// A Deployment is ready when every replica that its current spec asks for is updated and available, and no other is
/// left.
pub(super) fn deployment(object: &Value) -> (Health, Detail) {
    let mut workload = common(object, "/spec/template");
    let desired = integer(object, "/spec/replicas").unwrap_or(1);
    let count = |field: &str| integer(object, &format!("/status/{field}")).unwrap_or_default();
    let (updated, total, available) = (
        count("updatedReplicas"),
        count("replicas"),
        count("availableReplicas"),
    );
    if !is_observed(object) && !Mutant::TrustsOldDeploymentStatus.is_on() {
        workload.in_flight = true;
        return (Health::unobserved(), detail(workload));
    }
    let deadline =
        Condition::of(object, "Progressing").filter(|it| it.reason() == DEADLINE_EXCEEDED);
    let health = if let Some(deadline) = deadline {
        let cause = match replica_failure(object) {
            Some(failure) => Cause::new(
                DEADLINE_EXCEEDED,
                format!("{} {}", deadline.message(), failure.message),
            ),
            None => deadline.cause(),
        };
        workload.rejected = Some(Box::new(cause.clone()));
        Health::Degraded(cause)
    } else if is_true(object, "/spec/paused") {
        Health::Paused(Cause::new("Paused", "it is paused by spec.paused"))
    } else if let Some(failure) = replica_failure(object) {
        // Other pods may leave room; the deadline decides.
        Health::Progressing(failure)
    } else if updated < desired {
        Health::progressing(
            "RollingOut",
            format!("{updated} of {desired} replicas are updated"),
        )
    } else if total > updated {
        let old = total - updated;
        Health::progressing("RollingOut", format!("{old} old replicas have yet to end"))
    } else if updated > desired {
        Health::progressing(
            "Scaling",
            format!("{updated} replicas are there, {desired} are wanted"),
        )
    } else if available < desired {
        Health::progressing(
            "NotAvailable",
            format!("{available} of {desired} replicas are available"),
        )
    } else {
        Health::Ready
    };
    workload.in_flight = workload.rejected.is_none() && (updated < desired || total > updated);
    (health, detail(workload))
}

/// A CronJob is ready once it exists, suspended or not: what its Jobs do is theirs.
pub(super) fn cron_job(object: &Value) -> (Health, Detail) {
    (
        Health::Ready,
        detail(common(object, "/spec/jobTemplate/spec/template")),
    )
}

/// A Job is ready when it is complete.
pub(super) fn job(object: &Value) -> (Health, Detail) {
    let is = |kind| Condition::of(object, kind).filter(|condition| condition.is_true());
    let health = if is("Complete").is_some() {
        Health::Ready
    } else if let Some(failed) = is("Failed") {
        Health::Degraded(failed.cause())
    } else if let Some(suspended) = is("Suspended") {
        Health::Paused(suspended.cause())
    } else {
        let failed = integer(object, "/status/failed").unwrap_or_default();
        let active = integer(object, "/status/active").unwrap_or_default();
        let message = match (active, failed) {
            (0, 0) => "it has not started yet".to_owned(),
            (_, 0) => "it runs".to_owned(),
            (_, failed) => format!("it runs again after {failed} failed pods"),
        };
        Health::progressing("Running", message)
    };
    let config_maps = object
        .pointer("/spec/template")
        .map(template::config_maps)
        .unwrap_or_default();
    (health, Detail::ConfigMaps(config_maps))
}

/// What every workload tells, whatever its state.
pub(super) fn common(object: &Value, template_at: &str) -> Workload {
    let (replicas_ours, replicas_theirs) = replicas_owners(object);
    let template = object.pointer(template_at).unwrap_or(&Value::Null);
    Workload {
        inputs: object
            .pointer("/metadata/annotations")
            .and_then(|annotations| annotations.get(names::ANNOTATION_INPUTS)?.as_str())
            .map(boxed),
        image: template::image(template),
        replicas: integer(object, "/spec/replicas"),
        replicas_ours,
        replicas_theirs,
        available: integer(object, "/status/availableReplicas").unwrap_or_default(),
        config_maps: template::config_maps(template),
        ..Workload::default()
    }
}

/// A workload's record as detail.
pub(super) fn detail(workload: Workload) -> Detail {
    Detail::Workload(Box::new(workload))
}

/// Whether we own `spec.replicas`, and whether somebody else does.
fn replicas_owners(object: &Value) -> (bool, bool) {
    let ours = projection::our_entry(object);
    let mut owners = (false, false);
    for entry in projection::managed_fields(object) {
        if entry.pointer("/fieldsV1/f:spec/f:replicas").is_none() {
            continue;
        }
        if ours.is_some_and(|ours| std::ptr::eq(ours, entry)) {
            owners.0 = true;
        } else if text(entry, "/manager").is_some() {
            owners.1 = true;
        }
    }
    owners
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn done() -> Value {
        json!({
            "metadata": {"generation": 4},
            "spec": {"replicas": 3},
            "status": {
                "observedGeneration": 4, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3,
                "conditions": [
                    {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable", "message": "m"},
                    {"type": "ReplicaFailure", "status": "False", "reason": "FailedCreate", "message": "m"},
                ],
            },
        })
    }

    fn workload_of(detail: Detail) -> Workload {
        match detail {
            Detail::Workload(workload) => *workload,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn deployment_is_ready_only_when_every_replica_is_updated_available_and_alone() {
        assert_eq!(deployment(&done()).0, Health::Ready);
        assert!(!workload_of(deployment(&done()).1).in_flight);
        for (pointer, value, reason, in_flight) in [
            ("/status/observedGeneration", json!(3), "NotObserved", true),
            (
                "/status/observedGeneration",
                json!(null),
                "NotObserved",
                true,
            ),
            ("/status/updatedReplicas", json!(2), "RollingOut", true),
            ("/status/replicas", json!(4), "RollingOut", true),
            ("/status/availableReplicas", json!(2), "NotAvailable", false),
            ("/spec/replicas", json!(2), "Scaling", false),
            ("/spec/replicas", json!(4), "RollingOut", true),
        ] {
            let mut object = done();
            *object.pointer_mut(pointer).unwrap() = value.clone();
            let (health, detail) = deployment(&object);
            assert!(
                matches!(health, Health::Progressing(_)),
                "{pointer} {value}"
            );
            assert_eq!(
                &*health.cause().unwrap().reason,
                reason,
                "{pointer} {value}"
            );
            assert_eq!(
                workload_of(detail).in_flight,
                in_flight,
                "{pointer} {value}"
            );
        }
    }

    #[test]
    fn deployment_of_no_replicas_is_ready() {
        let object = json!({"metadata": {"generation": 1}, "spec": {"replicas": 0}, "status": {"observedGeneration": 1}});
        assert_eq!(deployment(&object).0, Health::Ready);
    }

    #[test]
    fn deployment_past_its_deadline_is_rejected_for_its_current_generation_only() {
        let mut object = done();
        object["status"]["updatedReplicas"] = json!(1);
        object["status"]["conditions"] = json!([
            {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
             "message": "ReplicaSet \"a\" has timed out progressing."},
            {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: todo"},
        ]);
        let cause = Cause::new(
            "ProgressDeadlineExceeded",
            "ReplicaSet \"a\" has timed out progressing. exceeded quota: todo",
        );
        let (health, detail) = deployment(&object);
        assert_eq!(health, Health::Degraded(cause.clone()));
        let workload = workload_of(detail);
        assert_eq!(workload.rejected, Some(Box::new(cause)));
        assert!(!workload.in_flight);

        object["metadata"]["generation"] = json!(5);
        let (health, detail) = deployment(&object);
        assert!(matches!(health, Health::Progressing(_)));
        assert_eq!(workload_of(detail).rejected, None);
    }

    #[test]
    fn deployment_that_cannot_create_pods_names_the_quota_and_waits_for_its_deadline() {
        let mut object = done();
        object["status"]["conditions"] = json!([{"type": "ReplicaFailure", "status": "True",
            "reason": "FailedCreate", "message": "pods \"a\" is forbidden: exceeded quota: todo"}]);
        assert_eq!(
            deployment(&object).0,
            Health::Progressing(Cause::new(
                "QuotaExceeded",
                "pods \"a\" is forbidden: exceeded quota: todo"
            ))
        );
    }

    #[test]
    fn deployment_that_a_person_paused_is_paused() {
        let mut object = done();
        object["spec"]["paused"] = json!(true);
        assert!(matches!(deployment(&object).0, Health::Paused(_)));
    }

    #[test]
    fn job_ends_well_or_says_why_not() {
        for (status, expected) in [
            (
                json!({"conditions": [{"type": "Complete", "status": "True"}]}),
                Health::Ready,
            ),
            (
                json!({"failed": 4, "conditions": [
                    {"type": "FailureTarget", "status": "True", "reason": "BackoffLimitExceeded", "message": "m"},
                    {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded",
                     "message": "Job has reached the specified backoff limit"}]}),
                Health::Degraded(Cause::new(
                    "BackoffLimitExceeded",
                    "Job has reached the specified backoff limit",
                )),
            ),
            (
                json!({"conditions": [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded",
                                       "message": "Job was active longer than specified deadline"}]}),
                Health::Degraded(Cause::new(
                    "DeadlineExceeded",
                    "Job was active longer than specified deadline",
                )),
            ),
            (
                json!({"conditions": [{"type": "Suspended", "status": "True", "reason": "JobSuspended", "message": "Job suspended"}]}),
                Health::Paused(Cause::new("JobSuspended", "Job suspended")),
            ),
            (
                json!({}),
                Health::progressing("Running", "it has not started yet"),
            ),
            (
                json!({"active": 1}),
                Health::progressing("Running", "it runs"),
            ),
            (
                json!({"active": 1, "failed": 2}),
                Health::progressing("Running", "it runs again after 2 failed pods"),
            ),
            (
                json!({"active": 1, "conditions": [{"type": "SuccessCriteriaMet", "status": "True"}]}),
                Health::progressing("Running", "it runs"),
            ),
        ] {
            assert_eq!(job(&json!({"status": status})).0, expected, "{status}");
        }
    }

    #[test]
    fn cron_job_is_ready_even_while_suspended() {
        let (health, detail) = cron_job(&json!({
            "metadata": {"annotations": {"todo-operator.dev/inputs": "abc"}},
            "spec": {"suspend": true, "jobTemplate": {"spec": {"template": {"spec": {"containers": [
                {"image": "backup:1", "envFrom": [{"configMapRef": {"name": "c"}}]}]}}}}},
        }));
        assert_eq!(health, Health::Ready);
        let workload = workload_of(detail);
        assert_eq!(workload.inputs.as_deref(), Some("abc"));
        assert_eq!(&*workload.image, "backup:1");
        assert_eq!(workload.config_maps, vec![boxed("c")]);
    }

    #[test]
    fn owners_of_replicas_are_told_apart() {
        let entry = |manager: &str, operation: &str, subresource: &str| {
            json!({"manager": manager, "operation": operation, "subresource": subresource,
                   "fieldsV1": {"f:spec": {"f:replicas": {}}}})
        };
        let ours = entry("todo-operator", "Apply", "");
        let scale = entry("kube-controller-manager", "Update", "scale");
        let person = entry("kubectl-edit", "Update", "");
        let other_field = json!({"manager": "x", "operation": "Update", "fieldsV1": {"f:spec": {"f:paused": {}}}});
        for (entries, expected) in [
            (vec![ours.clone()], (true, false)),
            (vec![ours.clone(), scale.clone()], (true, true)),
            (vec![scale], (false, true)),
            (vec![ours, person], (true, true)),
            (vec![other_field], (false, false)),
        ] {
            let object = json!({"metadata": {"managedFields": entries}});
            assert_eq!(replicas_owners(&object), expected, "{object}");
        }
    }
}
