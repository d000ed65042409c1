//! Commands about lists.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ListId;
use crate::limits;
use crate::values::{LabelField, optional_order};

/// Make a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CreateList {
    /// The list.
    pub list_id: ListId,
    /// Its name.
    #[schemars(length(min = 1, max = limits::NAME))]
    pub name: String,
    /// Its colour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = limits::COLOR))]
    pub color: Option<String>,
    /// Its position among the lists; the last without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "optional_order")]
    pub order: Option<String>,
}

/// Change a list. Fields that are neither given nor cleared stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EditList {
    /// The list.
    pub list_id: ListId,
    /// Its new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = limits::NAME))]
    pub name: Option<String>,
    /// Its new colour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = limits::COLOR))]
    pub color: Option<String>,
    /// Its new position among the lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "optional_order")]
    pub order: Option<String>,
    /// Fields to empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clear: Vec<LabelField>,
    /// The version that the change is meant for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_version: Option<u32>,
}

macro_rules! about_a_list {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        pub struct $name {
            /// The list.
            pub list_id: ListId,
            /// The version that is meant.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub expected_version: Option<u32>,
        }
    )+};
}

about_a_list! {
    /// Put a list aside, with its tasks.
    ArchiveList;
    /// Put a list aside no longer.
    UnarchiveList;
    /// Put a list into the trash, with its tasks.
    TrashList;
    /// Take a list out of the trash, with its tasks.
    RestoreList;
    /// Remove a list that is in the trash for good, with its tasks.
    DeleteList;
}
