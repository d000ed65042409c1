//! A service's process: its runtime, its telemetry, its admin port, its end.

use std::error::Error;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Args, Parser};

use crate::admin::{self, Admin, CannotListen};
use crate::arguments;
use crate::identity::Identity;
use crate::lifecycle::{Lifecycle, Patience, Readiness, stop_signal};
use crate::metrics::Metrics;
use crate::telemetry::{self, chain};

/// Options of every service that runs until it is stopped.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct Options {
    /// Who it is.
    #[command(flatten)]
    pub identity: Identity,
    /// Address of probes and metrics.
    #[arg(
        long,
        env = "ADMIN_LISTEN",
        value_name = "ADDRESS",
        default_value = "0.0.0.0:9090"
    )]
    pub admin_listen: SocketAddr,
    /// How it ends.
    #[command(flatten)]
    pub patience: Patience,
}

/// What the parts of a service share.
#[derive(Clone, Debug)]
pub struct Process {
    /// How far it is.
    pub lifecycle: Lifecycle,
    /// Whether it is ready.
    pub readiness: Readiness,
    /// What it counts.
    pub metrics: Metrics,
}

impl Process {
    /// Serves the admin port, and begins to end when the process is told to.
    ///
    /// # Errors
    /// If the port cannot be had.
    pub async fn start(options: &Options) -> Result<Self, CannotListen> {
        let (lifecycle, metrics) = (Lifecycle::default(), Metrics::default());
        let readiness = Readiness::new(lifecycle.clone());
        let admin = Admin {
            readiness: readiness.clone(),
            metrics: metrics.clone(),
        };
        admin::start(options.admin_listen, "ADMIN_LISTEN", admin).await?;
        let (ending, delay) = (lifecycle.clone(), options.patience.shutdown_delay);
        tokio::spawn(async move { ending.end(stop_signal(), delay).await });
        Ok(Self {
            lifecycle,
            readiness,
            metrics,
        })
    }
}

/// Runs a program: reads its command line, begins to log and trace, runs it, and tells how it ended.
pub fn main<T: Parser, F: Future<Output = Result<(), Box<dyn Error>>>>(
    default_command: Option<&str>,
    telemetry_of: impl FnOnce(&T) -> &telemetry::Options,
    run: impl FnOnce(T) -> F,
) -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    let arguments = match arguments::read::<T>(words, default_command) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start threads: {error}; look at the limits of the container");
            return ExitCode::FAILURE;
        }
    };
    let entered = runtime.enter();
    let telemetry = match telemetry::start(telemetry_of(&arguments)) {
        Ok(telemetry) => telemetry,
        Err(error) => {
            eprintln!("{}", chain(&error));
            return ExitCode::FAILURE;
        }
    };
    drop(entered);
    let result = runtime.block_on(run(arguments));
    if let Err(error) = &result {
        // The last line of the log is what the operator shows of a container that failed.
        tracing::error!("{}", chain(error.as_ref()));
    }
    telemetry.end();
    // What still blocks has had its time.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
