//! Tempers: how often a controller is slow to see, is refused, or speaks of what was before.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use super::fields::{generation, uid};

/// How often it happens, from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Chances {
    /// A write finds that somebody else was quicker, and is tried again at the next round.
    pub conflict: f64,
    /// The first status of a generation is about the generation before: `observedGeneration` lags behind what is said,
    /// or, where a kind has none, the status stays as it was for one round.
    pub stale: f64,
    /// Argo Rollouts puts what it has just written into its cache, over a change that came in meanwhile, and is told of
    /// that change by nobody (v1.9.1, `writeBackToInformer` in `rollout/controller.go`).
    pub overlook: f64,
}

/// One controller's own chance.
#[derive(Debug)]
pub struct Temper {
    random: StdRng,
    /// Each generation is met once: by UID.
    seen: BTreeSet<(String, i64)>,
}

impl Temper {
    /// A temper from a seed.
    pub fn new(seed: u64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            seen: BTreeSet::new(),
        }
    }

    /// Whether something happens that has this chance. Draws nothing where it never does.
    pub fn happens(&mut self, chance: f64) -> bool {
        chance > 0.0 && self.random.random_bool(chance.min(1.0))
    }

    /// Whether the status of an object is about its former generation, which each generation asks once.
    pub fn is_behind(&mut self, object: &Value, chance: f64) -> bool {
        let generation = generation(object);
        if chance <= 0.0 || !self.seen.insert((uid(object).to_owned(), generation)) {
            return false;
        }
        self.happens(chance)
    }
}
