//! Starting, restarting and stopping a cluster.

use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::{try_join, try_join3};
use k8s_openapi::api::core::v1::{Node as KubeNode, ServiceAccount};
use kube::api::{Api, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config as KubeConfig};

use crate::config::{Config, Models, Node, Part};
use crate::controlplane;
use crate::crds::{self, Peer};
use crate::error::{Error, Result};
use crate::kafka;
use crate::kwok;
use crate::models;
use crate::node::{self, RealNode};
use crate::pki::{Pki, write_private};
use crate::ports::{Ports, is_free};
use crate::probes::{is_healthy, is_ready, publishes, serves};
use crate::process::{Directory, Life, Process, Spec, tail};
use crate::progress::{Event, Progress};
use crate::state;
use crate::tools::{Tool, Tools};

/// How long a part may take to become ready on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(40);

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
        prepare_tools(&config, &tools).await?;
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

    async fn start_namespaces(&self) -> Result<()> {
        let Some(node) = &self.node else {
            return Ok(());
        };
        if self.directory.find(Part::Namespaces.name()).is_none() {
            // What was on an earlier node may be ending at this moment, and must not be taken for running.
            for part in [Part::KubeProxy, Part::Kubelet, Part::Containerd] {
                self.end(part, Duration::ZERO)?;
                if let Some(mut process) = self.directory.find(part.name()) {
                    process.stop(Duration::ZERO)?;
                }
            }
            node.wait_for_end(&self.state)?;
        }
        self.launch(Part::Namespaces)?;
        self.wait_ready(Part::Namespaces).await?;
        node.connect(self.namespaces()?)
    }

    async fn start_containerd(&self) -> Result<()> {
        if self.node.is_none() {
            return Ok(());
        }
        self.launch(Part::Containerd)?;
        self.wait_ready(Part::Containerd).await?;
        self.on_node(RealNode::load_own_images).await?
    }

    /// Does something slow with the node and the process whose namespaces are its own.
    async fn on_node<T: Send + 'static>(
        &self,
        action: impl FnOnce(&RealNode, i32) -> T + Send + 'static,
    ) -> Result<T> {
        let (node, namespaces) = (self.real_node()?.clone(), self.namespaces()?);
        tokio::task::spawn_blocking(move || action(&node, namespaces))
            .await
            .map_err(|e| Error::Task(e.to_string()))
    }

    fn real_node(&self) -> Result<&Arc<RealNode>> {
        self.node.as_ref().ok_or_else(|| Error::NotConfigured {
            part: "a real node".to_owned(),
        })
    }

    /// The process whose namespaces are the node's.
    fn namespaces(&self) -> Result<i32> {
        self.process_id(Part::Namespaces)
            .ok_or_else(|| Error::NotConfigured {
                part: Part::Namespaces.name().to_owned(),
            })
    }

    /// Gives the real node an image: an OCI image layout as a tar file, in which the annotation
    /// `io.containerd.image.name` says its full name. Pods that use it must not ask for `imagePullPolicy: Always`.
    ///
    /// # Errors
    /// If there is no real node, or containerd refuses the file.
    pub async fn load_image(&self, file: &Path) -> Result<()> {
        let file = file.to_owned();
        self.on_node(move |node, namespaces| node.load_image(namespaces, &file))
            .await?
    }

    async fn start_kubelet(&self, client: &Client) -> Result<()> {
        let Some(node) = &self.node else {
            return Ok(());
        };
        if self.directory.find(Part::Kubelet.name()).is_none() {
            node::doubt(client).await?;
        }
        self.launch(Part::Kubelet)?;
        self.launch(Part::KubeProxy)?;
        try_join(node.apply_addons(client), self.wait_ready(Part::Kubelet)).await?;
        self.until("CoreDNS and local-path-provisioner", Part::Kubelet, || {
            node.has_addons(client)
        })
        .await?;
        self.config.progress.event(Event::Ready {
            what: "CoreDNS and local-path-provisioner",
            took: self.begun.elapsed(),
        });
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

    /// Starts a part unless it already runs.
    fn launch(&self, part: Part) -> Result<()> {
        if self.is_running(part) {
            return Ok(());
        }
        if part == Part::Models && matches!(self.config.models, Models::Thread) {
            let thread = models::Thread::start(self.kube_config()?)?;
            lock(&self.running).models = Some(thread);
            return Ok(());
        }
        if let Some(process) = self
            .directory
            .find(part.name())
            .filter(|_| self.config.life == Life::Detached)
        {
            lock(&self.running).processes.insert(part, process);
            return Ok(());
        }
        let spec = self.spec(part)?;
        self.refuse_taken_port(part)?;
        let process = self.directory.spawn(&spec, self.config.life)?;
        lock(&self.running).processes.insert(part, process);
        Ok(())
    }

    fn refuse_taken_port(&self, part: Part) -> Result<()> {
        let fixed = match part {
            Part::ApiServer => self.config.api_port,
            Part::Kafka => self.config.kafka.as_ref().and_then(|k| k.port),
            _ => None,
        };
        match fixed {
            Some(port) if !is_free(port) => Err(Error::PortTaken {
                part: part.name().to_owned(),
                port,
            }),
            _ => Ok(()),
        }
    }

    fn spec(&self, part: Part) -> Result<Spec> {
        let tool = |tool| self.tools.ensure(tool, self.config.progress.as_ref());
        let ports = || -> Result<controlplane::Ports> {
            Ok(controlplane::Ports {
                etcd_client: self.port("etcd")?,
                etcd_peer: self.port("etcd-peer")?,
                api: self.port("kube-apiserver")?,
            })
        };
        let network = self.node.as_ref().map(|node| node.network());
        let spec = match part {
            Part::Etcd => Spec::new(part.name(), tool(Tool::Etcd)?)
                .args(controlplane::etcd(&self.state, &ports()?)),
            Part::ApiServer => Spec::new(part.name(), tool(Tool::KubeApiserver)?).args(
                controlplane::api_server(&self.state, &self.pki, &ports()?, &self.config, network),
            ),
            Part::ControllerManager => Spec::new(part.name(), tool(Tool::KubeControllerManager)?)
                .args(controlplane::controller_manager(
                    &self.kubeconfig,
                    &self.pki,
                    &self.config,
                    network,
                )),
            Part::Scheduler => Spec::new(part.name(), tool(Tool::KubeScheduler)?)
                .args(controlplane::scheduler(&self.kubeconfig)),
            Part::Kwok => Spec::new(part.name(), tool(Tool::Kwok)?)
                .args(kwok::args(&self.kubeconfig))
                .env("HOME", &self.state),
            Part::Namespaces => self.real_node()?.namespaces()?,
            Part::Containerd => self.real_node()?.containerd(self.namespaces()?)?,
            Part::Kubelet => self.real_node()?.kubelet(
                self.namespaces()?,
                tool(Tool::Kubelet)?,
                &self.pki,
                &self.server()?,
            )?,
            Part::KubeProxy => self.real_node()?.kube_proxy(
                self.namespaces()?,
                tool(Tool::KubeProxy)?,
                &self.pki,
                &self.server()?,
            )?,
            Part::ArgoRollouts => {
                let args = controlplane::argo_rollouts(
                    &self.kubeconfig,
                    self.port("rollouts-metrics")?,
                    self.port("rollouts-health")?,
                );
                Spec::new(part.name(), tool(Tool::RolloutsController)?).args(args)
            }
            Part::Kafka => {
                let kafka = self.config.kafka.clone().unwrap_or_default();
                let entry = self.tools.ensure_kafka(self.config.progress.as_ref())?;
                kafka::prepare(&entry, &self.state, &self.pki, &kafka, self.kafka_ports()?)?
            }
            Part::Models => match &self.config.models {
                Models::Process { program, args } => {
                    Spec::new(part.name(), program).args(args.clone()).args([
                        "--kubeconfig".into(),
                        self.kubeconfig.clone().into_os_string(),
                    ])
                }
                Models::None | Models::Thread => {
                    return Err(Error::NotConfigured {
                        part: part.name().to_owned(),
                    });
                }
            },
        };
        Ok(spec)
    }

    fn kafka_ports(&self) -> Result<kafka::Ports> {
        Ok(kafka::Ports {
            plaintext: self.port("kafka")?,
            controller: self.port("kafka-controller")?,
            sasl_ssl: self.port("kafka-sasl-ssl")?,
        })
    }

    fn port(&self, name: &str) -> Result<u16> {
        lock(&self.ports).get(name)
    }

    /// The API server's address.
    fn server(&self) -> Result<String> {
        let network = self.node.as_ref().map(|node| node.network());
        let address = controlplane::api_address(network);
        Ok(format!(
            "https://{address}:{}",
            self.port("kube-apiserver")?
        ))
    }

    async fn wait_ready(&self, part: Part) -> Result<()> {
        if !self.config.wants(part) {
            return Ok(());
        }
        match part {
            Part::ApiServer => {
                let client = self.client()?;
                self.until("/readyz", part, || async {
                    serves(&client, "/readyz").await
                })
                .await?;
            }
            Part::ControllerManager => {
                // Without it the API server refuses pods.
                let accounts: Api<ServiceAccount> = Api::namespaced(self.client()?, "default");
                self.until("the default service account", part, || async {
                    matches!(accounts.get_opt("default").await, Ok(Some(_)))
                })
                .await?;
            }
            Part::Kwok => self.until_node_is_ready("kwok-1", part).await?,
            Part::Namespaces => {
                let node = self.real_node()?;
                self.until("namespaces", part, || async { node.has_namespaces() })
                    .await?;
            }
            Part::Containerd => {
                self.until("its answer", part, || async {
                    self.on_node(RealNode::serves_images)
                        .await
                        .is_ok_and(|is| is)
                })
                .await?;
            }
            Part::Kubelet => {
                let health = self.real_node()?.kubelet_health();
                self.until("/healthz", part, || is_healthy(health)).await?;
                self.until_node_is_ready(node::NAME, part).await?;
            }
            Part::ArgoRollouts => {
                let health = (Ipv4Addr::LOCALHOST, self.port("rollouts-health")?);
                self.until("/healthz", part, || is_healthy(health)).await?;
            }
            Part::Kafka => {
                let log = self.directory.log(part.name());
                let started = || async {
                    fs::read_to_string(&log).is_ok_and(|text| text.contains(kafka::STARTED))
                };
                self.until("the broker's start", part, started).await?;
            }
            Part::Etcd | Part::Scheduler | Part::Models | Part::KubeProxy => {}
        }
        self.config.progress.event(Event::Ready {
            what: part.name(),
            took: self.begun.elapsed(),
        });
        Ok(())
    }

    async fn until_node_is_ready(&self, name: &str, part: Part) -> Result<()> {
        let nodes: Api<KubeNode> = Api::all(self.client()?);
        self.until("a Ready node", part, || async {
            matches!(nodes.get_opt(name).await, Ok(Some(node)) if is_ready(&node))
        })
        .await
    }

    /// Polls a condition until it holds, the part has ended, or patience has.
    async fn until<F: Future<Output = bool>>(
        &self,
        what: &str,
        part: Part,
        mut condition: impl FnMut() -> F,
    ) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let log = self.directory.log(part.name());
        loop {
            if condition().await {
                return Ok(());
            }
            // The API server ends if etcd does, and says less about why; and nobody gets ready without the API server.
            let needed = match part {
                Part::Kafka | Part::Namespaces => &[][..],
                Part::Containerd => &[Part::Namespaces][..],
                Part::Kubelet => &[
                    Part::Etcd,
                    Part::ApiServer,
                    Part::Namespaces,
                    Part::Containerd,
                    Part::KubeProxy,
                ][..],
                _ => &[Part::Etcd, Part::ApiServer][..],
            };
            for part in needed.iter().copied().chain([part]) {
                if !self.is_running(part) {
                    let log = self.directory.log(part.name());
                    return Err(Error::Ended {
                        part: part.name().to_owned(),
                        tail: tail(&log),
                        log,
                    });
                }
            }
            if Instant::now() >= deadline {
                return Err(Error::NotReady {
                    part: part.name().to_owned(),
                    seconds: PATIENCE.as_secs(),
                    waiting_for: what.to_owned(),
                    tail: tail(&log),
                    log,
                });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Whether a part runs.
    pub fn is_running(&self, part: Part) -> bool {
        let mut running = lock(&self.running);
        if part == Part::Models && running.models.is_some() {
            return running
                .models
                .as_ref()
                .is_some_and(models::Thread::is_alive);
        }
        running
            .processes
            .get_mut(&part)
            .is_some_and(Process::is_alive)
    }

    /// The process id of a running part.
    pub fn process_id(&self, part: Part) -> Option<i32> {
        lock(&self.running)
            .processes
            .get(&part)
            .and_then(Process::id)
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

    /// Kills a part at once, as a crash would.
    ///
    /// # Errors
    /// If it does not end.
    pub fn stop_part(&self, part: Part) -> Result<()> {
        self.end(part, Duration::ZERO)
    }

    /// Starts a part that was stopped, or kills and starts one that runs; same ports, same data.
    ///
    /// # Errors
    /// If it does not become ready.
    pub async fn restart_part(&self, part: Part) -> Result<()> {
        self.stop_part(part)?;
        if part == Part::Namespaces {
            return self.restart_node().await;
        }
        self.launch(part)?;
        self.wait_ready(part).await
    }

    /// Everything on it has ended with its namespaces, as when a machine loses power.
    async fn restart_node(&self) -> Result<()> {
        self.start_namespaces().await?;
        self.start_containerd().await?;
        self.start_kubelet(&self.client()?).await
    }

    fn end(&self, part: Part, patience: Duration) -> Result<()> {
        let (process, models) = {
            let mut running = lock(&self.running);
            (
                running.processes.remove(&part),
                (part == Part::Models)
                    .then(|| running.models.take())
                    .flatten(),
            )
        };
        if let Some(mut models) = models {
            models.stop();
        }
        process.map_or(Ok(()), |mut process| process.stop(patience))
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

async fn prepare_tools(config: &Config, tools: &Tools) -> Result<()> {
    let (config, tools) = (config.clone(), tools.clone());
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
