//! A timeline as text.

use std::fmt::Write as _;
use std::time::Duration;

use super::{Chart, Timeline, seconds};

/// Most lines of a table.
const ROWS: u32 = 40;
const LEAST_STEP: Duration = Duration::from_secs(1);

impl Timeline {
    /// What happened, a line each, then a table for each chart.
    #[must_use]
    pub fn text(&self) -> String {
        let who = self.marks.iter().map(|mark| mark.who.chars().count());
        let who = who.max().unwrap_or_default();
        let mut text = format!("{}\n\n", self.title);
        // Writing to a String cannot fail.
        for mark in &self.marks {
            let at = seconds(mark.at);
            let _ = writeln!(text, "{at:>9}  {:who$}  {}", mark.who, mark.what);
        }
        for chart in &self.charts {
            text.push('\n');
            text.push_str(&self.table(chart));
        }
        text
    }

    /// What was known of each line, at times of equal distance.
    fn table(&self, chart: &Chart) -> String {
        let names = chart.lines.iter().map(|line| line.name.as_str());
        let widths: Vec<_> = names
            .clone()
            .map(|name| name.chars().count().max(7))
            .collect();
        let mut text = format!("{}\n{:>9}", chart.title, "");
        for (name, width) in names.zip(&widths) {
            let _ = write!(text, "  {name:>width$}");
        }
        text.push('\n');
        let end = self.end();
        let step = (end / ROWS).max(LEAST_STEP);
        let mut time = Duration::ZERO;
        while time <= end {
            let values: Vec<_> = chart.lines.iter().map(|line| line.at(time)).collect();
            if values.iter().any(Option::is_some) {
                let _ = write!(text, "{:>9}", seconds(time));
                for (value, width) in values.iter().zip(&widths) {
                    let value = value.map(number).unwrap_or_default();
                    let _ = write!(text, "  {value:>width$}");
                }
                text.push('\n');
            }
            time += step;
        }
        text
    }
}

/// Whole numbers without decimals.
fn number(value: f64) -> String {
    if value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::example;

    #[test]
    fn it_says_what_happened_and_what_was_measured() {
        let text = example().text();
        let expected = "\
ladder: a good release

    1.0 s  case  releases v2 & waits
   20.0 s  app   Ready

weight of the canary, %
             asked  measured
";
        assert!(text.starts_with(expected), "{text}");
        assert!(text.contains("\n    9.0 s        0         0\n"), "{text}");
        assert!(text.contains("\n   15.0 s        5      5.20\n"), "{text}");
        assert!(text.ends_with("\n   20.0 s      100      5.20\n"), "{text}");
    }
}
