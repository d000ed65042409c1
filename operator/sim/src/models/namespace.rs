//! The namespace controller (`k8s.io/kubernetes`, `pkg/controller/namespace`): a namespace that is deleted is emptied, and
//! goes when nothing is left in it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::client::{Client, Controller};
use super::fields::{is_deleting, items, name};
use crate::actor::{Resource, resource};
use crate::apiserver::call::Propagation;
use crate::apiserver::store::Key;

const NAMESPACES: Resource = resource("", "namespaces");
/// How often the controller looks at a namespace that does not get empty.
const RETRY: Duration = Duration::from_secs(5);

/// The namespace controller.
pub(crate) struct Namespaces;

impl Controller for Namespaces {
    const NAME: &'static str = "namespace";
    const MANAGER: &'static str = "kube-controller-manager";
    const WATCHES: &'static [Resource] = &[NAMESPACES];

    fn sync(&mut self, client: &mut Client, _now: Timestamp) {
        for namespace in client.list(NAMESPACES) {
            if is_deleting(&namespace) {
                empty(client, &namespace);
            }
        }
    }
}

fn empty(client: &mut Client, namespace: &Value) {
    let content: Vec<(Key, Arc<Value>)> = client.actor().server().read(|store| {
        store
            .all()
            .filter(|(key, _)| *key.namespace == *name(namespace))
            .map(|(key, object)| (key.clone(), Arc::clone(object)))
            .collect()
    });
    let mut is_empty = true;
    for (key, object) in &content {
        let is_asked = is_deleting(object)
            || client
                .actor()
                .delete_at(key, object, Propagation::Background)
                .is_ok();
        is_empty &= is_asked && items(object, "/metadata/finalizers").is_empty();
    }
    if !is_empty {
        client.again_in(RETRY);
        return;
    }
    finalize(client, namespace);
}

/// What `PUT …/finalize` does.
fn finalize(client: &Client, namespace: &Value) {
    client.actor().server().change(|store| {
        let Some(resource) = store.find(NAMESPACES.group, NAMESPACES.plural) else {
            return;
        };
        let key = Key {
            resource,
            namespace: "".into(),
            name: name(namespace).into(),
        };
        if items(namespace, "/metadata/finalizers").is_empty() {
            store.remove(&key);
        } else if !items(namespace, "/spec/finalizers").is_empty() {
            let mut next = namespace.clone();
            next["spec"]["finalizers"] = json!([]);
            store.put(key, next);
        }
    });
}
