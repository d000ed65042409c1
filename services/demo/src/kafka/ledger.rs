//! Whether every message was processed, in order: the judgement of `demo check`, apart from where the figures come from.
//!
//! At least once means that a message may come again, with all that follow it in its partition: a repetition is no fault.
//! A number that appears before its predecessor has appeared is one, and so is a number that never appears.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;
use thiserror::Error;

/// Most examples of what is wrong that a report names.
const EXAMPLES: usize = 20;

/// What was produced and processed under one key.
#[derive(Debug, Default)]
struct Key {
    /// Numbers produced, repetitions apart.
    produced: BTreeSet<u64>,
    /// The highest number processed so far.
    highest: u64,
    /// Numbers below the highest that have not been processed.
    gaps: BTreeSet<u64>,
    /// Numbers that came after a higher one had come for the first time.
    late: Vec<u64>,
    repeated: u64,
}

/// All keys.
#[derive(Debug, Default)]
pub struct Ledger {
    keys: BTreeMap<String, Key>,
}

/// A message, by key and number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Named {
    /// Its key.
    pub key: String,
    /// Its number.
    pub sequence: u64,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Keys with messages.
    pub keys: usize,
    /// Messages produced.
    pub produced: usize,
    /// Of these, processed at least once.
    pub processed: usize,
    /// Times that a message was processed again.
    pub repeated: u64,
    /// Messages never processed.
    pub missing: usize,
    /// Messages first processed after a later one of their key.
    pub disordered: usize,
    /// The first of the missing.
    pub first_missing: Vec<Named>,
    /// The first of the disordered.
    pub first_disordered: Vec<Named>,
}

impl Report {
    /// Whether nothing was lost and nothing came out of order.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.missing == 0 && self.disordered == 0
    }

    /// The same as an end of the process.
    ///
    /// # Errors
    /// If a message was lost or out of order.
    pub fn verdict(&self) -> Result<(), NotClean> {
        match self.is_clean() {
            true => Ok(()),
            false => Err(NotClean {
                missing: self.missing,
                disordered: self.disordered,
            }),
        }
    }
}

/// Messages were lost or out of order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "{missing} messages were not processed, and {disordered} out of order; the report says which"
)]
pub struct NotClean {
    missing: usize,
    disordered: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl Ledger {
    /// A message lies in the topic.
    pub fn produced(&mut self, key: &str, sequence: u64) {
        self.key(key).produced.insert(sequence);
    }

    /// A worker has recorded it; called in the order of the records.
    pub fn processed(&mut self, key: &str, sequence: u64) {
        let key = self.key(key);
        if sequence > key.highest {
            key.gaps.extend(key.highest + 1..sequence);
            key.highest = sequence;
        } else if key.gaps.remove(&sequence) {
            key.late.push(sequence);
        } else {
            key.repeated += 1;
        }
    }

    fn key(&mut self, key: &str) -> &mut Key {
        if !self.keys.contains_key(key) {
            self.keys.insert(key.to_owned(), Key::default());
        }
        self.keys.entry(key.to_owned()).or_default()
    }

    /// Whether everything that was produced has been processed.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.keys.values().all(|key| key.missing().next().is_none())
    }

    /// The judgement so far.
    #[must_use]
    pub fn report(&self) -> Report {
        let mut report = Report::default();
        for (name, key) in self.keys.iter().filter(|(_, key)| !key.produced.is_empty()) {
            let named = |sequence| Named {
                key: name.clone(),
                sequence,
            };
            report.keys += 1;
            report.produced += key.produced.len();
            report.repeated += key.repeated;
            let missing = key.missing().count();
            report.missing += missing;
            report.processed += key.produced.len() - missing;
            // What the topic no longer holds has no predecessor to wait for.
            let late = || {
                key.late
                    .iter()
                    .copied()
                    .filter(|late| key.produced.contains(late))
            };
            report.disordered += late().count();
            let room = EXAMPLES.saturating_sub(report.first_missing.len());
            report
                .first_missing
                .extend(key.missing().take(room).map(named));
            let room = EXAMPLES.saturating_sub(report.first_disordered.len());
            report.first_disordered.extend(late().take(room).map(named));
        }
        report
    }
}

impl Key {
    fn missing(&self) -> impl Iterator<Item = u64> {
        let is_missing = |sequence: &u64| *sequence > self.highest || self.gaps.contains(sequence);
        self.produced.iter().copied().filter(is_missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(produced: u64, processed: &[u64]) -> Ledger {
        let mut ledger = Ledger::default();
        for sequence in 1..=produced {
            ledger.produced("a", sequence);
        }
        for sequence in processed {
            ledger.processed("a", *sequence);
        }
        ledger
    }

    fn named(sequences: &[u64]) -> Vec<Named> {
        let name = |sequence: &u64| Named {
            key: "a".to_owned(),
            sequence: *sequence,
        };
        sequences.iter().map(name).collect()
    }

    #[test]
    fn everything_once_and_in_order_is_clean() {
        let ledger = ledger(4, &[1, 2, 3, 4]);
        assert!(ledger.is_complete());
        let report = ledger.report();
        assert!(report.is_clean());
        assert_eq!(
            (report.produced, report.processed, report.repeated),
            (4, 4, 0)
        );
    }

    #[test]
    fn a_replay_of_what_was_not_committed_is_clean() {
        let report = ledger(5, &[1, 2, 3, 2, 3, 4, 3, 4, 5]).report();
        assert!(report.is_clean(), "{report}");
        assert_eq!(report.repeated, 4);
    }

    #[test]
    fn what_never_comes_is_missing_in_the_middle_and_at_the_end() {
        let ledger = ledger(6, &[1, 2, 4]);
        assert!(!ledger.is_complete());
        let report = ledger.report();
        assert_eq!((report.processed, report.missing), (3, 3));
        assert_eq!(report.first_missing, named(&[3, 5, 6]));
        assert_eq!(report.disordered, 0);
        assert!(!report.is_clean());
    }

    #[test]
    fn what_comes_after_its_successor_is_out_of_order_but_not_missing() {
        let report = ledger(4, &[1, 3, 2, 4]).report();
        assert_eq!(report.missing, 0);
        assert_eq!(report.first_disordered, named(&[2]));
        assert!(!report.is_clean());
    }

    #[test]
    fn keys_do_not_wait_for_each_other() {
        let mut ledger = ledger(1, &[]);
        ledger.produced("b", 1);
        ledger.processed("b", 1);
        ledger.processed("a", 1);
        assert!(ledger.is_complete() && ledger.report().is_clean());
        assert_eq!(ledger.report().keys, 2);
    }

    #[test]
    fn records_may_come_before_the_messages_are_read_and_outlive_them() {
        let mut ledger = Ledger::default();
        // Number 1 and 2 have left the topic and the records; 4 was not yet there when the topic was read.
        ledger.processed("a", 3);
        ledger.processed("a", 4);
        ledger.produced("a", 3);
        assert!(ledger.is_complete());
        assert!(ledger.report().is_clean());
    }
}
