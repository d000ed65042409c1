//! `idle`: what the operator asks of the API server and of the machine while nothing happens.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::Args;
use super::operator::Operator;
use super::report::{Goal, Report};
use super::stage::{Beside, Stage};
use crate::progress::heading;

/// Measures.
pub async fn run(args: &Args, root: &Path, executable: &Path) -> Result<Report> {
    let (stage, operator) = ready(args, root, executable).await?;
    heading(&format!("Counting for {} min", args.minutes));
    let mut audit = stage.audit()?;
    let cpu = operator.cpu_seconds()?;
    tokio::time::sleep(Duration::from_secs(60 * args.minutes)).await;
    let cpu = operator.cpu_seconds()? - cpu;
    let requests = audit.read()?;
    let ours = || requests.iter().filter(|request| request.is_operators());
    let mut written: BTreeMap<String, usize> = BTreeMap::new();
    for request in ours().filter(|request| request.is_write()) {
        *written.entry(request.resource()).or_default() += 1;
    }
    for (resource, count) in &written {
        eprintln!("  {count} writes of {resource}");
    }
    let reads = ours()
        .filter(|request| matches!(request.verb.as_str(), "get" | "list"))
        .count();
    operator.stop()?;
    Ok(Report::default()
        .figure(
            "writes",
            written.values().sum::<usize>() as f64,
            Goal::AtMost(0.0),
        )
        .figure("reads", reads as f64, Goal::None)
        .figure("cpu_seconds", cpu, Goal::None)
        .figure("minutes", args.minutes as f64, Goal::None))
}

/// A cluster in which every application is Ready and the operator has nothing left to do.
pub async fn ready(args: &Args, root: &Path, executable: &Path) -> Result<(Stage, Operator)> {
    let apps = usize::from(args.apps);
    let stage = Stage::set(root, executable, Beside::Everything, apps).await?;
    heading(&format!("Bringing up {apps} applications"));
    let operator = stage.operator()?;
    stage.create_apps(0..apps).await?;
    stage.until_ready(apps).await?;
    eprintln!(
        "  all are Ready after {:.0} s",
        operator.age().as_secs_f64()
    );
    operator.until_quiet(Duration::from_secs(5)).await?;
    Ok((stage, operator))
}
