//! ResourceQuota.

use serde_json::Value;

use super::Health;

/// In force once the quota controller has taken over every limit.
pub(super) fn read(object: &Value) -> Health {
    let wanted = object.pointer("/spec/hard");
    if wanted.is_none() || wanted == object.pointer("/status/hard") {
        Health::Ready
    } else {
        Health::progressing("QuotaNotInForce", "its limits are not in force yet")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn quota_is_ready_once_every_limit_is_in_force() {
        for (status, ready) in [
            (json!({}), false),
            (json!({"hard": {"pods": "5"}}), false),
            (json!({"hard": {"pods": "10", "cpu": "1"}}), false),
            (
                json!({"hard": {"pods": "10"}, "used": {"pods": "10"}}),
                true,
            ),
        ] {
            let quota = json!({"spec": {"hard": {"pods": "10"}}, "status": status});
            assert_eq!(read(&quota).is_ready(), ready, "{quota}");
        }
    }
}
