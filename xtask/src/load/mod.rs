//! `cargo xtask load URL`: requests at a constant rate, whatever becomes of the answers.
//!
//! Requests are due at fixed times, and are sent then, however many are still unanswered; their latency counts from the
//! time at which they were due. A load that waited for answers would send nothing while a server stalls, and so would
//! measure the stall once instead of once for each request that met it: *coordinated omission*.
//!
//! Tests call [`generate`], or [`generate_watched`] to learn of every request.

mod arguments;
mod client;
mod generate;
mod outcome;
mod plan;
mod table;

pub use arguments::{Args, run};
pub use generate::{Seen, generate, generate_watched};
pub use outcome::{Group, Outcome};
pub use plan::Plan;
