//! Somebody beside the operator who reads and writes objects: a controller, a person.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::apiserver::call::{Call, Delete, Propagation, Subresource, Verb, Write};
use crate::apiserver::failure::Failure;
use crate::apiserver::server::ApiServer;
use crate::apiserver::store::Key;

/// A kind of object, by group and plural.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Resource, in the plural.
    pub plural: &'static str,
}

/// `("apps", "deployments")`
pub const fn resource(group: &'static str, plural: &'static str) -> Resource {
    Resource { group, plural }
}

/// Reads and writes as one field manager.
#[derive(Clone)]
pub struct Actor {
    server: Arc<ApiServer>,
    manager: &'static str,
}

impl Actor {
    /// An actor of that name.
    pub fn new(server: &Arc<ApiServer>, manager: &'static str) -> Self {
        Self {
            server: Arc::clone(server),
            manager,
        }
    }

    /// The server that it talks to.
    pub fn server(&self) -> &Arc<ApiServer> {
        &self.server
    }

    /// Every object of a resource; none where it is not served.
    pub fn list(&self, resource: Resource) -> Vec<Arc<Value>> {
        self.server.read(|store| {
            let Some(id) = store.find(resource.group, resource.plural) else {
                return Vec::new();
            };
            store
                .objects(id)
                .map(|(_, object)| Arc::clone(object))
                .collect()
        })
    }

    /// One object.
    pub fn get(&self, resource: Resource, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.server.read(|store| {
            let key = Key {
                resource: store.find(resource.group, resource.plural)?,
                namespace: namespace.into(),
                name: name.into(),
            };
            store.get(&key).cloned()
        })
    }

    /// The version of the newest change of anything.
    pub fn revision(&self) -> u64 {
        self.server.read(|store| store.revision())
    }

    /// Whether an object of these resources has changed after a version.
    pub fn has_changed(&self, resources: &[Resource], after: u64) -> bool {
        self.server.read(|store| {
            resources
                .iter()
                .filter_map(|resource| store.find(resource.group, resource.plural))
                .any(|id| !store.changes_after(id, after).is_empty())
        })
    }

    /// The refusal of a write that was made for another version of an object.
    pub fn modified(&self, resource: Resource, name: &str) -> Failure {
        self.server.read(|store| {
            let Some(id) = store.find(resource.group, resource.plural) else {
                return Failure::not_served();
            };
            Failure::modified(&store.resource(id), name)
        })
    }

    /// Makes an object; its namespace is the one in its metadata.
    pub fn create(&self, resource: Resource, object: Value) -> Result<Arc<Value>, Failure> {
        let namespace = text(&object, "namespace").to_owned();
        self.call(resource, &namespace, "", Subresource::None, |write| {
            Verb::Create(write, object)
        })
    }

    /// Puts another state of an object in its place, if it is still at the version that the state bears.
    pub fn replace(&self, resource: Resource, object: Value) -> Result<Arc<Value>, Failure> {
        self.write_back(resource, object, Subresource::None)
    }

    /// Writes the status of an object as a whole, if the object is still at the version given.
    pub fn set_status(
        &self,
        resource: Resource,
        of: &Value,
        status: Value,
    ) -> Result<Arc<Value>, Failure> {
        if of.get("status") == Some(&status) {
            return Ok(Arc::new(of.clone()));
        }
        let mut object = of.clone();
        object["status"] = status;
        self.write_back(resource, object, Subresource::Status)
    }

    /// Changes parts of an object.
    pub fn merge(
        &self,
        resource: Resource,
        namespace: &str,
        name: &str,
        patch: Value,
    ) -> Result<Arc<Value>, Failure> {
        self.call(resource, namespace, name, Subresource::None, |write| {
            Verb::Merge(write, patch)
        })
    }

    /// Sets the number of replicas through `scale`, as an autoscaler does.
    pub fn scale(
        &self,
        resource: Resource,
        namespace: &str,
        name: &str,
        replicas: i64,
    ) -> Result<Arc<Value>, Failure> {
        let patch = json!({"spec": {"replicas": replicas}});
        self.call(resource, namespace, name, Subresource::Scale, |write| {
            Verb::Merge(write, patch)
        })
    }

    /// Applies a manifest, taking over what others own of it.
    pub fn apply(&self, manifest: Value) -> Result<Arc<Value>, Failure> {
        let api_version = manifest["apiVersion"].as_str().unwrap_or_default();
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let kind = manifest["kind"].as_str().unwrap_or_default();
        let plural = self.server.read(|store| {
            let id = store.of_kind(group, kind)?;
            Some(store.resource(id).plural.clone())
        });
        let call = Call {
            group: group.to_owned(),
            version: version.to_owned(),
            plural: plural.ok_or_else(Failure::not_served)?,
            namespace: text(&manifest, "namespace").to_owned(),
            name: text(&manifest, "name").to_owned(),
            subresource: Subresource::None,
            verb: Verb::Apply(self.write(), true, manifest),
        };
        self.server.call(&call).map(|answer| answer.body)
    }

    /// Deletes an object, by its UID.
    pub fn delete(&self, resource: Resource, object: &Value) -> Result<Arc<Value>, Failure> {
        let options = Delete {
            uid: Some(text(object, "uid").to_owned()),
            resource_version: None,
            propagation: Propagation::Background,
        };
        let (namespace, name) = (text(object, "namespace"), text(object, "name"));
        self.call(resource, namespace, name, Subresource::None, |_| {
            Verb::Delete(options)
        })
    }

    /// Changes parts of an object of any kind.
    pub fn merge_at(&self, key: &Key, patch: Value) -> Result<Arc<Value>, Failure> {
        self.call_at(key, |write| Verb::Merge(write, patch))
    }

    /// Deletes an object of any kind, by its UID.
    pub fn delete_at(
        &self,
        key: &Key,
        object: &Value,
        propagation: Propagation,
    ) -> Result<Arc<Value>, Failure> {
        let options = Delete {
            uid: Some(text(object, "uid").to_owned()),
            resource_version: None,
            propagation,
        };
        self.call_at(key, |_| Verb::Delete(options))
    }

    fn call_at(&self, key: &Key, verb: impl FnOnce(Write) -> Verb) -> Result<Arc<Value>, Failure> {
        let resource = self.server.read(|store| store.resource(key.resource));
        let call = Call {
            group: resource.group.clone(),
            version: resource.version.clone(),
            plural: resource.plural.clone(),
            namespace: key.namespace.to_string(),
            name: key.name.to_string(),
            subresource: Subresource::None,
            verb: verb(self.write()),
        };
        self.server.call(&call).map(|answer| answer.body)
    }

    fn write_back(
        &self,
        resource: Resource,
        object: Value,
        subresource: Subresource,
    ) -> Result<Arc<Value>, Failure> {
        let (namespace, name) = (
            text(&object, "namespace").to_owned(),
            text(&object, "name").to_owned(),
        );
        self.call(resource, &namespace, &name, subresource, |write| {
            Verb::Replace(write, object)
        })
    }

    fn call(
        &self,
        resource: Resource,
        namespace: &str,
        name: &str,
        subresource: Subresource,
        verb: impl FnOnce(Write) -> Verb,
    ) -> Result<Arc<Value>, Failure> {
        let version = self.server.read(|store| {
            let id = store.find(resource.group, resource.plural)?;
            Some(store.resource(id).version.clone())
        });
        let call = Call {
            group: resource.group.to_owned(),
            version: version.ok_or_else(Failure::not_served)?,
            plural: resource.plural.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            subresource,
            verb: verb(self.write()),
        };
        self.server.call(&call).map(|answer| answer.body)
    }

    fn write(&self) -> Write {
        Write {
            manager: self.manager.to_owned(),
            strict: false,
        }
    }
}

/// A text of an object's metadata; empty where it is absent.
pub fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object
        .get("metadata")
        .and_then(|metadata| metadata.get(field)?.as_str())
        .unwrap_or_default()
}
