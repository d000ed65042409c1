//! Figures beside their goals.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
    /// None: it explains the others.
    None,
}

impl Goal {
    fn is_met_by(self, value: f64) -> Option<bool> {
        match self {
            Self::AtLeast(least) => Some(value >= least),
            Self::AtMost(most) => Some(value <= most),
            Self::None => None,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast(least) => format!("≥ {least}"),
            Self::AtMost(most) => format!("≤ {most}"),
            Self::None => String::new(),
        }
    }
}

#[derive(Debug)]
struct Figure {
    name: String,
    value: f64,
    goal: Goal,
}

/// The figures of one bench.
#[derive(Debug, Default)]
pub struct Report {
    figures: Vec<Figure>,
}

impl Report {
    /// Adds a figure, rounded to what it can say.
    #[must_use]
    pub fn figure(mut self, name: impl Into<String>, value: f64, goal: Goal) -> Self {
        let (name, value) = (name.into(), round(value));
        self.figures.push(Figure { name, value, goal });
        self
    }

    /// One line for each figure.
    pub fn table(&self) -> String {
        let names = self.figures.iter().map(|figure| figure.name.len());
        let width = names.max().unwrap_or_default();
        let mut table = format!("{:width$}  {:>10}  goal\n", "figure", "measured");
        for Figure { name, value, goal } in &self.figures {
            let verdict = match goal.is_met_by(*value) {
                Some(true) => "met",
                Some(false) => "MISSED",
                None => "",
            };
            let line = format!("{name:width$}  {value:>10}  {:8}{verdict}", goal.text());
            // Writing to a String cannot fail.
            let _ = writeln!(table, "{}", line.trim_end());
        }
        table
    }

    /// The object for programs.
    pub fn json(&self, bench: &str) -> Value {
        let figures: Map<String, Value> = self
            .figures
            .iter()
            .map(|figure| (figure.name.clone(), json!(figure.value)))
            .collect();
        json!({"bench": bench, "figures": figures})
    }
}

/// Three digits after the point for what is below ten, one for the rest.
fn round(value: f64) -> f64 {
    let scale = if value.abs() < 10.0 { 1_000.0 } else { 10.0 };
    (value * scale).round() / scale
}

/// The value below which `share` of the values lie, by nearest rank; not a number for none.
pub fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let mut rank = 0;
    while rank + 1 < sorted.len() && ((rank + 1) as f64) < share * sorted.len() as f64 {
        rank += 1;
    }
    sorted.get(rank).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_which_goal_is_missed() {
        let report = Report::default()
            .figure("ratio", 0.7512, Goal::AtLeast(0.8))
            .figure("p50_ms", 100.04, Goal::AtMost(250.0))
            .figure("seen", 3.0, Goal::None);
        let table = report.table();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[1], "ratio        0.751  ≥ 0.8   MISSED");
        assert_eq!(lines[2], "p50_ms         100  ≤ 250   met");
        assert_eq!(lines[3], "seen             3");
        assert_eq!(
            report.json("apply").to_string(),
            r#"{"bench":"apply","figures":{"p50_ms":100.0,"ratio":0.751,"seen":3.0}}"#
        );
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(percentile(&values, 0.5), 50.0);
        assert_eq!(percentile(&values, 0.99), 99.0);
        assert_eq!(percentile(&[7.0], 0.99), 7.0);
        assert_eq!(percentile(&[3.0, 1.0, 2.0], 0.5), 2.0);
        assert!(percentile(&[], 0.5).is_nan());
    }
}
