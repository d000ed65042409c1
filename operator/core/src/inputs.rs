//! Pod inputs: everything that a component's pods are made of.
//!
//! What a ControllerRevision keeps, what a hash stands for, and what going back to the last good release means.

use std::collections::BTreeMap;
use std::ops::Deref;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use crate::canonical;

/// What the pods of one component are made of, with its hash. Nothing here is release-wide, so that releasing one component
/// restarts no other pod.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(from = "Content")]
pub struct PodInputs {
    content: Content,
    hash: String,
}

/// What [`PodInputs`] hold, and a ControllerRevision keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Content {
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

impl From<Content> for PodInputs {
    fn from(content: Content) -> Self {
        let inputs = (&content.image, &content.config, &content.template);
        let hash = canonical::short_of_sorted(&inputs, 12);
        Self { content, hash }
    }
}

impl Deref for PodInputs {
    type Target = Content;

    fn deref(&self) -> &Content {
        &self.content
    }
}

impl Serialize for PodInputs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.content.serialize(serializer)
    }
}

impl PodInputs {
    /// Hash of what the component's pods are made of. The migration does not count: its attempt number must not restart
    /// pods.
    pub fn hash(&self) -> &str {
        &self.hash
    }
}

impl Content {
    /// Hash of the configuration.
    pub fn config_hash(&self) -> String {
        canonical::config_hash(&self.config)
    }

    /// Name of the immutable ConfigMap that holds `config`, where there is any.
    pub fn config_map(&self, app: &str, component: &str) -> Option<String> {
        config_map(&self.config, app, component)
    }
}

/// Name of the immutable ConfigMap that holds a component's configuration, where there is any.
pub fn config_map(config: &BTreeMap<String, String>, app: &str, component: &str) -> Option<String> {
    (!config.is_empty()).then(|| format!("{app}-{component}-{}", canonical::config_hash(config)))
}
