//! New ids, made of the time and of chance, both handed in.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use uuid::Builder;
pub use uuid::Uuid;

use crate::clock::{Clock, SystemClock};

/// Chance.
pub trait Chance: Debug + Send + Sync + 'static {
    /// Fills the bytes.
    fn fill(&self, bytes: &mut [u8]);
}

/// The chance of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemChance;

impl Chance for SystemChance {
    fn fill(&self, bytes: &mut [u8]) {
        rand::rng().fill_bytes(bytes);
    }
}

/// Chance that is the same each time.
#[derive(Debug)]
pub struct SeededChance(Mutex<StdRng>);

impl SeededChance {
    /// Chance of that seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }
}

impl Chance for SeededChance {
    fn fill(&self, bytes: &mut [u8]) {
        let mut random = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        random.fill_bytes(bytes);
    }
}

/// Makes ids that sort by the time at which they were made.
#[derive(Clone, Debug)]
pub struct Ids {
    clock: Arc<dyn Clock>,
    chance: Arc<dyn Chance>,
}

impl Default for Ids {
    fn default() -> Self {
        Self::new(Arc::new(SystemClock), Arc::new(SystemChance))
    }
}

impl Ids {
    /// Ids of that clock and chance.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, chance: Arc<dyn Chance>) -> Self {
        Self { clock, chance }
    }

    /// A new id, a UUID of version 7.
    #[must_use]
    pub fn next(&self) -> Uuid {
        let mut random = [0; 10];
        self.chance.fill(&mut random);
        // Before 1970 all ids are of 1970.
        let millis = u64::try_from(self.clock.now().as_millisecond()).unwrap_or_default();
        Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn ids_sort_by_time_and_repeat_with_the_seed() {
        let clock = Arc::new(ManualClock::new("2026-11-21T09:00:00Z".parse().unwrap()));
        let ids = |seed| Ids::new(clock.clone(), Arc::new(SeededChance::new(seed)));
        let (one, again, other) = (ids(1), ids(1), ids(2));
        let first = one.next();
        assert_eq!(first, again.next());
        assert_ne!(first, other.next());
        assert_ne!(first, one.next());
        assert_eq!(first.get_version_num(), 7);
        clock.advance(Duration::from_millis(1));
        assert!(one.next() > first);
    }
}
