//! Writes: server-side apply, deletion with preconditions, status.

use std::sync::Arc;

use kube::Client;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions, ValidationDirective};
use kube::core::{ApiResource, GroupVersionKind, Request, Resource as _};
use serde_json::Value;
use todo_operator_core::child::{Child, ChildKey};
use todo_operator_core::kind::Kind;
use todo_operator_core::live::Record;
use todo_operator_core::names::FIELD_MANAGER;
use todo_operator_core::observe;
use todo_operator_core::plan::{Deletion, Write};
use tokio::sync::Semaphore;

use crate::backlog::Backlog;
use crate::outside::Clock;

/// A child as the API server has it after our write. Only [`Applier`] makes one.
#[derive(Debug)]
pub struct Applied(Record);

impl Applied {
    /// How it is now.
    pub fn into_record(self) -> Record {
        self.0
    }
}

/// A write that failed.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The API server refused it, or could not be reached.
    #[error("{key} in namespace {namespace:?}: {source}", namespace = key.namespace)]
    Request {
        /// Which object.
        key: ChildKey,
        /// What it said.
        #[source]
        source: kube::Error,
    },
    /// The answer is no object: a proxy in between, most likely.
    #[error("{key}: the API server's answer is no {}", key.kind.name())]
    Answer {
        /// Which object.
        key: ChildKey,
    },
}

impl ApplyError {
    /// Which object.
    pub fn key(&self) -> &ChildKey {
        match self {
            Self::Request { key, .. } | Self::Answer { key } => key,
        }
    }

    /// The HTTP status, where the API server answered.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Request {
                source: kube::Error::Api(status),
                ..
            } => Some(status.code),
            _ => None,
        }
    }

    /// The API server does not serve the kind (any more).
    pub fn is_missing_kind(&self) -> bool {
        // A missing object answers a patch by creating it; only a missing kind or namespace answers 404.
        matches!(self, Self::Request { source: kube::Error::Api(status), .. }
            if status.code == 404 && status.details.as_ref().is_none_or(|details| details.name.is_empty()))
    }

    /// Our view of the object was old: the next watch event brings a new one.
    pub fn is_conflict(&self) -> bool {
        self.code() == Some(409)
    }

    /// The API server's words.
    pub fn message(&self) -> String {
        match self {
            Self::Request {
                source: kube::Error::Api(status),
                ..
            } => status.message.clone(),
            other => other.to_string(),
        }
    }
}

/// URL of the objects of a kind, in a namespace (empty for all, or for a cluster-scoped kind).
pub fn resource_url(kind: Kind, namespace: &str) -> String {
    let namespace = (kind.is_namespaced() && !namespace.is_empty()).then_some(namespace);
    kube::core::DynamicObject::url_path(&api_resource(kind), namespace)
}

/// What `kube` needs to know of a kind.
pub fn api_resource(kind: Kind) -> ApiResource {
    let (group, version, name, plural) = kind.resource();
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, name), plural)
}

/// Applies that are under way at once. More make an API server slower, not faster: its own work on each grows.
const IN_FLIGHT: usize = 16;

/// Writes children.
#[derive(Clone)]
pub struct Applier {
    client: Client,
    clock: Arc<dyn Clock>,
    backlog: Arc<Backlog>,
    in_flight: Arc<Semaphore>,
}

impl Applier {
    /// An applier that writes through `client`, and notes in `backlog` when a child has to wait.
    pub fn new(client: Client, clock: Arc<dyn Clock>, backlog: Arc<Backlog>) -> Self {
        Self {
            client,
            clock,
            backlog,
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT)),
        }
    }

    /// Applies a child, forcing the fields that are ours.
    pub async fn apply(&self, write: &Write) -> Result<Applied, ApplyError> {
        self.apply_child(&write.child).await
    }

    /// As [`Self::apply`].
    pub async fn apply_child(&self, child: &Child) -> Result<Applied, ApplyError> {
        let key = &child.key;
        let params = PatchParams {
            field_validation: Some(ValidationDirective::Strict),
            ..PatchParams::apply(FIELD_MANAGER).force()
        };
        let request = Request::new(resource_url(key.kind, &key.namespace))
            .patch(&key.name, &params, &Patch::Apply(&child.body))
            .map_err(kube::Error::BuildRequest);
        if self.in_flight.available_permits() == 0 {
            self.backlog.note(self.clock.now());
        }
        let permit = self.in_flight.acquire().await;
        let answer: Result<Value, kube::Error> = match request {
            Ok(request) => self.client.request(request).await,
            Err(error) => Err(error),
        };
        drop(permit);
        let object = answer.map_err(|source| ApplyError::Request {
            key: key.clone(),
            source,
        })?;
        observe::read(key.kind, &object)
            .map(Applied)
            .ok_or_else(|| ApplyError::Answer { key: key.clone() })
    }

    /// Deletes an object as it was seen: with its UID and resourceVersion. One that is gone already is no error.
    pub async fn delete(&self, deletion: &Deletion) -> Result<(), ApplyError> {
        let key = &deletion.key;
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(deletion.uid.to_string()),
                resource_version: Some(deletion.resource_version.to_string()),
            }),
            ..DeleteParams::background()
        };
        let request = Request::new(resource_url(key.kind, &key.namespace))
            .delete(&key.name, &params)
            .map_err(kube::Error::BuildRequest);
        let answer = match request {
            Ok(request) => self.client.request_text(request).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(source) => Err(ApplyError::Request {
                key: key.clone(),
                source,
            }),
        }
    }

    /// Reads an object whole.
    pub async fn get(&self, key: &ChildKey) -> Result<Option<Value>, ApplyError> {
        let request = Request::new(resource_url(key.kind, &key.namespace))
            .get(&key.name, &kube::api::GetParams::default())
            .map_err(kube::Error::BuildRequest);
        let answer = match request {
            Ok(request) => self.client.request(request).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(object) => Ok(Some(object)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(source) => Err(ApplyError::Request {
                key: key.clone(),
                source,
            }),
        }
    }
}
