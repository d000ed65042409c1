//! Events of lists.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ListId;
use crate::limits;
use crate::values::{LabelField, optional_order, order};

/// A list was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListCreated {
    /// The list.
    pub list_id: ListId,
    /// Its name.
    #[schemars(length(min = 1, max = limits::NAME))]
    pub name: String,
    /// Its colour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = limits::COLOR))]
    pub color: Option<String>,
    /// Its position among the lists.
    #[schemars(schema_with = "order")]
    pub order: String,
}

/// Something about a list is different. Fields that are neither given nor cleared are as they were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListEdited {
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
    /// Fields that are empty now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cleared: Vec<LabelField>,
}

macro_rules! about_a_list {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        pub struct $name {
            /// The list.
            pub list_id: ListId,
        }
    )+};
}

about_a_list! {
    /// A list was put aside, with its tasks.
    ListArchived;
    /// A list is no longer put aside.
    ListUnarchived;
    /// A list was put into the trash, with its tasks.
    ListTrashed;
    /// A list was taken out of the trash, with its tasks.
    ListRestored;
    /// A list is gone for good, with its tasks.
    ListDeleted;
}
