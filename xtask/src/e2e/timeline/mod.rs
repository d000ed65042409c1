//! What happened in a case, and when: as data, as text, and as a picture.

mod picture;
mod scale;
mod text;

use std::time::Duration;

/// A timeline. Times count from its beginning.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timeline {
    /// What it is of.
    pub title: String,
    /// Figures over time, drawn above each other.
    pub charts: Vec<Chart>,
    /// What happened.
    pub marks: Vec<Mark>,
}

/// Figures of one unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// What is shown, with its unit.
    pub title: String,
    /// The figures.
    pub lines: Vec<Line>,
}

/// One figure over time.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Its name in the legend.
    pub name: String,
    /// How it is drawn.
    pub style: Style,
    /// Its values, in the order of time.
    pub points: Vec<Point>,
}

/// How a figure goes from one value to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// It stays as it is until it changes: replicas, an asked weight.
    Steps,
    /// It was measured now and then.
    Curve,
    /// It stands for a while around its time, as the share of a second's requests.
    Dots,
}

/// A value at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// When.
    pub at: Duration,
    /// What.
    pub value: f64,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// When.
    pub at: Duration,
    /// Who did it, or where it showed.
    pub who: String,
    /// What happened.
    pub what: String,
}

impl Timeline {
    /// The last time at which something is known.
    pub fn end(&self) -> Duration {
        let lines = self.charts.iter().flat_map(|chart| &chart.lines);
        let points = lines.flat_map(|line| &line.points).map(|point| point.at);
        let marks = self.marks.iter().map(|mark| mark.at);
        points.chain(marks).max().unwrap_or_default()
    }

    /// Everything in the order of time; what is at the same time stays as it was.
    pub fn sort(&mut self) {
        self.marks.sort_by_key(|mark| mark.at);
        for line in self.charts.iter_mut().flat_map(|chart| &mut chart.lines) {
            line.points.sort_by_key(|point| point.at);
        }
    }
}

impl Line {
    /// The value that was last known at a time.
    pub fn at(&self, time: Duration) -> Option<f64> {
        let behind = self.points.partition_point(|point| point.at <= time);
        Some(self.points.get(behind.checked_sub(1)?)?.value)
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line through these seconds and values.
    pub(super) fn line(name: &str, style: Style, points: &[(f64, f64)]) -> Line {
        let point = |(at, value): &(f64, f64)| Point {
            at: Duration::from_secs_f64(*at),
            value: *value,
        };
        Line {
            name: name.to_owned(),
            style,
            points: points.iter().map(point).collect(),
        }
    }

    /// Two lines in one chart, and two marks.
    pub(super) fn example() -> Timeline {
        let mark = |at: f64, who: &str, what: &str| Mark {
            at: Duration::from_secs_f64(at),
            who: who.to_owned(),
            what: what.to_owned(),
        };
        Timeline {
            title: "ladder: a good release".to_owned(),
            charts: vec![Chart {
                title: "weight of the canary, %".to_owned(),
                lines: vec![
                    line(
                        "asked",
                        Style::Steps,
                        &[(0.0, 0.0), (10.0, 5.0), (20.0, 100.0)],
                    ),
                    line("measured", Style::Dots, &[(5.0, 0.0), (15.0, 5.2)]),
                ],
            }],
            marks: vec![
                mark(1.0, "case", "releases v2 & waits"),
                mark(20.0, "app", "Ready"),
            ],
        }
    }

    #[test]
    fn a_line_has_the_value_that_was_last_known() {
        let line = line("x", Style::Steps, &[(1.0, 3.0), (2.0, 4.0)]);
        let at = |seconds| line.at(Duration::from_secs_f64(seconds));
        assert_eq!(
            (at(0.5), at(1.0), at(1.9), at(9.0)),
            (None, Some(3.0), Some(3.0), Some(4.0))
        );
    }

    #[test]
    fn it_ends_with_what_is_known_last() {
        assert_eq!(example().end(), Duration::from_secs(20));
        assert_eq!(Timeline::default().end(), Duration::ZERO);
    }
}
