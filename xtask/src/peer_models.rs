//! The hidden task `peer-models`: the modelled peers as a process that outlives `up`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use kube::config::{KubeConfigOptions, Kubeconfig};

/// Arguments of `cargo xtask peer-models`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The cluster in which to play.
    #[arg(long)]
    pub kubeconfig: PathBuf,
}

/// Plays until it is killed.
pub fn run(args: &Args) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let kubeconfig = Kubeconfig::read_from(&args.kubeconfig)
            .with_context(|| format!("cannot read {}", args.kubeconfig.display()))?;
        let config =
            kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        localcluster::models::run(kube::Client::try_from(config)?).await;
        Ok(())
    })
}
