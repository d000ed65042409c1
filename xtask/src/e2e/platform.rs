//! The cluster that cases run on: a real node, the peers that they need, the operator in its pod, and the demonstration
//! service's image in two versions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use localcluster::peers::{self, Product};
use localcluster::{Cache, Cluster, Config, Node, Tool, Tools};
use serde::Deserialize as _;
use serde_json::Value;

use super::objects::{self, POD, SERVICE, until};
use crate::config_repo::IMAGE;
use crate::progress::{done, heading, shown};
use crate::release::Profile;
use crate::up::kubectl::Kubectl;
use crate::{deploy, image, repository};

/// The first two releases.
pub const VERSIONS: [&str; 2] = ["v1", "v2"];
/// The autoscaler waits five minutes by default before it takes replicas away: nobody wants to watch that.
const SCALE_DOWN: &str = "--horizontal-pod-autoscaler-downscale-stabilization=20s";
const PATIENCE: Duration = Duration::from_secs(120);

/// The cluster and what is in it.
pub struct Platform {
    pub cluster: Cluster,
    pub client: Client,
    pub kubectl: Kubectl,
    /// Images of the demonstration service by the version that they say they are, named by digest.
    pub images: BTreeMap<&'static str, String>,
}

impl Platform {
    /// Starts it, or what is missing of one that was kept in `state`.
    pub async fn start(state: Option<&Path>, products: &[Product]) -> Result<Self> {
        let root = repository::root()?;
        heading("Cluster");
        let mut config = Config::control_plane()
            .node(Node::Kubelet)
            .controller_manager_arg(SCALE_DOWN)
            .progress(shown());
        if let Some(state) = state {
            config = config.detached(state);
        }
        let cluster = Cluster::start(config).await?;
        let client = client(&cluster).await?;
        let kubectl = Kubectl::new(
            cluster.kubectl()?,
            vec![format!("--kubeconfig={}", cluster.kubeconfig().display())],
            root,
        );
        heading("Peers");
        peers::install(&cluster, products).await?;
        let mut platform = Self {
            cluster,
            client,
            kubectl,
            images: BTreeMap::new(),
        };
        heading("Operator and images");
        platform.install_ours().await?;
        Ok(platform)
    }

    async fn install_ours(&mut self) -> Result<()> {
        let begun = Instant::now();
        let build = || -> Result<_> {
            let recipe = |name| image::recipe(name, Profile::Quick);
            Ok((recipe("operator")?, recipe("demo")?))
        };
        let (operator, demo) = tokio::task::spawn_blocking(build).await??;
        for version in VERSIONS {
            let release = demo
                .derive(IMAGE)
                .env("DEMO_VERSION", version)
                .label("org.opencontainers.image.version", version);
            let digest = deploy::image(&self.cluster, release, IMAGE).await?;
            self.images.insert(version, format!("{IMAGE}@{digest}"));
        }
        done("images", begun.elapsed());
        let begun = Instant::now();
        deploy::operator(&self.cluster, &self.kubectl, &repository::root()?, operator).await?;
        done("operator", begun.elapsed());
        Ok(())
    }

    /// The address that users reach the cluster by.
    pub async fn entrance(&self) -> Result<String> {
        let services = objects::api(&self.client, SERVICE, Some("traefik"));
        until("Traefik has an address", PATIENCE, async || {
            let service = objects::get(&services, "traefik").await?;
            let address = service
                .as_ref()
                .and_then(|service| service["spec"]["clusterIP"].as_str());
            Ok(address.map(|address| format!("http://{address}")))
        })
        .await
    }

    /// The topics that there are in Kafka; none if there is no Kafka.
    pub async fn kafka_topics(&self) -> Result<Vec<String>> {
        let pods = objects::api(&self.client, POD, Some("kafka"));
        if objects::get(&pods, "kafka-0").await?.is_none() {
            return Ok(Vec::new());
        }
        let listed = self.kafka(&["--list"]).await?;
        Ok(listed.lines().map(str::to_owned).collect())
    }

    /// Deletes the topics whose names begin like this.
    pub async fn delete_kafka_topics(&self, prefix: &str) -> Result<()> {
        let topics = self.kafka_topics().await?.into_iter();
        for topic in topics.filter(|topic| topic.starts_with(prefix)) {
            self.kafka(&["--delete", "--topic", &topic]).await?;
        }
        Ok(())
    }

    /// Runs Kafka's own tool for topics, in the broker's pod.
    async fn kafka(&self, arguments: &[&str]) -> Result<String> {
        let mut command = vec!["exec", "-n", "kafka", "kafka-0", "-c", "kafka", "--"];
        command.extend(["java", "-Xmx128m", "-cp", "/opt/kafka/libs/*"]);
        command.push("org.apache.kafka.tools.TopicCommand");
        command.extend(["--bootstrap-server", "kafka.kafka.svc:9092"]);
        command.extend(arguments);
        self.kubectl.output(&command).await
    }

    /// What our `todoctl` says.
    pub async fn todoctl(&self, arguments: &[&str]) -> Result<String> {
        let mut cargo = tokio::process::Command::from(repository::cargo(&repository::root()?));
        cargo.args(["run", "--quiet", "--package", "todoctl", "--"]);
        cargo
            .args(arguments)
            .env("KUBECONFIG", self.cluster.kubeconfig());
        let output = cargo.output().await.context("cannot run cargo")?;
        if !output.status.success() {
            bail!(
                "todoctl failed: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// A program of those that are pinned.
    pub async fn tool(&self, tool: Tool) -> Result<PathBuf> {
        let build = move || Tools::new(Cache::from_env()).ensure(tool, shown().as_ref());
        Ok(tokio::task::spawn_blocking(build).await??)
    }

    /// The objects of a kustomization of this repository.
    pub async fn kustomization(&self, path: &str) -> Result<Vec<Value>> {
        let text = self.kubectl.output(&["kustomize", path]).await?;
        let documents = serde_yaml::Deserializer::from_str(&text);
        let objects = documents.map(Value::deserialize).collect::<Result<_, _>>();
        objects.with_context(|| format!("what kustomize makes of {path} is no YAML"))
    }
}

/// A client that a cluster cannot keep waiting for ever: parts of it are taken away.
async fn client(cluster: &Cluster) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig())?;
    let options = KubeConfigOptions::default();
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    config.read_timeout = Some(Duration::from_secs(20));
    Ok(Client::try_from(config)?)
}
