//! Identifiers. Clients make them, as UUIDs of version 7 where nothing else is said.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        #[schemars(inline)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

identifier! {
    /// A workspace: what people share, and what nothing of another workspace is seen from.
    WorkspaceId
}
identifier! {
    /// A person with an account.
    UserId
}
identifier! {
    /// A list of tasks.
    ListId
}
identifier! {
    /// A task.
    TaskId
}
identifier! {
    /// A tag.
    TagId
}
identifier! {
    /// A reminder of a task.
    ReminderId
}
