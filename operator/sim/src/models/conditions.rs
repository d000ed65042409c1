//! Conditions as Deployments and Rollouts have them (`SetDeploymentCondition` of Kubernetes,
//! `pkg/controller/deployment/util/deployment_util.go`; `SetRolloutCondition` of Argo Rollouts,
//! `utils/conditions/conditions.go`).

use jiff::Timestamp;
use serde_json::{Value, json};

use super::fields::{stamp, text};

/// What a condition is to say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Condition<'a> {
    pub kind: &'a str,
    pub status: &'a str,
    pub reason: &'a str,
    pub message: &'a str,
}

/// The condition of a type.
pub(crate) fn find<'a>(conditions: &'a [Value], kind: &str) -> Option<&'a Value> {
    conditions
        .iter()
        .find(|condition| text(condition, "/type") == kind)
}

/// The reason of the condition of a type; empty where there is none.
pub(crate) fn reason<'a>(conditions: &'a [Value], kind: &str) -> &'a str {
    find(conditions, kind)
        .map(|condition| text(condition, "/reason"))
        .unwrap_or_default()
}

/// Takes a condition away.
pub(crate) fn remove(conditions: &mut Vec<Value>, kind: &str) {
    conditions.retain(|condition| text(condition, "/type") != kind);
}

/// Says it, unless status and reason are said already. Returns whether it was new.
pub(crate) fn set(conditions: &mut Vec<Value>, new: Condition<'_>, now: Timestamp) -> bool {
    let known = find(conditions, new.kind);
    let is_status_known = known.is_some_and(|known| text(known, "/status") == new.status);
    if is_status_known && known.is_some_and(|known| text(known, "/reason") == new.reason) {
        return false;
    }
    let transition = known
        .filter(|_| is_status_known)
        .map(|known| known["lastTransitionTime"].clone());
    push(conditions, new, transition, now);
    true
}

/// Says it anew although it is said already: progress was made just now.
pub(crate) fn renew(conditions: &mut Vec<Value>, new: Condition<'_>, now: Timestamp) {
    let transition = find(conditions, new.kind)
        .filter(|known| text(known, "/status") == new.status)
        .map(|known| known["lastTransitionTime"].clone());
    push(conditions, new, transition, now);
}

fn push(
    conditions: &mut Vec<Value>,
    new: Condition<'_>,
    transition: Option<Value>,
    now: Timestamp,
) {
    let condition = json!({
        "type": new.kind,
        "status": new.status,
        "reason": new.reason,
        "message": new.message,
        "lastUpdateTime": stamp(now),
        "lastTransitionTime": transition.unwrap_or_else(|| json!(stamp(now))),
    });
    remove(conditions, new.kind);
    conditions.push(condition);
}
