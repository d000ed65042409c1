//! What came of a load.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::client::Answer;

/// The longest time that is told apart from a longer one.
const LONGEST: Duration = Duration::from_secs(3_600);
/// Most answerers that are told apart; a field that differs in every answer tells nothing.
const MOST_GROUPS: usize = 100;
const OTHERS: &str = "(others)";

/// Times, in microseconds, exact to three digits.
#[derive(Clone, Debug)]
pub(super) struct Times(Histogram<u64>);

impl Times {
    fn new() -> Self {
        // The bounds are constants that the histogram accepts; without them it grows as it needs to.
        let bounded = Histogram::new_with_bounds(1, micros(LONGEST), 3);
        let histogram = bounded.or_else(|_| Histogram::new(3));
        #[allow(clippy::expect_used, reason = "three digits are always accepted")]
        Self(histogram.expect("a histogram of three digits"))
    }

    fn add(&mut self, time: Duration) {
        self.0.saturating_record(micros(time));
    }

    pub(super) fn quantile(&self, quantile: f64) -> Duration {
        Duration::from_micros(self.0.value_at_quantile(quantile))
    }

    pub(super) fn max(&self) -> Duration {
        Duration::from_micros(self.0.max())
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Answers that have something in common: all of them, or those of one answerer.
#[derive(Clone, Debug)]
pub struct Group {
    pub(super) codes: BTreeMap<u16, u64>,
    pub(super) times: Times,
}

impl Group {
    fn new() -> Self {
        Self {
            codes: BTreeMap::new(),
            times: Times::new(),
        }
    }

    fn add(&mut self, status: u16, latency: Duration) {
        *self.codes.entry(status).or_default() += 1;
        self.times.add(latency);
    }

    /// Answers by status code.
    #[must_use]
    pub fn codes(&self) -> &BTreeMap<u16, u64> {
        &self.codes
    }

    /// Number of answers.
    #[must_use]
    pub fn answers(&self) -> u64 {
        self.codes.values().sum()
    }

    /// The latency that this share of the requests (0.99 is 99 per cent) did not exceed.
    #[must_use]
    pub fn latency(&self, quantile: f64) -> Duration {
        self.times.quantile(quantile)
    }

    /// Number of requests that took longer than this, to three digits.
    #[must_use]
    pub fn slower_than(&self, latency: Duration) -> u64 {
        let times = &self.times.0;
        let like = times.highest_equivalent(micros(latency));
        times.count_between(like.saturating_add(1), u64::MAX)
    }
}

/// What came of a load.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Requests a second that were asked for.
    pub asked: f64,
    /// From the beginning to the end of the sending, or to the last answer.
    pub took: Duration,
    /// Requests that were due.
    pub due: u64,
    /// All answers. Requests that were not answered in time count in the latencies with the time that was waited for them,
    /// but have no status code.
    pub all: Group,
    /// Answers by who gave them, if that was asked.
    pub by: BTreeMap<String, Group>,
    /// Requests without an answer, by the kind of what went wrong.
    pub errors: BTreeMap<String, u64>,
    pub(super) late: Times,
}

impl Outcome {
    pub(super) fn new(asked: f64) -> Self {
        Self {
            asked,
            took: Duration::ZERO,
            due: 0,
            all: Group::new(),
            by: BTreeMap::new(),
            errors: BTreeMap::new(),
            late: Times::new(),
        }
    }

    /// Answers a second.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a figure to be read")]
    pub fn reached(&self) -> f64 {
        let seconds = self.took.as_secs_f64();
        if seconds > 0.0 {
            self.all.answers() as f64 / seconds
        } else {
            0.0
        }
    }

    /// Requests without an answer.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    pub(super) fn answered(&mut self, answer: Answer, latency: Duration) {
        self.all.add(answer.status, latency);
        if let Some(by) = answer.by {
            let is_known = self.by.contains_key(&by) || self.by.len() < MOST_GROUPS;
            let by = if is_known { by } else { OTHERS.to_owned() };
            let group = self.by.entry(by).or_insert_with(Group::new);
            group.add(answer.status, latency);
        }
    }

    /// Nobody answered, for so long.
    pub(super) fn unanswered(&mut self, waited: Duration) {
        self.all.times.add(waited);
        self.error("no answer in time".to_owned());
    }

    pub(super) fn error(&mut self, kind: String) {
        *self.errors.entry(kind).or_default() += 1;
    }

    /// A request that was sent so long after it was due: the load, not the server, is to blame.
    pub(super) fn sent(&mut self, late: Duration) {
        self.late.add(late);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(by: &str) -> Answer {
        Answer {
            status: 200,
            by: Some(by.to_owned()),
        }
    }

    #[test]
    fn answers_are_counted_by_code_and_by_answerer() {
        let mut outcome = Outcome::new(10.0);
        for millis in 1..=100 {
            let by = if millis <= 10 { "v2" } else { "v1" };
            outcome.answered(answer(by), Duration::from_millis(millis));
        }
        outcome.took = Duration::from_secs(20);
        assert_eq!(outcome.by["v2"].answers(), 10);
        assert_eq!(outcome.by["v1"].codes()[&200], 90);
        assert_eq!(outcome.reached(), 5.0);
        assert_eq!(outcome.all.slower_than(Duration::from_millis(90)), 10);
        let p50 = outcome.all.latency(0.5).as_secs_f64();
        assert!((p50 - 0.050).abs() < 0.000_1, "{p50}");
    }

    #[test]
    fn a_timeout_is_an_error_that_the_latencies_show() {
        let mut outcome = Outcome::new(10.0);
        outcome.answered(answer("v1"), Duration::from_millis(1));
        outcome.unanswered(Duration::from_secs(10));
        assert_eq!((outcome.all.answers(), outcome.failed()), (1, 1));
        assert_eq!(outcome.all.slower_than(Duration::from_secs(9)), 1);
    }

    #[test]
    fn a_field_that_always_differs_does_not_fill_the_memory() {
        let mut outcome = Outcome::new(10.0);
        for number in 0..1_000 {
            outcome.answered(answer(&number.to_string()), Duration::ZERO);
        }
        assert_eq!(outcome.by.len(), MOST_GROUPS + 1);
        assert_eq!(outcome.by[OTHERS].answers(), 900);
    }
}
