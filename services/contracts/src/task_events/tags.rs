//! Events of tags.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::TagId;
use crate::limits;
use crate::values::LabelField;

/// A tag was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TagCreated {
    /// The tag.
    pub tag_id: TagId,
    /// Its name, which no other tag of the workspace has.
    #[schemars(length(min = 1, max = limits::NAME))]
    pub name: String,
    /// Its colour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = limits::COLOR))]
    pub color: Option<String>,
}

/// Something about a tag is different. Fields that are neither given nor cleared are as they were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TagEdited {
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
    /// Fields that are empty now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cleared: Vec<LabelField>,
}

/// A tag is gone, from all tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TagDeleted {
    /// The tag.
    pub tag_id: TagId,
}
