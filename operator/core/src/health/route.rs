//! What leads requests to pods: Services, HTTPRoutes, and Traefik's weighted services (which have no status).

use serde_json::Value;

use super::Health;
use crate::fields::{Condition, boxed, generation, integer, items, text};
use crate::live::Detail;
use crate::names;

/// The pod-template hash that Argo Rollouts has put into a Service's selector.
pub(super) fn service(object: &Value) -> Detail {
    let hash = object
        .pointer("/spec/selector")
        .and_then(|selector| selector.get(names::ROLLOUTS_POD_TEMPLATE_HASH)?.as_str())
        .map(boxed);
    Detail::Service { hash }
}

/// The live weights of a TraefikService.
pub(super) fn weighted(object: &Value) -> Detail {
    Detail::Weights(weights(items(object, "/spec/weighted/services")))
}

/// An HTTPRoute is ready when every parent that it names has accepted its current generation and resolved its back ends.
pub(super) fn http_route(object: &Value) -> (Health, Detail) {
    let back_ends = items(object, "/spec/rules").flat_map(|rule| items(rule, "/backendRefs"));
    (
        http_route_health(object),
        Detail::Weights(weights(back_ends)),
    )
}

fn weights<'a>(back_ends: impl Iterator<Item = &'a Value>) -> Vec<(Box<str>, i64)> {
    back_ends
        .filter_map(|back_end| {
            let name = text(back_end, "/name")?;
            // Both APIs count a back end without a weight as 1.
            Some((boxed(name), integer(back_end, "/weight").unwrap_or(1)))
        })
        .collect()
}

fn http_route_health(object: &Value) -> Health {
    items(object, "/spec/parentRefs")
        .map(|parent| parent_health(object, parent))
        .find(|health| !health.is_ready())
        .unwrap_or(Health::Ready)
}

fn parent_health(object: &Value, parent: &Value) -> Health {
    let name = text(parent, "/name").unwrap_or_default();
    let Some(status) = items(object, "/status/parents").find(|status| {
        status
            .get("parentRef")
            .is_some_and(|reported| is_same_parent(object, parent, reported))
    }) else {
        return Health::progressing(
            "NotAccepted",
            format!("gateway {name} has not answered yet"),
        );
    };
    for kind in ["Accepted", "ResolvedRefs"] {
        let condition = Condition::at(status, "/conditions", kind)
            .filter(|condition| condition.is_about(generation(object)));
        match condition {
            Some(condition) if condition.is_true() => {}
            Some(condition) if condition.is_false() => {
                let message = format!("gateway {name}: {}", condition.message());
                // A back end that the gateway does not know yet is usually a Service of the same moment.
                return if condition.reason() == "BackendNotFound" {
                    Health::progressing(condition.reason(), message)
                } else {
                    Health::Degraded(super::Cause::new(condition.reason(), message))
                };
            }
            _ => {
                return Health::progressing(
                    "NotAccepted",
                    format!("gateway {name} has not answered for the current spec yet"),
                );
            }
        }
    }
    Health::Ready
}

/// Whether both name one parent; a namespace that is left out is the route's own.
fn is_same_parent(object: &Value, wanted: &Value, reported: &Value) -> bool {
    let namespace =
        |parent| text(parent, "/namespace").or_else(|| text(object, "/metadata/namespace"));
    text(wanted, "/name") == text(reported, "/name")
        && namespace(wanted) == namespace(reported)
        && text(wanted, "/sectionName") == text(reported, "/sectionName")
        && integer(wanted, "/port") == integer(reported, "/port")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn condition(kind: &str, status: &str, reason: &str, generation: i64) -> Value {
        json!({"type": kind, "status": status, "reason": reason, "message": "said so", "observedGeneration": generation})
    }

    /// A route with two parents of which the first is fine, and `conditions` of the second.
    fn route(conditions: &[Value]) -> Value {
        let fine = [
            condition("Accepted", "True", "Accepted", 3),
            condition("ResolvedRefs", "True", "ResolvedRefs", 3),
        ];
        json!({
            "metadata": {"namespace": "todo", "generation": 3},
            "spec": {
                "parentRefs": [{"name": "public", "namespace": "todo", "sectionName": "https"}, {"name": "inner"}],
                "rules": [
                    {"backendRefs": [{"name": "s", "weight": 95}, {"name": "c", "weight": 5}]},
                    {"backendRefs": [{"name": "other"}]},
                ],
            },
            "status": {"parents": [
                {"parentRef": {"name": "public", "sectionName": "https"}, "conditions": fine},
                {"parentRef": {"name": "inner", "namespace": "todo"}, "conditions": conditions},
            ]},
        })
    }

    #[test]
    fn route_is_ready_only_when_every_parent_says_so_for_this_generation() {
        let accepted = condition("Accepted", "True", "Accepted", 3);
        let resolved = condition("ResolvedRefs", "True", "ResolvedRefs", 3);
        for (conditions, expected) in [
            (vec![accepted.clone(), resolved.clone()], None),
            (vec![accepted.clone()], Some("NotAccepted")),
            (vec![], Some("NotAccepted")),
            (
                vec![
                    condition("Accepted", "True", "Accepted", 2),
                    resolved.clone(),
                ],
                Some("NotAccepted"),
            ),
            (
                vec![
                    condition("Accepted", "False", "NotAllowedByListeners", 3),
                    resolved,
                ],
                Some("NotAllowedByListeners"),
            ),
            (
                vec![
                    accepted,
                    condition("ResolvedRefs", "False", "RefNotPermitted", 3),
                ],
                Some("RefNotPermitted"),
            ),
        ] {
            let health = http_route(&route(&conditions)).0;
            let reason = health.cause().map(|cause| &*cause.reason);
            assert_eq!(reason, expected, "{conditions:?}");
        }
    }

    #[test]
    fn route_quotes_its_gateway() {
        let refused = condition("Accepted", "False", "NotAllowedByListeners", 3);
        assert_eq!(
            http_route(&route(&[refused])).0,
            Health::Degraded(super::super::Cause::new(
                "NotAllowedByListeners",
                "gateway inner: said so"
            ))
        );
        let missing = [
            condition("Accepted", "True", "Accepted", 3),
            condition("ResolvedRefs", "False", "BackendNotFound", 3),
        ];
        assert!(matches!(
            http_route(&route(&missing)).0,
            Health::Progressing(_)
        ));
    }

    #[test]
    fn route_that_no_gateway_answered_is_progressing() {
        let mut route = route(&[]);
        route["status"] = json!({"parents": []});
        assert!(matches!(http_route(&route).0, Health::Progressing(_)));
    }

    #[test]
    fn live_weights_are_read_in_order() {
        let expected: Vec<(Box<str>, i64)> =
            vec![("s".into(), 95), ("c".into(), 5), ("other".into(), 1)];
        assert_eq!(http_route(&route(&[])).1, Detail::Weights(expected));
        let traefik = json!({"spec": {"weighted": {"services": [{"name": "s", "weight": 100}, {"name": "c", "weight": 0}]}}});
        assert_eq!(
            weighted(&traefik),
            Detail::Weights(vec![("s".into(), 100), ("c".into(), 0)])
        );
    }

    #[test]
    fn selector_without_a_hash_is_whole() {
        assert_eq!(
            service(&json!({"spec": {"selector": {"app": "a"}}})),
            Detail::Service { hash: None }
        );
    }
}
