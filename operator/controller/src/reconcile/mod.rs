//! Reconciles: gather, validate, render, apply wave by wave, observe, status.

use std::sync::Arc;
use std::time::Duration;

use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};
use todo_operator_api::TodoEnvironment;

use crate::apply::ApplyError;
use crate::context::Context;
use crate::index::AppKey;
use crate::kafka::KafkaError;
use crate::kept::KeptApp;
use crate::metrics::ReconcileLabels;

pub mod app;
pub mod delete;
pub mod environment;
pub mod retry;
pub mod status;

/// Wait after the first failure; doubled at each further one.
const BACKOFF_FIRST: Duration = Duration::from_millis(500);
/// Longest wait.
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// Why a reconcile could not end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Children could not be written; each is in the status.
    #[error("{} of the children could not be written, the first: {first}", .count)]
    Apply {
        /// The first failure.
        #[source]
        first: ApplyError,
        /// How many failed.
        count: usize,
    },
    /// A child could not be read.
    #[error("cannot read what is needed: {0}")]
    Read(#[source] ApplyError),
    /// The status could not be written.
    #[error("cannot write the status: {0}")]
    Status(#[source] kube::Error),
    /// What is kept of the TodoApp is not what was put there.
    #[error("the TodoApp cannot be read from memory, which is a bug: {0}")]
    Memory(#[source] serde_json::Error),
    /// Kafka refused, or could not be reached.
    #[error("topics: {0}")]
    Kafka(#[source] KafkaError),
    /// The last good revision does not hold what we wrote.
    #[error("ControllerRevision {name}: {reason}; delete it if it was edited by hand")]
    Revision {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

impl Error {
    /// Whether a view that was old explains it, so that it passes by itself in a moment.
    fn is_conflict(&self) -> bool {
        match self {
            Self::Apply { first, .. } | Self::Read(first) => first.is_conflict(),
            Self::Status(kube::Error::Api(status)) => status.code == 409,
            _ => false,
        }
    }
}

/// Wait before the next try of an object that failed `failures` times in a row.
pub fn backoff(failures: u32, jitter: f64) -> Duration {
    let exponent = failures.saturating_sub(1).min(16);
    let full = BACKOFF_FIRST.saturating_mul(1 << exponent).min(BACKOFF_MAX);
    full.mul_f64(0.5 + jitter / 2.0)
}

/// Key of a TodoApp.
pub fn app_key<K: ResourceExt>(app: &K) -> AppKey {
    AppKey::new(
        app.namespace().as_deref().unwrap_or_default(),
        &app.name_any(),
    )
}

/// What to do when a TodoApp's reconcile failed.
pub fn app_failed(app: Arc<KeptApp>, error: &Error, context: Arc<Context>) -> Action {
    let mut failures = 0;
    context.memory.update(&app_key(app.as_ref()), |memory| {
        memory.failures = memory.failures.saturating_add(1);
        memory.settled = None;
        failures = memory.failures;
    });
    failed("TodoApp", failures, error, &context)
}

/// What to do when a TodoEnvironment's reconcile failed.
pub fn environment_failed(
    environment: Arc<TodoEnvironment>,
    error: &Error,
    context: Arc<Context>,
) -> Action {
    let key = AppKey::new("", &environment.name_any());
    let mut failures = 0;
    context.memory.update(&key, |memory| {
        memory.failures = memory.failures.saturating_add(1);
        failures = memory.failures;
    });
    failed("TodoEnvironment", failures, error, &context)
}

fn failed(kind: &'static str, failures: u32, error: &Error, context: &Context) -> Action {
    context
        .metrics
        .reconciles
        .get_or_create(&ReconcileLabels {
            kind,
            result: "error",
        })
        .inc();
    let failures = if error.is_conflict() {
        failures.min(1)
    } else {
        failures
    };
    let wait = backoff(failures, (context.jitter)());
    if error.is_conflict() {
        tracing::debug!(%error, ?wait, "our view was old; trying again");
    } else {
        tracing::warn!(%error, ?wait, "reconcile failed; trying again");
    }
    Action::requeue(wait)
}

/// Whether an object is being deleted.
pub fn is_deleting<K: Resource>(object: &K) -> bool {
    object.meta().deletion_timestamp.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_to_a_limit_and_spreads() {
        assert_eq!(backoff(1, 1.0), Duration::from_millis(500));
        assert_eq!(backoff(1, 0.0), Duration::from_millis(250));
        assert_eq!(backoff(3, 1.0), Duration::from_secs(2));
        assert_eq!(backoff(1_000, 1.0), BACKOFF_MAX);
    }
}
