//! Manifests: upstream's from its module, changed by kustomizations of ours.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::Product;
use crate::cache::key;
use crate::crds::module_dir;
use crate::error::{Error, Result};
use crate::manifests::documents;
use crate::progress::Progress;
use crate::tools::{
    ARGO_CD, ARGO_ROLLOUTS, CLOUDNATIVE_PG, KEDA, Recipe, TRAEFIK, Tool, Tools, dying_with_us,
    output,
};

/// What upstream's files are called in our kustomizations.
const UPSTREAM: &str = "upstream";

/// The file of the result.
const RENDERED: &str = "objects.yaml";

/// A directory of a module.
struct Upstream {
    recipe: Recipe,
    module: &'static str,
    directory: &'static str,
    /// Beginnings of the names of what is taken from there; everything if there are none.
    only: &'static [&'static str],
}

macro_rules! files {
    ($product:literal, $($file:literal),+) => {
        &[$(($file, include_str!(concat!("../../peers/", $product, "/", $file)))),+]
    };
}

impl Product {
    /// Our files: a kustomization, and what it names.
    const fn files(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::ArgoCd => files!(
                "argo-cd",
                "kustomization.yaml",
                "namespace.yaml",
                "project.yaml",
                "settings.yaml"
            ),
            Self::ArgoRollouts => files!(
                "argo-rollouts",
                "kustomization.yaml",
                "namespace.yaml",
                "controller.yaml"
            ),
            Self::CloudNativePg => files!(
                "cloudnative-pg",
                "kustomization.yaml",
                "operator.yaml",
                "probes.yaml"
            ),
            Self::GitServer => files!("git-server", "kustomization.yaml", "git-server.yaml"),
            Self::Kafka => files!("kafka", "kustomization.yaml", "kafka.yaml"),
            Self::Keda => files!(
                "keda",
                "kustomization.yaml",
                "operator.yaml",
                "adapter.yaml"
            ),
            Self::Prometheus => files!("prometheus", "kustomization.yaml", "prometheus.yaml"),
            Self::Redis => files!("redis", "kustomization.yaml", "redis.yaml"),
            Self::Traefik => files!("traefik", "kustomization.yaml", "traefik.yaml"),
        }
    }

    const fn upstream(self) -> Option<Upstream> {
        let (recipe, module, directory, only): (_, _, _, &[&str]) = match self {
            Self::ArgoCd => (
                ARGO_CD,
                "github.com/argoproj/argo-cd/v3",
                "manifests",
                &["core-install", "crds", "cluster-rbac", "base"],
            ),
            Self::ArgoRollouts => (
                ARGO_ROLLOUTS,
                "github.com/argoproj/argo-rollouts",
                "manifests",
                &[],
            ),
            // There is a file for each version; the kustomization names the one that it wants.
            Self::CloudNativePg => (
                CLOUDNATIVE_PG,
                "github.com/cloudnative-pg/cloudnative-pg",
                "releases",
                &["cnpg-1.3"],
            ),
            Self::Keda => (KEDA, "github.com/kedacore/keda/v2", "config", &[]),
            Self::Traefik => (
                TRAEFIK,
                "github.com/traefik/traefik/v3",
                "docs/content/reference/dynamic-configuration",
                &["kubernetes-"],
            ),
            Self::GitServer | Self::Kafka | Self::Prometheus | Self::Redis => return None,
        };
        Some(Upstream {
            recipe,
            module,
            directory,
            only,
        })
    }
}

/// The objects of a product, those first that others need. Blocks.
pub(super) fn render(
    tools: &Tools,
    product: Product,
    progress: &dyn Progress,
) -> Result<Vec<Value>> {
    let kubectl = tools.ensure(Tool::Kubectl, progress)?;
    let files = files(product)?;
    let version = product.version()?;
    let name = format!("manifests-{}", product.name());
    let mut inputs = vec![version.as_str()];
    inputs.extend(files.iter().flat_map(|(name, text)| [*name, text.as_str()]));
    let dir = tools.cache.entry(&name, &key(inputs), |work| {
        let overlay = work.join("overlay");
        fs::create_dir_all(&overlay).map_err(Error::io("create", &overlay))?;
        if let Some(upstream) = product.upstream() {
            let module = module_dir(
                &upstream.recipe,
                upstream.module,
                &work.join("module"),
                &name,
            )?;
            copy(
                &module.join(upstream.directory),
                &overlay.join(UPSTREAM),
                upstream.only,
            )?;
        }
        for (name, text) in &files {
            let path = overlay.join(name);
            fs::write(&path, text).map_err(Error::io("write", &path))?;
        }
        let mut kustomize = dying_with_us(&kubectl.to_string_lossy());
        kustomize.arg("kustomize").arg(&overlay);
        let rendered = work.join(RENDERED);
        fs::write(&rendered, output(kustomize, &name)?).map_err(Error::io("write", &rendered))?;
        fs::remove_dir_all(&overlay).map_err(Error::io("remove", &overlay))
    })?;
    let rendered = dir.join(RENDERED);
    let text = fs::read_to_string(&rendered).map_err(Error::io("read", &rendered))?;
    let mut objects = documents(&name, &text)?;
    // A stable sort: the others keep kustomize's order.
    objects.sort_by_key(|object| match object["kind"].as_str() {
        Some("Namespace") => 0,
        Some("CustomResourceDefinition") => 1,
        _ => 2,
    });
    Ok(objects)
}

/// Our files with their variables: the product's `$VERSION`, and `$TAG(name)` of each of its images.
fn files(product: Product) -> Result<Vec<(&'static str, String)>> {
    let mut variables = vec![("$VERSION".to_owned(), product.version()?)];
    for image in product.images() {
        variables.push((format!("$TAG({})", image.name), image.tag(product)?));
    }
    let files = product.files().iter().map(|(name, text)| {
        let filled = variables
            .iter()
            .fold((*text).to_owned(), |text, (name, value)| {
                text.replace(name, value)
            });
        (*name, filled)
    });
    Ok(files.collect())
}

/// Copies a directory: what is in the module cache may not be changed, and kustomize reads nothing outside of its directory.
fn copy(from: &Path, to: &Path, only: &[&str]) -> Result<()> {
    fs::create_dir_all(to).map_err(Error::io("create", to))?;
    for entry in fs::read_dir(from).map_err(Error::io("read", from))? {
        let entry = entry.map_err(Error::io("read", from))?;
        let (name, path) = (entry.file_name(), entry.path());
        let is_wanted = |beginning: &&str| name.to_string_lossy().starts_with(*beginning);
        if !only.is_empty() && !only.iter().any(is_wanted) {
            continue;
        }
        if path.is_dir() {
            copy(&path, &to.join(name), &[])?;
        } else {
            fs::copy(&path, to.join(name)).map_err(Error::io("copy", &path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_files_are_yaml_and_pull_nothing() {
        for product in Product::ALL {
            for (name, text) in files(product).unwrap() {
                documents(name, &text).unwrap();
                // A variable that is left is one that is misspelt.
                for never in ["imagePullPolicy: Always", "$VERSION", "$TAG"] {
                    assert!(!text.contains(never), "{} {name}: {never}", product.name());
                }
            }
        }
    }
}
