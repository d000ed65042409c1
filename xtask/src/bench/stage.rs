//! Where a bench takes place: a control plane of its own, with the operator installed, and applications to reconcile.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DeleteParams, ListParams, PostParams, Request};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config as KubeConfig};
use localcluster::{Cluster, Config, Node, Part, Peer};
use serde_json::json;
use todo_operator_api::{TodoApp, TodoEnvironment};
use todo_operator_core::child::Child;
use todo_operator_core::kind::Kind;
use todo_operator_core::names::LABEL_APP;

use super::audit::AuditLog;
use super::operator::Operator;
use super::{cpu, fixture, load};
use crate::progress::{heading, shown};
use crate::up::{kubectl::Kubectl, operator};

/// Peers whose children the operator can make: their kinds are watched, as in a real cluster.
const PEERS: [Peer; 6] = [
    Peer::ArgoRollouts,
    Peer::CloudNativePg,
    Peer::GatewayApi,
    Peer::Keda,
    Peer::Strimzi,
    Peer::Traefik,
];
/// Requests at once while the stage is set or cleared.
const HANDS: usize = 16;

/// What runs beside etcd and the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// Nothing: all writes are ours.
    Nothing,
    /// The controller manager.
    ControllerManager,
    /// All controllers and a node, so that applications become Ready.
    Everything,
}

/// A cluster with the operator installed, but not started. Dropping it ends all that runs in it.
pub struct Stage {
    cluster: Cluster,
    /// An administrator.
    pub client: Client,
    executable: PathBuf,
    kubeconfig: PathBuf,
    environments: Vec<TodoEnvironment>,
}

impl Stage {
    /// Starts a cluster with room for `apps`.
    pub async fn set(root: &Path, executable: &Path, beside: Beside, apps: usize) -> Result<Self> {
        heading("Starting a cluster");
        let config = Config::control_plane()
            .peers(PEERS)
            .audit()
            .progress(shown());
        let config = match beside {
            Beside::Nothing => config,
            Beside::ControllerManager => config.controller_manager(),
            Beside::Everything => config.controllers().node(Node::Kwok { count: 3 }),
        };
        let cluster = Cluster::start(config).await?;
        let kubectl = Kubectl::new(
            cluster.kubectl()?,
            vec![format!("--kubeconfig={}", cluster.kubeconfig().display())],
            root.to_owned(),
        );
        operator::install(&kubectl).await?;
        let client = cluster.client()?;
        let token = operator::token(&client).await?;
        let kubeconfig = cluster.state().join("operator.kubeconfig");
        operator::write_private(&kubeconfig, &cluster.token_kubeconfig(&token)?)?;
        let mut stage = Self {
            cluster,
            client,
            executable: executable.to_owned(),
            kubeconfig,
            environments: Vec::new(),
        };
        for number in 0..apps.div_ceil(fixture::APPS_PER_ENVIRONMENT) {
            stage.add_environment(number).await?;
        }
        Ok(stage)
    }

    async fn add_environment(&mut self, number: usize) -> Result<()> {
        let name = fixture::environment_name(number);
        let namespace: Namespace = serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {"todo-operator.dev/environment": name}},
        }))?;
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        namespaces
            .create(&PostParams::default(), &namespace)
            .await?;
        let environments: Api<TodoEnvironment> = Api::all(self.client.clone());
        let environment = environments
            .create(&PostParams::default(), &fixture::environment(number)?)
            .await?;
        self.environments.push(environment);
        Ok(())
    }

    /// Starts the operator.
    pub fn operator(&self) -> Result<Operator> {
        Operator::start(&self.executable, self.cluster.state(), &self.kubeconfig)
    }

    /// A client with the operator's own permissions: the API server's work for each request is the same.
    pub async fn operators_client(&self) -> Result<Client> {
        let kubeconfig = Kubeconfig::read_from(&self.kubeconfig)?;
        let config =
            KubeConfig::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        Ok(Client::try_from(config)?)
    }

    /// The audit log, from now.
    pub fn audit(&self) -> Result<AuditLog> {
        AuditLog::from_now(&self.cluster.audit_log())
    }

    /// Seconds of CPU that the API server and etcd have used.
    pub fn cpu_seconds(&self) -> Result<f64> {
        let mut seconds = 0.0;
        for part in [Part::Etcd, Part::ApiServer] {
            let pid = self
                .cluster
                .process_id(part)
                .with_context(|| format!("{} has ended", part.name()))?;
            seconds += cpu::seconds(pid)?;
        }
        Ok(seconds)
    }

    /// The environment of an application by number.
    pub fn environment(&self, app: usize) -> Result<&TodoEnvironment> {
        self.environments
            .get(app / fixture::APPS_PER_ENVIRONMENT)
            .with_context(|| format!("the stage has no room for application {app}"))
    }

    /// Creates the applications with these numbers; gives them as the API server has them, in order.
    pub async fn create_apps(&self, numbers: std::ops::Range<usize>) -> Result<Vec<TodoApp>> {
        let client = self.client.clone();
        let created = Arc::new(std::sync::Mutex::new(Vec::new()));
        let (into, first) = (Arc::clone(&created), numbers.start);
        load::each(numbers.len(), HANDS, move |index| {
            let (client, into, number) = (client.clone(), Arc::clone(&into), first + index);
            async move {
                let namespace = fixture::environment_name(number / fixture::APPS_PER_ENVIRONMENT);
                let app = fixture::app(&namespace, &format!("app-{number}"))?;
                let api: Api<TodoApp> = Api::namespaced(client, &namespace);
                let app = api.create(&PostParams::default(), &app).await?;
                into.lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner)
                    .push((number, app));
                Ok(())
            }
        })
        .await?;
        let mut created = std::mem::take(
            &mut *created
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        );
        created.sort_by_key(|(number, _)| *number);
        Ok(created.into_iter().map(|(_, app)| app).collect())
    }

    /// What the operator writes for these applications.
    pub fn children(&self, apps: &[TodoApp]) -> Result<Vec<Child>> {
        let mut children = Vec::with_capacity(apps.len() * fixture::CHILDREN);
        for (number, app) in apps.iter().enumerate() {
            children.extend(fixture::children(app, self.environment(number)?)?);
        }
        Ok(children)
    }

    /// Deletes every child of every application, and waits until what the controllers made of them is gone too.
    pub async fn delete_children(&self) -> Result<()> {
        let delete = DeleteParams::background();
        for kind in Kind::CHILDREN
            .into_iter()
            .filter(|kind| kind.is_namespaced())
        {
            for url in self.urls(kind) {
                let request = Request::new(url)
                    .delete_collection(&delete, &ListParams::default().labels(LABEL_APP))?;
                self.client.request_text(request).await?;
            }
        }
        let left = Kind::CHILDREN
            .into_iter()
            .chain([Kind::ReplicaSet, Kind::Pod])
            .filter(|kind| kind.is_namespaced());
        for kind in left {
            self.until_gone(kind).await?;
        }
        Ok(())
    }

    /// Deletes every application.
    pub async fn delete_apps(&self) -> Result<()> {
        for environment in &self.environments {
            let api: Api<TodoApp> =
                Api::namespaced(self.client.clone(), &environment.spec.namespace);
            api.delete_collection(&DeleteParams::background(), &ListParams::default())
                .await?;
        }
        Ok(())
    }

    async fn until_gone(&self, kind: Kind) -> Result<()> {
        let deadline = Instant::now() + super::operator::PATIENCE;
        for url in self.urls(kind) {
            loop {
                let some = ListParams::default().labels(LABEL_APP).limit(1);
                let list: serde_json::Value =
                    self.client.request(Request::new(&url).list(&some)?).await?;
                if list["items"].as_array().is_none_or(Vec::is_empty) {
                    break;
                }
                if Instant::now() >= deadline {
                    bail!("objects at {url} do not go away");
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
        Ok(())
    }

    fn urls(&self, kind: Kind) -> Vec<String> {
        let namespaces = self
            .environments
            .iter()
            .map(|environment| environment.spec.namespace.as_str());
        namespaces
            .map(|namespace| {
                load::url(&todo_operator_core::child::ChildKey::new(
                    kind, namespace, "",
                ))
            })
            .collect()
    }

    /// Waits until every application is Ready.
    pub async fn until_ready(&self, apps: usize) -> Result<()> {
        let deadline = Instant::now() + super::operator::PATIENCE;
        let api: Api<TodoApp> = Api::all(self.client.clone());
        loop {
            let list = api.list(&ListParams::default()).await?;
            let waiting: BTreeSet<String> = list.items.iter().filter_map(not_ready).collect();
            if list.items.len() >= apps && waiting.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                bail!(
                    "{} applications are not Ready, with these reasons: {}",
                    list.items.iter().filter_map(not_ready).count(),
                    waiting.into_iter().collect::<Vec<_>>().join("; ")
                );
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

/// Why an application is not Ready; `None` where it is.
fn not_ready(app: &TodoApp) -> Option<String> {
    let conditions = app.status.iter().flat_map(|status| &status.conditions);
    match conditions
        .into_iter()
        .find(|condition| condition.type_ == "Ready")
    {
        Some(ready) if ready.status == "True" => None,
        Some(ready) => Some(format!("{}: {}", ready.reason, ready.message)),
        None => Some("no status".to_owned()),
    }
}
