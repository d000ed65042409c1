//! An object as it arrives from a list or watch: its text, and what a watch must know of it. It is parsed one by one, when
//! its turn comes: a page of parsed objects takes ten times the memory of their text.
//!
//! Of an event, the text can be kept because API servers send its `type` before its `object`.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::{ApiResource, DynamicResourceScope};
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;
use serde_json::value::RawValue;

/// An object as it arrives.
#[derive(Clone, Debug)]
pub struct Arrival {
    meta: ObjectMeta,
    text: Box<RawValue>,
}

/// What a watch must know of an object.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Known {
    name: Option<String>,
    namespace: Option<String>,
    resource_version: Option<String>,
}

#[derive(Deserialize)]
struct Object {
    metadata: Known,
}

impl Arrival {
    /// The object.
    pub fn parse(&self) -> Result<Value, serde_json::Error> {
        serde_json::from_str(self.text.get())
    }
}

impl<'de> Deserialize<'de> for Arrival {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let Object { metadata } = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
        let meta = ObjectMeta {
            name: metadata.name,
            namespace: metadata.namespace,
            resource_version: metadata.resource_version,
            ..ObjectMeta::default()
        };
        Ok(Self { meta, text })
    }
}

impl Resource for Arrival {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(kind: &ApiResource) -> Cow<'_, str> {
        kind.kind.as_str().into()
    }

    fn group(kind: &ApiResource) -> Cow<'_, str> {
        kind.group.as_str().into()
    }

    fn version(kind: &ApiResource) -> Cow<'_, str> {
        kind.version.as_str().into()
    }

    fn plural(kind: &ApiResource) -> Cow<'_, str> {
        kind.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt;
    use kube::core::{ObjectList, WatchEvent};
    use serde_json::json;

    use super::*;

    fn config_map() -> Value {
        json!({
            "metadata": {"name": "a", "namespace": "n", "resourceVersion": "7", "managedFields": [{"manager": "m"}]},
            "data": {"k": "\u{1f600} \"v\""},
        })
    }

    #[test]
    fn an_object_arrives_whole_in_a_list_and_in_an_event() {
        let list = json!({
            "kind": "ConfigMapList", "apiVersion": "v1", "metadata": {"resourceVersion": "9"}, "items": [config_map()],
        });
        let list: ObjectList<Arrival> = serde_json::from_str(&list.to_string()).unwrap();
        let event = format!(r#"{{"type":"MODIFIED","object":{}}}"#, config_map());
        let event: WatchEvent<Arrival> = serde_json::from_str(&event).unwrap();
        let WatchEvent::Modified(event) = event else {
            panic!("{event:?}");
        };
        for arrival in [&list.items[0], &event] {
            assert_eq!(arrival.parse().unwrap(), config_map());
            assert_eq!(arrival.name_any(), "a");
            assert_eq!(arrival.resource_version().as_deref(), Some("7"));
        }
    }
}
