//! A deterministic simulated Kubernetes around the operator: an in-memory API server, models of the controllers beside
//! it, virtual time, and faults, all from one seed.

pub mod apiserver;
