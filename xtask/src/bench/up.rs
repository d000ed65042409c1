//! `up`: how long it takes until the operator, its peers and the applications are there, on a real node.

use anyhow::Result;

use super::local::{Local, Took};
use super::report::{Goal, Report};
use crate::progress::heading;

/// What takes less to build is not listed, in seconds.
const WORTH_LISTING: f64 = 5.0;

/// Measures.
pub async fn run(is_cold: bool) -> Result<Report> {
    let mut report = Report::default();
    if is_cold {
        heading("With empty caches");
        let mut local = Local::new()?.with_empty_caches();
        let cold = local.up().await?;
        local.down()?;
        report = report.figure("cold_s", cold.seconds, Goal::None);
        report = with_builds(report, &cold);
    }
    let mut local = Local::new()?;
    heading("Building what is not in the cache");
    local.up().await?;
    local.down()?;
    heading("From nothing but the cache");
    let warm = local.up().await?;
    heading("Again, while it runs");
    let resumed = local.up().await?;
    let down = local.down()?;
    report = report.figure("warm_s", warm.seconds, Goal::None);
    for (part, seconds) in in_order(&warm) {
        report = report.figure(format!("warm_s.{}", key(part)), seconds, Goal::None);
    }
    Ok(report
        .figure("resumed_s", resumed.seconds, Goal::None)
        .figure("down_s", down.as_secs_f64(), Goal::None))
}

fn with_builds(mut report: Report, cold: &Took) -> Report {
    let all: f64 = cold.times.built.values().sum();
    let long = cold
        .times
        .built
        .iter()
        .filter(|(_, s)| **s >= WORTH_LISTING);
    for (what, seconds) in long {
        report = report.figure(format!("build_s.{}", key(what)), *seconds, Goal::None);
    }
    report.figure("build_s", all, Goal::None)
}

/// The parts in the order in which they were ready.
fn in_order(took: &Took) -> Vec<(&str, f64)> {
    let ready = took.times.ready.iter();
    let mut parts: Vec<_> = ready.map(|(part, s)| (part.as_str(), *s)).collect();
    parts.sort_by(|(_, a), (_, b)| a.total_cmp(b));
    parts
}

/// A name in a JSON object.
fn key(what: &str) -> String {
    what.replace("'s", "").replace(' ', "-").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::up::timeline::Times;

    fn took() -> Took {
        let text = |pairs: [(&str, f64); 2]| pairs.map(|(name, s)| (name.to_owned(), s)).into();
        Took {
            seconds: 9.0,
            times: Times {
                built: text([("keda-operator v2.20.2", 60.0), ("libc6 2.36", 1.0)]),
                ready: text([("apps", 8.0), ("kube-apiserver", 3.0)]),
            },
        }
    }

    #[test]
    fn parts_are_in_the_order_of_time() {
        assert_eq!(in_order(&took()), [("kube-apiserver", 3.0), ("apps", 8.0)]);
    }

    #[test]
    fn short_builds_are_counted_and_not_listed() {
        let report = with_builds(Report::default(), &took())
            .json("up")
            .to_string();
        assert!(
            report.contains(r#""build_s.keda-operator-v2.20.2":60.0"#),
            "{report}"
        );
        assert!(report.contains(r#""build_s":61.0"#), "{report}");
        assert!(!report.contains("libc6"), "{report}");
    }

    #[test]
    fn keys_are_words() {
        assert_eq!(
            key("CoreDNS and local-path-provisioner"),
            "coredns-and-local-path-provisioner"
        );
        assert_eq!(key("Argo CD's applications"), "argo-cd-applications");
    }
}
