//! What every todo service shares: how it is configured, what it tells of itself, how it answers errors, how its database
//! is migrated, and how it ends. The conventions are those by which the operator runs components.

pub mod admin;
pub mod arguments;
pub mod clock;
pub mod database;
pub mod identity;
pub mod ids;
pub mod lifecycle;
pub mod metrics;
pub mod observe;
pub mod problem;
pub mod process;
pub mod serve;
pub mod telemetry;

/// The page's program is compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/services/kit.md")]
struct WritingAService;
