//! The cases, one file each.

pub mod bad_release;
pub mod deletion;
pub mod drift;
pub mod failover;
pub mod ladder;
pub mod scale_out;

use serde_json::{Value, json};

/// What makes of the demonstration application its component `web` alone: without a database, topics, or anybody to call.
fn web_alone() -> Value {
    json!({
        "components": {
            "api": null,
            "worker": null,
            "backup": null,
            "web": {"calls": null, "secretEnv": null},
        },
        "databases": null,
        "messaging": null,
    })
}
