//! The real node of a cluster, and the images on it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join;
use kube::Client;

use super::Cluster;
use crate::config::Part;
use crate::error::{Error, Result};
use crate::node::{self, RealNode};
use crate::progress::Event;

impl Cluster {
    pub(super) async fn start_namespaces(&self) -> Result<()> {
        let Some(node) = &self.node else {
            return Ok(());
        };
        if self.directory.find(Part::Namespaces.name()).is_none() {
            // What was on an earlier node may be ending at this moment, and must not be taken for running.
            for part in [Part::KubeProxy, Part::Kubelet, Part::Containerd] {
                self.end(part, Duration::ZERO)?;
                if let Some(mut process) = self.directory.find(part.name()) {
                    process.stop(Duration::ZERO)?;
                }
            }
            node.wait_for_end(&self.state)?;
        }
        self.launch(Part::Namespaces)?;
        self.wait_ready(Part::Namespaces).await?;
        node.connect(self.namespaces()?)
    }

    pub(super) async fn start_containerd(&self) -> Result<()> {
        if self.node.is_none() {
            return Ok(());
        }
        self.launch(Part::Containerd)?;
        self.wait_ready(Part::Containerd).await?;
        self.on_node(RealNode::load_own_images).await?
    }

    /// Does something slow with the node and the process whose namespaces are its own.
    pub(super) async fn on_node<T: Send + 'static>(
        &self,
        action: impl FnOnce(&RealNode, i32) -> T + Send + 'static,
    ) -> Result<T> {
        let (node, namespaces) = (self.real_node()?.clone(), self.namespaces()?);
        tokio::task::spawn_blocking(move || action(&node, namespaces))
            .await
            .map_err(|e| Error::Task(e.to_string()))
    }

    pub(super) fn real_node(&self) -> Result<&Arc<RealNode>> {
        self.node.as_ref().ok_or_else(|| Error::NotConfigured {
            part: "a real node".to_owned(),
        })
    }

    /// The process whose namespaces are the node's.
    pub(super) fn namespaces(&self) -> Result<i32> {
        self.process_id(Part::Namespaces)
            .ok_or_else(|| Error::NotConfigured {
                part: Part::Namespaces.name().to_owned(),
            })
    }

    /// Gives the real node an image: an OCI image layout as a tar file, in which the annotation
    /// `io.containerd.image.name` says its full name. Pods that use it must not ask for `imagePullPolicy: Always`.
    ///
    /// # Errors
    /// If there is no real node, or containerd refuses the file.
    pub async fn load_image(&self, file: &Path) -> Result<()> {
        let file = file.to_owned();
        self.on_node(move |node, namespaces| node.load_image(namespaces, &file))
            .await?
    }

    /// The full names of the images that the real node has.
    ///
    /// # Errors
    /// If there is no real node, or containerd does not answer.
    pub async fn images(&self) -> Result<BTreeSet<String>> {
        self.on_node(RealNode::images).await?
    }

    pub(super) async fn start_kubelet(&self, client: &Client) -> Result<()> {
        let Some(node) = &self.node else {
            return Ok(());
        };
        if self.directory.find(Part::Kubelet.name()).is_none() {
            node::doubt(client).await?;
        }
        self.launch(Part::Kubelet)?;
        self.launch(Part::KubeProxy)?;
        try_join(node.apply_addons(client), self.wait_ready(Part::Kubelet)).await?;
        self.until("CoreDNS and local-path-provisioner", Part::Kubelet, || {
            node.has_addons(client)
        })
        .await?;
        self.config.progress.event(Event::Ready {
            what: "CoreDNS and local-path-provisioner",
            took: self.begun.elapsed(),
        });
        Ok(())
    }

    /// Everything on it has ended with its namespaces, as when a machine loses power.
    pub(super) async fn restart_node(&self) -> Result<()> {
        self.start_namespaces().await?;
        self.start_containerd().await?;
        self.start_kubelet(&self.client()?).await
    }
}
