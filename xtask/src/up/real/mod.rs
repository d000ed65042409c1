//! `up` on a real node: the peers and the operator in pods, and the applications as Argo CD applies them from a Git repository.

mod argocd;
mod config_repo;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Service;
use kube::Client;
use kube::api::Api;
use localcluster::image::Recipe;
use localcluster::peers::{self, Product};
use localcluster::{Cache, Cluster, Config, Node, Progress, Tool, Tools};

use super::kubectl::Kubectl;
use super::parts::{Part, Parts};
use super::state::State;
use super::timeline::Timeline;
use super::{apps, secrets, summary};
use crate::config_repo::{IMAGE, STAGES, fill};
use crate::progress::heading;
use crate::release::Profile;
use crate::{deploy, image};

/// The stage in which a person decides when something is applied.
const MANUAL: &str = "production";

/// A running `up`.
struct Up<'a> {
    root: &'a Path,
    parts: &'a Parts,
    timeline: &'a Arc<Timeline>,
    cluster: Cluster,
    client: Client,
    kubectl: Kubectl,
}

/// The images of our programs, as far as they are wanted.
struct Ours {
    operator: Option<Recipe>,
    demo: Option<Recipe>,
}

/// Starts what is wanted and waits until it is ready.
pub async fn up(root: &Path, state: &State, parts: &Parts, timeline: &Arc<Timeline>) -> Result<()> {
    let config = Config::control_plane()
        .node(Node::Kubelet)
        .detached(state.dir())
        .progress(Arc::clone(timeline) as Arc<_>);
    heading("Building");
    localcluster::build(&config).await?;
    let Ours { operator, demo } = build(parts, timeline).await?;
    timeline.ready("everything that is built", timeline.begun());
    heading("Starting");
    let cluster = Cluster::start(config).await?;
    let kubectl = Kubectl::new(
        cluster.kubectl()?,
        vec![format!("--kubeconfig={}", cluster.kubeconfig().display())],
        root.to_owned(),
    );
    let up = Up {
        root,
        parts,
        timeline,
        client: cluster.client()?,
        cluster,
        kubectl,
    };
    let products = parts.products();
    let peers = async { Ok(peers::install(&up.cluster, &products).await?) };
    tokio::try_join!(peers, up.operator(operator))?;
    let namespaces = match demo {
        Some(demo) => up.apps(demo).await?,
        None => Vec::new(),
    };
    summary::print(&up.access().await?, &namespaces, timeline.begun().elapsed());
    Ok(())
}

async fn build(parts: &Parts, timeline: &Arc<Timeline>) -> Result<Ours> {
    let (tools, progress) = (Tools::new(Cache::from_env()), Arc::clone(timeline));
    let products = parts.products();
    let (has_operator, has_apps) = (parts.has(Part::Operator), parts.has(Part::Apps));
    let build = move || -> Result<Ours> {
        let progress: &dyn Progress = progress.as_ref();
        tools.ensure(Tool::Kubectl, progress)?;
        peers::build(&tools, &products, progress)?;
        let recipe = |name, is_wanted: bool| {
            is_wanted
                .then(|| image::recipe(name, Profile::Quick))
                .transpose()
        };
        Ok(Ours {
            operator: recipe("operator", has_operator)?,
            demo: recipe("demo", has_apps)?,
        })
    };
    tokio::task::spawn_blocking(build).await?
}

impl Up<'_> {
    async fn operator(&self, recipe: Option<Recipe>) -> Result<()> {
        let Some(recipe) = recipe else {
            return Ok(());
        };
        let begun = Instant::now();
        deploy::operator(&self.cluster, &self.kubectl, self.root, recipe).await?;
        self.timeline.ready("operator", begun);
        Ok(())
    }

    /// Gets the three stages running, and gives their namespaces.
    async fn apps(&self, demo: Recipe) -> Result<Vec<String>> {
        heading("Applying config-repo");
        let begun = Instant::now();
        let digest = deploy::image(&self.cluster, demo, IMAGE).await?;
        let filled = self.cluster.state().join("config-repo");
        let template = self.root.join("config-repo");
        fill(&template, &filled, &format!("{IMAGE}@{digest}"))?;
        let namespaces = match self.parts.has(Part::Peer(Product::ArgoCd)) {
            true => self.pull(&filled).await?,
            false => self.push(&filled).await?,
        };
        apps::wait_ready(&self.client, &namespaces).await?;
        self.timeline.ready("apps", begun);
        Ok(namespaces)
    }

    /// From git, by Argo CD.
    async fn pull(&self, filled: &Path) -> Result<Vec<String>> {
        let begun = Instant::now();
        let git = self.address("git", "git").await?;
        let commit = config_repo::publish(filled, &format!("http://{git}/config.git")).await?;
        self.kubectl
            .apply(&filled.join("argocd").to_string_lossy())
            .await?;
        argocd::until_synced(&self.client, argocd::PLATFORM, &commit).await?;
        let namespaces = apps::namespaces(&self.client).await?;
        secrets::ensure(&self.client, &namespaces).await?;
        argocd::sync_first_time(&self.client, &argocd::application(MANUAL)).await?;
        for stage in STAGES.iter().filter(|stage| **stage != MANUAL) {
            let application = argocd::application(stage);
            argocd::until_synced(&self.client, &application, &commit).await?;
        }
        self.timeline.ready("Argo CD's applications", begun);
        Ok(namespaces)
    }

    /// By hand.
    async fn push(&self, filled: &Path) -> Result<Vec<String>> {
        let apply = async |folder: &str| {
            let folder = filled.join(folder);
            self.kubectl.apply(&folder.to_string_lossy()).await
        };
        apply("platform").await?;
        let namespaces = apps::namespaces(&self.client).await?;
        secrets::ensure(&self.client, &namespaces).await?;
        for stage in STAGES {
            apply(&format!("environments/{stage}")).await?;
        }
        Ok(namespaces)
    }

    /// The address of a Service, which can be reached from this machine.
    async fn address(&self, namespace: &str, name: &str) -> Result<String> {
        let services: Api<Service> = Api::namespaced(self.client.clone(), namespace);
        let service = services
            .get(name)
            .await
            .with_context(|| format!("cannot read the Service {namespace}/{name}"))?;
        service
            .spec
            .and_then(|spec| spec.cluster_ip)
            .with_context(|| format!("the Service {namespace}/{name} has no address"))
    }

    async fn access(&self) -> Result<summary::Access> {
        let has = |product| self.parts.has(Part::Peer(product));
        let mut urls = Vec::new();
        if has(Product::Traefik) && self.parts.has(Part::Apps) {
            let address = self.address("traefik", "traefik").await?;
            urls.push(format!(
                "curl --header 'Host: demo.test.localhost' http://{address}/"
            ));
        }
        if has(Product::GitServer) {
            let address = self.address("git", "git").await?;
            urls.push(format!("git clone http://{address}/config.git"));
        }
        if has(Product::Prometheus) {
            let address = self.address("monitoring", "prometheus").await?;
            urls.push(format!("curl http://{address}:9090/api/v1/query?query=up"));
        }
        Ok(summary::Access::Real {
            kubeconfig: self.cluster.kubeconfig().to_owned(),
            kubectl: self.kubectl.shown(),
            products: self.parts.products(),
            urls,
        })
    }
}
