//! From start to end: when a process counts as ready, and what SIGTERM does.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use tokio::sync::watch;

use crate::arguments::duration;

/// How long an end may take.
#[derive(Args, Clone, Copy, Debug)]
#[command(next_help_heading = "End")]
pub struct Patience {
    /// Time after SIGTERM in which new requests are still answered, unready, until nobody sends any.
    #[arg(long, env = "SHUTDOWN_DELAY", value_name = "DURATION", default_value = "3s", value_parser = duration)]
    pub shutdown_delay: Duration,
    /// Time that requests and messages in work have to end after that.
    #[arg(long, env = "DRAIN_TIMEOUT", value_name = "DURATION", default_value = "20s", value_parser = duration)]
    pub drain_timeout: Duration,
}

impl Patience {
    /// None at all.
    pub const NONE: Self = Self {
        shutdown_delay: Duration::ZERO,
        drain_timeout: Duration::ZERO,
    };
}

/// How far a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Works.
    Serving,
    /// Is to end: unready, but still answers whoever has not heard of it.
    Draining,
    /// Takes nothing new.
    Stopping,
}

/// The phase of the process, for everybody who has to do with it.
#[derive(Clone, Debug)]
pub struct Lifecycle(watch::Sender<Phase>);

impl Default for Lifecycle {
    fn default() -> Self {
        Self(watch::Sender::new(Phase::Serving))
    }
}

impl Lifecycle {
    /// The phase now.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Waits for a phase or a later one.
    pub async fn reached(&self, phase: Phase) {
        let mut phases = self.0.subscribe();
        // The sender is ours, so it is there as long as this waits.
        let _ = phases.wait_for(|now| *now >= phase).await;
    }

    /// Waits for `stop`, drains for `delay`, then stops.
    pub async fn end(&self, stop: impl Future<Output = ()>, delay: Duration) {
        stop.await;
        tracing::info!("told to end: unready from now on");
        self.0.send_replace(Phase::Draining);
        tokio::time::sleep(delay).await;
        self.0.send_replace(Phase::Stopping);
    }
}

/// Why a process is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotReady(String);

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a process that is held back waits for.
const HELD_BACK: &str = "";

/// Whether the process is ready: it is not ending, and nothing is waited for.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    lifecycle: Lifecycle,
    awaited: Arc<Mutex<BTreeMap<&'static str, String>>>,
}

impl Readiness {
    /// Of a process that waits for nothing so far.
    #[must_use]
    pub fn new(lifecycle: Lifecycle) -> Self {
        Self {
            lifecycle,
            awaited: Arc::default(),
        }
    }

    /// From now on the process waits for `what`, and `why` says why that is not there.
    pub fn waits_for(&self, what: &'static str, why: impl Into<String>) {
        let mut awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        awaited.insert(what, why.into());
    }

    /// From now on the process is not ready, whatever it has, because of `why`.
    pub fn is_held_back(&self, why: impl Into<String>) {
        self.waits_for(HELD_BACK, why);
    }

    /// It has `what` it waited for.
    pub fn has(&self, what: &'static str) {
        let mut awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        awaited.remove(what);
    }

    /// Whether it is ready now.
    ///
    /// # Errors
    /// The reason, if it is not.
    pub fn check(&self) -> Result<(), NotReady> {
        if self.lifecycle.phase() != Phase::Serving {
            return Err(NotReady("it is ending".to_owned()));
        }
        let awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        match awaited.iter().next() {
            Some((&HELD_BACK, why)) => Err(NotReady(why.clone())),
            Some((what, why)) if why.is_empty() => Err(NotReady(format!("it waits for {what}"))),
            Some((what, why)) => Err(NotReady(format!("it waits for {what}: {why}"))),
            None => Ok(()),
        }
    }
}

/// Resolves at SIGTERM or SIGINT.
pub async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        // Without handlers the signals end the process by themselves.
        _ => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn readiness_ends_at_once_and_work_a_delay_later() {
        let lifecycle = Lifecycle::default();
        let readiness = Readiness::new(lifecycle.clone());
        assert_eq!(readiness.check(), Ok(()));
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let ending = lifecycle.clone();
        tokio::spawn(async move {
            let stop = async { drop(stopped.await) };
            ending.end(stop, Duration::from_secs(3)).await;
        });
        let begun = Instant::now();
        stop.send(()).unwrap();
        lifecycle.reached(Phase::Draining).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        assert!(readiness.check().is_err());
        lifecycle.reached(Phase::Stopping).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(3));
    }

    #[test]
    fn a_process_is_ready_when_it_waits_for_nothing_any_more() {
        let readiness = Readiness::default();
        readiness.waits_for("its database", "connection refused");
        readiness.waits_for("its group", "");
        let said = |readiness: &Readiness| readiness.check().unwrap_err().to_string();
        assert_eq!(
            said(&readiness),
            "it waits for its database: connection refused"
        );
        readiness.has("its database");
        assert_eq!(said(&readiness), "it waits for its group");
        readiness.has("its group");
        assert_eq!(readiness.check(), Ok(()));
        readiness.is_held_back("somebody says so");
        assert_eq!(said(&readiness), "somebody says so");
    }
}
