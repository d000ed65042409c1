//! Reasons of conditions. Part of the interface: `docs/status.md` lists them, with what to do about each.

/// The spec is valid.
pub const VALID: &str = "Valid";
/// The spec cannot be rendered; the message names every problem.
pub const INVALID_SPEC: &str = "InvalidSpec";
/// No TodoEnvironment has this namespace, or several do.
pub const NO_ENVIRONMENT: &str = "NoEnvironment";
/// Every write went through.
pub const APPLIED: &str = "Applied";
/// The API server refused a write; the message quotes it.
pub const APPLY_FAILED: &str = "ApplyFailed";
/// A peer is not installed; the message holds the command.
pub const PEER_MISSING: &str = "PeerMissing";
/// All is well.
pub const READY: &str = "Ready";
/// All migrations have succeeded.
pub const COMPLETE: &str = "Complete";
/// The spec's release serves, or is on its way to it.
pub const EFFECTIVE: &str = "Effective";
/// The release was rejected; the last good one serves.
pub const RELEASE_REJECTED: &str = "ReleaseRejected";
/// A Rollout that is new, or was deleted, brings up the last good version before the canary of the next begins.
pub const STABLE_FIRST: &str = "StableFirst";
/// It waits for what comes before it.
pub const WAITING: &str = "Waiting";
/// It has taken longer than `readyDeadline`.
pub const DEADLINE_EXCEEDED: &str = "DeadlineExceeded";
