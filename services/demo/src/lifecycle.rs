//! From start to end: what SIGTERM does, and when a process counts as ready.

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
    #[arg(long, env = "DEMO_SHUTDOWN_DELAY", value_name = "DURATION", default_value = "3s", value_parser = duration)]
    pub shutdown_delay: Duration,
    /// Time that requests in work have to end after that.
    #[arg(long, env = "DEMO_DRAIN", value_name = "DURATION", default_value = "20s", value_parser = duration)]
    pub drain: Duration,
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

/// Whether the process is ready.
#[derive(Clone, Debug)]
pub struct Readiness {
    lifecycle: Lifecycle,
    never: bool,
    waits_for: Arc<Mutex<Option<String>>>,
}

impl Readiness {
    /// Of a process that is ready once it has what it waits for, unless it is `never` to be.
    #[must_use]
    pub fn new(lifecycle: Lifecycle, never: bool, waits_for: Option<&str>) -> Self {
        Self {
            lifecycle,
            never,
            waits_for: Arc::new(Mutex::new(waits_for.map(str::to_owned))),
        }
    }

    /// Says what it waits for; nothing any more with `None`.
    pub fn waits_for(&self, what: Option<String>) {
        *self
            .waits_for
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = what;
    }

    /// Whether it is ready now.
    ///
    /// # Errors
    /// The reason, if it is not.
    pub fn check(&self) -> Result<(), NotReady> {
        if self.lifecycle.phase() != Phase::Serving {
            return Err(NotReady("it is ending".to_owned()));
        }
        if self.never {
            return Err(NotReady("DEMO_NEVER_READY says so".to_owned()));
        }
        let waits_for = self
            .waits_for
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match waits_for.as_ref() {
            Some(what) => Err(NotReady(format!("it waits for {what}"))),
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
        let readiness = Readiness::new(lifecycle.clone(), false, None);
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
    fn what_is_waited_for_is_said() {
        let readiness = Readiness::new(Lifecycle::default(), false, Some("its database"));
        assert_eq!(
            readiness.check().unwrap_err().to_string(),
            "it waits for its database"
        );
        readiness.waits_for(None);
        assert_eq!(readiness.check(), Ok(()));
        let never = Readiness::new(Lifecycle::default(), true, None);
        assert!(never.check().is_err());
    }
}
