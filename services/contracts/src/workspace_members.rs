//! Who belongs to each workspace. The last message of a member counts, so a new consumer reads the topic from its start.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::message::messages;
use crate::values::Role;
use crate::{UserId, WorkspaceId};

messages! {
    /// A message of the topic `workspace-members`.
    pub enum WorkspaceMemberMessage on WorkspaceMembers {
        WorkspaceMember = "todo.workspace.member.v1",
        WorkspaceMemberRemoved = "todo.workspace.member-removed.v1",
    }
}

/// Somebody belongs to a workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkspaceMember {
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// The user.
    pub user_id: UserId,
    /// What the user may do there.
    pub role: Role,
}

/// Somebody belongs to a workspace no longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkspaceMemberRemoved {
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// The user.
    pub user_id: UserId,
}
