//! The custom resources of `todo-operator.dev/v1alpha1`.
//!
//! Types only: what a field means and which values it takes stands beside the field, as documentation and as a
//! CEL rule where CEL can see it. Rules that need more than one object live in `todo-operator-core`.
#![deny(missing_docs)]
// Several printer columns and CEL rules stand side by side: each is an attribute of the same name.
#![allow(clippy::duplicated_attributes)]

pub mod app;
pub mod component;
pub mod data;
pub mod environment;
pub mod intent;
pub mod promotion;
pub mod release;
pub mod scalar;
pub mod status;
pub mod traffic;

pub use app::{TodoApp, TodoAppSpec};
pub use environment::{TodoEnvironment, TodoEnvironmentSpec};
pub use intent::{TodoIntent, TodoIntentSpec};
pub use release::{TodoRelease, TodoReleaseSpec};

/// API group of every resource here.
pub const GROUP: &str = "todo-operator.dev";
/// The only served version.
pub const VERSION: &str = "v1alpha1";
