//! A TodoApp as it is kept in memory: its JSON text, compressed, a small fraction of the size of the parsed form. Ten
//! thousand of them are read one at a time.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};
use serde::de::Error as _;
use todo_operator_api::TodoApp;
use todo_operator_core::status::READY;

/// A TodoApp as it is kept in memory.
#[derive(Clone, Debug)]
pub struct KeptApp {
    /// What the cache needs to know it by.
    meta: ObjectMeta,
    compressed: Box<[u8]>,
    ready: bool,
}

impl KeptApp {
    /// Keeps an application.
    pub fn new(app: &TodoApp) -> Self {
        Self {
            meta: ObjectMeta {
                name: app.metadata.name.clone(),
                namespace: app.metadata.namespace.clone(),
                uid: app.metadata.uid.clone(),
                resource_version: app.metadata.resource_version.clone(),
                ..ObjectMeta::default()
            },
            // What was parsed can be written.
            compressed: lz4_flex::compress_prepend_size(
                &serde_json::to_vec(app).unwrap_or_default(),
            )
            .into_boxed_slice(),
            ready: is_ready(app),
        }
    }

    /// The application. An error cannot happen to what was kept by [`Self::new`].
    pub fn parse(&self) -> Result<TodoApp, serde_json::Error> {
        let text = lz4_flex::decompress_size_prepended(&self.compressed)
            .map_err(serde_json::Error::custom)?;
        serde_json::from_slice(&text)
    }

    /// Whether it is Ready as it now stands.
    pub fn is_ready(&self) -> bool {
        self.ready
    }
}

fn is_ready(app: &TodoApp) -> bool {
    let conditions = app.status.iter().flat_map(|status| &status.conditions);
    conditions
        .filter(|condition| condition.type_ == READY && condition.status == "True")
        .any(|condition| condition.observed_generation == app.metadata.generation)
}

/// The same event of what is kept.
pub fn keep(event: &Event<TodoApp>) -> Event<KeptApp> {
    match event {
        Event::Apply(app) => Event::Apply(KeptApp::new(app)),
        Event::Delete(app) => Event::Delete(KeptApp::new(app)),
        Event::InitApply(app) => Event::InitApply(KeptApp::new(app)),
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
    }
}

/// Takes out of a TodoApp what nobody here reads: who owns which field, and kubectl's copy of the whole.
pub fn trim<K: Resource>(object: &mut K) {
    object.meta_mut().managed_fields = None;
    if object.meta().annotations.is_some() {
        object
            .annotations_mut()
            .remove("kubectl.kubernetes.io/last-applied-configuration");
    }
}

impl Resource for KeptApp {
    type DynamicType = ();
    type Scope = <TodoApp as Resource>::Scope;

    fn kind(dt: &()) -> Cow<'_, str> {
        TodoApp::kind(dt)
    }

    fn group(dt: &()) -> Cow<'_, str> {
        TodoApp::group(dt)
    }

    fn version(dt: &()) -> Cow<'_, str> {
        TodoApp::version(dt)
    }

    fn plural(dt: &()) -> Cow<'_, str> {
        TodoApp::plural(dt)
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
    use serde_json::json;

    use super::*;

    fn app() -> TodoApp {
        serde_json::from_value(json!({
            "apiVersion": "todo-operator.dev/v1alpha1",
            "kind": "TodoApp",
            "metadata": {
                "name": "shop", "namespace": "test", "uid": "u", "resourceVersion": "7", "generation": 2,
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "kept": "yes"},
                "managedFields": [{"manager": "kubectl"}],
                "finalizers": ["todo-operator.dev/cleanup"],
            },
            "spec": {"components": {"web": {"kind": "Site"}}, "release": {"version": "1", "images": []}},
            "status": {"conditions": [{
                "type": "Ready", "status": "True", "reason": "Ready", "message": "", "observedGeneration": 2,
                "lastTransitionTime": "2026-05-01T10:00:00Z",
            }]},
        }))
        .unwrap()
    }

    #[test]
    fn what_was_kept_comes_back_whole() {
        let app = app();
        let kept = KeptApp::new(&app);
        assert_eq!(kept.parse().unwrap(), app);
        assert_eq!(
            (kept.name_any(), kept.namespace()),
            ("shop".into(), Some("test".into()))
        );
        assert_eq!(kept.resource_version().as_deref(), Some("7"));
    }

    #[test]
    fn ready_counts_for_the_present_generation_only() {
        let mut app = app();
        assert!(KeptApp::new(&app).is_ready());
        app.metadata.generation = Some(3);
        assert!(!KeptApp::new(&app).is_ready());
    }

    #[test]
    fn trimming_takes_out_what_nobody_reads() {
        let mut app = app();
        trim(&mut app);
        assert_eq!(app.metadata.managed_fields, None);
        assert_eq!(app.annotations().keys().collect::<Vec<_>>(), ["kept"]);
    }
}
