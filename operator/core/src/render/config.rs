//! What a pod refers to: its account and its configuration.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::metadata::child;
use crate::child::Child;
use crate::inputs::PodInputs;
use crate::kind::Kind;
use crate::names;
use crate::validate::ValidApp;

/// One account per component, without a token: the name that policies and clouds know it by.
pub(super) fn service_accounts(app: &ValidApp<'_>, inputs: &[(&str, &PodInputs)]) -> Vec<Child> {
    let with_pods = inputs.iter().map(|(component, _)| *component);
    let components: BTreeSet<&str> = app.components.keys().copied().chain(with_pods).collect();
    components
        .into_iter()
        .map(|component| {
            let name = names::component(app.name, component);
            let content = json!({"automountServiceAccountToken": false});
            child(app, Kind::ServiceAccount, &name, Some(component), content)
        })
        .collect()
}

/// Immutable ConfigMaps, named by their content: a pod can never see another content than it started with.
pub(super) fn config_maps(app: &ValidApp<'_>, inputs: &[(&str, &PodInputs)]) -> Vec<Child> {
    let mut children = BTreeMap::new();
    for (component, inputs) in inputs {
        let Some(name) = inputs.config_map(app.name, component) else {
            continue;
        };
        let content = json!({"immutable": true, "data": inputs.config});
        let config_map = child(app, Kind::ConfigMap, &name, Some(component), content);
        children.insert(name, config_map);
    }
    children.into_values().collect()
}
