//! Word that something has changed.
//!
//! `tokio::sync::watch` wakes its receivers in an order that depends on chance; here it is the order in which they began
//! to wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// Tells everybody who listens.
#[derive(Debug, Default)]
pub struct Signal(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    count: AtomicU64,
    notify: Notify,
}

impl Signal {
    /// Something has changed.
    pub fn send(&self) {
        self.0.count.fetch_add(1, Ordering::SeqCst);
        self.0.notify.notify_waiters();
    }

    /// Listens from now on.
    pub fn listen(&self) -> Listener {
        Listener {
            seen: self.0.count.load(Ordering::SeqCst),
            shared: Arc::clone(&self.0),
        }
    }
}

/// Hears of changes.
#[derive(Debug)]
pub struct Listener {
    shared: Arc<Shared>,
    seen: u64,
}

impl Listener {
    /// Whoever has looked at everything need not hear of what was told before.
    pub fn catch_up(&mut self) {
        self.seen = self.shared.count.load(Ordering::SeqCst);
    }

    /// Waits for a change since the last one that was heard of.
    pub async fn changed(&mut self) {
        loop {
            let notified = self.shared.notify.notified();
            tokio::pin!(notified);
            // Before the count is looked at: what is told between the two is not missed.
            notified.as_mut().enable();
            let count = self.shared.count.load(Ordering::SeqCst);
            if count != self.seen {
                self.seen = count;
                return;
            }
            notified.await;
        }
    }
}
