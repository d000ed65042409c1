//! `cargo xtask test`: what CI runs, and nothing else.

mod binaries;

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use localcluster::{Cache, Tools};

use crate::progress::{done, heading, shown};
use crate::repository::{cargo, root};
use crate::{codegen, e2e, prerequisites, simulation};

/// Arguments of `cargo xtask test`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Also what takes long.
    #[arg(long)]
    pub full: bool,
}

/// The feature with which tests that take long are built.
const PEERS: &str = "localcluster/test-peers";
/// Says to tests that they may take long.
const FULL: (&str, &str) = ("TODO_OPERATOR_TEST_FULL", "1");

/// Runs all checks, and stops at the first that fails.
pub fn run(args: &Args) -> Result<()> {
    let root = root()?;
    let begun = Instant::now();
    prerequisites::ensure(true)?;
    prerequisites::ensure_services()?;
    step(&root, "Formatting", &["fmt", "--all", "--check"])?;
    step(
        &root,
        "Lints",
        &[
            "clippy",
            "--workspace",
            "--all-targets",
            "--features",
            PEERS,
            "--",
            "-D",
            "warnings",
        ],
    )?;
    heading("Generated files");
    codegen::run(&codegen::Args { check: true })?;
    heading("Cluster tools");
    let tools = Tools::new(Cache::from_env());
    tools.ensure_all(shown().as_ref())?;
    tools.ensure_services(shown().as_ref())?;
    // Its tests only say that they need root, otherwise.
    if nix::unistd::geteuid().is_root() {
        prerequisites::ensure_real_node()?;
        tools.ensure_real_node(shown().as_ref())?;
    }
    heading("Tests");
    let full: &[_] = if args.full { &[FULL] } else { &[] };
    binaries::run(&root, full)?;
    play(&root, args.full)?;
    heading("Cases on a real node");
    if nix::unistd::geteuid().is_root() {
        e2e::test(args.full)?;
    } else {
        eprintln!("  left out: they need root");
    }
    if args.full {
        peers(&root)?;
        licences(&root)?;
    }
    done("everything passed", begun.elapsed());
    Ok(())
}

/// Installs the peers themselves, and uses them.
fn peers(root: &Path) -> Result<()> {
    prerequisites::ensure_peers()?;
    let test = [
        "test",
        "--package",
        "localcluster",
        "--features",
        PEERS,
        "--test",
        "peers",
    ];
    step(root, "Peers on a real node", &test)
}

fn step(root: &Path, name: &str, args: &[&str]) -> Result<()> {
    heading(name);
    let mut command = cargo(root);
    command.args(args);
    succeed(command, name)
}

/// Every field is changed and changed back in one long run: some 59,000 plans, which would take days.
const FIELDS_EVERY: &str = "1511";

/// Plays every scenario in the simulated Kubernetes with each fault at each point, and looks for the deliberate bugs.
fn play(root: &Path, full: bool) -> Result<()> {
    heading("Simulation: as the real API server");
    succeed(simulation::fidelity(root), "the comparison")?;
    heading("Simulation: every field changed and changed back");
    let name = "the simulation";
    succeed(
        simulation::command(root, &["replay", "fields", "--quiet"]),
        name,
    )?;
    heading("Simulation: every fault at every point");
    let more: &[&str] = if full { &["--pairs", "400"] } else { &[] };
    let faults: Vec<&str> = ["faults"].iter().chain(more).copied().collect();
    succeed(simulation::command(root, &faults), name)?;
    if full {
        heading("Simulation: faults while fields change");
        let fields = ["faults", "fields", "--every", FIELDS_EVERY];
        succeed(simulation::command(root, &fields), name)?;
    }
    heading("Simulation: deliberate bugs");
    succeed(simulation::command(root, &["mutants"]), name)
}

/// What checks licences and sources, and its version.
const DENY: &str = "cargo-deny";
const DENY_VERSION: &str = "0.20.2";

/// Without the advisories, whose database is on GitHub: the workflow checks those.
fn licences(root: &Path) -> Result<()> {
    heading("Licences and sources");
    let installed = Cache::from_env()
        .root()
        .join(format!("{DENY}-{DENY_VERSION}"));
    let program = installed.join("bin").join(DENY);
    if !program.exists() {
        let mut install = cargo(root);
        install
            .args(["install", "--locked", "--quiet", "--version", DENY_VERSION])
            .arg("--root")
            .arg(&installed)
            .arg(DENY);
        succeed(install, "cargo-deny")?;
    }
    let mut check = Command::new(program);
    check
        .current_dir(root)
        .args(["--offline", "check", "bans", "licenses", "sources"]);
    succeed(check, "cargo-deny")
}

fn succeed(mut command: Command, name: &str) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot run {:?}", command.get_program()))?;
    if !status.success() {
        bail!(
            "{name}: `{} {}` failed ({status})",
            command.get_program().to_string_lossy(),
            command
                .get_args()
                .map(|a| a.to_string_lossy())
                .collect::<Vec<_>>()
                .join(" ")
        );
    }
    Ok(())
}
