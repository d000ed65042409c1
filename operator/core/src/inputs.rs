//! Pod inputs: everything that a component's pods are made of.
//!
//! What a ControllerRevision keeps, what a hash stands for, and what going back to the last good release means.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::canonical;

/// What the pods of one component are made of. Nothing here is release-wide, so that releasing one component restarts no
/// other pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodInputs {
    /// The image.
    pub image: String,
    /// `release.config` of the component.
    pub config: BTreeMap<String, String>,
    /// The pod template (labels, annotations and spec) as it is rendered into the workload.
    pub template: Value,
    /// The pod template of the migration Job, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migration: Option<Migration>,
}

/// A migration, as part of the pod inputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Migration {
    /// Name of the Job: `<app>-<component>-migrate-<hash8 of image, arguments, attempt>`.
    pub job: String,
    /// Its pod template.
    pub template: Value,
    /// Pods that may fail.
    pub retries: i32,
    /// Seconds that it may take.
    pub timeout_seconds: i64,
}

impl PodInputs {
    /// Hash of the configuration.
    pub fn config_hash(&self) -> String {
        canonical::config_hash(&self.config)
    }

    /// Hash of what the component's pods are made of. The migration does not count: its attempt number must not restart
    /// pods.
    pub fn hash(&self) -> String {
        canonical::short(&(&self.image, &self.config, &self.template), 12)
    }

    /// Name of the immutable ConfigMap that holds `config`, where there is any.
    pub fn config_map(&self, app: &str, component: &str) -> Option<String> {
        (!self.config.is_empty()).then(|| format!("{app}-{component}-{}", self.config_hash()))
    }
}
