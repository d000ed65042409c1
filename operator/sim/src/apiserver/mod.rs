//! The API server in memory.

pub mod call;
mod decode;
mod defaults;
mod delete;
pub mod failure;
pub mod managed;
mod quantity;
pub mod rules;
mod scale;
pub mod schema;
pub mod selector;
pub mod server;
mod service;
pub mod signal;
pub mod store;
mod strategy;
mod write;
