//! `up` with the operator as a process of this machine: with modelled pods, or in a cluster of the user's own.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig, NamedContext};
use localcluster::peers::Product;
use localcluster::{Cache, Cluster, Config, Kafka, Models, Node, Peer, Tool, Tools};

use super::kubectl::Kubectl;
use super::parts::{Part, Parts};
use super::state::{Run, State};
use super::timeline::Timeline;
use super::{apps, operator, secrets, summary};
use crate::config_repo::STAGES;
use crate::progress::{done, heading};

/// Where xtask/kwok/platform expects the local broker.
const KAFKA_PORT: u16 = 19092;

/// A cluster that can be worked with.
struct Reached {
    client: Client,
    kubectl: Kubectl,
    server: Server,
    /// What a person puts before kubectl commands.
    access: summary::Access,
}

/// Where the API server is.
enum Server {
    Local(Box<Cluster>),
    Context {
        kubeconfig: Box<Kubeconfig>,
        name: String,
    },
}

impl Server {
    /// The kustomization of the environments.
    const fn platform(&self) -> &'static str {
        match self {
            Self::Local(_) => "xtask/kwok/platform",
            Self::Context { .. } => "config-repo/platform",
        }
    }

    /// A kubeconfig for the bearer of a token.
    fn kubeconfig(&self, token: &str) -> Result<String> {
        match self {
            Self::Local(cluster) => Ok(cluster.token_kubeconfig(token)?),
            Self::Context { kubeconfig, name } => token_kubeconfig(kubeconfig, name, token),
        }
    }
}

/// Starts what is wanted and waits until it is ready.
pub async fn up(
    root: &Path,
    state: &State,
    run: &mut Run,
    parts: &Parts,
    timeline: &Arc<Timeline>,
) -> Result<()> {
    heading("Building");
    build_tools(run.context.is_none(), timeline).await?;
    let build_began = Instant::now();
    let executable = operator::build(root).await?;
    done("operator", build_began.elapsed());
    heading("Starting");
    let reached = match &run.context {
        None => local(root, state, parts, timeline).await?,
        Some(context) => existing(root, context).await?,
    };
    if parts.has(Part::Operator) {
        let install_began = Instant::now();
        operator::install(&reached.kubectl).await?;
        done(
            "operator's resources and permissions installed",
            install_began.elapsed(),
        );
        let start_began = Instant::now();
        let token = operator::token(&reached.client).await?;
        let kubeconfig = reached.server.kubeconfig(&token)?;
        operator::start(state, run, &executable, &kubeconfig).await?;
        timeline.ready("operator", start_began);
    }
    let namespaces = match parts.has(Part::Apps) {
        true => apply(&reached, timeline).await?,
        false => Vec::new(),
    };
    summary::print(&reached.access, &namespaces, timeline.begun().elapsed());
    Ok(())
}

/// Applies config-repo by hand, and gives the stages' namespaces.
async fn apply(reached: &Reached, timeline: &Timeline) -> Result<Vec<String>> {
    let begun = Instant::now();
    heading("Applying config-repo");
    reached.kubectl.apply(reached.server.platform()).await?;
    let namespaces = apps::namespaces(&reached.client).await?;
    secrets::ensure(&reached.client, &namespaces).await?;
    for stage in STAGES {
        let folder = format!("config-repo/environments/{stage}");
        reached.kubectl.apply(&folder).await?;
    }
    apps::wait_ready(&reached.client, &namespaces).await?;
    timeline.ready("apps", begun);
    Ok(namespaces)
}

async fn build_tools(local: bool, timeline: &Arc<Timeline>) -> Result<()> {
    let (tools, progress) = (Tools::new(Cache::from_env()), Arc::clone(timeline));
    let build = move || -> Result<()> {
        if local {
            tools.ensure_all(progress.as_ref())?;
        } else {
            tools.ensure(Tool::Kubectl, progress.as_ref())?;
        }
        Ok(())
    };
    tokio::task::spawn_blocking(build).await?
}

async fn local(
    root: &Path,
    state: &State,
    parts: &Parts,
    timeline: &Arc<Timeline>,
) -> Result<Reached> {
    let models = Models::Process {
        program: std::env::current_exe().context("cannot find this program")?,
        args: vec!["peer-models".into()],
    };
    let mut config = Config::control_plane()
        .controllers()
        .node(Node::Kwok { count: 3 })
        .peers(Peer::ALL)
        .models(models)
        .detached(state.dir())
        .progress(Arc::clone(timeline) as Arc<_>);
    if parts.has(Part::Peer(Product::ArgoRollouts)) {
        config = config.argo_rollouts();
    }
    let has_kafka = parts.has(Part::Peer(Product::Kafka));
    if has_kafka {
        config = config.kafka(Kafka {
            port: Some(KAFKA_PORT),
            sasl: None,
        });
    }
    let cluster = Cluster::start(config).await?;
    let kafka = has_kafka.then(|| cluster.kafka_bootstrap()).transpose()?;
    let path = cluster.kubeconfig().to_owned();
    let kubectl = Kubectl::new(
        cluster.kubectl()?,
        vec![format!("--kubeconfig={}", path.display())],
        root.to_owned(),
    );
    Ok(Reached {
        client: cluster.client()?,
        access: summary::Access::Modelled {
            kubeconfig: path,
            kubectl: kubectl.shown(),
            kafka,
        },
        kubectl,
        server: Server::Local(Box::new(cluster)),
    })
}

async fn existing(root: &Path, context: &str) -> Result<Reached> {
    let kubeconfig = Kubeconfig::read().context("cannot read your kubeconfig")?;
    let options = KubeConfigOptions {
        context: Some(context.to_owned()),
        ..KubeConfigOptions::default()
    };
    let config = kube::Config::from_custom_kubeconfig(kubeconfig.clone(), &options)
        .await
        .with_context(|| format!("cannot use the context {context} of your kubeconfig"))?;
    let client = Client::try_from(config)?;
    let version = client
        .apiserver_version()
        .await
        .with_context(|| format!("the cluster of context {context} does not answer"))?;
    eprintln!(
        "  using Kubernetes {} of context {context}",
        version.git_version
    );
    let program = Tools::new(Cache::from_env()).ensure(Tool::Kubectl, &localcluster::Silent)?;
    let kubectl = Kubectl::new(
        program,
        vec![format!("--context={context}")],
        root.to_owned(),
    );
    Ok(Reached {
        client,
        access: summary::Access::Context {
            name: context.to_owned(),
            kubectl: kubectl.shown(),
        },
        kubectl,
        server: Server::Context {
            kubeconfig: Box::new(kubeconfig),
            name: context.to_owned(),
        },
    })
}

/// The same cluster, another user.
fn token_kubeconfig(kubeconfig: &Kubeconfig, context: &str, token: &str) -> Result<String> {
    let named = |c: &&NamedContext| c.name == context;
    let cluster = kubeconfig
        .contexts
        .iter()
        .find(named)
        .and_then(|c| c.context.as_ref())
        .map(|c| c.cluster.clone());
    let cluster = kubeconfig
        .clusters
        .iter()
        .find(|c| Some(&c.name) == cluster.as_ref())
        .with_context(|| {
            format!("the context {context} names a cluster that your kubeconfig does not have")
        })?;
    let text = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [cluster],
        "users": [{"name": operator::NAME, "user": {"token": token}}],
        "contexts": [{"name": operator::NAME, "context": {"cluster": cluster.name, "user": operator::NAME}}],
        "current-context": operator::NAME,
    });
    Ok(text.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operator_uses_the_contexts_cluster_and_its_own_token() {
        let text = r#"{"clusters": [{"name": "a", "cluster": {"server": "https://a"}}, {"name": "b", "cluster": {"server": "https://b"}}],
            "contexts": [{"name": "x", "context": {"cluster": "b", "user": "me"}}], "users": [{"name": "me", "user": {"password": "secret"}}]}"#;
        let kubeconfig = Kubeconfig::from_yaml(text).unwrap();
        let made = token_kubeconfig(&kubeconfig, "x", "t0ken").unwrap();
        assert!(
            made.contains("https://b") && made.contains("t0ken"),
            "{made}"
        );
        assert!(
            !made.contains("https://a") && !made.contains("secret"),
            "{made}"
        );
        assert!(token_kubeconfig(&kubeconfig, "y", "t").is_err());
    }
}
