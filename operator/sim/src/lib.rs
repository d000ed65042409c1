//! A deterministic simulated Kubernetes around the operator: an in-memory API server, models of the controllers beside
//! it, virtual time, and faults, all from one seed.

pub mod actor;
pub mod apiserver;
mod branches;
pub mod catalog;
mod entropy;
pub mod models;
#[cfg(feature = "mutants")]
pub mod mutants;
pub mod mutation;
pub mod oracle;
pub mod plan;
pub mod scenario;
pub mod suite;
pub mod wire;
pub mod world;
