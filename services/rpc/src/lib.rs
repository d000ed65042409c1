//! What the todo services ask each other by gRPC.
//!
//! The interfaces stand in `proto/`, one file a service. A refusal is a [`Problem`](todo_kit::problem::Problem) on
//! both sides: [`refusal`] puts it into a status, and takes it out again.

pub mod refusal;

/// Users, sessions, tokens, workspaces and their members.
#[allow(missing_docs, clippy::all)]
pub mod identity {
    tonic::include_proto!("todo.identity.v1");
}

/// Commands, and the events that they led to.
#[allow(missing_docs, clippy::all)]
pub mod tasks {
    tonic::include_proto!("todo.tasks.v1");
}

/// What can be asked of the read models.
#[allow(missing_docs, clippy::all)]
pub mod views {
    tonic::include_proto!("todo.views.v1");
}
