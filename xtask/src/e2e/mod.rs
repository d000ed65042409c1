//! `cargo xtask e2e`: cases on a real node with the real peers, each of which leaves a timeline as text and as a picture.

mod answers;
mod case;
mod cases;
mod delivery;
mod objects;
mod platform;
mod recorder;
mod replicas;
mod stage;
mod tasks;
mod timeline;
mod users;
mod watch;
mod web;
mod weights;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::builder::PossibleValuesParser;
use localcluster::peers::Product;
use tokio::task::LocalSet;

use self::case::{CASES, Case, Context};
use self::platform::Platform;
use self::recorder::Recorder;
use crate::prerequisites;
use crate::progress::{done, heading};
use crate::up::state::State;

/// Arguments of `cargo xtask e2e`.
#[derive(clap::Args, Debug, Default)]
pub struct Args {
    /// Which cases; all if none is named.
    #[arg(value_name = "NAME", value_parser = PossibleValuesParser::new(CASES.iter().map(|case| case.name)))]
    names: Vec<String>,
    /// Only name the cases.
    #[arg(long, conflicts_with_all = ["names", "quick", "keep", "output"])]
    list: bool,
    /// Only those that `cargo xtask test` runs.
    #[arg(long, conflicts_with = "names")]
    quick: bool,
    /// Keep the cluster for the next run; `cargo xtask e2e --end` removes it.
    #[arg(long)]
    keep: bool,
    /// Remove the cluster that was kept.
    #[arg(long, conflicts_with_all = ["names", "quick", "keep", "output", "list"])]
    end: bool,
    /// Where to put the timelines [default: `target/e2e`].
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// Runs the cases that are asked for, all of them whatever becomes of one.
pub fn run(args: &Args) -> Result<()> {
    if args.list {
        for case in CASES {
            let quick = if case.is_quick { "quick" } else { "" };
            println!("{:18} {quick:6} {}", case.name, case.shows);
        }
        return Ok(());
    }
    let state = State::named("e2e");
    if args.end {
        let stopped = localcluster::stop_all(state.dir(), &[])?;
        println!("{} processes were stopped.", stopped.len());
        return Ok(());
    }
    ensure_prerequisites()?;
    let output = match &args.output {
        Some(output) => output.clone(),
        None => output_folder()?,
    };
    let wanted: Vec<&Case> = CASES
        .into_iter()
        .filter(|case| is_wanted(case, args))
        .collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let kept = args.keep.then(|| state.dir());
    let outcome = runtime.block_on(start_and_run(kept, &wanted, &output))?;
    runtime.shutdown_background();
    outcome.check(wanted.len())
}

/// Runs one case on a cluster of its own, and gives what it has measured.
pub async fn measure(name: &str) -> Result<BTreeMap<&'static str, f64>> {
    ensure_prerequisites()?;
    let case = CASES.into_iter().find(|case| case.name == name);
    let case = case.with_context(|| format!("there is no case {name:?}"))?;
    let outcome = start_and_run(None, &[case], &output_folder()?).await?;
    outcome.check(1)?;
    Ok(outcome.figures)
}

fn ensure_prerequisites() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("a real node needs root: run cargo by `sudo -E`");
    }
    prerequisites::ensure(true)?;
    prerequisites::ensure_real_node()?;
    prerequisites::ensure_peers()
}

fn output_folder() -> Result<PathBuf> {
    Ok(crate::repository::root()?.join("target/e2e"))
}

/// What became of the cases.
#[derive(Default)]
struct Outcome {
    /// Names of those that failed.
    failed: Vec<String>,
    /// What the others have measured.
    figures: BTreeMap<&'static str, f64>,
}

impl Outcome {
    fn check(&self, of: usize) -> Result<()> {
        let failed = &self.failed;
        if !failed.is_empty() {
            bail!(
                "{} of {of} cases failed: {}",
                failed.len(),
                failed.join(", ")
            );
        }
        Ok(())
    }
}

/// What `cargo xtask test` runs: the quick ones, or all.
pub fn test(full: bool) -> Result<()> {
    run(&Args {
        quick: !full,
        ..Args::default()
    })
}

fn is_wanted(case: &Case, args: &Args) -> bool {
    let is_named = args.names.is_empty() || args.names.iter().any(|name| name == case.name);
    is_named && (case.is_quick || !args.quick)
}

/// What all of these cases need, in the order of [`Product::ALL`].
fn products(cases: &[&Case]) -> Vec<Product> {
    let needs = |product: &Product| cases.iter().any(|case| case.needs.contains(product));
    Product::ALL.into_iter().filter(needs).collect()
}

async fn start_and_run(kept: Option<&Path>, cases: &[&Case], output: &Path) -> Result<Outcome> {
    // What looks on does so on this thread; the users' requests go over the others.
    let all = async {
        let platform = Platform::start(kept, &products(cases)).await?;
        run_all(platform, cases, output).await
    };
    LocalSet::new().run_until(all).await
}

async fn run_all(mut platform: Platform, cases: &[&Case], output: &Path) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    for case in cases {
        heading(&format!("Case {}: {}", case.name, case.shows));
        let begun = Instant::now();
        let context = Context {
            name: case.name,
            platform,
            record: Recorder::new(&format!("{}: {}", case.name, case.shows)),
        };
        let result = (case.run)(&context).await;
        match &result {
            Ok(()) => context.record.mark("case", "it is as it should be"),
            Err(error) => context.record.mark("case", format!("FAILED: {error:#}")),
        }
        write(&context.record, &output.join(case.name))?;
        match result {
            Ok(()) => {
                done(case.name, begun.elapsed());
                outcome.figures.extend(context.record.figures());
            }
            Err(_) => outcome.failed.push(case.name.to_owned()),
        }
        platform = context.platform;
    }
    Ok(outcome)
}

fn write(record: &Recorder, folder: &Path) -> Result<()> {
    let timeline = record.timeline();
    let files = [
        ("timeline.txt", timeline.text()),
        ("timeline.svg", timeline.picture()),
    ];
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for (name, content) in files {
        let file = folder.join(name);
        fs::write(&file, content).with_context(|| format!("cannot write {}", file.display()))?;
        eprintln!("  {}", file.display());
    }
    Ok(())
}
