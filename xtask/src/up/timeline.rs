//! When each part was ready: shown to whoever waits, and kept for `bench up`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use localcluster::{Event, Progress};
use serde::{Deserialize, Serialize};

use crate::progress::{Shown, done, shown};

/// How long things took, in seconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// What was built, and how long that took.
    pub built: BTreeMap<String, f64>,
    /// When each part was ready, from the beginning.
    pub ready: BTreeMap<String, f64>,
}

/// The parts of one `up` and when they were ready.
pub struct Timeline {
    begun: Instant,
    shown: Arc<Shown>,
    times: Mutex<Times>,
}

impl Timeline {
    /// Begins now.
    pub fn begin() -> Arc<Self> {
        Arc::new(Self {
            begun: Instant::now(),
            shown: shown(),
            times: Mutex::default(),
        })
    }

    /// When it began.
    pub const fn begun(&self) -> Instant {
        self.begun
    }

    /// A part whose start began at `from` is ready.
    pub fn ready(&self, what: &str, from: Instant) {
        done(&format!("{what} ready"), from.elapsed());
        self.note(what);
    }

    fn note(&self, what: &str) {
        let seconds = seconds(self.begun.elapsed());
        self.lock().ready.insert(what.to_owned(), seconds);
    }

    fn lock(&self) -> MutexGuard<'_, Times> {
        // What is guarded is complete after every statement.
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has happened so far.
    pub fn times(&self) -> Times {
        self.lock().clone()
    }
}

/// To a tenth.
fn seconds(took: Duration) -> f64 {
    (took.as_secs_f64() * 10.0).round() / 10.0
}

impl Progress for Timeline {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Ready { what, .. } => self.note(what),
            Event::End { what, took } => {
                self.lock().built.insert(what.to_owned(), seconds(took));
            }
            _ => {}
        }
        self.shown.event(event);
    }
}
