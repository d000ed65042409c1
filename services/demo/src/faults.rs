//! What a bad release does: it answers slowly, fails a share of its work, never becomes ready, or crashes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;

use todo_kit::arguments::duration;
use todo_kit::lifecycle::Readiness;

use crate::arguments::percent;

/// The switches.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Misbehaviour")]
pub struct Switches {
    /// Share of requests, or of attempts at messages, that fail, in per cent. Spread evenly, not by chance: 10 is every
    /// tenth.
    #[arg(long, env = "DEMO_ERROR_PERCENT", value_name = "PERCENT", default_value = "0", value_parser = percent)]
    pub error_percent: f64,
    /// Time added to each request or message.
    #[arg(long, env = "DEMO_LATENCY", value_name = "DURATION", default_value = "0s", value_parser = duration)]
    pub latency: Duration,
    /// Never say that it is ready.
    #[arg(long, env = "DEMO_NEVER_READY", value_parser = BoolishValueParser::new())]
    pub never_ready: bool,
    /// Crash, without any farewell, so long after the start.
    #[arg(long, env = "DEMO_CRASH_AFTER", value_name = "DURATION", value_parser = duration)]
    pub crash_after: Option<Duration>,
}

/// The switches at work.
#[derive(Debug, Default)]
pub struct Faults {
    switches: Switches,
    events: AtomicU64,
}

impl Faults {
    /// Misbehaves as the switches say.
    #[must_use]
    pub fn new(switches: Switches) -> Self {
        Self {
            switches,
            events: AtomicU64::new(0),
        }
    }

    /// Adds the latency, then says whether this request or attempt fails.
    pub async fn strike(&self) -> bool {
        if !self.switches.latency.is_zero() {
            tokio::time::sleep(self.switches.latency).await;
        }
        fails(
            self.switches.error_percent,
            self.events.fetch_add(1, Ordering::Relaxed),
        )
    }

    /// Holds a process back that is never to be ready.
    pub fn hold_back(&self, readiness: &Readiness) {
        if self.switches.never_ready {
            readiness.is_held_back("DEMO_NEVER_READY says so");
        }
    }

    /// Arms the crash, if there is to be one.
    pub fn arm(&self) {
        if let Some(after) = self.switches.crash_after {
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                tracing::error!("crashing {after:?} after the start, as DEMO_CRASH_AFTER says");
                // Not an orderly end: nothing is drained, committed or left.
                std::process::abort();
            });
        }
    }
}

/// Whether event number `event`, counted from 0, is one of the `percent` per cent that fail.
#[allow(
    clippy::cast_precision_loss,
    reason = "exact for the first 2^53 events"
)]
fn fails(percent: f64, event: u64) -> bool {
    let failed_before = |events: u64| (events as f64 * percent / 100.0).floor();
    failed_before(event + 1) > failed_before(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failures(percent: f64, events: u64) -> usize {
        (0..events).filter(|event| fails(percent, *event)).count()
    }

    #[test]
    fn the_share_is_exact_and_spread() {
        assert_eq!(failures(0.0, 1_000), 0);
        assert_eq!(failures(100.0, 1_000), 1_000);
        assert_eq!(failures(10.0, 1_000), 100);
        assert_eq!(failures(2.5, 1_000), 25);
        let first: Vec<_> = (0..20).filter(|event| fails(10.0, *event)).collect();
        assert_eq!(first, [9, 19]);
    }

    #[tokio::test(start_paused = true)]
    async fn latency_is_added_to_each_event() {
        let faults = Faults::new(Switches {
            latency: Duration::from_millis(70),
            error_percent: 50.0,
            ..Switches::default()
        });
        let begun = tokio::time::Instant::now();
        assert!(!faults.strike().await);
        assert!(faults.strike().await);
        assert_eq!(begun.elapsed(), Duration::from_millis(140));
    }
}
