//! KEDA's ScaledObject, and the HorizontalPodAutoscaler that it makes.

use serde_json::Value;

use super::{Cause, Health};
use crate::fields::{Condition, boxed, integer, text};
use crate::live::Detail;

/// KEDA's `maxReplicaCount` where none is set.
const KEDA_MAX_REPLICAS: i64 = 100;

/// A ScaledObject is ready if KEDA says so, its HPA is at work, and no fallback is in force. Whether the HPA has the
/// current bounds is for the caller to compare: nothing here says which generation it is about.
pub(super) fn scaled_object(object: &Value) -> (Health, Detail) {
    let hpa = text(object, "/status/hpaName").map(boxed);
    let detail = Detail::ScaledObject {
        min: integer(object, "/spec/minReplicaCount").unwrap_or_default(),
        max: integer(object, "/spec/maxReplicaCount").unwrap_or(KEDA_MAX_REPLICAS),
        hpa,
    };
    (scaled_object_health(object), detail)
}

fn scaled_object_health(object: &Value) -> Health {
    if let Some(paused) = Condition::of(object, "Paused").filter(|paused| paused.is_true()) {
        return Health::Paused(paused.cause());
    }
    match Condition::of(object, "Ready") {
        Some(ready) if ready.is_false() => return Health::Degraded(ready.cause()),
        Some(ready) if ready.is_true() => {}
        _ => return Health::unobserved(),
    }
    if let Some(fallback) = Condition::of(object, "Fallback").filter(|fallback| fallback.is_true())
    {
        return Health::Degraded(Cause::new(
            "FallbackInForce",
            format!(
                "a trigger fails, and the fallback replicas are in force: {}",
                fallback.message()
            ),
        ));
    }
    // New pods have no CPU metrics at first, and the HPA says so here.
    if let Some(active) = Condition::of(object, "HPAActive").filter(|active| active.is_false()) {
        return Health::Progressing(active.cause());
    }
    Health::Ready
}

/// A HorizontalPodAutoscaler, with its bounds and what it moves.
pub(super) fn autoscaler(object: &Value) -> (Health, Detail) {
    let unable = |kind| Condition::of(object, kind).filter(|condition| condition.is_false());
    let health = if let Some(unable) = unable("AbleToScale") {
        Health::Degraded(unable.cause())
    } else if let Some(inactive) = unable("ScalingActive") {
        if inactive.reason() == "ScalingDisabled" {
            // The target has 0 replicas, which is KEDA's business.
            Health::Ready
        } else {
            Health::Progressing(inactive.cause())
        }
    } else {
        Health::Ready
    };
    let detail = Detail::Scaler {
        min: integer(object, "/spec/minReplicas").unwrap_or(1),
        max: integer(object, "/spec/maxReplicas").unwrap_or_default(),
        target: boxed(text(object, "/spec/scaleTargetRef/name").unwrap_or_default()),
    };
    (health, detail)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scaled(conditions: &[(&str, &str)]) -> Value {
        let conditions: Vec<_> = conditions
            .iter()
            .map(|(kind, status)| json!({"type": kind, "status": status, "reason": format!("{kind}{status}"), "message": "m"}))
            .collect();
        json!({"spec": {"minReplicaCount": 2, "maxReplicaCount": 12},
               "status": {"hpaName": "keda-hpa-w", "conditions": conditions}})
    }

    #[test]
    fn scaled_object_follows_all_four_conditions() {
        let all_well = [
            ("Ready", "True"),
            ("HPAActive", "True"),
            ("Fallback", "False"),
            ("Paused", "False"),
        ];
        for (conditions, expected) in [
            (&all_well[..], "Ready"),
            (
                &[
                    ("Ready", "True"),
                    ("HPAActive", "Unknown"),
                    ("Fallback", "Unknown"),
                ],
                "Ready",
            ),
            (&[("Ready", "True"), ("Active", "False")], "Ready"),
            (&[], "Progressing NotObserved"),
            (&[("Ready", "Unknown")], "Progressing NotObserved"),
            (&[("Ready", "False")], "Degraded ReadyFalse"),
            (
                &[("Ready", "True"), ("HPAActive", "False")],
                "Progressing HPAActiveFalse",
            ),
            (
                &[("Ready", "True"), ("Fallback", "True")],
                "Degraded FallbackInForce",
            ),
            (
                &[("Ready", "True"), ("Paused", "True")],
                "Paused PausedTrue",
            ),
        ] {
            let health = scaled_object(&scaled(conditions)).0;
            let said = match &health {
                Health::Ready => "Ready".to_owned(),
                Health::Progressing(cause) => format!("Progressing {}", cause.reason),
                Health::Paused(cause) => format!("Paused {}", cause.reason),
                Health::Degraded(cause) => format!("Degraded {}", cause.reason),
            };
            assert_eq!(said, expected, "{conditions:?}");
        }
    }

    #[test]
    fn scaled_object_has_kedas_bounds_where_it_names_none() {
        assert_eq!(
            scaled_object(&scaled(&[])).1,
            Detail::ScaledObject {
                hpa: Some("keda-hpa-w".into()),
                min: 2,
                max: 12
            }
        );
        assert_eq!(
            scaled_object(&json!({})).1,
            Detail::ScaledObject {
                hpa: None,
                min: 0,
                max: 100
            }
        );
    }

    #[test]
    fn autoscaler_says_why_it_cannot_scale() {
        for (kind, reason, expected) in [
            ("AbleToScale", "FailedGetScale", "Degraded"),
            ("ScalingActive", "FailedGetResourceMetric", "Progressing"),
            ("ScalingActive", "ScalingDisabled", "Ready"),
            ("ScalingLimited", "TooFewReplicas", "Ready"),
        ] {
            let (health, detail) = autoscaler(&json!({
                "spec": {"maxReplicas": 5, "scaleTargetRef": {"name": "w"}},
                "status": {"conditions": [{"type": kind, "status": "False", "reason": reason, "message": "m"}]},
            }));
            let said = match health {
                Health::Ready => "Ready",
                Health::Progressing(_) => "Progressing",
                Health::Paused(_) => "Paused",
                Health::Degraded(_) => "Degraded",
            };
            assert_eq!(said, expected, "{kind} {reason}");
            assert_eq!(
                detail,
                Detail::Scaler {
                    min: 1,
                    max: 5,
                    target: "w".into()
                }
            );
        }
    }
}
