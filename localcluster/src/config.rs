//! What a cluster is made of.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use crate::cache::Cache;
use crate::crds::Peer;
use crate::process::Life;
use crate::progress::{Lines, Progress};

/// A process of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Part {
    /// The store.
    Etcd,
    /// The API server.
    ApiServer,
    /// The controllers of the built-in kinds.
    ControllerManager,
    /// The scheduler.
    Scheduler,
    /// Plays nodes, pods and CloudNativePG.
    Kwok,
    /// The first process of a real node, which makes its namespaces. When it ends, everything on the node does.
    Namespaces,
    /// The container runtime of a real node.
    Containerd,
    /// The agent of a real node.
    Kubelet,
    /// Makes Services reachable on a real node.
    KubeProxy,
    /// The Argo Rollouts controller.
    ArgoRollouts,
    /// The Kafka broker.
    Kafka,
    /// Plays KEDA, the Gateway and Strimzi.
    Models,
}

impl Part {
    /// All of them, in the order in which they are stopped: nobody loses what it still needs.
    pub const ALL: [Self; 12] = [
        Self::Models,
        Self::ArgoRollouts,
        Self::Kwok,
        Self::KubeProxy,
        Self::Kubelet,
        Self::Containerd,
        Self::Namespaces,
        Self::Scheduler,
        Self::ControllerManager,
        Self::Kafka,
        Self::ApiServer,
        Self::Etcd,
    ];

    /// The name of its pid file and log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Kwok => "kwok",
            Self::Namespaces => "node-namespaces",
            Self::Containerd => "containerd",
            Self::Kubelet => "kubelet",
            Self::KubeProxy => "kube-proxy",
            Self::ArgoRollouts => "argo-rollouts",
            Self::Kafka => "kafka",
            Self::Models => "peer-models",
        }
    }
}

/// Where pods live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Node {
    /// Nowhere: pods stay pending.
    #[default]
    None,
    /// On nodes that KWOK plays: pods are ready at once, Jobs complete at once, nothing runs.
    Kwok {
        /// How many nodes.
        count: u16,
    },
    /// On one real node, that of a kubelet: pods are processes in containers, with addresses, names, volumes and logs.
    /// Needs root, containerd, runc, CNI plugins and nft. Images come from [`Cluster::load_image`](crate::Cluster::load_image)
    /// alone.
    Kubelet,
}

/// The Kafka broker.
#[derive(Debug, Clone, Default)]
pub struct Kafka {
    /// The port of the PLAINTEXT listener; chosen if there is none.
    pub port: Option<u16>,
    /// Also listens with TLS, and SASL PLAIN for this user.
    pub sasl: Option<KafkaUser>,
}

/// A user of the SASL_SSL listener.
#[derive(Debug, Clone)]
pub struct KafkaUser {
    /// Name.
    pub name: String,
    /// Password: letters, digits, hyphens.
    pub password: String,
}

/// How the modelled peers run.
#[derive(Debug, Clone, Default)]
pub enum Models {
    /// Not at all: a test writes the peers' status itself.
    #[default]
    None,
    /// On a thread of this process.
    Thread,
    /// As a process, for clusters that outlive this one: the program and arguments to which `--kubeconfig <path>` is added.
    Process {
        /// The program.
        program: PathBuf,
        /// Its first arguments.
        args: Vec<OsString>,
    },
}

/// What to start. Begin with [`Config::control_plane`] or [`Config::full`] and add.
#[derive(Clone)]
pub struct Config {
    pub(crate) life: Life,
    pub(crate) state: Option<PathBuf>,
    pub(crate) cache: Cache,
    pub(crate) progress: Arc<dyn Progress>,
    pub(crate) controller_manager: bool,
    pub(crate) scheduler: bool,
    pub(crate) node: Node,
    pub(crate) argo_rollouts: bool,
    pub(crate) kafka: Option<Kafka>,
    pub(crate) models: Models,
    pub(crate) peers: Vec<Peer>,
    pub(crate) audit: bool,
    pub(crate) api_port: Option<u16>,
    pub(crate) api_args: Vec<String>,
    pub(crate) controller_manager_args: Vec<String>,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("life", &self.life)
            .field("state", &self.state)
            .field("controller_manager", &self.controller_manager)
            .field("scheduler", &self.scheduler)
            .field("node", &self.node)
            .field("argo_rollouts", &self.argo_rollouts)
            .field("kafka", &self.kafka)
            .field("models", &self.models)
            .field("peers", &self.peers)
            .field("audit", &self.audit)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// etcd and the API server, attached to this process, in a temporary directory.
    #[must_use]
    pub fn control_plane() -> Self {
        Self {
            life: Life::Attached,
            state: None,
            cache: Cache::from_env(),
            progress: Arc::new(Lines),
            controller_manager: false,
            scheduler: false,
            node: Node::None,
            argo_rollouts: false,
            kafka: None,
            models: Models::None,
            peers: Vec::new(),
            audit: false,
            api_port: None,
            api_args: Vec::new(),
            controller_manager_args: Vec::new(),
        }
    }

    /// Everything: all controllers, one KWOK node, Kafka, all peers' CRDs, the models on a thread.
    #[must_use]
    pub fn full() -> Self {
        Self::control_plane()
            .controllers()
            .node(Node::Kwok { count: 1 })
            .argo_rollouts()
            .kafka(Kafka::default())
            .peers(Peer::ALL)
            .models(Models::Thread)
    }

    /// Runs kube-controller-manager and kube-scheduler.
    #[must_use]
    pub fn controllers(self) -> Self {
        Self {
            scheduler: true,
            ..self.controller_manager()
        }
    }

    /// Runs kube-controller-manager: garbage collection, ReplicaSets, the HPA controller, default service accounts.
    #[must_use]
    pub fn controller_manager(mut self) -> Self {
        self.controller_manager = true;
        self
    }

    /// Where pods live. A real node also needs the controllers, so it brings them.
    #[must_use]
    pub fn node(mut self, node: Node) -> Self {
        self.node = node;
        if node == Node::Kubelet {
            return self.controllers();
        }
        self
    }

    /// Runs the Argo Rollouts controller, and installs its CRDs and those of Traefik, whose weights it sets.
    #[must_use]
    pub fn argo_rollouts(mut self) -> Self {
        self.argo_rollouts = true;
        self.peers([Peer::ArgoRollouts, Peer::Traefik])
    }

    /// Runs a Kafka broker.
    #[must_use]
    pub fn kafka(mut self, kafka: Kafka) -> Self {
        self.kafka = Some(kafka);
        self
    }

    /// Plays KEDA, the Gateway and Strimzi.
    #[must_use]
    pub fn models(mut self, models: Models) -> Self {
        self.models = models;
        self
    }

    /// Installs these peers' CRDs.
    #[must_use]
    pub fn peers(mut self, peers: impl IntoIterator<Item = Peer>) -> Self {
        self.peers.extend(peers);
        self.peers.sort();
        self.peers.dedup();
        self
    }

    /// Writes an audit log (who asked what, without bodies), see [`Cluster::audit_log`](crate::Cluster::audit_log).
    #[must_use]
    pub fn audit(mut self) -> Self {
        self.audit = true;
        self
    }

    /// Keeps everything in this directory and lets the processes outlive this one. A second start with the same
    /// directory keeps what is alive and starts the rest.
    #[must_use]
    pub fn detached(mut self, state: impl Into<PathBuf>) -> Self {
        self.life = Life::Detached;
        self.state = Some(state.into());
        self
    }

    /// A fixed port for the API server.
    #[must_use]
    pub fn api_port(mut self, port: u16) -> Self {
        self.api_port = Some(port);
        self
    }

    /// Adds an argument of kube-apiserver; it wins over the ones that are set here.
    #[must_use]
    pub fn api_server_arg(mut self, arg: impl Into<String>) -> Self {
        self.api_args.push(arg.into());
        self
    }

    /// Adds an argument of kube-controller-manager; it wins over the ones that are set here.
    #[must_use]
    pub fn controller_manager_arg(mut self, arg: impl Into<String>) -> Self {
        self.controller_manager_args.push(arg.into());
        self
    }

    /// Who is told about progress; tests write builds to standard error.
    #[must_use]
    pub fn progress(mut self, progress: Arc<dyn Progress>) -> Self {
        self.progress = progress;
        self
    }

    /// Another cache of tools.
    #[must_use]
    pub fn cache(mut self, cache: Cache) -> Self {
        self.cache = cache;
        self
    }

    /// Whether a part is wanted.
    #[must_use]
    pub fn wants(&self, part: Part) -> bool {
        match part {
            Part::Etcd | Part::ApiServer => true,
            Part::ControllerManager => self.controller_manager,
            Part::Scheduler => self.scheduler,
            Part::Kwok => matches!(self.node, Node::Kwok { .. }),
            Part::Namespaces | Part::Containerd | Part::Kubelet | Part::KubeProxy => {
                self.node == Node::Kubelet
            }
            Part::ArgoRollouts => self.argo_rollouts,
            Part::Kafka => self.kafka.is_some(),
            Part::Models => !matches!(self.models, Models::None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_plane_is_only_that() {
        let config = Config::control_plane();
        let wanted: Vec<_> = Part::ALL.into_iter().filter(|p| config.wants(*p)).collect();
        assert_eq!(wanted, [Part::ApiServer, Part::Etcd]);
    }

    #[test]
    fn full_is_everything_but_a_real_node() {
        let config = Config::full();
        let unwanted: Vec<_> = Part::ALL
            .into_iter()
            .filter(|p| !config.wants(*p))
            .collect();
        let real = [
            Part::KubeProxy,
            Part::Kubelet,
            Part::Containerd,
            Part::Namespaces,
        ];
        assert_eq!(unwanted, real);
        assert_eq!(config.peers.len(), Peer::ALL.len());
    }
}
