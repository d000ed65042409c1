//! `memory`: what an application costs while it is kept in memory.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::report::{Goal, Report};
use super::stage::{Beside, Stage};
use super::{Args, fixture};
use crate::progress::heading;

/// The operator is at rest when it was for so long.
const QUIET: Duration = Duration::from_secs(5);

/// Measures.
pub async fn run(args: &Args, root: &Path, executable: &Path) -> Result<Report> {
    let apps = usize::from(args.apps);
    let beside = if args.controllers {
        Beside::Everything
    } else {
        Beside::Nothing
    };
    let stage = Stage::set(root, executable, beside, 2 * apps).await?;
    let mut operator = stage.operator()?;
    operator
        .until_metric("todo_operator_leader", "", 1.0)
        .await?;
    let mut resident = Vec::new();
    for (from, to) in [(0, 0), (0, apps), (apps, 2 * apps)] {
        heading(&format!("{to} applications"));
        stage.create_apps(from..to).await?;
        let children = (to * fixture::CHILDREN) as f64;
        operator
            .until_metric("todo_operator_writes_total", "", children)
            .await?;
        if args.controllers {
            stage.until_ready(to).await?;
        }
        operator.until_quiet(QUIET).await?;
        let mib = operator.resident_mib()?;
        eprintln!("  {mib:.1} MiB");
        resident.push(mib);
    }
    operator.stop()?;
    // The same after a restart: what was allocated on the way here is gone.
    let mut again = stage.operator()?;
    let all = f64::from(args.apps) * 2.0;
    again
        .until_metric(
            "todo_operator_reconciles_total",
            "kind=\"TodoApp\",result=\"ok\"",
            all,
        )
        .await?;
    again.until_quiet(QUIET).await?;
    let restarted = again.resident_mib()?;
    again.stop()?;
    let [none, half, full] = resident[..] else {
        anyhow::bail!("{} samples instead of 3", resident.len());
    };
    Ok(Report::default()
        .figure(
            "mib_per_1000_apps",
            (full - none) * 1_000.0 / all,
            Goal::AtMost(20.0),
        )
        .figure("mib_at_0", none, Goal::None)
        .figure("mib_at_500", half, Goal::AtMost(25.0))
        .figure("mib_at_1000", full, Goal::None)
        .figure("mib_at_1000_after_restart", restarted, Goal::None))
}
