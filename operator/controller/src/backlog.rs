//! What waits while more children are to be written than may be under way: statuses. To write one costs the API server as
//! much as three children, and while an application comes up it would be out of date at once.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

use crate::index::AppKey;
use crate::outside::Clock;

/// No child had to wait for so long: the rush is over.
const CALM: SignedDuration = SignedDuration::from_millis(200);
/// A status is at most so late.
const PATIENCE: SignedDuration = SignedDuration::from_secs(10);
const TICK: Duration = Duration::from_millis(100);

/// Whether children wait to be written, and the applications whose status waits for them.
#[derive(Debug, Default)]
pub struct Backlog {
    inner: Mutex<Inner>,
    postponed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    /// When a child last had to wait.
    rush: Option<Timestamp>,
    apps: HashMap<AppKey, Postponed>,
}

#[derive(Debug)]
struct Postponed {
    since: Timestamp,
    /// It was named by [`Backlog::due`], and is on its way.
    called: bool,
}

impl Backlog {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a child has to wait until others are written.
    pub fn note(&self, now: Timestamp) {
        self.lock().rush = Some(now);
    }

    /// Whether the status of an application is to wait; then [`Self::due`] names it later.
    pub fn postpone(&self, app: &AppKey, now: Timestamp) -> bool {
        let mut inner = self.lock();
        let since = inner.apps.get(app).map_or(now, |postponed| postponed.since);
        if inner.is_calm(now) || now.duration_since(since) >= PATIENCE {
            inner.apps.remove(app);
            return false;
        }
        let called = false;
        inner.apps.insert(app.clone(), Postponed { since, called });
        drop(inner);
        self.postponed.notify_one();
        true
    }

    /// Forgets an application that is gone.
    pub fn forget(&self, app: &AppKey) {
        self.lock().apps.remove(app);
    }

    /// Waits until there are applications whose status need not wait any longer; names each once.
    pub async fn due(&self, clock: &dyn Clock) -> Vec<AppKey> {
        loop {
            let is_empty = self.lock().apps.values().all(|postponed| postponed.called);
            if is_empty {
                self.postponed.notified().await;
            }
            tokio::time::sleep(TICK).await;
            let due = self.lock().call(clock.now());
            if !due.is_empty() {
                return due;
            }
        }
    }
}

impl Inner {
    fn is_calm(&self, now: Timestamp) -> bool {
        self.rush
            .is_none_or(|rush| now.duration_since(rush) >= CALM)
    }

    fn call(&mut self, now: Timestamp) -> Vec<AppKey> {
        let calm = self.is_calm(now);
        let due = self.apps.iter_mut().filter(|(_, postponed)| {
            !postponed.called && (calm || now.duration_since(postponed.since) >= PATIENCE)
        });
        due.map(|(app, postponed)| {
            postponed.called = true;
            app.clone()
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(milliseconds).unwrap_or_default()
    }

    fn app() -> AppKey {
        AppKey::new("todo", "demo")
    }

    #[test]
    fn status_waits_until_no_child_does() {
        let backlog = Backlog::default();
        assert!(!backlog.postpone(&app(), at(0)), "nothing ever waited");
        backlog.note(at(0));
        assert!(backlog.postpone(&app(), at(100)));
        assert_eq!(backlog.lock().call(at(199)), []);
        assert_eq!(backlog.lock().call(at(200)), [app()]);
        assert_eq!(backlog.lock().call(at(200)), [], "it was named");
        assert!(!backlog.postpone(&app(), at(200)));
    }

    #[test]
    fn status_that_is_named_and_meets_the_next_rush_is_named_again() {
        let backlog = Backlog::default();
        backlog.note(at(0));
        assert!(backlog.postpone(&app(), at(0)));
        assert_eq!(backlog.lock().call(at(200)), [app()]);
        backlog.note(at(200));
        assert!(backlog.postpone(&app(), at(201)));
        assert_eq!(backlog.lock().call(at(400)), [app()]);
    }

    #[test]
    fn status_does_not_wait_for_ever() {
        let backlog = Backlog::default();
        backlog.note(at(0));
        assert!(backlog.postpone(&app(), at(0)));
        backlog.note(at(9_999));
        assert!(backlog.postpone(&app(), at(9_999)));
        assert_eq!(backlog.lock().call(at(9_999)), []);
        backlog.note(at(10_000));
        assert_eq!(backlog.lock().call(at(10_000)), [app()]);
        assert!(!backlog.postpone(&app(), at(10_000)));
        // From then on it is a new one.
        assert!(backlog.postpone(&app(), at(10_001)));
    }
}
