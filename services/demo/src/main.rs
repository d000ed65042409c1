//! `demo`: runs one role of [`todo_demo`].

use std::error::Error;
use std::process::ExitCode;

use todo_demo::arguments::{self, Role};
use todo_demo::kafka::{check, produce, worker};
use todo_demo::lifecycle::stop_signal;
use todo_demo::{backup, migrate, serve};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

fn main() -> ExitCode {
    let consumes = std::env::var_os("KAFKA_GROUP_ID").is_some_and(|group| !group.is_empty());
    let role = match arguments::read(std::env::args_os(), consumes) {
        Ok(role) => role,
        Err(error) => error.exit(),
    };
    start_log();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "cannot start threads: look at the limits of the container");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(run(role));
    // What still blocks has had its time.
    runtime.shutdown_background();
    match result {
        Ok(code) => code,
        Err(error) => {
            // The last line of the log is what the operator shows of a container that failed.
            tracing::error!("{}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn run(role: Role) -> Result<ExitCode, Box<dyn Error>> {
    match role {
        Role::Serve(options) => serve::run(options, stop_signal()).await?,
        Role::Worker(options) => worker::run(options, stop_signal()).await?,
        Role::Migrate(options) => migrate::run(&options).await?,
        Role::Backup(options) => backup::run(&options).await?,
        Role::Produce(options) => println!("{}", produce::run(&options, stop_signal()).await?),
        Role::Check(options) => {
            let report = check::run(options).await?;
            println!("{report}");
            if !report.is_clean() {
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// One JSON object a line, to standard error.
fn start_log() {
    let json = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false);
    tracing_subscriber::registry()
        .with(LevelFilter::INFO)
        .with(json)
        .init();
}

/// An error and its causes, where they say more than it does.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
