//! `bench sim`: how many plans a minute the simulation plays, how alike it is to a real API server, and how many
//! deliberate bugs it catches.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::report::{Goal, Report};
use crate::simulation;

/// Plays what `cargo xtask test` plays, and counts.
pub fn run(root: &Path) -> Result<Report> {
    let mut figures = BTreeMap::new();
    for what in [&["faults"][..], &["mutants"]] {
        figures.extend(figures_of(simulation::command(root, what))?);
    }
    figures.extend(figures_of(simulation::fidelity(root))?);
    let figure = |name: &str| figures.get(name).copied().unwrap_or(f64::NAN);
    let mutants = figure("mutants");
    Ok(Report::default()
        .figure(
            "plans_per_min",
            figure("plans_per_min"),
            Goal::AtLeast(2_000.0),
        )
        .figure("plans_in_ci", figure("plans"), Goal::None)
        .figure("plans_failed", figure("failures"), Goal::AtMost(0.0))
        .figure(
            "fidelity_ops",
            figure("fidelity_ops"),
            Goal::AtLeast(100_000.0),
        )
        .figure(
            "fidelity_differences",
            figure("fidelity_differences"),
            Goal::AtMost(0.0),
        )
        .figure("mutants", mutants, Goal::AtLeast(20.0))
        .figure(
            "mutants_caught",
            figure("mutants_caught"),
            Goal::AtLeast(mutants),
        ))
}

/// Runs a program and takes the figures out of what it prints: a name and a number in a line.
fn figures_of(mut command: Command) -> Result<Vec<(String, f64)>> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    eprint!("{text}");
    let figure = |line: &str| {
        let (name, number) = line.split_once(' ')?;
        Some((name.to_owned(), number.parse().ok()?))
    };
    Ok(text.lines().filter_map(figure).collect())
}
