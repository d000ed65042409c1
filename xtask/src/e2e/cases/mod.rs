//! The cases, one file each.

pub mod bad_release;
pub mod canary_scaling;
pub mod deletion;
pub mod drift;
pub mod failover;
pub mod isolation;
pub mod ladder;
pub mod outage;
pub mod pull;
pub mod push;
pub mod scale_out;
pub mod sync;
pub mod worker_canary;

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
