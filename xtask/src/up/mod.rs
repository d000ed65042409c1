//! `cargo xtask up`: from nothing to three stages of the demonstration app, on a cluster of this machine or the user's own.

mod apps;
mod hosted;
pub mod kubectl;
pub mod operator;
mod parts;
mod real;
pub mod secrets;
pub mod state;
mod summary;
pub mod timeline;

use std::path::Path;

use anyhow::{Result, bail};
use tokio::signal::unix::{SignalKind, signal};

use self::parts::{Part, Parts, Pods};
use self::state::{Run, State};
use self::timeline::Timeline;
use crate::{prerequisites, repository};

/// Arguments of `cargo xtask up`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Use the cluster of this context of your kubeconfig instead of a local one.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["pods", "only"])]
    pub context: Option<String>,
    /// Whether pods run; if this is not said, they do where they can: as root on Debian.
    #[arg(long, value_enum)]
    pub pods: Option<Pods>,
    /// Start these parts alone, and what they need.
    #[arg(long, value_enum, value_name = "PART", value_delimiter = ',')]
    pub only: Vec<Part>,
}

/// Starts everything and shows it until it is ready.
pub fn run(args: Args) -> Result<()> {
    let root = repository::root()?;
    let state = State::locate();
    let before = state.load()?;
    if let Some(before) = &before {
        refuse_other(&args, before)?;
    }
    prerequisites::ensure(args.context.is_none())?;
    let mut run = before.clone().unwrap_or_default();
    run.context = args.context.clone();
    if args.context.is_none() && before.is_none() {
        run.pods = Some(choose(args.pods)?);
    }
    if run.pods == Some(Pods::Real) {
        prerequisites::ensure_real_node()?;
        prerequisites::ensure_peers()?;
    }
    let parts = Parts::wanted(&args.only, run.pods.unwrap_or(Pods::Modelled))?;
    let kept = localcluster::running(state.dir())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            result = up(&root, &state, run, &parts) => result.map(|()| true),
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

/// What runs can be resumed, not turned into something else.
fn refuse_other(args: &Args, before: &Run) -> Result<()> {
    let has_other_pods = args.pods.is_some() && args.pods != before.pods;
    if args.context == before.context && !has_other_pods {
        return Ok(());
    }
    let running = match (&before.context, before.pods) {
        (Some(context), _) => format!("the context {context}"),
        (None, Some(Pods::Real)) => "real pods".to_owned(),
        (None, _) => "modelled pods".to_owned(),
    };
    bail!("`up` already runs with {running}: stop that first with `cargo xtask down`")
}

/// Real pods where that is possible; says why it is not.
fn choose(asked: Option<Pods>) -> Result<Pods> {
    if let Some(pods) = asked {
        return Ok(pods);
    }
    let obstacle = match localcluster::obstacle_to_real_node() {
        Some(obstacle) => obstacle,
        None => match prerequisites::ensure_peers() {
            Ok(()) => return Ok(Pods::Real),
            Err(error) => format!("{error:#}"),
        },
    };
    eprintln!("Pods are modelled, not run: for a real node {obstacle}.");
    Ok(Pods::Modelled)
}

async fn up(root: &Path, state: &State, mut run: Run, parts: &Parts) -> Result<()> {
    let timeline = Timeline::begin();
    state.save(&run)?;
    let done = match run.pods {
        Some(Pods::Real) => real::up(root, state, parts, &timeline).await,
        Some(Pods::Modelled) | None => hosted::up(root, state, &mut run, parts, &timeline).await,
    };
    run.times = timeline.times();
    state.save(&run)?;
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(context: Option<&str>, pods: Option<Pods>) -> Args {
        Args {
            context: context.map(str::to_owned),
            pods,
            only: Vec::new(),
        }
    }

    #[test]
    fn only_the_same_is_resumed() {
        let before = Run {
            pods: Some(Pods::Real),
            ..Run::default()
        };
        assert!(refuse_other(&args(None, None), &before).is_ok());
        assert!(refuse_other(&args(None, Some(Pods::Real)), &before).is_ok());
        let error = refuse_other(&args(None, Some(Pods::Modelled)), &before).unwrap_err();
        assert!(error.to_string().contains("with real pods"), "{error}");
        assert!(refuse_other(&args(Some("kind"), None), &before).is_err());
    }
}
