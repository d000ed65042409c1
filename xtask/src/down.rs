//! `cargo xtask down`.

use anyhow::Result;

use crate::up::state::State;

/// Stops every process of `up` and removes its state. Built tools stay in the cache.
pub fn run() -> Result<()> {
    let state = State::locate();
    let context = state.load()?.and_then(|run| run.context);
    let stopped = localcluster::stop_all(state.dir(), &[])?;
    if stopped.is_empty() {
        println!("Nothing was running.");
    } else {
        println!("Stopped {}.", stopped.join(", "));
    }
    if let Some(context) = context {
        println!(
            "What `up` has installed in the cluster of context {context} is still there; to remove it:"
        );
        println!(
            "  kubectl --context {context} delete -k config-repo/platform && kubectl --context {context} delete -k kustomize/overlays/host"
        );
    }
    Ok(())
}
