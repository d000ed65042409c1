//! Creating, putting, patching and applying: the order of work of `k8s.io/apiserver`
//! (`pkg/endpoints/handlers/{create,update,patch}.go`, `pkg/registry/rest`, `pkg/registry/generic/registry/store.go`).

use std::sync::Arc;

use serde_json::{Value, json};

use super::call::{Subresource, Write};
use super::failure::Failure;
use super::managed;
use super::server::{Answer, Request, metadata};
use super::{scale, service, strategy};

impl Request<'_> {
    /// Makes a new object.
    pub(super) fn create(&mut self, write: &Write, mut object: Value) -> Result<Answer, Failure> {
        self.read_body(write, &mut object)?;
        let metadata = metadata(&mut object);
        for field in [
            "creationTimestamp",
            "deletionGracePeriodSeconds",
            "deletionTimestamp",
            "resourceVersion",
            "selfLink",
            "uid",
        ] {
            metadata.remove(field);
        }
        self.check_namespace(&mut object)?;
        let name = object.pointer("/metadata/name").and_then(Value::as_str);
        if let Some(name) = name {
            self.key.name = name.into();
        }
        let object = managed::update(self.resource, None, object, &self.update_options(write));
        let body = self.store_new(object)?;
        Ok(Answer { code: 201, body })
    }

    /// Puts an object in the place of another.
    pub(super) fn replace(&mut self, write: &Write, mut object: Value) -> Result<Answer, Failure> {
        if self.subresource == Subresource::Scale {
            let live = self.live()?;
            return self.scale(write, &live, |scale| {
                *scale = object;
                Ok(())
            });
        }
        self.read_body(write, &mut object)?;
        self.check_namespace(&mut object)?;
        self.check_name(&object)?;
        let live = self.state.store.get(&self.key).cloned();
        if live.is_none() && !strategy::allows_create_on_update(self.resource) {
            return Err(Failure::not_found(self.resource, &self.key.name));
        }
        let uid = object.pointer("/metadata/uid").and_then(Value::as_str);
        let found = live
            .as_ref()
            .and_then(|live| live["metadata"]["uid"].as_str())
            .unwrap_or_default();
        if let Some(uid) = uid.filter(|uid| *uid != found) {
            let (key, name) = (self.registry_key(), &self.key.name);
            return Err(Failure::precondition(
                self.resource,
                &key,
                name,
                "UID",
                uid,
                found,
            ));
        }
        let Some(live) = live else {
            return self.create(write, object);
        };
        let object = managed::update(
            self.resource,
            Some(&live),
            object,
            &self.update_options(write),
        );
        let body = self.store_changed(&live, object)?;
        Ok(Answer { code: 200, body })
    }

    /// Changes an object by a patch that is no apply.
    pub(super) fn patch(
        &mut self,
        write: &Write,
        change: impl FnOnce(&mut Value) -> Result<(), Failure>,
    ) -> Result<Answer, Failure> {
        let live = self.live()?;
        if self.subresource == Subresource::Scale {
            return self.scale(write, &live, change);
        }
        let mut object = Value::clone(&live);
        change(&mut object)?;
        self.read_body(write, &mut object)?;
        let object = managed::update(
            self.resource,
            Some(&live),
            object,
            &self.update_options(write),
        );
        self.check_name(&object)?;
        let body = self.store_changed(&live, object)?;
        Ok(Answer { code: 200, body })
    }

    /// Writes the number of replicas.
    fn scale(
        &mut self,
        write: &Write,
        live: &Arc<Value>,
        change: impl FnOnce(&mut Value) -> Result<(), Failure>,
    ) -> Result<Answer, Failure> {
        let store = &self.state.store;
        let resource = store
            .of_kind("autoscaling", "Scale")
            .map(|id| store.resource(id));
        let resource = resource.ok_or_else(Failure::not_served)?;
        let before = scale::with_managers(self.resource, live);
        let mut after = before.clone();
        if !scale::has_replicas(self.resource, live) {
            after["spec"]["replicas"] = json!(i32::MIN);
        }
        change(&mut after)?;
        resource.schema.prune(&mut after);
        strategy::decode(&resource, &mut after);
        self.check_namespace(&mut after)?;
        self.check_name(&after)?;
        if after["spec"]["replicas"] == i32::MIN {
            let path = scale::replicas_path(self.resource);
            return Err(Failure::bad_request(&format!(
                "the spec replicas field {path:?} cannot be empty"
            )));
        }
        let after = managed::update(&resource, Some(&before), after, &self.update_options(write));
        let mut object = Value::clone(live);
        scale::write_back(self.resource, &mut object, &after);
        let object = self.store_changed(live, object)?;
        let body = Arc::new(scale::of(self.resource, &object));
        Ok(Answer { code: 200, body })
    }

    /// Server-side apply.
    pub(super) fn apply(
        &mut self,
        write: &Write,
        force: bool,
        patch: &Value,
    ) -> Result<Answer, Failure> {
        let live = self.state.store.get(&self.key).cloned();
        let makes = self.subresource == Subresource::None
            || strategy::allows_create_on_update(self.resource);
        if live.is_none() && !makes {
            return Err(Failure::not_found(self.resource, &self.key.name));
        }
        let options = managed::ApplyOptions {
            manager: &write.manager,
            force,
            subresource: self.subresource.name(),
            time: self.now,
            normalize: &|object| self.decode(object),
        };
        let mut object = managed::apply(self.resource, live.as_deref(), patch, &options)?;
        if let (None, Some(uid)) = (
            &live,
            object.pointer("/metadata/uid").and_then(Value::as_str),
        ) {
            let why = format!(
                "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            );
            return Err(Failure::conflict(self.resource, &self.key.name, &why));
        }
        self.check_namespace(&mut object)?;
        self.check_name(&object)?;
        match live {
            None => {
                let body = self.store_new(object)?;
                Ok(Answer { code: 201, body })
            }
            Some(live) => {
                let body = self.store_changed(&live, object)?;
                Ok(Answer { code: 200, body })
            }
        }
    }

    /// Decodes a body. Unknown fields are dropped; a strict write is refused for them.
    fn read_body(&self, write: &Write, object: &mut Value) -> Result<(), Failure> {
        let unknown = self.resource.schema.prune(object);
        if write.strict && !unknown.is_empty() {
            return Err(Failure::strict(self.resource, &unknown));
        }
        set_kind(self.resource, object);
        self.decode(object);
        Ok(())
    }

    fn decode(&self, object: &mut Value) {
        if strategy::counts_empty_lists(self.resource) && strategy::has_empty_list(&object["spec"])
        {
            self.has_empty_list.set(true);
        }
        strategy::decode(self.resource, object);
    }

    fn update_options<'a>(&'a self, write: &'a Write) -> managed::UpdateOptions<'a> {
        managed::UpdateOptions {
            manager: &write.manager,
            subresource: self.subresource.name(),
            time: self.now,
        }
    }

    /// `EnsureObjectNamespaceMatchesRequestNamespace` of `pkg/registry/rest/meta.go`.
    fn check_namespace(&self, object: &mut Value) -> Result<(), Failure> {
        let metadata = metadata(object);
        if !self.resource.namespaced {
            metadata.remove("namespace");
            return Ok(());
        }
        let namespace = metadata.get("namespace").and_then(Value::as_str);
        match namespace.unwrap_or_default() {
            "" => {
                metadata.insert("namespace".into(), json!(self.key.namespace));
                Ok(())
            }
            namespace if *namespace == *self.key.namespace => Ok(()),
            _ => Err(Failure::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            )),
        }
    }

    /// `checkName` of `pkg/endpoints/handlers/rest.go`.
    fn check_name(&self, object: &Value) -> Result<(), Failure> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        if *name == *self.key.name {
            return Ok(());
        }
        if name.is_empty() {
            return Err(Failure::bad_request(&format!(
                "the name of the object ({} based on URL) was undeterminable: name must be provided",
                self.key.name
            )));
        }
        Err(Failure::bad_request(&format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            self.key.name
        )))
    }

    /// Stores a new object, once it has what the server itself decides.
    fn store_new(&mut self, mut object: Value) -> Result<Arc<Value>, Failure> {
        self.admit_namespace()?;
        strategy::admit(self.resource, &mut object);
        set_kind(self.resource, &mut object);
        let (uid, now) = (self.uid(), self.now);
        let has_generation = strategy::has_generation(self.resource);
        let generated = {
            let metadata = &object["metadata"];
            let prefix = metadata.get("generateName").and_then(Value::as_str);
            prefix
                .filter(|_| metadata.get("name").is_none())
                .map(str::to_owned)
        };
        if let Some(prefix) = generated {
            self.key.name = format!("{prefix}{}", self.suffix()).into();
        }
        let metadata = metadata(&mut object);
        metadata.insert("name".into(), json!(self.key.name));
        metadata.insert("uid".into(), json!(uid));
        metadata.insert("creationTimestamp".into(), json!(now));
        metadata.remove("resourceVersion");
        metadata.remove("generation");
        if has_generation {
            metadata.insert("generation".into(), json!(1));
        }
        if service::is_service(self.resource) && self.subresource == Subresource::None {
            service::allocate(&mut object, None, &mut self.state.addresses);
        }
        strategy::prepare_create(self.resource, &mut object);
        self.validate(&object, None)?;
        match self.state.store.get(&self.key) {
            None => Ok(self.put(object)),
            Some(live) if live["metadata"].get("deletionTimestamp").is_some() => Err(
                Failure::already_exists_and_goes(self.resource, &self.key.name),
            ),
            Some(_) => Err(Failure::already_exists(self.resource, &self.key.name)),
        }
    }

    /// `plugin/namespace/lifecycle` of `pkg/admission`: no new object without its namespace, or in one that goes.
    fn admit_namespace(&self) -> Result<(), Failure> {
        let namespace = &self.key.namespace;
        if !self.resource.namespaced {
            return Ok(());
        }
        let Some(live) = self.namespace() else {
            return Err(Failure::namespace_not_found(namespace));
        };
        if live["status"]["phase"] == "Terminating" {
            return Err(Failure::namespace_terminating(
                self.resource,
                &self.key.name,
                namespace,
            ));
        }
        Ok(())
    }

    /// Stores a new state of an object that is there; nothing where nothing changed.
    fn store_changed(
        &mut self,
        live: &Arc<Value>,
        mut object: Value,
    ) -> Result<Arc<Value>, Failure> {
        self.check_version(live, &object)?;
        if service::is_service(self.resource) && self.subresource == Subresource::None {
            service::allocate(&mut object, Some(live), &mut self.state.addresses);
        }
        set_kind(self.resource, &mut object);
        let metadata = metadata(&mut object);
        let is_set = |field: &str| live["metadata"].get(field).cloned();
        for field in [
            "creationTimestamp",
            "generation",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
        ] {
            match is_set(field) {
                Some(value) => metadata.insert(field.into(), value),
                None => metadata.remove(field),
            };
        }
        if !metadata.contains_key("uid") {
            metadata.insert("uid".into(), live["metadata"]["uid"].clone());
        }
        metadata.insert(
            "resourceVersion".into(),
            live["metadata"]["resourceVersion"].clone(),
        );
        if self.subresource == Subresource::None {
            strategy::admit(self.resource, &mut object);
        }
        strategy::prepare_update(self.resource, self.subresource, live, &mut object);
        if self.has_empty_list.get()
            && object["metadata"]["generation"] == live["metadata"]["generation"]
        {
            strategy::count_generation(live, &mut object);
        }
        self.validate(&object, Some(live))?;
        managed::keep_times(live, &mut object);
        let goes = live["metadata"].get("deletionTimestamp").is_some()
            && live["metadata"]["deletionGracePeriodSeconds"]
                .as_i64()
                .unwrap_or(0)
                == 0;
        if goes && !strategy::has_finalizers(&object) {
            self.state.store.remove(&self.key);
            return Ok(Arc::new(object));
        }
        if object == **live && !self.state.unclean.contains(&self.key) {
            return Ok(Arc::clone(live));
        }
        Ok(self.put(object))
    }

    /// Stores an object, and gives it the form in which it is read again.
    pub(super) fn put(&mut self, mut object: Value) -> Arc<Value> {
        if strategy::read(self.resource, &mut object) {
            self.state.unclean.insert(self.key.clone());
        } else {
            self.state.unclean.remove(&self.key);
        }
        self.state.store.put(self.key.clone(), object)
    }

    fn check_version(&self, live: &Value, object: &Value) -> Result<(), Failure> {
        let wanted = object["metadata"]
            .get("resourceVersion")
            .and_then(Value::as_str);
        match wanted.filter(|wanted| !wanted.is_empty() && *wanted != "0") {
            Some(wanted) if live["metadata"]["resourceVersion"] == wanted => Ok(()),
            Some(_) => Err(Failure::modified(self.resource, &self.key.name)),
            None if strategy::allows_unconditional_update(self.resource) => Ok(()),
            None => Err(Failure::without_version(self.resource, &self.key.name)),
        }
    }

    fn validate(&self, object: &Value, live: Option<&Value>) -> Result<(), Failure> {
        let causes = strategy::validate(self.resource, self.rules, self.subresource, object, live);
        if causes.is_empty() {
            return Ok(());
        }
        Err(Failure::invalid(self.resource, &self.key.name, &causes))
    }
}

fn set_kind(resource: &super::schema::Resource, object: &mut Value) {
    if let Value::Object(object) = object {
        object.insert("apiVersion".into(), json!(resource.api_version()));
        object.insert("kind".into(), json!(resource.kind));
    }
}
