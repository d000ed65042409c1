//! The API server in memory.

pub mod schema;
