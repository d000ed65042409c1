//! A real Kubernetes control plane and its real peers on one machine, from package registries alone: no container engine,
//! no registry of images. Nodes are played, or one is real ([`Node::Kubelet`]). Programs are built from the modules that the
//! `go.mod` and `pom.xml` files beside this crate pin, and kept in a cache outside the tree.
//!
//! ```no_run
//! # async fn example() -> Result<(), localcluster::Error> {
//! use localcluster::{Cluster, Config, Node, Peer};
//!
//! let cluster = Cluster::start(Config::control_plane().controllers().node(Node::Kwok { count: 1 }).peers([Peer::Keda])).await?;
//! let client = cluster.client()?;
//! # Ok(()) }
//! ```

mod cache;
mod cluster;
mod config;
mod controlplane;
mod crds;
mod error;
pub mod image;
mod kafka;
mod kwok;
mod manifests;
pub mod models;
mod node;
mod npm;
pub mod peers;
mod pki;
mod ports;
mod probes;
pub mod process;
mod progress;
pub mod standalone;
mod state;
mod tools;

pub use cache::Cache;
pub use cluster::{Cluster, build};
pub use config::{Config, Kafka, KafkaUser, Models, Node, Part};
pub use crds::{Peer, files as crd_files, install as install_crds};
pub use error::{Error, Result};
pub use node::{has_cni_plugins, obstacle_to_real_node, write_static_image};
pub use npm::NodeModules;
pub use ports::free_port;
pub use process::Life;
pub use progress::{Event, Lines, Progress, Silent};
pub use state::{running, stop_all};
pub use tools::{Tool, Tools};
