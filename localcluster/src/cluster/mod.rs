//! Starting and stopping a cluster, and reaching it.

mod parts;
mod real_node;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::{try_join, try_join3};
use k8s_openapi::api::core::v1::Node as KubeNode;
use kube::api::{Api, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config as KubeConfig};

use crate::config::{Config, Node, Part};
use crate::controlplane;
use crate::crds::{self, Peer};
use crate::error::{Error, Result};
use crate::kwok;
use crate::models;
use crate::node::{self, RealNode};
use crate::pki::{Pki, write_private};
use crate::ports::Ports;
use crate::probes::publishes;
use crate::process::{Directory, Life, Process};
use crate::progress::{Event, Progress};
use crate::state;
use crate::tools::{Tool, Tools};

/// A running cluster. Dropping an attached one kills it; a detached one stays.
#[derive(Debug)]
pub struct Cluster {
    config: Config,
    state: PathBuf,
    kubeconfig: PathBuf,
    tools: Tools,
    pki: Pki,
    node: Option<Arc<RealNode>>,
    directory: Directory,
    ports: Mutex<Ports>,
    running: Mutex<Running>,
    begun: Instant,
}

#[derive(Debug, Default)]
struct Running {
    processes: BTreeMap<Part, Process>,
    models: Option<models::Thread>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is guarded is complete after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cluster {
    /// Builds what is missing, starts everything that `config` names and waits until it is ready. If that fails, or the
    /// future is dropped, an attached cluster is killed; of a detached one, [`stop_all`](crate::stop_all) stops what was started.
    ///
    /// # Errors
    /// If a tool cannot be built, or a part does not become ready.
    pub async fn start(config: Config) -> Result<Self> {
        let tools = Tools::new(config.cache.clone());
        build(&config).await?;
        let begun = Instant::now();
        let state = match &config.state {
            Some(state) => state.clone(),
            None => state::temporary()?,
        };
        // No program is started in our own directory.
        let state = std::path::absolute(&state).map_err(Error::io("locate", &state))?;
        fs::create_dir_all(&state).map_err(Error::io("create", &state))?;
        let is_real = config.node == Node::Kubelet;
        node::refuse_other(&state, is_real)?;
        let directory = Directory::open(&state)?;
        let node = match is_real {
            true => {
                let node = RealNode::open(&state, &tools, config.progress.as_ref())?;
                Some(Arc::new(node))
            }
            false => None,
        };
        let network = node.as_ref().map(|node| node.network());
        let pki = Pki::open(&state.join("pki"), network)?;
        let ports = Ports::open(&state.join("ports.json"))?;
        let kubeconfig = state.join("kubeconfig");
        let cluster = Self {
            config,
            state,
            kubeconfig,
            tools,
            pki,
            node,
            directory,
            ports: Mutex::new(ports),
            running: Mutex::default(),
            begun,
        };
        cluster.choose_fixed_ports()?;
        let admin = cluster.pki.admin_kubeconfig(&cluster.server()?)?;
        write_private(&cluster.kubeconfig, &admin)?;
        let audit_policy = cluster.state.join("audit-policy.json");
        fs::write(&audit_policy, controlplane::AUDIT_POLICY)
            .map_err(Error::io("write", &audit_policy))?;
        cluster.start_everything().await?;
        Ok(cluster)
    }

    fn choose_fixed_ports(&self) -> Result<()> {
        let mut ports = lock(&self.ports);
        if let Some(port) = self.config.api_port {
            ports.set("kube-apiserver", port)?;
        }
        if let Some(port) = self.config.kafka.as_ref().and_then(|k| k.port) {
            ports.set("kafka", port)?;
        }
        Ok(())
    }

    async fn start_everything(&self) -> Result<()> {
        try_join(self.start_kafka(), self.start_kubernetes())
            .await
            .map(drop)
    }

    async fn start_kafka(&self) -> Result<()> {
        if !self.config.wants(Part::Kafka) {
            return Ok(());
        }
        self.launch(Part::Kafka)?;
        self.wait_ready(Part::Kafka).await
    }

    async fn start_kubernetes(&self) -> Result<()> {
        self.launch(Part::Etcd)?;
        // The API server listens on the link to the node.
        self.start_namespaces().await?;
        self.launch(Part::ApiServer)?;
        try_join(self.wait_ready(Part::ApiServer), self.start_containerd()).await?;
        let client = self.client()?;
        // These two need no CRD, and their caches fill while the CRDs are loaded.
        for part in [Part::ControllerManager, Part::Scheduler] {
            if self.config.wants(part) {
                self.launch(part)?;
            }
        }
        try_join3(
            self.start_peers(&client),
            self.start_nodes(&client),
            self.wait_ready(Part::ControllerManager),
        )
        .await?;
        Ok(())
    }

    /// Peers' CRDs, then whoever watches them.
    async fn start_peers(&self, client: &Client) -> Result<()> {
        let progress = self.config.progress.as_ref();
        crds::install(client, &self.tools, &self.config.peers, progress).await?;
        if !self.config.peers.is_empty() {
            progress.event(Event::Ready {
                what: "custom resource definitions",
                took: self.begun.elapsed(),
            });
        }
        for part in [Part::Models, Part::ArgoRollouts] {
            if self.config.wants(part) {
                self.launch(part)?;
                self.wait_ready(part).await?;
            }
        }
        Ok(())
    }

    async fn start_nodes(&self, client: &Client) -> Result<()> {
        let Node::Kwok { count } = self.config.node else {
            return self.start_kubelet(client).await;
        };
        let (definition, stages) = kwok::split(crds::kwok_files(
            &self.tools,
            self.config.progress.as_ref(),
        )?);
        crds::apply_crds(client, definition).await?;
        kwok::apply_stages(client, &stages).await?;
        if self.config.peers.contains(&Peer::CloudNativePg) {
            self.play_cloudnative_pg(client).await?;
        }
        self.launch(Part::Kwok)?;
        let nodes: Api<KubeNode> = Api::all(client.clone());
        for (name, node) in kwok::nodes(count) {
            let params = PatchParams::apply("localcluster").force();
            nodes
                .patch(&name, &params, &Patch::Apply(&node))
                .await
                .map_err(Error::kube(format!("make the node {name}")))?;
        }
        self.wait_ready(Part::Kwok).await
    }

    /// Only once every kind has its schema: KWOK reads that when it first sees a stage, and never looks again. The API
    /// server publishes schemas a little after it serves the kinds.
    async fn play_cloudnative_pg(&self, client: &Client) -> Result<()> {
        let kinds = ["clusters", "databases", "databaseroles"];
        self.until("CloudNativePG's schemas", Part::ApiServer, || async {
            publishes(client, "postgresql.cnpg.io/v1", &kinds).await
        })
        .await?;
        kwok::apply_cloudnative_pg(client).await
    }

    /// Installs peers' CRDs into a cluster that started without them, and plays CloudNativePG if it is among them.
    ///
    /// # Errors
    /// If the API server refuses one, or does not establish it in time.
    pub async fn install_peers(&self, peers: &[Peer]) -> Result<()> {
        let client = self.client()?;
        crds::install(&client, &self.tools, peers, self.config.progress.as_ref()).await?;
        if self.config.wants(Part::Kwok) && peers.contains(&Peer::CloudNativePg) {
            self.play_cloudnative_pg(&client).await?;
        }
        Ok(())
    }

    /// The tools that it was started with.
    pub(crate) fn tools(&self) -> &Tools {
        &self.tools
    }

    /// Who is told about progress.
    pub(crate) fn progress(&self) -> &Arc<dyn Progress> {
        &self.config.progress
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The directory of everything that this cluster writes.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// The log of a part.
    pub fn log(&self, part: Part) -> PathBuf {
        self.directory.log(part.name())
    }

    /// The API server's audit log, one JSON event a line, if [`Config::audit`] was asked for.
    pub fn audit_log(&self) -> PathBuf {
        self.state.join("audit.log")
    }

    /// The kubectl that fits this cluster, built if need be. Blocks while it builds.
    ///
    /// # Errors
    /// If it cannot be built.
    pub fn kubectl(&self) -> Result<PathBuf> {
        self.tools
            .ensure(Tool::Kubectl, self.config.progress.as_ref())
    }

    /// An administrator's client configuration.
    ///
    /// # Errors
    /// If the kubeconfig is damaged.
    pub fn kube_config(&self) -> Result<KubeConfig> {
        let bad = |reason: String| Error::Kubeconfig {
            path: self.kubeconfig.clone(),
            reason,
        };
        let kubeconfig = Kubeconfig::read_from(&self.kubeconfig).map_err(|e| bad(e.to_string()))?;
        // Not async: nothing in our kubeconfigs has to be asked for.
        let options = KubeConfigOptions::default();
        let load = KubeConfig::from_custom_kubeconfig(kubeconfig, &options);
        futures::executor::block_on(load).map_err(|e| bad(e.to_string()))
    }

    /// An administrator's client. Make one in each runtime: it ends with the runtime in which it was made.
    ///
    /// # Errors
    /// If the kubeconfig is damaged.
    pub fn client(&self) -> Result<Client> {
        Client::try_from(self.kube_config()?).map_err(Error::kube("make a client"))
    }

    /// A kubeconfig for the bearer of a token, such as a ServiceAccount's.
    ///
    /// # Errors
    /// If the certificate authority cannot be read.
    pub fn token_kubeconfig(&self, token: &str) -> Result<String> {
        self.pki.token_kubeconfig(&self.server()?, token)
    }

    /// `host:port` of Kafka's PLAINTEXT listener.
    ///
    /// # Errors
    /// If there is no Kafka.
    pub fn kafka_bootstrap(&self) -> Result<String> {
        self.kafka_address("kafka", self.config.kafka.is_some())
    }

    /// `host:port` of Kafka's SASL_SSL listener.
    ///
    /// # Errors
    /// If there is no Kafka or no user of it.
    pub fn kafka_sasl_bootstrap(&self) -> Result<String> {
        self.kafka_address(
            "kafka-sasl-ssl",
            self.config.kafka.as_ref().is_some_and(|k| k.sasl.is_some()),
        )
    }

    fn kafka_address(&self, listener: &str, exists: bool) -> Result<String> {
        if !exists {
            return Err(Error::NotConfigured {
                part: listener.to_owned(),
            });
        }
        Ok(format!("127.0.0.1:{}", self.port(listener)?))
    }

    /// The authority that signed the certificate of Kafka's SASL_SSL listener, as PEM.
    pub fn kafka_ca(&self) -> PathBuf {
        self.pki.file("kafka-ca.crt")
    }

    /// Stops everything and removes the state directory.
    ///
    /// # Errors
    /// If a process does not end, or a file cannot be removed.
    pub fn stop(self) -> Result<()> {
        self.stop_processes()?;
        state::remove(&self.state)
    }

    fn stop_processes(&self) -> Result<()> {
        Part::ALL
            .into_iter()
            .try_for_each(|part| self.end(part, Duration::ZERO))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.config.life == Life::Attached {
            // Nobody can be told here; what could not be removed is removed by the next cluster.
            let _ = self
                .stop_processes()
                .and_then(|()| state::remove(&self.state));
        }
    }
}

/// Builds every program that a cluster with this configuration starts, unless it is in the cache.
///
/// # Errors
/// If one of them cannot be built.
pub async fn build(config: &Config) -> Result<()> {
    let (config, tools) = (config.clone(), Tools::new(config.cache.clone()));
    let build = move || -> Result<()> {
        let progress: &dyn Progress = config.progress.as_ref();
        let needed = [
            (Part::Etcd, Tool::Etcd),
            (Part::ApiServer, Tool::KubeApiserver),
            (Part::ControllerManager, Tool::KubeControllerManager),
            (Part::Scheduler, Tool::KubeScheduler),
            (Part::Kwok, Tool::Kwok),
            (Part::ArgoRollouts, Tool::RolloutsController),
        ];
        let real_node = config.node == Node::Kubelet;
        if real_node {
            node::require()?;
        }
        for (part, tool) in needed {
            if config.wants(part) {
                tools.ensure(tool, progress)?;
            }
        }
        if real_node {
            tools.ensure_real_node(progress)?;
        }
        if config.wants(Part::Kafka) {
            tools.ensure_kafka(progress)?;
        }
        if config.wants(Part::Kwok) {
            crds::kwok_files(&tools, progress)?;
        }
        config
            .peers
            .iter()
            .try_for_each(|peer| crds::files(&tools, *peer, progress).map(drop))
    };
    tokio::task::spawn_blocking(build)
        .await
        .map_err(|e| Error::Task(e.to_string()))?
}
