//! Releases on a real API server with the real Argo Rollouts controller: canaries that pass, releases that are given up
//! and go back, what was rejected and stays so until a person says otherwise.
//!
//! Pods live on a KWOK node. Those of an image tagged `broken` never become ready, and fail where a Job runs them; those
//! of a Job whose image is tagged `slow` run until the test ends them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panic")]

mod canary;
mod migration;
mod rejection;
mod retry;
mod stage;
#[path = "../support/mod.rs"]
mod support;
