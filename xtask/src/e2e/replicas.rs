//! Whether a number of replicas that was sampled moved as it should: without dips, without swinging.

use std::time::Duration;

use super::timeline::{Line, Point};

/// How often a number turned round: 1, 3, 1 is once. Going up and staying there is never.
pub fn turns(points: &[Point]) -> usize {
    let mut directions = Vec::new();
    for pair in points.windows(2) {
        if let [before, after] = pair
            && before.value != after.value
        {
            directions.push(after.value > before.value);
        }
    }
    directions
        .windows(2)
        .filter(|pair| pair[0] != pair[1])
        .count()
}

/// The lowest value of a line between two times, and when it had that; none if nothing is known of then.
pub fn lowest(line: &Line, from: Duration, to: Duration) -> Option<Point> {
    let first = line.at(from).map(|value| Point { at: from, value });
    let during = line
        .points
        .iter()
        .filter(|point| (from..=to).contains(&point.at));
    first
        .into_iter()
        .chain(during.copied())
        .min_by(|a, b| a.value.total_cmp(&b.value))
}

/// The highest value of a line.
pub fn highest(line: &Line) -> Option<f64> {
    line.points
        .iter()
        .map(|point| point.value)
        .max_by(f64::total_cmp)
}

#[cfg(test)]
mod tests {
    use super::super::timeline::Style;
    use super::*;

    fn points(values: &[f64]) -> Vec<Point> {
        let at = |(second, value): (u64, &f64)| Point {
            at: Duration::from_secs(second),
            value: *value,
        };
        (0..).zip(values).map(at).collect()
    }

    #[test]
    fn out_and_in_is_one_turn_and_swinging_is_many() {
        assert_eq!(turns(&points(&[1.0, 1.0, 3.0, 6.0])), 0);
        assert_eq!(turns(&points(&[1.0, 3.0, 6.0, 6.0, 2.0, 1.0])), 1);
        assert_eq!(turns(&points(&[1.0, 3.0, 2.0, 3.0, 2.0])), 3);
        assert_eq!(turns(&[]), 0);
    }

    #[test]
    fn the_lowest_counts_what_was_known_at_the_beginning() {
        let line = Line {
            name: "web".to_owned(),
            style: Style::Steps,
            points: points(&[1.0, 4.0, 3.0, 2.0]),
        };
        let lowest = |from, to| {
            let found = lowest(
                &line,
                Duration::from_millis(from),
                Duration::from_millis(to),
            );
            found.map(|point| (point.at.as_millis(), point.value))
        };
        assert_eq!(lowest(1_500, 2_500), Some((2_000, 3.0)));
        assert_eq!(lowest(500, 1_500), Some((500, 1.0)));
        assert_eq!(highest(&line), Some(4.0));
    }
}
