//! Whether a router gives the canary the share of the requests that it was asked to give, and whether no more users were let
//! down than that share.

use std::time::Duration;

use xtask::load::Seen;

use super::answers::is_failure;
use super::timeline::{Line, Point};

/// Time after a weight was written until every request goes by it, and before the next is seen for which it may have been
/// written already.
pub const SETTLING: Duration = Duration::from_millis(1_500);

/// A weight, and what was measured while it stood.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The weight that was asked for, in per cent.
    pub asked: f64,
    /// From when on requests must go by it.
    pub from: Duration,
    /// Until when.
    pub to: Duration,
    /// Answers in that time.
    pub answers: usize,
    /// The canary's share of them, in per cent.
    pub measured: f64,
}

impl Step {
    /// By how many percentage points the measured weight is off.
    pub fn error(&self) -> f64 {
        (self.measured - self.asked).abs()
    }
}

/// Compares every weight with the answers that were given while it stood, of which the first `most` count. `asked` are the
/// weights in the order in which they were written, `end` is until when the last one stood.
pub fn compare(
    asked: &[Point],
    end: Duration,
    answers: &[Seen],
    canary: &str,
    most: usize,
) -> Vec<Step> {
    let ends = asked.iter().skip(1).map(|next| next.at).chain([end]);
    let settled = asked.iter().zip(ends).map(|(point, end)| {
        let to = end.saturating_sub(SETTLING / 3);
        (point, point.at + SETTLING, to)
    });
    settled
        .filter(|(_, from, to)| from < to)
        .map(|(point, from, to)| {
            // When it was answered it was routed already.
            let during = answers
                .iter()
                .filter(|seen| seen.due >= from && seen.due + seen.latency < to);
            let by: Vec<_> = during
                .filter_map(|seen| seen.by.as_deref())
                .take(most)
                .collect();
            let canaries = by.iter().filter(|by| **by == canary).count();
            Step {
                asked: point.value,
                from,
                to,
                answers: by.len(),
                measured: percent(canaries, by.len()),
            }
        })
        .collect()
}

/// How many users a canary may let down at most by the weights that it had, if it fails all whom it gets: the highest weight
/// around its time counts for each request. And how many were let down.
pub fn let_down(asked: &Line, answers: &[Seen]) -> (f64, usize) {
    let weight = |seen: &Seen| {
        let (from, to) = (
            seen.due.saturating_sub(SETTLING),
            seen.due + seen.latency + SETTLING,
        );
        let during = asked
            .points
            .iter()
            .filter(|point| (from..=to).contains(&point.at));
        let during = during.map(|point| point.value);
        asked.at(from).into_iter().chain(during).fold(0.0, f64::max)
    };
    let most = answers.iter().map(|seen| weight(seen) / 100.0).sum();
    (most, answers.iter().filter(|seen| is_failure(seen)).count())
}

/// `part` of `whole` in per cent; 0 of nothing.
#[allow(clippy::cast_precision_loss, reason = "numbers of requests")]
pub fn percent(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        0.0
    } else {
        100.0 * part as f64 / whole as f64
    }
}

#[cfg(test)]
mod tests {
    use super::super::timeline::Style;
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn point(at: Duration, value: f64) -> Point {
        Point { at, value }
    }

    /// One answer every 10 ms for 10 s; each `nth` is the canary's from 3 s on.
    fn answers(nth: u32) -> Vec<Seen> {
        let seen = |number: u32| {
            let due = MS * 10 * number;
            let is_canary = due >= MS * 3_000 && number.is_multiple_of(nth);
            Seen {
                due,
                latency: MS * 5,
                status: Some(200),
                by: Some(if is_canary { "v2" } else { "v1" }.to_owned()),
            }
        };
        (0..1_000).map(seen).collect()
    }

    #[test]
    fn each_weight_is_compared_with_what_was_answered_while_it_stood() {
        let asked = [point(Duration::ZERO, 0.0), point(MS * 3_000, 20.0)];
        let steps = compare(&asked, MS * 10_000, &answers(5), "v2", 10_000);
        assert_eq!(steps.len(), 2);
        assert_eq!(
            (steps[0].asked, steps[0].measured, steps[0].answers),
            (0.0, 0.0, 100)
        );
        // 4.5 s to 9.5 s.
        assert_eq!(
            (steps[1].measured, steps[1].answers, steps[1].error()),
            (20.0, 500, 0.0)
        );
    }

    #[test]
    fn a_wrong_share_shows_and_no_more_answers_count_than_asked_for() {
        let asked = [point(MS * 2_000, 20.0)];
        let steps = compare(&asked, MS * 10_000, &answers(4), "v2", 100);
        assert_eq!((steps[0].answers, steps[0].error()), (100, 5.0));
    }

    #[test]
    fn a_weight_that_did_not_stand_is_left_out() {
        let asked = [point(MS, 5.0), point(MS * 500, 10.0), point(MS * 600, 15.0)];
        let steps = compare(&asked, MS * 5_000, &answers(4), "v2", 100);
        assert_eq!(
            steps.iter().map(|step| step.asked).collect::<Vec<_>>(),
            [15.0]
        );
    }

    #[test]
    fn users_may_be_let_down_by_the_canary_s_share_alone() {
        let asked = Line {
            name: "asked".to_owned(),
            style: Style::Steps,
            points: vec![
                point(Duration::ZERO, 0.0),
                point(MS * 4_000, 10.0),
                point(MS * 6_000, 0.0),
            ],
        };
        let mut answers = answers(1_000);
        let (most, failed) = let_down(&asked, &answers);
        // 10 % of what was due from 2.5 s to 7.5 s.
        assert!((most - 50.0).abs() < 0.5, "{most}");
        assert_eq!(failed, 0);
        answers[500].status = Some(500);
        answers[900].status = None;
        assert_eq!(let_down(&asked, &answers).1, 2);
    }

    #[test]
    fn an_unanswered_request_counts_for_nobody() {
        let lost = Seen {
            due: MS * 5_000,
            latency: MS,
            status: None,
            by: None,
        };
        let steps = compare(&[point(MS, 5.0)], MS * 9_000, &[lost], "v2", 100);
        assert_eq!((steps[0].answers, steps[0].measured), (0, 0.0));
    }
}
