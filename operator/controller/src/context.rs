//! What every reconcile works with.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder};
use kube::runtime::reflector::Store;
use kube::{Client, Resource, ResourceExt};
use todo_operator_api::{TodoApp, TodoEnvironment, TodoIntent};
use todo_operator_core::canonical::Digest128;
use todo_operator_core::child::ChildKey;

use crate::apply::Applier;
use crate::backlog::Backlog;
use crate::claims::Claims;
use crate::index::{AppKey, Index};
use crate::kafka::KafkaAdmin;
use crate::kept::KeptApp;
use crate::metrics::{KindLabel, Metrics};
use crate::outside::{Clock, Jitter};
use crate::topics::TopicCache;

/// What every reconcile works with. Everything outside of it came in by injection.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// Writes children.
    pub applier: Applier,
    /// Statuses that wait for children.
    pub backlog: Arc<Backlog>,
    /// Every object that is watched.
    pub index: Arc<Index>,
    /// Every TodoApp.
    pub apps: Store<KeptApp>,
    /// Every TodoEnvironment.
    pub environments: Store<TodoEnvironment>,
    /// Every TodoIntent.
    pub intents: Store<TodoIntent>,
    /// Whether the admission policy that guards intents is the expected one; why not.
    pub intent_policy: Arc<crate::policy::PolicyWatch>,
    /// Who holds what only one application can have.
    pub claims: Arc<Mutex<Claims>>,
    /// Kafka's admin API.
    pub kafka: Arc<dyn KafkaAdmin>,
    /// Topics as they were last seen.
    pub topics: TopicCache,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub jitter: Jitter,
    /// What Prometheus reads.
    pub metrics: Arc<Metrics>,
    /// Publishes Events.
    pub recorder: Recorder,
    /// Namespace of the operator itself.
    pub namespace: String,
    /// What is remembered of each object between reconciles. Losing it costs nothing but a repeated Event.
    pub memory: Memories,
}

/// What is remembered of each object between reconciles.
#[derive(Default)]
pub struct Memories {
    apps: Mutex<HashMap<AppKey, Memory>>,
}

/// What is remembered of one application.
#[derive(Clone, Default)]
pub struct Memory {
    /// Failed reconciles in a row.
    pub failures: u32,
    /// Hash of everything that was rendered, when all of it was in place: a write for the same is drift.
    pub settled: Option<Digest128>,
    /// The TodoApp as our own last write of its status returned it, until the watch has brought that.
    pub newest: Option<Arc<TodoApp>>,
}

impl Memories {
    fn lock(&self) -> MutexGuard<'_, HashMap<AppKey, Memory>> {
        self.apps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is remembered of an application.
    pub fn get(&self, app: &AppKey) -> Memory {
        self.lock().get(app).cloned().unwrap_or_default()
    }

    /// Changes what is remembered of an application.
    pub fn update(&self, app: &AppKey, change: impl FnOnce(&mut Memory)) {
        change(self.lock().entry(app.clone()).or_default());
    }

    /// Whether the watch brings what our own last write of the status made. Then it need not be kept any longer, nor be
    /// reconciled: the reconcile that wrote it is the one that it would begin.
    pub fn is_echo(&self, app: &AppKey, brought: &TodoApp) -> bool {
        let mut apps = self.lock();
        let Some(memory) = apps.get_mut(app) else {
            return false;
        };
        let is_echo = memory.newest.as_ref().is_some_and(|ours| {
            ours.metadata.uid == brought.metadata.uid
                && ours.metadata.resource_version == brought.metadata.resource_version
        });
        if is_echo {
            memory.newest = None;
        }
        is_echo
    }

    /// Forgets an application that is gone.
    pub fn forget(&self, app: &AppKey) {
        self.lock().remove(app);
    }
}

impl Context {
    /// Every TodoApp, by namespace and name: the store has no order.
    pub fn all_apps(&self) -> Vec<Arc<KeptApp>> {
        in_order(self.apps.state())
    }

    /// The TodoApps of a namespace, by name.
    pub fn apps_in(&self, namespace: &str) -> Vec<Arc<KeptApp>> {
        let mut apps = self.apps.state();
        apps.retain(|app| app.meta().namespace.as_deref() == Some(namespace));
        in_order(apps)
    }

    /// Every TodoEnvironment, by name.
    pub fn all_environments(&self) -> Vec<Arc<TodoEnvironment>> {
        in_order(self.environments.state())
    }

    /// The TodoEnvironments that claim a namespace, by name: more than one is a mistake that each of them is told of.
    pub fn environments_in(&self, namespace: &str) -> Vec<Arc<TodoEnvironment>> {
        let mut environments = self.environments.state();
        environments.retain(|environment| environment.spec.namespace == namespace);
        in_order(environments)
    }

    /// Every TodoIntent, by namespace and name.
    pub fn all_intents(&self) -> Vec<Arc<TodoIntent>> {
        in_order(self.intents.state())
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Tells people about `object`. An Event that cannot be published is logged and forgotten: it must not hold back
    /// what it tells of.
    pub async fn tell<K>(
        &self,
        object: &K,
        type_: EventType,
        reason: &str,
        action: &str,
        note: &str,
    ) where
        K: Resource<DynamicType = ()>,
    {
        self.publish(object, None, type_, reason, action, note)
            .await;
    }

    /// Tells people that a child of `object` was put right.
    pub async fn tell_correction<K>(&self, object: &K, child: &ChildKey)
    where
        K: Resource<DynamicType = ()>,
    {
        tracing::info!(%child, "drift corrected");
        let kind = child.kind.name();
        self.metrics
            .drift_corrected
            .get_or_create(&KindLabel { kind })
            .inc();
        let note =
            format!("{child} had been changed or deleted by somebody else, and was put right");
        let related = ObjectReference {
            api_version: Some(child.kind.api_version()),
            kind: Some(kind.to_owned()),
            namespace: Some(child.namespace.to_string()).filter(|namespace| !namespace.is_empty()),
            name: Some(child.name.to_string()),
            ..ObjectReference::default()
        };
        self.publish(
            object,
            Some(related),
            EventType::Normal,
            "DriftCorrected",
            "Apply",
            &note,
        )
        .await;
    }

    async fn publish<K>(
        &self,
        object: &K,
        related: Option<ObjectReference>,
        type_: EventType,
        reason: &str,
        action: &str,
        note: &str,
    ) where
        K: Resource<DynamicType = ()>,
    {
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note.chars().take(1_000).collect()),
            action: action.to_owned(),
            secondary: related,
        };
        // The recorder counts a repetition on the first Event, whose note stays. With the version of the object, and what
        // it is related to, only what says the same again is a repetition.
        let regarding = ObjectReference {
            resource_version: object.resource_version(),
            ..object.object_ref(&())
        };
        if let Err(error) = self.recorder.publish(&event, &regarding).await {
            tracing::warn!(object = object.name_any(), reason, %error, "cannot publish an Event");
        }
    }
}

fn in_order<K: Resource<DynamicType = ()>>(mut objects: Vec<Arc<K>>) -> Vec<Arc<K>> {
    objects.sort_by_cached_key(|object| {
        let meta = object.meta();
        (meta.namespace.clone(), meta.name.clone())
    });
    objects
}
