//! `cargo xtask`: everything that a contributor runs.

mod bench;
mod codegen;
mod config_repo;
mod deploy;
mod down;
mod e2e;
mod image;
mod peer_models;
mod prerequisites;
mod progress;
mod release;
mod release_contracts;
mod repository;
mod simulation;
mod test;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::load;

#[derive(Parser, Debug)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Everything that a contributor runs",
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand, Debug)]
enum Task {
    /// Start the operator with a local Kubernetes and three stages of the demonstration app.
    Up(up::Args),
    /// Stop and remove everything that `up` has started.
    Down,
    /// Run everything that CI runs.
    Test(test::Args),
    /// Show on a real node, with the real peers, that what is promised happens.
    E2e(e2e::Args),
    /// Write what is generated from types in Rust: resource definitions, contracts, reference pages.
    Codegen(codegen::Args),
    /// Keep today's contracts of the services, for later versions to be compared with.
    ReleaseContracts,
    /// Write the container images of our programs, without a container engine.
    Image(image::Args),
    /// Measure the operator against a real API server.
    Bench(bench::Args),
    /// Send requests at a constant rate, and tell how long the answers took and who gave them.
    Load(load::Args),
    /// Play the peers that do not run here; started by `up`.
    #[command(hide = true)]
    PeerModels(peer_models::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Up(args) => up::run(args),
        Task::Down => down::run(),
        Task::Test(args) => test::run(&args),
        Task::E2e(args) => e2e::run(&args),
        Task::Codegen(args) => codegen::run(&args),
        Task::ReleaseContracts => release_contracts::run(),
        Task::Image(args) => image::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Load(args) => load::run(&args),
        Task::PeerModels(args) => peer_models::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
