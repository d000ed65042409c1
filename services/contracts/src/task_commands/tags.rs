//! Commands about tags.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::TagId;
use crate::limits;
use crate::values::LabelField;

/// Make a tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CreateTag {
    /// The tag.
    pub tag_id: TagId,
    /// Its name, which no other tag of the workspace may have. Capitals make no difference.
    #[schemars(length(min = 1, max = limits::NAME))]
    pub name: String,
    /// Its colour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = limits::COLOR))]
    pub color: Option<String>,
}

/// Change a tag. Fields that are neither given nor cleared stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EditTag {
    /// The tag.
    pub tag_id: TagId,
    /// Its new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = limits::NAME))]
    pub name: Option<String>,
    /// Its new colour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = limits::COLOR))]
    pub color: Option<String>,
    /// Fields to empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clear: Vec<LabelField>,
    /// The version that the change is meant for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_version: Option<u32>,
}

/// Remove a tag from all tasks, and for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeleteTag {
    /// The tag.
    pub tag_id: TagId,
    /// The version that is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_version: Option<u32>,
}
