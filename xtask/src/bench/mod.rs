//! `cargo xtask bench NAME`: measures the operator against a real API server, and says how that compares with its goals.
//!
//! Operator and load run optimised: the first thing that a bench does is to build both and to go on in the release build
//! of this program, because a slow load would flatter the operator that it is compared with.

mod apply;
mod audit;
mod cpu;
mod fixture;
mod idle;
mod load;
mod local;
mod memory;
mod operator;
mod report;
mod rest;
mod restart;
mod sim;
mod stage;
mod up;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::ValueEnum;
use tokio::signal::unix::{SignalKind, signal};

use self::report::{Goal, Report};
use crate::{e2e, prerequisites, release, repository};

/// Arguments of `cargo xtask bench`.
#[derive(clap::Args, Debug, Clone)]
pub struct Args {
    /// What to measure.
    pub name: Bench,
    /// Print the figures as one JSON object on the last line.
    #[arg(long)]
    pub json: bool,
    /// Applications; `memory` ends with twice as many.
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=5_000))]
    pub apps: u16,
    /// `apply`: run the controller manager beside the API server, whose writes share the machine with ours.
    /// `memory`: run all controllers and a node, so that pods are in memory too.
    #[arg(long)]
    pub controllers: bool,
    /// Measure this binary of the operator, built with symbols for a profiler perhaps, instead of the release build.
    #[arg(long, value_name = "PATH")]
    pub operator: Option<PathBuf>,
    /// `up`: also with empty caches, as on a new machine; takes most of an hour and some 15 GB.
    #[arg(long)]
    pub cold: bool,
    /// `idle`: how long writes are counted.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub minutes: u64,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Bench {
    /// Children written per second against a bare load of the same objects, and how long one application takes.
    Apply,
    /// Writes and CPU while nothing happens.
    Idle,
    /// Time and writes until everything is verified again after a restart.
    Restart,
    /// Resident memory by applications.
    Memory,
    /// How long `cargo xtask up` takes on a real node, until each part is ready.
    Up,
    /// Resident memory of each part of `cargo xtask up` on a real node, at rest.
    Rest,
    /// How far the measured weight of a canary is from what was asked for, at worst, in percentage points.
    Canary,
    /// Seconds from the first lag that is too high until another worker is ready.
    ScaleOut,
    /// Seconds without an acknowledged write when the PostgreSQL primary dies.
    Failover,
    /// Plans that the simulation plays in a minute, its likeness to a real API server, and the bugs that it catches.
    Sim,
}

impl Bench {
    /// Its name on the command line and in the JSON object.
    const fn name(self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::Idle => "idle",
            Self::Restart => "restart",
            Self::Memory => "memory",
            Self::Up => "up",
            Self::Rest => "rest",
            Self::Canary => "canary",
            Self::ScaleOut => "scale-out",
            Self::Failover => "failover",
            Self::Sim => "sim",
        }
    }
}

/// Runs one measurement.
pub fn run(args: &Args) -> Result<()> {
    let root = repository::root()?;
    let report = match args.name {
        Bench::Apply => of_operator(args, &root, apply::run),
        Bench::Idle => of_operator(args, &root, idle::run),
        Bench::Restart => of_operator(args, &root, restart::run),
        Bench::Memory => of_operator(args, &root, memory::run),
        // What these measure are processes of their own.
        Bench::Up => interruptible(up::run(args.cold)),
        Bench::Rest => interruptible(rest::run()),
        Bench::Canary => interruptible(of_case("ladder", Goal::AtMost(1.0))),
        Bench::ScaleOut => interruptible(of_case("scale-out", Goal::None)),
        Bench::Failover => interruptible(of_case("failover", Goal::None)),
        Bench::Sim => sim::run(&root),
    };
    finish(args, &report?);
    Ok(())
}

/// What a case on a real node measures.
async fn of_case(name: &str, goal: Goal) -> Result<Report> {
    let figures = e2e::measure(name).await?.into_iter();
    Ok(figures.fold(Report::default(), |report, (name, value)| {
        report.figure(name, value, goal)
    }))
}

/// Measures an operator in the release build of this program.
fn of_operator(
    args: &Args,
    root: &Path,
    bench: impl AsyncFnOnce(&Args, &Path, &Path) -> Result<Report>,
) -> Result<Report> {
    if release::is_debug_build() {
        prerequisites::ensure(true)?;
        release::continue_in(root)?;
    }
    let executable = match &args.operator {
        Some(operator) => operator
            .canonicalize()
            .with_context(|| format!("cannot find {}", operator.display()))?,
        None => release::operator(root)?,
    };
    interruptible(bench(args, root, &executable))
}

/// An interrupted bench is dropped, and what it has started with it.
fn interruptible(bench: impl Future<Output = Result<Report>>) -> Result<Report> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let report = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            report = bench => report.map(Some),
            _ = interrupt.recv() => Ok(None),
            _ = terminate.recv() => Ok(None),
        }
    });
    runtime.shutdown_background();
    if let Some(report) = report? {
        return Ok(report);
    }
    eprintln!("\nInterrupted: everything that was started is stopped.");
    std::process::exit(130);
}

fn finish(args: &Args, report: &Report) {
    if args.json {
        eprintln!("{}", report.table());
        println!("{}", report.json(args.name.name()));
    } else {
        println!("{}", report.table());
    }
}
