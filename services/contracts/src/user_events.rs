//! What happened to accounts. No message holds a password, a token or an address of the network.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::UserId;
use crate::limits;
use crate::message::messages;

messages! {
    /// A message of the topic `user-events`.
    pub enum UserEvent on UserEvents {
        UserRegistered = "todo.user.registered.v1",
        UserLoggedIn = "todo.user.logged-in.v1",
        UserLoginFailed = "todo.user.login-failed.v1",
        UserPasswordChanged = "todo.user.password-changed.v1",
        UserSessionRevoked = "todo.user.session-revoked.v1",
        AccessTokenCreated = "todo.user.api-token-created.v1",
        AccessTokenRevoked = "todo.user.api-token-revoked.v1",
        UserErased = "todo.user.erased.v1",
    }
}

/// How somebody has proved to be who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// By a password.
    Password,
    /// By another provider of identities.
    Oidc,
}

/// There is a new account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserRegistered {
    /// The user.
    pub user_id: UserId,
    /// How the user logs in.
    pub method: Method,
}

/// Somebody has logged in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserLoggedIn {
    /// The user.
    pub user_id: UserId,
    /// The session that was begun.
    pub session_id: Uuid,
    /// How.
    pub method: Method,
}

/// Somebody tried to log in, and could not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserLoginFailed {
    /// The user whose account it was tried with.
    pub user_id: UserId,
    /// How.
    pub method: Method,
}

/// A password is another one; all other sessions are ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserPasswordChanged {
    /// The user.
    pub user_id: UserId,
}

/// A session was ended before its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserSessionRevoked {
    /// The user.
    pub user_id: UserId,
    /// The session.
    pub session_id: Uuid,
}

/// A personal API token was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccessTokenCreated {
    /// The user.
    pub user_id: UserId,
    /// The token's id, which is not the token.
    pub token_id: Uuid,
    /// What its owner calls it.
    #[schemars(length(min = 1, max = limits::NAME))]
    pub name: String,
    /// What it may be used for.
    pub scopes: Vec<String>,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// A personal API token is of no use any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccessTokenRevoked {
    /// The user.
    pub user_id: UserId,
    /// The token's id.
    pub token_id: Uuid,
}

/// An account is gone, and everything that says who it belonged to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserErased {
    /// The user.
    pub user_id: UserId,
}
