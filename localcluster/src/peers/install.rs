//! Gets products into a cluster.

use std::sync::Arc;
use std::time::Instant;

use futures::future::try_join_all;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::serving::wait;
use super::{Product, images, manifests};
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::manifests::apply;
use crate::progress::{Event, Progress};
use crate::tools::Tools;

/// How many products' images are loaded at once: each takes a processor.
const AT_ONCE: usize = 2;

/// Makes the images of these products and renders their manifests, unless they are in the cache. Blocks.
///
/// # Errors
/// If something cannot be downloaded or built.
pub fn build(tools: &Tools, products: &[Product], progress: &dyn Progress) -> Result<()> {
    for product in products {
        for image in product.images() {
            image.ensure(*product, tools, progress)?;
        }
        manifests::render(tools, *product, progress)?;
    }
    Ok(())
}

/// Says whether the images can be made here: apt must offer the packages that are in them, which have these names on Debian 12. Blocks.
///
/// # Errors
/// If it does not; after `apt-get update` it may.
pub fn check_packages() -> Result<()> {
    images::check_packages()
}

/// Gives the cluster's real node the products' images, applies the manifests and waits until all that is in them serves. What is there
/// already stays as it is.
///
/// # Errors
/// If there is no real node, something cannot be built or is refused, or does not become ready in time.
pub async fn install(cluster: &Cluster, products: &[Product]) -> Result<()> {
    let hands = Semaphore::new(AT_ONCE);
    let begun = Instant::now();
    let installed = products
        .iter()
        .map(|product| install_one(cluster, *product, &hands, begun));
    try_join_all(installed).await.map(drop)
}

async fn install_one(
    cluster: &Cluster,
    product: Product,
    hands: &Semaphore,
    begun: Instant,
) -> Result<()> {
    let client = cluster.client()?;
    let objects = {
        // The semaphore is never closed.
        let _hand = hands.acquire().await;
        load_images(cluster, product).await?;
        render(cluster, product).await?
    };
    cluster.install_peers(product.definitions()).await?;
    for object in &objects {
        apply(&client, object).await?;
    }
    for object in &objects {
        wait(&client, object).await?;
    }
    cluster.progress().event(Event::Ready {
        what: product.name(),
        took: begun.elapsed(),
    });
    Ok(())
}

async fn load_images(cluster: &Cluster, product: Product) -> Result<()> {
    let loaded = cluster.images().await?;
    for image in product.images() {
        if !loaded.contains(&image.reference(product)?) {
            let (tools, progress) = (cluster.tools().clone(), Arc::clone(cluster.progress()));
            let ensure = move || image.ensure(product, &tools, progress.as_ref());
            cluster.load_image(&blocking(ensure).await?).await?;
        }
    }
    Ok(())
}

async fn render(cluster: &Cluster, product: Product) -> Result<Vec<Value>> {
    let (tools, progress) = (cluster.tools().clone(), Arc::clone(cluster.progress()));
    blocking(move || manifests::render(&tools, product, progress.as_ref())).await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::Task(e.to_string()))?
}
