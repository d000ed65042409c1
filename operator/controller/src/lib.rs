//! The operator as a library: everything outside comes in through [`run::Outside`].

pub mod apply;
pub mod arrival;
pub mod backlog;
pub mod claims;
pub mod context;
pub mod index;
pub mod kafka;
pub mod kept;
pub mod leader;
pub mod metrics;
pub mod outside;
pub mod policy;
pub mod reconcile;
pub mod run;
pub mod server;
pub mod topics;
pub mod watch;
