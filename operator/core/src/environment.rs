//! From a TodoEnvironment to the rules of its namespace.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use todo_operator_api::TodoEnvironment;
use todo_operator_api::component::{Resources, Strategy};
use todo_operator_api::environment::{LimitRange, PodSecurity, Policy};
use todo_operator_api::scalar::Quantity;

use crate::child::Child;
use crate::kind::Kind;
use crate::names;
use crate::render::{database, metadata, quantity, scaler};
use crate::validate::{Problem, ValidApp, ValidComponent};

/// Name of the ResourceQuota.
const QUOTA: &str = "todo-quota";
/// Name of the LimitRange.
const LIMITS: &str = "todo-limits";
/// Name of the NetworkPolicy that denies what nothing allows.
const DEFAULT_DENY: &str = "todo-default-deny";

/// What an environment makes: labels of its namespace, quota, limits, default-deny policy.
///
/// The Namespace is owned by nobody, and only its labels are ours: garbage collection must never take it.
pub fn render(environment: &TodoEnvironment) -> Vec<Child> {
    let default = Policy::default();
    let policy = environment.spec.policy.as_ref().unwrap_or(&default);
    let isolated = !policy
        .network
        .as_ref()
        .is_some_and(|network| network.disabled);
    let quota = (!policy.quota.is_empty()).then(|| json!({"hard": quantity::map(&policy.quota)}));
    let limits = policy.limit_range.as_ref().and_then(limit_range);
    // No `podSelector`: every pod.
    let deny = isolated.then(|| json!({"policyTypes": ["Ingress", "Egress"]}));
    let rules = [
        (Kind::ResourceQuota, QUOTA, quota),
        (Kind::LimitRange, LIMITS, limits),
        (Kind::NetworkPolicy, DEFAULT_DENY, deny),
    ];
    let rules = rules
        .into_iter()
        .filter_map(|(kind, name, spec)| Some(rule(environment, kind, name, spec?)));
    std::iter::once(namespace(environment, policy.pod_security))
        .chain(rules)
        .collect()
}

fn labels(environment: &TodoEnvironment) -> Value {
    json!({
        names::LABEL_MANAGED_BY: names::FIELD_MANAGER,
        names::LABEL_ENVIRONMENT: environment.metadata.name,
    })
}

fn namespace(environment: &TodoEnvironment, level: PodSecurity) -> Child {
    let name = environment.spec.namespace.as_str();
    let mut labels = labels(environment);
    for mode in ["enforce", "audit", "warn"] {
        labels[format!("pod-security.kubernetes.io/{mode}")] = json!(level);
    }
    let metadata = json!({"name": name, "labels": labels});
    metadata::assemble(Kind::Namespace, "", name, None, metadata, json!({}))
}

fn rule(environment: &TodoEnvironment, kind: Kind, name: &str, spec: Value) -> Child {
    let namespace = environment.spec.namespace.as_str();
    let meta = &environment.metadata;
    let owner = metadata::owner(
        "TodoEnvironment",
        meta.name.as_deref().unwrap_or_default(),
        meta.uid.as_deref().unwrap_or_default(),
    );
    let metadata = json!({
        "name": name,
        "namespace": namespace,
        "labels": labels(environment),
        "ownerReferences": owner,
    });
    metadata::assemble(kind, namespace, name, None, metadata, json!({"spec": spec}))
}

/// The limits with what the API server derives: an absent default is the maximum, an absent default request the default.
/// It stores the list as one value, so that leaving them out would never compare equal.
fn limit_range(limits: &LimitRange) -> Option<Value> {
    type Quantities = BTreeMap<String, Quantity>;
    let filled = |own: &Quantities, from: &Quantities| -> Quantities {
        from.iter()
            .chain(own)
            .map(|(name, quantity)| (name.clone(), quantity.clone()))
            .collect()
    };
    let default = filled(&limits.default, &limits.max);
    let default_request = filled(&limits.default_request, &default);
    if default_request.is_empty() {
        return None;
    }
    Some(json!({"limits": [{
        "type": "Container",
        "max": quantity::map(&limits.max),
        "default": quantity::map(&default),
        "defaultRequest": quantity::map(&default_request),
    }]}))
}

/// Warns where a canary would hang for lack of quota: every component at its most replicas, the database servers, and
/// beside them the largest canary, against `requests.cpu`, `requests.memory` and `pods` of the environment's quota.
pub fn canary_headroom(app: &ValidApp<'_>, environment: &TodoEnvironment) -> Option<Problem> {
    let policy = environment.spec.policy.as_ref()?;
    let measured = [
        ("requests.cpu", Some("cpu")),
        ("cpu", Some("cpu")),
        ("requests.memory", Some("memory")),
        ("memory", Some("memory")),
        ("pods", None),
    ];
    measured.into_iter().find_map(|(limit, resource)| {
        let quota = policy.quota.get(limit)?;
        let request = |resources: Option<&Resources>| match resource {
            Some(resource) => request(resources, resource, policy.limit_range.as_ref()),
            // One pod, in thousandths as quantities are counted here.
            None => 1_000,
        };
        let pods = app.components.values();
        let each = pods.map(|component| {
            let of_one = request(component.spec.resources.as_ref());
            let most = i128::from(scaler::most_replicas(app, component));
            (of_one * most, of_one * i128::from(surge(app, component)))
        });
        let (running, surges): (Vec<i128>, Vec<i128>) = each.unzip();
        let servers = database::servers(app);
        let stored = servers
            .iter()
            .map(|(instances, resources)| i128::from(*instances) * request(*resources));
        let surge = surges.into_iter().max().unwrap_or(0);
        let needed = running.into_iter().chain(stored).sum::<i128>() + surge;
        (surge > 0 && needed > quota.as_millis()?).then(|| Problem {
            field: format!("spec.policy.quota.{limit}"),
            value: quota.to_string(),
            rule: format!(
                "app {} needs {} with every component at its most replicas and one canary beside them: \
                 raise the quota, or lower scaling.max or the requests, else a canary waits for room",
                app.name,
                shown(needed, quota),
            ),
        })
    })
}

/// `millis` in the unit that a person wrote the quota in.
fn shown(millis: i128, like: &Quantity) -> String {
    let binary = like.to_string().ends_with('i');
    let units = (millis + 999) / 1_000;
    if binary {
        format!("{}Mi", (units + (1 << 20) - 1) >> 20)
    } else {
        quantity::canonical(&Quantity::Text(format!("{millis}m")))
    }
}

/// What one container reserves, in thousandths: its request, else its limit, else what the LimitRange gives.
fn request(resources: Option<&Resources>, name: &str, limits: Option<&LimitRange>) -> i128 {
    let own = resources.and_then(|resources| {
        let requests = resources.requests.get(name);
        requests.or_else(|| resources.limits.get(name))
    });
    let given = || {
        let limits = limits?;
        [&limits.default_request, &limits.default, &limits.max]
            .iter()
            .find_map(|quantities| quantities.get(name))
    };
    own.or_else(given)
        .and_then(Quantity::as_millis)
        .unwrap_or(0)
}

/// Pods of a component's canary beside the stable ones; none of what replaces its pods without one.
fn surge(app: &ValidApp<'_>, component: &ValidComponent<'_>) -> i64 {
    let strategy = component
        .spec
        .rollout
        .as_ref()
        .map(|rollout| rollout.strategy);
    match strategy {
        Some(Strategy::Canary) if component.spec.route.is_some() => {
            scaler::most_replicas(app, component)
        }
        Some(Strategy::Canary) => 1,
        _ => 0,
    }
}
