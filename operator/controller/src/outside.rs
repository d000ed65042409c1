//! What reaches the controller from outside: time and chance.

use std::sync::Arc;

use jiff::Timestamp;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// Draws a number in `0.0..1.0`, so that retries of many objects do not meet.
pub type Jitter = Arc<dyn Fn() -> f64 + Send + Sync>;

/// Jitter from the machine's source of randomness.
pub fn random_jitter() -> Jitter {
    Arc::new(rand::random::<f64>)
}
