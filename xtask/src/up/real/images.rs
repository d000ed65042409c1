//! Our own images on the node, under the names that manifests have for them.

use std::fs;

use anyhow::{Context, Result};
use localcluster::image::{Compression, Recipe};
use localcluster::{Cache, Cluster};

/// Gives the node an image as `REPOSITORY@DIGEST`, unless it has it, and says the digest: as if it had been pulled from there.
pub async fn load(cluster: &Cluster, recipe: Recipe, repository: &str) -> Result<String> {
    let name = repository.replace('/', "-");
    let file = cluster.state().join("images").join(format!("{name}.tar"));
    let recipe = recipe
        .derive(format!("{repository}:up"))
        .compression(Compression::None);
    let write = move || recipe.write(&Cache::from_env(), &file);
    let written = tokio::task::spawn_blocking(write).await??;
    let has = cluster.images().await?;
    if !has.contains(&format!("{repository}@{}", written.digest)) {
        cluster.load_image(&written.path).await?;
    }
    fs::remove_file(&written.path)
        .with_context(|| format!("cannot remove {}", written.path.display()))?;
    Ok(written.digest)
}
