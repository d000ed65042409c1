//! Everything of a workspace as one [`Document`]: written as JSON or iCalendar, read again, and made again by commands.
//!
//! All of it is pure. In JSON nothing is lost. In iCalendar (RFC 5545) a task is a `VTODO`; what the standard has no place
//! for stands in properties `X-TODO-…`, and what another program wrote and a task cannot have is told, not passed over.

pub mod calendar;
mod document;
mod plan;

pub use document::Document;
pub use plan::{Step, plan};
