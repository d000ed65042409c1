//! `cargo xtask bench NAME`.

use anyhow::{Result, bail};

/// Arguments of `cargo xtask bench`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// What to measure.
    pub name: String,
    /// Print the figures as one JSON object on the last line.
    #[arg(long)]
    pub json: bool,
}

/// Runs one measurement.
pub fn run(args: &Args) -> Result<()> {
    bail!("there is no measurement called {:?}", args.name)
}
