//! How each user is to be addressed. The last message of a user counts, so a new consumer reads the topic from its start.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::UserId;
use crate::limits;
use crate::message::messages;

messages! {
    /// A message of the topic `user-profiles`.
    pub enum UserProfileMessage on UserProfiles {
        UserProfile = "todo.user.profile.v1",
        UserProfileErased = "todo.user.profile-erased.v1",
    }
}

/// A user's profile as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserProfile {
    /// The user.
    pub user_id: UserId,
    /// What others see.
    #[schemars(length(min = 1, max = limits::NAME))]
    pub display_name: String,
    /// The IANA time zone in which floating times are meant.
    #[schemars(length(min = 1, max = 64))]
    pub zone: String,
    /// The language, as a BCP 47 tag.
    #[schemars(length(min = 2, max = 35))]
    pub locale: String,
    /// Channels by which the user wants to be notified, by the names that the broadcaster gives them.
    pub channels: Vec<String>,
}

/// A profile is gone. Consumers forget what they have of it; compaction forgets the rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserProfileErased {
    /// The user.
    pub user_id: UserId,
}
