//! `demo`: runs one role of [`todo_demo`].

use std::error::Error;
use std::process::ExitCode;

use todo_demo::arguments::{Arguments, Role, default_role};
use todo_demo::kafka::{check, produce, worker};
use todo_demo::{backup, migrate, serve};
use todo_kit::lifecycle::stop_signal;
use todo_kit::process;

fn main() -> ExitCode {
    let consumes = std::env::var_os("KAFKA_GROUP_ID").is_some_and(|group| !group.is_empty());
    process::main(
        Some(default_role(consumes)),
        |arguments: &Arguments| &arguments.telemetry,
        run,
    )
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    match arguments.role {
        Role::Serve(options) => serve::run(options, stop_signal()).await?,
        Role::Worker(options) => worker::run(options, stop_signal()).await?,
        Role::Migrate(options) => migrate::run(&options).await?,
        Role::Backup(options) => backup::run(&options).await?,
        Role::Produce(options) => println!("{}", produce::run(&options, stop_signal()).await?),
        Role::Check(options) => {
            let report = check::run(options).await?;
            println!("{report}");
            report.verdict()?;
        }
    }
    Ok(())
}
