//! Our own programs on a real node: images under the names that manifests have for them, and the operator, installed as its
//! users do it.

use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};
use localcluster::image::{Compression, Recipe};
use localcluster::{Cache, Cluster};

use crate::up::kubectl::Kubectl;
use crate::up::operator::{NAME, until_established};

/// The image in kustomize/base.
const REPOSITORY: &str = "ghcr.io/todo-operator/operator";
/// One replica, and every step in its log.
const OVERLAY: &str = "kustomize/overlays/test";

/// Gives the node an image as `REPOSITORY@DIGEST`, unless it has it, and says the digest: as if it had been pulled from there.
pub async fn image(cluster: &Cluster, recipe: Recipe, repository: &str) -> Result<String> {
    let name = repository.replace('/', "-");
    let file = cluster.state().join("images").join(format!("{name}.tar"));
    let recipe = recipe
        .derive(format!("{repository}:local"))
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

/// Installs the operator, or replaces it if it was built anew, and waits until it is ready.
pub async fn operator(
    cluster: &Cluster,
    kubectl: &Kubectl,
    root: &Path,
    recipe: Recipe,
) -> Result<()> {
    let digest = image(cluster, recipe, REPOSITORY).await?;
    let dir = cluster.state().join(NAME);
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let dir = dir
        .canonicalize()
        .with_context(|| format!("cannot find {}", dir.display()))?;
    let overlay = relative(&dir, &root.join(OVERLAY));
    let file = dir.join("kustomization.yaml");
    fs::write(&file, kustomization(&overlay, &digest))
        .with_context(|| format!("cannot write {}", file.display()))?;
    kubectl.apply(&dir.to_string_lossy()).await?;
    until_established(kubectl).await?;
    kubectl
        .run(&[
            "rollout",
            "status",
            "--timeout=180s",
            "--namespace",
            NAME,
            &format!("deployment/{NAME}"),
        ])
        .await
}

fn kustomization(overlay: &Path, digest: &str) -> String {
    serde_json::json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [overlay],
        "images": [{"name": REPOSITORY, "digest": digest}],
    })
    .to_string()
}

/// The way from a directory to another path, both absolute: kustomize takes no absolute one.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let (from, to): (Vec<Component<'_>>, Vec<_>) =
        (from.components().collect(), to.components().collect());
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = from.iter().skip(common).map(|_| Component::ParentDir);
    up.chain(to.iter().skip(common).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_the_overlay_is_relative() {
        let way = |from: &str, to: &str| relative(Path::new(from), Path::new(to));
        assert_eq!(way("/a/b/c", "/a/d/e"), Path::new("../../d/e"));
        assert_eq!(way("/a", "/a/d"), Path::new("d"));
        assert_eq!(way("/x", "/a"), Path::new("../a"));
    }

    #[test]
    fn the_image_is_that_of_the_base() {
        let base = include_str!("../../kustomize/base/kustomization.yaml");
        assert!(base.contains(&format!("newName: {REPOSITORY}\n")), "{base}");
        let text = kustomization(Path::new("../x"), "sha256:1");
        let read: serde_json::Value = serde_yaml::from_str(&text).unwrap();
        assert_eq!(read["images"][0]["digest"], "sha256:1");
        assert_eq!(read["resources"][0], "../x");
    }
}
