//! The document.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use todo_contracts::task_updates::{ListUpdated, TagUpdated, TaskUpdated};

/// Lists, tags and tasks, as the views have them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Document {
    /// The lists.
    pub lists: Vec<ListUpdated>,
    /// The tags.
    #[serde(default)]
    pub tags: Vec<TagUpdated>,
    /// The tasks.
    pub tasks: Vec<TaskUpdated>,
}
