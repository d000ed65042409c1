//! What a pod template refers to.

use serde_json::Value;

use crate::fields::{boxed, items, text};

/// Image of the first container.
pub(super) fn image(template: &Value) -> Box<str> {
    boxed(text(template, "/spec/containers/0/image").unwrap_or_default())
}

/// ConfigMaps that the pods read: as environment, as files, or value by value; each once, sorted.
pub(super) fn config_maps(template: &Value) -> Vec<Box<str>> {
    let containers = ["/spec/containers", "/spec/initContainers"];
    let from_environment = containers
        .into_iter()
        .flat_map(|list| items(template, list))
        .flat_map(|container| {
            let all =
                items(container, "/envFrom").filter_map(|from| text(from, "/configMapRef/name"));
            let single = items(container, "/env")
                .filter_map(|variable| text(variable, "/valueFrom/configMapKeyRef/name"));
            all.chain(single)
        });
    let from_volumes = items(template, "/spec/volumes").flat_map(|volume| {
        let projected = items(volume, "/projected/sources")
            .filter_map(|source| text(source, "/configMap/name"));
        text(volume, "/configMap/name").into_iter().chain(projected)
    });
    let mut names: Vec<Box<str>> = from_environment.chain(from_volumes).map(boxed).collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_way_to_read_a_config_map_is_found() {
        let template = json!({"spec": {
            "containers": [{
                "image": "a:1",
                "envFrom": [{"configMapRef": {"name": "e"}}, {"secretRef": {"name": "secret"}}],
                "env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "d", "key": "k"}}}],
            }],
            "initContainers": [{"envFrom": [{"configMapRef": {"name": "c"}}, {"configMapRef": {"name": "e"}}]}],
            "volumes": [
                {"name": "v", "configMap": {"name": "b"}},
                {"name": "w", "projected": {"sources": [{"configMap": {"name": "a"}}, {"secret": {"name": "s"}}]}},
            ],
        }});
        let expected: Vec<Box<str>> = ["a", "b", "c", "d", "e"].map(boxed).into();
        assert_eq!(config_maps(&template), expected);
        assert_eq!(&*image(&template), "a:1");
    }
}
