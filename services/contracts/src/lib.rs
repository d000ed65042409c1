//! Every command and event of the todo services.
//!
//! A message is an [`Envelope`] (CloudEvents 1.0, structured JSON) whose `type` says which struct its `data` is. There is
//! one struct for each type and no union in any of them, so that other languages get plain classes. The structs stand
//! here by topic; [`catalog`] lists them, and [`schema`] and [`asyncapi`] describe them to others.
//!
//! Types only ever grow: a new field is optional, and anything else is a new type with a higher version, published beside
//! the old one for a while. A test compares with what was released.

pub mod asyncapi;
pub mod catalog;
pub mod envelope;
pub mod ids;
pub mod limits;
mod message;
pub mod schema;
pub mod topic;
pub mod values;

pub mod reminders;
pub mod task_commands;
pub mod task_events;
pub mod task_updates;
pub mod user_events;
pub mod user_profiles;
pub mod workspace_members;

pub use catalog::catalog;
pub use envelope::{Actor, Counter, Envelope};
pub use ids::{ListId, ReminderId, TagId, TaskId, UserId, WorkspaceId};
pub use message::{MessageError, Payload};
pub use topic::Topic;
