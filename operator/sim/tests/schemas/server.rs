//! Requests to the real API server, with its answers as they are.

use kube::Client;
use kube::core::Request;
use kube::core::params::{GetParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::Value;

/// A real API server.
pub struct Server {
    client: Client,
}

/// An answer that is a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub code: u16,
    pub reason: String,
    pub message: String,
    /// The causes in its details: reason, message and field.
    pub causes: Vec<(String, String, String)>,
}

/// A write.
#[derive(Clone, Debug)]
pub enum Call {
    Create { object: Value },
    Apply { force: bool, object: Value },
    Put { object: Value },
    Merge { patch: Value },
}

/// A write by a manager, of an object or its status.
#[derive(Clone, Debug)]
pub struct Write {
    pub manager: &'static str,
    pub status: bool,
    pub call: Call,
}

impl Write {
    /// The kind of the object, where the write says it.
    pub fn kind(&self) -> Option<&str> {
        match &self.call {
            Call::Create { object } | Call::Apply { object, .. } | Call::Put { object } => {
                object["kind"].as_str()
            }
            Call::Merge { .. } => None,
        }
    }
}

impl Server {
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Reads any path.
    pub async fn get(&self, path: &str) -> Result<Value, Failure> {
        let (parent, name) = path.rsplit_once('/').unwrap();
        let request = Request::new(parent).get(name, &GetParams::default());
        self.answer(self.client.request(request.unwrap()).await)
    }

    /// Lists a resource.
    pub async fn list(&self, path: &str) -> Value {
        let request = Request::new(path).list(&ListParams::default());
        self.client.request(request.unwrap()).await.unwrap()
    }

    /// Makes a write. `path` is that of the resource.
    pub async fn write(&self, path: &str, name: &str, write: &Write) -> Result<Value, Failure> {
        let request = Request::new(path);
        let params = PatchParams {
            field_manager: Some(write.manager.to_owned()),
            ..PatchParams::default()
        };
        let request = match &write.call {
            Call::Create { object } => {
                let params = PostParams {
                    field_manager: Some(write.manager.to_owned()),
                    ..PostParams::default()
                };
                request.create(&params, serde_json::to_vec(object).unwrap())
            }
            Call::Put { object } => {
                let params = PostParams {
                    field_manager: Some(write.manager.to_owned()),
                    ..PostParams::default()
                };
                let body = serde_json::to_vec(object).unwrap();
                if write.status {
                    request.replace_subresource("status", name, &params, body)
                } else {
                    request.replace(name, &params, body)
                }
            }
            Call::Apply { force, object } => {
                let params = PatchParams {
                    force: *force,
                    ..params
                };
                let patch = Patch::Apply(object);
                if write.status {
                    request.patch_subresource("status", name, &params, &patch)
                } else {
                    request.patch(name, &params, &patch)
                }
            }
            Call::Merge { patch } => {
                let patch = Patch::Merge(patch);
                if write.status {
                    request.patch_subresource("status", name, &params, &patch)
                } else {
                    request.patch(name, &params, &patch)
                }
            }
        };
        self.answer(self.client.request(request.unwrap()).await)
    }

    fn answer(&self, answer: kube::Result<Value>) -> Result<Value, Failure> {
        match answer {
            Ok(value) => Ok(value),
            Err(kube::Error::Api(status)) => Err(Failure {
                code: status.code,
                reason: status.reason.clone(),
                message: status.message.clone(),
                causes: status
                    .details
                    .iter()
                    .flat_map(|details| &details.causes)
                    .map(|c| (c.reason.clone(), c.message.clone(), c.field.clone()))
                    .collect(),
            }),
            Err(error) => panic!("no answer: {error}"),
        }
    }
}
