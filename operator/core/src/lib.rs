//! The operator's decisions: pure functions from what was observed to what is wanted, and to what is said about it.
//!
//! No I/O, no clock, no randomness, no async, no client. A reconcile flows through the modules in this order:
//! [`observe`] reads objects into compact [`live`] records, [`validate`] returns a [`validate::ValidApp`] or every problem at once,
//! [`render`] turns it into children in waves, [`plan`] compares them with what is there, and [`status`] says how
//! it all stands.
#![deny(missing_docs)]

pub mod canonical;
pub mod cause;
pub mod child;
pub mod environment;
pub(crate) mod fields;
pub mod health;
pub mod inputs;
pub mod intents;
pub mod kind;
pub mod live;
pub mod mutants;
pub mod names;
pub mod observe;
pub mod plan;
pub mod projection;
pub mod release;
pub mod render;
pub mod status;
pub mod topics;
pub mod validate;
pub mod wave;
