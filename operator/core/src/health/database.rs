//! CloudNativePG: Cluster, Database, DatabaseRole.

use serde_json::Value;

use super::{Cause, Health};
use crate::fields::{integer, is_observed, is_true, text};
use crate::live::Live;

/// Seconds after a write of ours before a Cluster's status is believed: neither its phase nor its conditions say which
/// generation they are about.
pub const SETTLE_SECONDS: i64 = 10;

/// The phase of a Cluster that does nothing but serve.
const HEALTHY: &str = "Cluster in healthy state";
/// Phases that wait for a person's decision.
const WAITING_FOR_A_PERSON: [&str; 1] = ["Waiting for user action"];
/// Phases that only a change of the spec or of the cluster's surroundings ends.
const STUCK: [&str; 6] = [
    "Cluster is unrecoverable and needs manual intervention",
    "Cluster cannot proceed to reconciliation due to an unknown plugin being required",
    "Cluster has incomplete or invalid image catalog",
    "Cluster cannot execute instance online upgrade due to missing architecture binary",
    "Unable to create required cluster objects",
    "Invalid cluster definition",
];

/// Whether the status of a Cluster can be about what we last wrote: [`SETTLE_SECONDS`] have passed since.
pub fn settled(live: &Live, now_secs: i64) -> bool {
    now_secs.saturating_sub(live.written) >= SETTLE_SECONDS
}

/// A Cluster is ready in its healthy phase, with every instance ready on the image and primary that it aims at.
pub(super) fn cluster(object: &Value) -> Health {
    let Some(phase) = text(object, "/status/phase") else {
        return Health::unobserved();
    };
    if phase != HEALTHY {
        let cause = match text(object, "/status/phaseReason") {
            Some(reason) => Cause::new("ClusterNotHealthy", format!("{phase}: {reason}")),
            None => Cause::new("ClusterNotHealthy", phase),
        };
        return if STUCK.contains(&phase) {
            Health::Degraded(cause)
        } else if WAITING_FOR_A_PERSON.contains(&phase) {
            Health::Paused(cause)
        } else {
            Health::Progressing(cause)
        };
    }
    let instances = integer(object, "/spec/instances").unwrap_or(1);
    let ready = integer(object, "/status/readyInstances").unwrap_or_default();
    if ready != instances {
        return Health::progressing(
            "InstancesNotReady",
            format!("{ready} of {instances} instances are ready"),
        );
    }
    let image = text(object, "/status/image");
    if let Some(wanted) = text(object, "/spec/imageName")
        && image != Some(wanted)
    {
        return Health::progressing(
            "ImageNotInUse",
            format!(
                "it runs {}, and is to run {wanted}",
                image.unwrap_or("no image yet")
            ),
        );
    }
    let primary = text(object, "/status/currentPrimary");
    let target = text(object, "/status/targetPrimary");
    if primary.is_none() || primary != target {
        return Health::progressing(
            "PrimaryChanging",
            format!(
                "its primary is {}, and is to be {}",
                primary.unwrap_or("not there yet"),
                target.unwrap_or("chosen")
            ),
        );
    }
    Health::Ready
}

/// A Database or DatabaseRole is ready once its current generation was applied in PostgreSQL. A failure is retried by
/// CloudNativePG, so it is no dead end: it may only wait for its cluster or its role.
pub(super) fn declared(object: &Value) -> Health {
    if is_true(object, "/status/applied") {
        return if is_observed(object) {
            Health::Ready
        } else {
            Health::unobserved()
        };
    }
    match text(object, "/status/message") {
        Some(message) => Health::progressing("NotApplied", message),
        None => Health::unobserved(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kind::Kind;

    fn healthy() -> Value {
        json!({
            "metadata": {"name": "todo-db", "uid": "u", "resourceVersion": "1", "generation": 2},
            "spec": {"instances": 3, "imageName": "postgresql:18.4"},
            "status": {
                "phase": HEALTHY, "readyInstances": 3, "image": "postgresql:18.4",
                "currentPrimary": "todo-db-1", "targetPrimary": "todo-db-1",
            },
        })
    }

    #[test]
    fn cluster_is_ready_only_with_all_it_aims_at() {
        assert_eq!(cluster(&healthy()), Health::Ready);
        for (pointer, value, reason) in [
            (
                "/status/phase",
                json!("Creating a new replica"),
                "ClusterNotHealthy",
            ),
            ("/status/phase", json!(null), "NotObserved"),
            ("/status/readyInstances", json!(2), "InstancesNotReady"),
            ("/spec/instances", json!(4), "InstancesNotReady"),
            ("/status/image", json!("postgresql:18.3"), "ImageNotInUse"),
            ("/status/image", json!(null), "ImageNotInUse"),
            (
                "/status/targetPrimary",
                json!("todo-db-2"),
                "PrimaryChanging",
            ),
            ("/status/currentPrimary", json!(null), "PrimaryChanging"),
        ] {
            let mut object = healthy();
            *object.pointer_mut(pointer).unwrap() = value.clone();
            let health = cluster(&object);
            assert!(
                matches!(health, Health::Progressing(_)),
                "{pointer} {value}"
            );
            assert_eq!(
                &*health.cause().unwrap().reason,
                reason,
                "{pointer} {value}"
            );
        }
    }

    #[test]
    fn cluster_without_an_image_of_ours_takes_any() {
        let mut object = healthy();
        object["spec"].as_object_mut().unwrap().remove("imageName");
        assert_eq!(cluster(&object), Health::Ready);
    }

    #[test]
    fn cluster_that_is_stuck_is_degraded_and_quotes_why() {
        let mut object = healthy();
        object["status"]["phase"] = json!("Unable to create required cluster objects");
        object["status"]["phaseReason"] = json!("PVC refused");
        assert_eq!(
            cluster(&object),
            Health::Degraded(Cause::new(
                "ClusterNotHealthy",
                "Unable to create required cluster objects: PVC refused"
            ))
        );
        object["status"]["phase"] = json!("Waiting for user action");
        assert!(matches!(cluster(&object), Health::Paused(_)));
    }

    #[test]
    fn cluster_is_not_believed_right_after_a_write() {
        let mut object = healthy();
        object["metadata"]["managedFields"] = json!([
            {"manager": "todo-operator", "operation": "Apply", "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:spec": {}}},
        ]);
        let live = crate::observe::read(Kind::Cluster, &object).unwrap().live;
        assert!(!settled(&live, live.written + SETTLE_SECONDS - 1));
        assert!(settled(&live, live.written + SETTLE_SECONDS));
    }

    #[test]
    fn database_is_ready_once_its_current_generation_is_applied() {
        let object = |status: Value| json!({"metadata": {"generation": 2}, "status": status});
        assert_eq!(
            declared(&object(json!({"applied": true, "observedGeneration": 2}))),
            Health::Ready
        );
        for (status, reason, message) in [
            (
                json!({"applied": true, "observedGeneration": 1}),
                "NotObserved",
                None,
            ),
            (json!({}), "NotObserved", None),
            (
                json!({"applied": false, "message": "role \"api_owner\" does not exist"}),
                "NotApplied",
                Some("role \"api_owner\" does not exist"),
            ),
            (
                json!({"message": "cluster not found"}),
                "NotApplied",
                Some("cluster not found"),
            ),
        ] {
            let health = declared(&object(status));
            let cause = health.cause().unwrap();
            assert_eq!(&*cause.reason, reason);
            if let Some(message) = message {
                assert_eq!(&*cause.message, message);
            }
        }
    }
}
