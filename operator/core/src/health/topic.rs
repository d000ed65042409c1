//! Strimzi's KafkaTopic.

use serde_json::Value;

use super::{Cause, Health};
use crate::fields::{Condition, is_observed};

/// The topic operator reports errors as `Ready=False`, and replaces `Ready` while it leaves a topic alone.
pub(super) fn read(object: &Value) -> Health {
    for left_alone in ["Unmanaged", "ReconciliationPaused"] {
        if Condition::of(object, left_alone).is_some_and(Condition::is_true) {
            return Health::Paused(Cause::new(
                left_alone,
                "the topic operator leaves this topic alone",
            ));
        }
    }
    if !is_observed(object) {
        return Health::unobserved();
    }
    match Condition::of(object, "Ready") {
        Some(ready) if ready.is_true() => Health::Ready,
        Some(ready) if ready.is_false() => Health::Degraded(ready.cause()),
        _ => Health::progressing("NotReady", "the topic operator is at work"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn topic(observed: i64, kind: &str, status: &str) -> Value {
        json!({"metadata": {"generation": 2}, "status": {
            "observedGeneration": observed,
            "conditions": [{"type": kind, "status": status, "reason": "NotSupported",
                            "message": "Decreasing partitions not supported"}],
        }})
    }

    #[test]
    fn topic_is_ready_for_its_current_generation_only() {
        assert!(read(&topic(2, "Ready", "True")).is_ready());
        assert!(matches!(
            read(&topic(1, "Ready", "True")),
            Health::Progressing(_)
        ));
        assert!(matches!(
            read(&topic(1, "Ready", "False")),
            Health::Progressing(_)
        ));
        assert!(matches!(
            read(&json!({"metadata": {"generation": 1}})),
            Health::Progressing(_)
        ));
    }

    #[test]
    fn topic_error_is_quoted() {
        assert_eq!(
            read(&topic(2, "Ready", "False")),
            Health::Degraded(Cause::new(
                "NotSupported",
                "Decreasing partitions not supported"
            ))
        );
    }

    #[test]
    fn topic_that_is_left_alone_is_paused() {
        for kind in ["Unmanaged", "ReconciliationPaused"] {
            assert_eq!(
                &*read(&topic(2, kind, "True")).cause().unwrap().reason,
                kind
            );
        }
    }
}
