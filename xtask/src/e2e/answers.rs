//! What users saw: every request of a load, as they happen, and figures made of them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use xtask::load::Seen;

use super::recorder::Recorder;
use super::timeline::Style;
use super::weights::percent;

/// The requests of a load. Its clones hold the same. Times are those of the timeline.
#[derive(Clone, Default)]
pub struct Answers(Arc<Mutex<Vec<Seen>>>);

impl Answers {
    /// One more.
    pub fn add(&self, seen: Seen) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(seen);
    }

    /// All of them, in the order in which they were due.
    pub fn all(&self) -> Vec<Seen> {
        let mut all = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        all.sort_by_key(|seen| seen.due);
        all
    }
}

/// Whether a user was let down: an error of the server, or no answer at all.
pub fn is_failure(seen: &Seen) -> bool {
    seen.status.is_none_or(|status| status >= 500)
}

/// The requests that were due in a time.
pub fn between(all: &[Seen], from: Duration, to: Duration) -> &[Seen] {
    let begin = all.partition_point(|seen| seen.due < from);
    let end = all.partition_point(|seen| seen.due < to);
    &all[begin..end.max(begin)]
}

/// The share of failures among requests, in per cent.
pub fn failure_share(some: &[Seen]) -> f64 {
    percent(
        some.iter().filter(|seen| is_failure(seen)).count(),
        some.len(),
    )
}

/// The share of requests that `who` answered among those that anybody answered, in per cent.
pub fn share_of(some: &[Seen], who: &str) -> f64 {
    let answered = some.iter().filter_map(|seen| seen.by.as_deref());
    let (own, all) = answered.fold((0, 0), |(own, all), by| {
        (own + usize::from(by == who), all + 1)
    });
    percent(own, all)
}

/// A figure about each span of requests: a value in its middle.
pub fn each_span(
    all: &[Seen],
    span: Duration,
    figure: impl Fn(&[Seen]) -> f64,
) -> Vec<(Duration, f64)> {
    let (Some(first), Some(last)) = (all.first(), all.last()) else {
        return Vec::new();
    };
    let mut values = Vec::new();
    let mut from = first.due;
    while from + span <= last.due + Duration::from_millis(1) {
        let some = between(all, from, from + span);
        if !some.is_empty() {
            values.push((from + span / 2, figure(some)));
        }
        from += span;
    }
    values
}

/// Draws a figure about each second's requests.
pub fn draw(
    recorder: &Recorder,
    (chart, line): (&str, &str),
    all: &[Seen],
    figure: impl Fn(&[Seen]) -> f64,
) {
    for (at, value) in each_span(all, Duration::from_secs(1), figure) {
        recorder.value_at(at, chart, line, Style::Dots, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(millis: u64, status: Option<u16>, by: &str) -> Seen {
        Seen {
            due: Duration::from_millis(millis),
            latency: Duration::from_millis(1),
            status,
            by: status.map(|_| by.to_owned()),
        }
    }

    #[test]
    fn what_lets_a_user_down_is_a_failure() {
        let some = [
            seen(0, Some(200), "v1"),
            seen(1, Some(404), "v1"),
            seen(2, Some(503), "v2"),
            seen(3, None, ""),
        ];
        assert_eq!(failure_share(&some), 50.0);
        assert_eq!(failure_share(&[]), 0.0);
        // Of the three that were answered.
        assert!((share_of(&some, "v2") - 33.3).abs() < 0.1);
    }

    #[test]
    fn requests_belong_to_the_span_in_which_they_were_due() {
        let all: Vec<_> = (0..30).map(|n| seen(n * 100, Some(200), "v1")).collect();
        let half = between(
            &all,
            Duration::from_millis(500),
            Duration::from_millis(1_000),
        );
        assert_eq!(half.len(), 5);
        let spans = each_span(&all, Duration::from_secs(1), |some| some.len() as f64);
        let expected: Vec<_> = [500, 1_500]
            .map(|ms| (Duration::from_millis(ms), 10.0))
            .into();
        assert_eq!(spans, expected, "the last second is not over");
        let answers = Answers::default();
        for one in all.iter().rev() {
            answers.add(one.clone());
        }
        assert_eq!(answers.all(), all);
    }
}
