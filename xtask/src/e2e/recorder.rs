//! Notes what happens while a case runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use owo_colors::{OwoColorize as _, Stream::Stderr};

use super::timeline::{Chart, Line, Mark, Point, Style, Timeline};

/// A timeline that grows. Its clones write the same.
#[derive(Clone)]
pub struct Recorder {
    begun: Instant,
    timeline: Arc<Mutex<Timeline>>,
    figures: Arc<Mutex<BTreeMap<&'static str, f64>>>,
}

impl Recorder {
    /// Begins now.
    pub fn new(title: &str) -> Self {
        Self {
            begun: Instant::now(),
            timeline: Arc::new(Mutex::new(Timeline {
                title: title.to_owned(),
                ..Timeline::default()
            })),
            figures: Arc::default(),
        }
    }

    /// Time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Something happened just now. It is shown at once.
    pub fn mark(&self, who: &str, what: impl Into<String>) {
        self.mark_at(self.elapsed(), who, what);
    }

    /// Something happened at a time.
    pub fn mark_at(&self, at: Duration, who: &str, what: impl Into<String>) {
        let what = what.into();
        let time = format!("{:7.1} s", at.as_secs_f64());
        eprintln!(
            "  {} {who:10} {what}",
            time.if_supports_color(Stderr, |t| t.dimmed())
        );
        self.lock().marks.push(Mark {
            at,
            who: who.to_owned(),
            what,
        });
    }

    /// What the case has measured, for `cargo xtask bench`.
    pub fn figure(&self, name: &'static str, value: f64) {
        self.lock_figures().insert(name, value);
    }

    /// All that the case has measured.
    pub fn figures(&self) -> BTreeMap<&'static str, f64> {
        self.lock_figures().clone()
    }

    /// A line has a value now.
    pub fn value(&self, chart: &str, line: &str, style: Style, value: f64) {
        self.value_at(self.elapsed(), chart, line, style, value);
    }

    /// A line had a value at a time. Of steps only the changes are kept.
    pub fn value_at(&self, at: Duration, chart: &str, line: &str, style: Style, value: f64) {
        let mut timeline = self.lock();
        let points = &mut line_of(&mut timeline, chart, line, style).points;
        let is_same = points.last().is_some_and(|last| last.value == value);
        if style != Style::Steps || !is_same {
            points.push(Point { at, value });
        }
    }

    /// Puts a chart where it shall stand, before it has a value.
    pub fn chart(&self, title: &str) {
        chart_of(&mut self.lock(), title);
    }

    /// A line so far; none if it was never drawn.
    pub fn line(&self, chart: &str, line: &str) -> Option<Line> {
        let timeline = self.lock();
        let chart = timeline.charts.iter().find(|known| known.title == chart)?;
        chart.lines.iter().find(|known| known.name == line).cloned()
    }

    /// The timeline so far, in order, with every step drawn until now.
    pub fn timeline(&self) -> Timeline {
        let mut timeline = self.lock().clone();
        let end = self.elapsed().max(timeline.end());
        for line in timeline
            .charts
            .iter_mut()
            .flat_map(|chart| &mut chart.lines)
        {
            if line.style == Style::Steps
                && let Some(last) = line.points.last().copied()
            {
                line.points.push(Point { at: end, ..last });
            }
        }
        timeline.sort();
        timeline
    }

    fn lock_figures(&self) -> MutexGuard<'_, BTreeMap<&'static str, f64>> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Timeline> {
        // What is guarded is complete after every statement.
        self.timeline.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn chart_of<'a>(timeline: &'a mut Timeline, title: &str) -> &'a mut Chart {
    let known = timeline
        .charts
        .iter()
        .position(|chart| chart.title == title);
    let index = known.unwrap_or_else(|| {
        timeline.charts.push(Chart {
            title: title.to_owned(),
            lines: Vec::new(),
        });
        timeline.charts.len() - 1
    });
    &mut timeline.charts[index]
}

fn line_of<'a>(timeline: &'a mut Timeline, chart: &str, name: &str, style: Style) -> &'a mut Line {
    let lines = &mut chart_of(timeline, chart).lines;
    let known = lines.iter().position(|line| line.name == name);
    let index = known.unwrap_or_else(|| {
        lines.push(Line {
            name: name.to_owned(),
            style,
            points: Vec::new(),
        });
        lines.len() - 1
    });
    &mut lines[index]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_steps_the_changes_are_kept_and_the_last_lasts_until_now() {
        let recorder = Recorder::new("x");
        for (at, value) in [(1, 2.0), (2, 2.0), (3, 4.0)] {
            recorder.value_at(
                Duration::from_millis(at),
                "replicas",
                "web",
                Style::Steps,
                value,
            );
            recorder.value_at(
                Duration::from_millis(at),
                "replicas",
                "lag",
                Style::Curve,
                value,
            );
        }
        let timeline = recorder.timeline();
        let values = |line: usize| -> Vec<f64> {
            let line = &timeline.charts[0].lines[line];
            line.points.iter().map(|point| point.value).collect()
        };
        assert_eq!(values(0), [2.0, 4.0, 4.0]);
        assert_eq!(values(1), [2.0, 2.0, 4.0]);
        assert_eq!(timeline.charts.len(), 1);
    }

    #[test]
    fn charts_stand_in_the_order_in_which_they_were_named() {
        let recorder = Recorder::new("x");
        recorder.chart("first");
        recorder.value("second", "a", Style::Dots, 1.0);
        recorder.value("first", "a", Style::Dots, 1.0);
        let titles: Vec<_> = recorder
            .timeline()
            .charts
            .into_iter()
            .map(|c| c.title)
            .collect();
        assert_eq!(titles, ["first", "second"]);
    }
}
