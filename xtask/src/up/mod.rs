//! `cargo xtask up`: from nothing to three stages of the demonstration app, on a cluster of this machine or the user's own.

mod apps;
pub mod kubectl;
pub mod operator;
pub mod secrets;
pub mod state;
mod summary;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig, NamedContext};
use localcluster::{Cache, Cluster, Config, Kafka, Models, Node, Peer, Tool, Tools};
use tokio::signal::unix::{SignalKind, signal};

use self::kubectl::Kubectl;
use self::state::{Run, State};
use crate::progress::{done, heading, shown};
use crate::{prerequisites, repository};

/// Where xtask/kwok/platform expects the local broker.
const KAFKA_PORT: u16 = 19092;
/// The folders of config-repo, which are the stages.
const STAGES: [&str; 3] = ["test", "staging", "production"];

/// Arguments of `cargo xtask up`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Use the cluster of this context of your kubeconfig instead of a local one.
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
}

/// Starts everything and shows it until it is ready.
pub fn run(args: Args) -> Result<()> {
    let root = repository::root()?;
    let state = State::locate();
    let before = state.load()?;
    if let Some(before) = before
        .as_ref()
        .filter(|before| before.context != args.context)
    {
        let running = before.context.as_ref().map_or_else(
            || "the local cluster".to_owned(),
            |context| format!("the context {context}"),
        );
        bail!("`up` already runs with {running}: stop that first with `cargo xtask down`");
    }
    prerequisites::ensure(args.context.is_none())?;
    let kept = localcluster::running(state.dir())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let run = Run {
            context: args.context.clone(),
            ..before.unwrap_or_default()
        };
        tokio::select! {
            result = up(&root, &state, run) => result.map(|()| true),
            _ = interrupt.recv() => Ok(false),
            _ = terminate.recv() => Ok(false),
        }
    });
    if matches!(result, Ok(false)) {
        eprintln!("\nInterrupted: stopping what was started.");
        localcluster::stop_all(state.dir(), &kept)?;
        // Not by returning: that would wait for a build that runs on another thread.
        std::process::exit(130);
    }
    runtime.shutdown_background();
    result.map(drop)
}

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

async fn up(root: &Path, state: &State, mut run: Run) -> Result<()> {
    let begun = Instant::now();
    state.save(&run)?;
    heading("Building");
    build_tools(run.context.is_none()).await?;
    let build_began = Instant::now();
    let executable = operator::build(root).await?;
    done("operator", build_began.elapsed());
    heading("Starting");
    let reached = match &run.context {
        None => local(root, state).await?,
        Some(context) => existing(root, context).await?,
    };
    let install_began = Instant::now();
    operator::install(&reached.kubectl).await?;
    done(
        "operator's resources and permissions installed",
        install_began.elapsed(),
    );
    let start_began = Instant::now();
    let token = operator::token(&reached.client).await?;
    operator::start(
        state,
        &mut run,
        &executable,
        &reached.server.kubeconfig(&token)?,
    )
    .await?;
    done("operator ready", start_began.elapsed());
    heading("Applying config-repo");
    reached.kubectl.apply(reached.server.platform()).await?;
    let namespaces = apps::namespaces(&reached.client).await?;
    secrets::ensure(&reached.client, &namespaces).await?;
    for stage in STAGES {
        reached
            .kubectl
            .apply(&format!("config-repo/environments/{stage}"))
            .await?;
    }
    apps::wait_ready(&reached.client, &namespaces).await?;
    summary::print(&reached.access, &namespaces, begun.elapsed());
    Ok(())
}

async fn build_tools(local: bool) -> Result<()> {
    let build = move || -> Result<()> {
        let (tools, shown) = (Tools::new(Cache::from_env()), shown());
        if local {
            tools.ensure_all(shown.as_ref())?;
        } else {
            tools.ensure(Tool::Kubectl, shown.as_ref())?;
        }
        Ok(())
    };
    tokio::task::spawn_blocking(build).await?
}

async fn local(root: &Path, state: &State) -> Result<Reached> {
    let models = Models::Process {
        program: std::env::current_exe().context("cannot find this program")?,
        args: vec!["peer-models".into()],
    };
    let config = Config::control_plane()
        .controllers()
        .node(Node::Kwok { count: 3 })
        .argo_rollouts()
        .kafka(Kafka {
            port: Some(KAFKA_PORT),
            sasl: None,
        })
        .peers(Peer::ALL)
        .models(models)
        .detached(state.dir())
        .progress(shown());
    let cluster = Cluster::start(config).await?;
    let path = cluster.kubeconfig().to_owned();
    let kubectl = Kubectl::new(
        cluster.kubectl()?,
        vec![format!("--kubeconfig={}", path.display())],
        root.to_owned(),
    );
    Ok(Reached {
        client: cluster.client()?,
        access: summary::Access::Local {
            kubeconfig: path,
            kubectl: kubectl.shown(),
            kafka: cluster.kafka_bootstrap()?,
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
