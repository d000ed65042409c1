//! The addresses of Services (`k8s.io/kubernetes`, `pkg/registry/core/service/storage`), on a cluster with IPv4 alone.

use serde_json::{Value, json};

use super::schema::Resource;
use super::strategy::set;

/// Whether objects of this resource have addresses.
pub fn is_service(resource: &Resource) -> bool {
    !resource.is_custom && resource.kind == "Service"
}

/// Gives a Service what it has not named: its address, and the family of it. An address that it had stays.
pub fn allocate(object: &mut Value, live: Option<&Value>, addresses: &mut u16) {
    let spec = &mut object["spec"];
    if spec["type"] == "ExternalName" {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            set(spec, field, None);
        }
        return;
    }
    let had = live
        .map(|live| &live["spec"])
        .filter(|spec| spec.get("clusterIP").is_some());
    for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        if spec.get(field).is_none()
            && let Some(value) = had.and_then(|spec| spec.get(field))
        {
            set(spec, field, Some(value.clone()));
        }
    }
    if spec.get("clusterIP").is_none() {
        *addresses += 1;
        let [high, low] = addresses.to_be_bytes();
        spec["clusterIP"] = json!(format!("10.96.{high}.{low}"));
    }
    if spec.get("clusterIPs").is_none() {
        spec["clusterIPs"] = json!([spec["clusterIP"]]);
    }
    // A Service without address and selector would be reached by both families.
    let is_both = spec["clusterIP"] == "None" && spec.get("selector").is_none();
    let (policy, families) = if is_both {
        ("RequireDualStack", json!(["IPv4", "IPv6"]))
    } else {
        ("SingleStack", json!(["IPv4"]))
    };
    if spec.get("ipFamilyPolicy").is_none() {
        spec["ipFamilyPolicy"] = json!(policy);
    }
    if spec.get("ipFamilies").is_none() {
        spec["ipFamilies"] = families;
    }
}
