//! What a command ends with.

use crate::cluster::ClusterError;
use crate::manifest::ManifestError;

/// What a command has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// For standard output.
    pub text: String,
    /// Whether the answer is the one that was hoped for; becomes exit code 0 or 1.
    pub is_good: bool,
}

impl Report {
    /// All is well.
    pub fn good(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            is_good: true,
        }
    }

    /// The question is answered, and the answer is no.
    pub fn bad(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            is_good: false,
        }
    }
}

/// Why a command could not answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The manifests.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// Something cannot be written as JSON.
    #[error("cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Something cannot be written as YAML.
    #[error("cannot be written as YAML: {0}")]
    Yaml(#[from] serde_yaml::Error),
}
