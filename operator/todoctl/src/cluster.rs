//! Reading a cluster, with the permissions of who asks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use futures::{StreamExt, stream};
use k8s_openapi::api::authentication::v1::{SelfSubjectReview, UserInfo};
use kube::api::{Api, ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Client, Config};
use serde_json::Value;
use todo_operator_api::{TodoApp, TodoEnvironment, TodoIntent};
use todo_operator_core::child::ChildKey;
use todo_operator_core::kind::Kind;
use todo_operator_core::live::{Children, Live, Record};
use todo_operator_core::names::{LABEL_APP, LABEL_NAMESPACE};
use todo_operator_core::observe;

/// Requests that are under way at the same time.
const CONCURRENT_READS: usize = 8;

/// Which cluster, and which namespace.
#[derive(Args, Clone, Debug, Default)]
pub struct Target {
    /// Context of the kubeconfig; its current one by default
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// The kubeconfig; $KUBECONFIG, else ~/.kube/config by default
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Namespace; the context's by default
    #[arg(long, short, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
}

/// What the cluster did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No cluster can be reached with this kubeconfig.
    #[error("no cluster to ask: {0}: check --kubeconfig, $KUBECONFIG and --context")]
    Config(String),
    /// A request failed.
    #[error("{what}: {}", message(source))]
    Request {
        /// What was asked.
        what: String,
        /// What went wrong.
        #[source]
        source: kube::Error,
    },
    /// The operator's resources are not there.
    #[error(
        "the cluster has no {0}: install the operator first (kubectl apply -k kustomize/overlays/production)"
    )]
    NotInstalled(&'static str),
    /// There is no such object.
    #[error("there is no {what}{hint}")]
    NotFound {
        /// What was looked for, and where.
        what: String,
        /// What to try.
        hint: String,
    },
    /// What was asked for did not happen in time.
    #[error("{0}")]
    Late(String),
}

impl ClusterError {
    /// From a failed request.
    pub fn request(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        move |source| Self::Request { what, source }
    }
}

/// What the API server, or the way to it, says.
pub fn message(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => {
            let mut text = other.to_string();
            let mut cause = std::error::Error::source(other);
            while let Some(error) = cause {
                let said = error.to_string();
                if !text.contains(&said) {
                    text.push_str(&format!(": {said}"));
                }
                cause = error.source();
            }
            text
        }
    }
}

fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// A cluster.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    /// The namespace that was asked for, else the context's.
    pub namespace: String,
}

/// The live objects of an application.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// Compact records.
    pub children: Children,
    /// Whole objects.
    pub bodies: BTreeMap<ChildKey, Value>,
    /// Kinds that the API server does not serve.
    pub missing: BTreeSet<Kind>,
    /// Kinds that we are not allowed to read, with the server's words.
    pub hidden: BTreeMap<Kind, String>,
}

impl Objects {
    /// Takes in an object.
    pub fn insert(&mut self, kind: Kind, body: Value) -> Option<ChildKey> {
        let Record { key, live, .. } = observe::read(kind, &body)?;
        self.children.insert(key.clone(), Arc::new(live));
        self.bodies.insert(key.clone(), body);
        Some(key)
    }

    /// The record of an object.
    pub fn find(&self, kind: Kind, namespace: &str, name: &str) -> Option<(&ChildKey, &Live)> {
        let (key, live) = self
            .children
            .get_key_value(&ChildKey::new(kind, namespace, name))?;
        Some((key, live))
    }

    /// What could not be looked at, in a sentence that ends in the server's words.
    pub fn not_read(&self) -> Option<String> {
        let kinds: Vec<String> = self
            .hidden
            .keys()
            .map(|kind| format!("{}s", kind.name()))
            .collect();
        let message = self.hidden.values().next()?;
        Some(format!("not looked at: {}: {message}", kinds.join(", ")))
    }

    /// Every object of a kind.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = (&ChildKey, &Live)> {
        let of_kind = self
            .children
            .iter()
            .filter(move |(key, _)| key.kind == kind);
        of_kind.map(|(key, live)| (key, live.as_ref()))
    }
}

fn resource(kind: Kind) -> ApiResource {
    let (group, version, name, plural) = kind.resource();
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, name), plural)
}

impl Cluster {
    /// Connects as the kubeconfig says; inside a pod, as its ServiceAccount.
    pub async fn connect(target: &Target) -> Result<Self, ClusterError> {
        let options = KubeConfigOptions {
            context: target.context.clone(),
            ..KubeConfigOptions::default()
        };
        let unusable = |error: &dyn std::fmt::Display| ClusterError::Config(error.to_string());
        let config = match (&target.kubeconfig, &target.context) {
            (Some(file), _) => {
                let kubeconfig = Kubeconfig::read_from(file).map_err(|error| unusable(&error))?;
                Config::from_custom_kubeconfig(kubeconfig, &options)
                    .await
                    .map_err(|error| unusable(&error))?
            }
            (None, Some(_)) => Config::from_kubeconfig(&options)
                .await
                .map_err(|error| unusable(&error))?,
            (None, None) => Config::infer().await.map_err(|error| unusable(&error))?,
        };
        let namespace = target
            .namespace
            .clone()
            .unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(|error| unusable(&message(&error)))?;
        Ok(Self { client, namespace })
    }

    /// A TodoApp, where it is there.
    pub async fn app(&self, namespace: &str, name: &str) -> Result<Option<TodoApp>, ClusterError> {
        let api: Api<TodoApp> = Api::namespaced(self.client.clone(), namespace);
        api.get_opt(name)
            .await
            .map_err(ClusterError::request(format!("TodoApp {namespace}/{name}")))
    }

    /// The TodoApps of a namespace, or of all.
    pub async fn apps(&self, namespace: Option<&str>) -> Result<Vec<TodoApp>, ClusterError> {
        let api: Api<TodoApp> = match namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        match api.list(&ListParams::default()).await {
            Ok(list) => Ok(list.items),
            Err(error) if code(&error) == Some(404) => Err(ClusterError::NotInstalled("TodoApp")),
            Err(source) => Err(ClusterError::Request {
                what: "TodoApps".to_owned(),
                source,
            }),
        }
    }

    /// A TodoEnvironment, where it is there.
    pub async fn environment(&self, name: &str) -> Result<Option<TodoEnvironment>, ClusterError> {
        let api: Api<TodoEnvironment> = Api::all(self.client.clone());
        api.get_opt(name)
            .await
            .map_err(ClusterError::request(format!("TodoEnvironment {name}")))
    }

    /// Every TodoEnvironment, or those of one namespace.
    pub async fn environments(
        &self,
        namespace: Option<&str>,
    ) -> Result<Vec<TodoEnvironment>, ClusterError> {
        let api: Api<TodoEnvironment> = Api::all(self.client.clone());
        let params = match namespace {
            Some(namespace) => ListParams::default().fields(&format!("spec.namespace={namespace}")),
            None => ListParams::default(),
        };
        match api.list(&params).await {
            Ok(list) => Ok(list.items),
            Err(error) if code(&error) == Some(404) => {
                Err(ClusterError::NotInstalled("TodoEnvironment"))
            }
            Err(source) => Err(ClusterError::Request {
                what: "TodoEnvironments".to_owned(),
                source,
            }),
        }
    }

    /// As [`Self::environments`]; none where we are not allowed to list them.
    pub async fn visible_environments(
        &self,
        namespace: Option<&str>,
    ) -> Result<Vec<TodoEnvironment>, ClusterError> {
        match self.environments(namespace).await {
            Err(ClusterError::Request { source, .. }) if code(&source) == Some(403) => {
                Ok(Vec::new())
            }
            other => other,
        }
    }

    /// TodoIntents.
    pub fn intents(&self) -> Api<TodoIntent> {
        Api::all(self.client.clone())
    }

    /// Who we are to the API server.
    pub async fn who_am_i(&self) -> Result<UserInfo, ClusterError> {
        let api: Api<SelfSubjectReview> = Api::all(self.client.clone());
        let review = api
            .create(&PostParams::default(), &SelfSubjectReview::default())
            .await
            .map_err(ClusterError::request("SelfSubjectReview"))?;
        Ok(review
            .status
            .and_then(|status| status.user_info)
            .unwrap_or_default())
    }

    /// One object, where it is there. A kind that is not served has none.
    pub async fn get(&self, key: &ChildKey) -> Result<Option<Value>, ClusterError> {
        let object = self.api(key.kind, &key.namespace).get_opt(&key.name).await;
        let object = object.map_err(ClusterError::request(crate::render::name(key)))?;
        object
            .map(serde_json::to_value)
            .transpose()
            .map_err(|error| ClusterError::Request {
                what: crate::render::name(key),
                source: kube::Error::SerdeError(error),
            })
    }

    fn api(&self, kind: Kind, namespace: &str) -> Api<DynamicObject> {
        if kind.is_namespaced() {
            Api::namespaced_with(self.client.clone(), namespace, &resource(kind))
        } else {
            Api::all_with(self.client.clone(), &resource(kind))
        }
    }

    /// Everything that belongs to an application, with the analyses of its namespace and the Events about mounts that
    /// fail. `topics` is the namespace of its KafkaTopics, where that is another.
    pub async fn objects(
        &self,
        namespace: &str,
        app: &str,
        topics: Option<&str>,
    ) -> Result<Objects, ClusterError> {
        let kinds = Kind::CHILDREN.into_iter().chain(Kind::READ).filter(|kind| {
            // These belong to the environment.
            !matches!(
                kind,
                Kind::Namespace | Kind::ResourceQuota | Kind::LimitRange
            )
        });
        let queries = kinds.map(|kind| match kind {
            // AnalysisRuns bear no labels of ours.
            Kind::AnalysisRun => (kind, namespace, ListParams::default()),
            Kind::Event => (
                kind,
                namespace,
                ListParams::default().fields("reason=FailedMount,type=Warning"),
            ),
            Kind::KafkaTopic => {
                let selector = format!("{LABEL_APP}={app},{LABEL_NAMESPACE}={namespace}");
                (
                    kind,
                    topics.unwrap_or(namespace),
                    ListParams::default().labels(&selector),
                )
            }
            _ => (
                kind,
                namespace,
                ListParams::default().labels(&format!("{LABEL_APP}={app}")),
            ),
        });
        self.list_all(queries.collect()).await
    }

    /// Pods with a label.
    pub async fn pods(&self, namespace: &str, label: &str) -> Result<Objects, ClusterError> {
        self.list_all(vec![(
            Kind::Pod,
            namespace,
            ListParams::default().labels(label),
        )])
        .await
    }

    /// Objects of `kinds` with a label.
    pub async fn labelled(
        &self,
        kinds: &[Kind],
        namespace: &str,
        label: &str,
    ) -> Result<Objects, ClusterError> {
        let queries = kinds
            .iter()
            .map(|kind| (*kind, namespace, ListParams::default().labels(label)));
        self.list_all(queries.collect()).await
    }

    async fn list_all(
        &self,
        queries: Vec<(Kind, &str, ListParams)>,
    ) -> Result<Objects, ClusterError> {
        let answers: Vec<_> = stream::iter(queries)
            .map(|(kind, namespace, params)| async move {
                (kind, self.api(kind, namespace).list(&params).await)
            })
            .buffer_unordered(CONCURRENT_READS)
            .collect()
            .await;
        let mut objects = Objects::default();
        for (kind, answer) in answers {
            match answer {
                Ok(list) => {
                    for object in list {
                        if let Ok(body) = serde_json::to_value(object) {
                            objects.insert(kind, body);
                        }
                    }
                }
                Err(error) if code(&error) == Some(404) => {
                    objects.missing.insert(kind);
                }
                Err(error) if code(&error) == Some(403) => {
                    objects.hidden.insert(kind, message(&error));
                }
                Err(source) => {
                    return Err(ClusterError::Request {
                        what: format!("{}s", kind.name()),
                        source,
                    });
                }
            }
        }
        Ok(objects)
    }
}
