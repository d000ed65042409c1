//! An outcome for people, and for programs.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::outcome::{Group, Outcome};

const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

impl Outcome {
    /// One line for all answers and for each answerer, then what went wrong.
    #[must_use]
    pub fn table(&self) -> String {
        let names = self.by.keys().map(|name| name.chars().count());
        let width = names.chain([3]).max().unwrap_or_default();
        let mut text = format!(
            "{:.1} requests a second asked, {:.1} answered; {} due in {:.1} s\n\n{:width$} {:>9}",
            self.asked,
            self.reached(),
            self.due,
            self.took.as_secs_f64(),
            "",
            "answers"
        );
        // Writing to a String cannot fail.
        for (name, _) in QUANTILES {
            let _ = write!(text, " {name:>9}");
        }
        let _ = writeln!(text, " {:>9}  status", "max");
        let groups = self.by.iter().map(|(name, group)| (name.as_str(), group));
        for (name, group) in [("all", &self.all)].into_iter().chain(groups) {
            let _ = write!(text, "{name:width$} {:>9}", group.answers());
            for (_, quantile) in QUANTILES {
                let _ = write!(text, " {:>9}", time(group.latency(quantile)));
            }
            let codes = group.codes().iter();
            let codes: Vec<_> = codes
                .map(|(code, count)| format!("{code}: {count}"))
                .collect();
            let max = time(group.times.max());
            let line = format!(" {max:>9}  {}", codes.join(", "));
            let _ = writeln!(text, "{}", line.trim_end());
        }
        for (kind, count) in &self.errors {
            let _ = write!(text, "\n{count} × {kind}");
        }
        let (late, latest) = (time(self.late.quantile(0.99)), time(self.late.max()));
        let _ = write!(
            text,
            "\nsent late by this program itself: p99 {late}, max {latest}"
        );
        text
    }

    /// All figures; times in milliseconds.
    #[must_use]
    pub fn json(&self) -> Value {
        let by: serde_json::Map<_, _> = self
            .by
            .iter()
            .map(|(name, group)| (name.clone(), figures(group)))
            .collect();
        json!({
            "asked": self.asked,
            "reached": self.reached(),
            "due": self.due,
            "seconds": self.took.as_secs_f64(),
            "all": figures(&self.all),
            "by": by,
            "errors": self.errors,
            "sentLate": {"p99": millis(self.late.quantile(0.99)), "max": millis(self.late.max())},
        })
    }
}

fn figures(group: &Group) -> Value {
    let mut latency: serde_json::Map<_, _> = QUANTILES
        .iter()
        .map(|(name, quantile)| ((*name).to_owned(), json!(millis(group.latency(*quantile)))))
        .collect();
    latency.insert("max".to_owned(), json!(millis(group.times.max())));
    json!({"answers": group.answers(), "latency": latency, "status": group.codes()})
}

fn millis(time: Duration) -> f64 {
    // Measured in microseconds: what a conversion adds behind those means nothing.
    (time.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}

fn time(time: Duration) -> String {
    let millis = millis(time);
    match millis {
        ..10.0 => format!("{millis:.2} ms"),
        ..1_000.0 => format!("{millis:.0} ms"),
        _ => format!("{:.2} s", time.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::client::Answer;
    use super::*;

    fn outcome() -> Outcome {
        let mut outcome = Outcome::new(2.0);
        for (status, by, millis) in [(200, "v1", 2), (200, "v1", 40), (500, "v2", 1_500)] {
            let answer = Answer {
                status,
                by: Some(by.to_owned()),
            };
            outcome.sent(Duration::from_micros(300));
            outcome.answered(answer, Duration::from_millis(millis));
        }
        outcome.error("no connection: refused".to_owned());
        (outcome.due, outcome.took) = (4, Duration::from_secs(2));
        outcome
    }

    #[test]
    fn the_table_has_a_line_for_each_answerer_and_each_kind_of_error() {
        let expected = "\
2.0 requests a second asked, 1.5 answered; 4 due in 2.0 s

      answers       p50       p90       p99     p99.9       max  status
all         3     40 ms    1.50 s    1.50 s    1.50 s    1.50 s  200: 2, 500: 1
v1          2   2.00 ms     40 ms     40 ms     40 ms     40 ms  200: 2
v2          1    1.50 s    1.50 s    1.50 s    1.50 s    1.50 s  500: 1

1 × no connection: refused
sent late by this program itself: p99 0.30 ms, max 0.30 ms";
        assert_eq!(outcome().table(), expected);
    }

    #[test]
    fn the_json_has_the_same_figures() {
        let json = outcome().json();
        assert_eq!(json["all"]["status"]["500"], 1);
        assert_eq!(json["by"]["v1"]["answers"], 2);
        assert_eq!(json["errors"]["no connection: refused"], 1);
        let max = json["all"]["latency"]["max"].as_f64().unwrap();
        assert!((max - 1_500.0).abs() < 2.0, "{max}");
    }
}
