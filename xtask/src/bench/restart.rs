//! `restart`: how long a new operator takes until it has verified everything, and whether it writes anything for that.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::Args;
use super::operator::Operator;
use super::report::{Goal, Report, percentile};
use crate::progress::heading;

/// Restarts, of which the median time counts and every write.
const RESTARTS: usize = 5;

/// Measures.
pub async fn run(args: &Args, root: &Path, executable: &Path) -> Result<Report> {
    let (stage, mut operator) = super::idle::ready(args, root, executable).await?;
    heading(&format!("{RESTARTS} restarts"));
    let (mut seconds, mut cpu) = (Vec::new(), Vec::new());
    let mut audit = stage.audit()?;
    for _ in 0..RESTARTS {
        operator.stop()?;
        operator = stage.operator()?;
        let took = verified(&mut operator, args).await?;
        eprintln!("  {took:.2} s");
        seconds.push(took);
        cpu.push(operator.cpu_seconds()?);
        operator.until_quiet(Duration::from_secs(2)).await?;
    }
    let requests = audit.read()?;
    let writes = requests
        .iter()
        .filter(|request| request.is_operators() && request.is_write());
    let writes = writes
        .inspect(|request| eprintln!("  wrote {} {}", request.resource(), request.name()))
        .count();
    operator.stop()?;
    Ok(Report::default()
        .figure("seconds", percentile(&seconds, 0.5), Goal::AtMost(3.0))
        .figure("writes", writes as f64, Goal::AtMost(0.0))
        .figure("cpu_seconds", percentile(&cpu, 0.5), Goal::None))
}

/// Seconds from the start of the process until every application was reconciled.
async fn verified(operator: &mut Operator, args: &Args) -> Result<f64> {
    let all = f64::from(args.apps);
    let labels = "kind=\"TodoApp\",result=\"ok\"";
    let took = operator
        .until_metric("todo_operator_reconciles_total", labels, all)
        .await?;
    Ok(took.as_secs_f64())
}
