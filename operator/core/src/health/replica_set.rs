//! ReplicaSets: why pods cannot even be created.

use serde_json::Value;

use super::{Cause, Health, template};
use crate::fields::Condition;
use crate::live::Detail;

/// A ReplicaSet that cannot create pods says why; otherwise its workload speaks for it.
pub(super) fn read(object: &Value) -> (Health, Detail) {
    let health = replica_failure(object).map_or(Health::Ready, Health::Degraded);
    let config_maps = object
        .pointer("/spec/template")
        .map(template::config_maps)
        .unwrap_or_default();
    (health, Detail::ConfigMaps(config_maps))
}

/// The condition `ReplicaFailure` of a ReplicaSet or of the workload above it, with a reason that names what is in the
/// way.
pub(super) fn replica_failure(object: &Value) -> Option<Cause> {
    let failure = Condition::of(object, "ReplicaFailure").filter(|failure| failure.is_true())?;
    let message = failure.message();
    let reason = if message.contains("exceeded quota") || message.contains("failed quota") {
        "QuotaExceeded"
    } else if message.contains("violates PodSecurity") {
        "PodSecurityViolated"
    } else if message.contains("admission webhook") {
        "AdmissionDenied"
    } else if message.contains("is forbidden") {
        "Forbidden"
    } else {
        failure.reason()
    };
    Some(Cause::new(reason, message))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn replica_set_names_what_keeps_its_pods_from_being_created() {
        for (message, reason) in [
            (
                "pods \"a\" is forbidden: exceeded quota: todo, requested: pods=1, used: pods=60, limited: pods=60",
                "QuotaExceeded",
            ),
            (
                "pods \"a\" is forbidden: failed quota: todo: must specify limits.memory for: api",
                "QuotaExceeded",
            ),
            (
                "pods \"a\" is forbidden: violates PodSecurity \"restricted:latest\": runAsNonRoot != true",
                "PodSecurityViolated",
            ),
            (
                "admission webhook \"policy.example.com\" denied the request: no",
                "AdmissionDenied",
            ),
            (
                "pods \"a\" is forbidden: error looking up service account",
                "Forbidden",
            ),
            ("Internal error occurred", "FailedCreate"),
        ] {
            let set = json!({"status": {"conditions": [
                {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message},
            ]}});
            assert_eq!(read(&set).0, Health::Degraded(Cause::new(reason, message)));
        }
    }

    #[test]
    fn replica_set_without_failure_leaves_the_word_to_its_workload() {
        let set = json!({
            "spec": {"replicas": 3, "template": {"spec": {"containers": [{"envFrom": [{"configMapRef": {"name": "c"}}]}]}}},
            "status": {"conditions": [{"type": "ReplicaFailure", "status": "False", "message": "exceeded quota"}]},
        });
        assert_eq!(
            read(&set),
            (Health::Ready, Detail::ConfigMaps(vec!["c".into()]))
        );
    }
}
