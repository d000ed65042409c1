//! How long work (builds, downloads, starting) is told to whoever waits for it.

use std::time::Duration;

/// Something worth telling.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Work on `what` begins; it is not in the cache.
    Begin {
        /// What is being made, such as "kube-apiserver 1.36.4".
        what: &'a str,
        /// How many steps it takes, where that can be known.
        steps: Option<u64>,
    },
    /// One more step of `what` is done.
    Step {
        /// What is being made.
        what: &'a str,
        /// The step, such as a package name.
        detail: &'a str,
    },
    /// `what` is there.
    End {
        /// What was made.
        what: &'a str,
        /// How long it took.
        took: Duration,
    },
    /// A part of the cluster is ready.
    Ready {
        /// Which one.
        what: &'a str,
        /// Since the start of the cluster, or of the installation of peers.
        took: Duration,
    },
}

/// Receives progress. Called from several threads.
pub trait Progress: Send + Sync {
    /// Takes one event.
    fn event(&self, event: Event<'_>);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn event(&self, _event: Event<'_>) {}
}

/// Writes builds, which can take minutes, as plain lines to standard error: for tests, whose output is captured otherwise.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lines;

impl Progress for Lines {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Begin { what, .. } => eprintln!("localcluster: building {what} …"),
            Event::End { what, took } => {
                eprintln!("localcluster: {what} built in {:.1} s", took.as_secs_f64())
            }
            Event::Step { .. } | Event::Ready { .. } => {}
        }
    }
}
