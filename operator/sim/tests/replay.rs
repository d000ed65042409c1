//! A plan decides everything: the same run, wherever and whenever it is played.
#![allow(clippy::unwrap_used, reason = "tests fail by panic")]

use todo_operator_sim::catalog;
use todo_operator_sim::plan::Plan;
use todo_operator_sim::scenario::Scenario;
use todo_operator_sim::suite;

fn timeline(scenario: &str, plan: &str) -> Vec<String> {
    let plan: Plan = plan.parse().unwrap();
    let report = suite::run(Scenario::find(scenario).unwrap(), &plan, true);
    assert_eq!(report.violation, None);
    assert_eq!(report.faults_met, plan.faults.len());
    let lines = report.timeline.into_iter();
    lines
        .map(|line| format!("{:?} {}", line.at, line.what))
        .collect()
}

#[test]
fn a_plan_is_played_again_line_by_line() {
    catalog::load().unwrap();
    let first = timeline("hand-edit", "3:crash-after@45");
    assert!(
        first.iter().any(|line| line.contains("operator-2 starts")),
        "{first:#?}"
    );
    // Something else in between must not matter.
    timeline("bad-beside-good", "4");
    assert_eq!(timeline("hand-edit", "3:crash-after@45"), first);
    assert_ne!(
        timeline("hand-edit", "5:crash-after@45"),
        first,
        "another seed"
    );
}
