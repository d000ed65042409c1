//! `todoctl`: what a TodoApp becomes, how that differs from a cluster, how it is, and why.

mod cluster;
mod diff;
mod error;
mod lines;
mod manifest;
mod paint;
mod render;
mod retry;
mod source;
mod status;
mod tree;
mod wanted;
mod why;

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::cluster::{Cluster, Target};
use crate::error::{Error, Report};
use crate::paint::{Colour, Paint};

/// Exit code of a command that could not answer.
const FAILED: u8 = 2;

/// Shows what TodoApps become, how that differs from a cluster, how they are, and why.
#[derive(Parser, Debug)]
#[command(
    version,
    after_help = "Exit code: 0 yes, 1 no (diff: it differs; why: not ready; retry: refused), 2 no answer."
)]
struct Cli {
    #[command(flatten)]
    target: Target,
    /// Use colour; `auto` does on a terminal, unless $NO_COLOR is set
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    color: Colour,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Print everything that the operator would create, without a cluster
    Render(render::Render),
    /// Show what applying manifests would change in the cluster
    Diff(diff::Diff),
    /// Show environments and applications as a tree
    Status(status::Status),
    /// Say why something is not ready, down to the object that explains it
    Why(why::Why),
    /// Try again what was rejected
    Retry(retry::Retry),
    /// Print shell completions
    Completions {
        /// For which shell
        shell: Shell,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let paint = Paint::for_stdout(cli.color);
    match run(&cli, paint).await {
        Ok(report) => match print(&report.text) {
            Ok(()) if report.is_good => ExitCode::SUCCESS,
            Ok(()) => ExitCode::from(1),
            Err(error) => fail(&error),
        },
        Err(error) => fail(&error),
    }
}

async fn run(cli: &Cli, paint: Paint) -> Result<Report, Error> {
    match &cli.command {
        Command::Render(command) => render::run(command),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "todoctl", &mut script);
            Ok(Report::good(String::from_utf8_lossy(&script)))
        }
        Command::Diff(command) => {
            diff::run(command, &Cluster::connect(&cli.target).await?, paint).await
        }
        Command::Status(command) => {
            status::run(command, &Cluster::connect(&cli.target).await?, paint).await
        }
        Command::Why(command) => {
            why::run(command, &Cluster::connect(&cli.target).await?, paint).await
        }
        Command::Retry(command) => retry::run(command, &Cluster::connect(&cli.target).await?).await,
    }
}

fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // The reader has seen enough (`todoctl render … | head`).
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("todoctl: {error}");
    ExitCode::from(FAILED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
