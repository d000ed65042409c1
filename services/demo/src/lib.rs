//! The demonstration service: what the operator's own tests and people who try it deploy. One binary in one image plays
//! every component of an application: a web service, one with a database, a Kafka worker, a migration. By switches in its
//! configuration a release of it is bad: slow, failing, never ready, crashing.

pub mod arguments;
pub mod backup;
pub mod database;
pub mod faults;
pub mod identity;
pub mod kafka;
pub mod migrate;
pub mod serve;
