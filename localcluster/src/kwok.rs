//! KWOK: nodes and pods that only say that they run, and CloudNativePG's controller played the same way.

use std::path::{Path, PathBuf};

use kube::Client;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::manifests;

/// Stages in which CloudNativePG's controller is played; one YAML stream.
const CLOUDNATIVE_PG_FILE: &str = "kwok/cloudnative-pg.yaml";
const CLOUDNATIVE_PG: &str = include_str!("../kwok/cloudnative-pg.yaml");

pub(crate) fn args(kubeconfig: &Path) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", kubeconfig.display()),
        "--manage-all-nodes=true".to_owned(),
        // Stages are read from the cluster, so that a test can add or replace one.
        "--enable-crds=Stage".to_owned(),
        "--cidr=10.128.0.1/9".to_owned(),
        "--node-ip=127.0.0.1".to_owned(),
        "--node-lease-duration-seconds=40".to_owned(),
    ]
}

/// The CRD file and the stage files among KWOK's.
pub(crate) fn split(files: Vec<PathBuf>) -> (Vec<PathBuf>, Vec<PathBuf>) {
    files.into_iter().partition(|f| {
        f.file_name()
            .is_some_and(|n| n.to_string_lossy().starts_with("customresourcedefinition."))
    })
}

pub(crate) async fn apply_stages(client: &Client, files: &[PathBuf]) -> Result<()> {
    for file in files {
        let text = std::fs::read_to_string(file).map_err(Error::io("read", file))?;
        let stage = serde_json::from_str(&text).map_err(|e| Error::State {
            path: file.clone(),
            reason: e.to_string(),
        })?;
        manifests::apply(client, &stage).await?;
    }
    Ok(())
}

/// Applies the stages that play CloudNativePG.
pub(crate) async fn apply_cloudnative_pg(client: &Client) -> Result<()> {
    for stage in manifests::documents(CLOUDNATIVE_PG_FILE, CLOUDNATIVE_PG)? {
        manifests::apply(client, &stage).await?;
    }
    Ok(())
}

/// The nodes that KWOK is to play; it fills in their status.
pub(crate) fn nodes(count: u16) -> impl Iterator<Item = (String, Value)> {
    (1..=count).map(|number| {
        let name = format!("kwok-{number}");
        let node = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name,
                "annotations": {"kwok.x-k8s.io/node": "fake", "node.alpha.kubernetes.io/ttl": "0"},
                "labels": {
                    "kubernetes.io/hostname": name,
                    "kubernetes.io/os": "linux",
                    "kubernetes.io/arch": "amd64",
                    "type": "kwok",
                },
            },
        });
        (name, node)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stages_are_valid_yaml() {
        let stages = manifests::documents(CLOUDNATIVE_PG_FILE, CLOUDNATIVE_PG).unwrap();
        let kinds: Vec<_> = stages
            .iter()
            .map(|s| s["spec"]["resourceRef"]["kind"].as_str().unwrap())
            .collect();
        assert_eq!(kinds, ["Cluster", "Database", "DatabaseRole"]);
    }

    #[test]
    fn nodes_are_numbered() {
        assert_eq!(
            nodes(2).map(|(name, _)| name).collect::<Vec<_>>(),
            ["kwok-1", "kwok-2"]
        );
    }
}
