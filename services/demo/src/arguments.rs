//! The command line, which `--help` documents. Every option can be set by an environment variable too, because that is
//! how the operator hands things to a component: its own names, and what a release's `config` and the component's `env` say.

use clap::{Parser, Subcommand};
use todo_kit::telemetry;

use crate::kafka::{check, produce, worker};
use crate::{backup, migrate, serve};

/// A service that does little, can be told to do it badly, and says what it did.
///
/// Without a command it is a worker where KAFKA_GROUP_ID is set, as the operator does for whoever consumes a topic, and
/// serves HTTP otherwise. Durations are written as 500ms, 30s or 5m.
#[derive(Debug, Parser)]
#[command(name = "demo", version, override_usage = "demo [COMMAND] [OPTIONS]")]
pub struct Arguments {
    /// What the process is.
    #[command(subcommand)]
    pub role: Role,
    /// What it tells of itself.
    #[command(flatten)]
    pub telemetry: telemetry::Options,
}

/// What the process is.
#[derive(Debug, Subcommand)]
pub enum Role {
    /// Answer HTTP; with a database (PGHOST), or the address of who has one (SERVICE_API), entries too.
    Serve(serve::Options),
    /// Process the messages of a topic, in order for each key and at least once.
    Worker(worker::Options),
    /// Make the tables, and end; nothing happens where they are already there.
    Migrate(migrate::Options),
    /// Write all entries to standard output, one JSON object a line, and end.
    Backup(backup::Options),
    /// Write numbered messages to a topic, so many a second.
    Produce(produce::Options),
    /// Compare what was produced with what workers recorded; fails if a message was lost or out of order.
    Check(check::Options),
}

/// The role of a process that is told no command.
#[must_use]
pub const fn default_role(consumes: bool) -> &'static str {
    if consumes { "worker" } else { "serve" }
}

/// Reads a share in per cent.
pub(crate) fn percent(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').trim().parse::<f64>() {
        Ok(share) if (0.0..=100.0).contains(&share) => Ok(share),
        Ok(_) => Err("it is not between 0 and 100".to_owned()),
        Err(_) => Err("it is no number; write a share in per cent such as 2.5".to_owned()),
    }
}

/// Reads a rate, in events a second.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= 1e6 => Ok(rate),
        Ok(_) => Err("it is not above 0 and at most 1000000 a second".to_owned()),
        Err(_) => Err("it is no number of events a second".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use clap::CommandFactory as _;
    use clap::error::ErrorKind;
    use todo_kit::arguments::read;

    use super::*;

    fn parse(words: &str, consumes: bool) -> Result<Role, clap::Error> {
        let words = std::iter::once("demo").chain(words.split_whitespace());
        let words = words.map(OsString::from);
        read::<Arguments>(words, Some(default_role(consumes))).map(|arguments| arguments.role)
    }

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn without_a_command_it_is_what_the_operator_made_it() {
        assert!(matches!(parse("", false), Ok(Role::Serve(_))));
        assert!(matches!(parse("--latency 1s", false), Ok(Role::Serve(_))));
        let worker = parse("--kafka k:1 --group g --topic t", true);
        assert!(matches!(worker, Ok(Role::Worker(_))), "{worker:?}");
        assert!(matches!(parse("migrate", true), Ok(Role::Migrate(_))));
        assert!(matches!(parse("backup", false), Ok(Role::Backup(_))));
        let version = parse("--version", true).unwrap_err();
        assert_eq!(version.kind(), ErrorKind::DisplayVersion);
    }

    #[test]
    fn a_wrong_value_says_which_and_why_and_where_it_came_from() {
        let text = parse("serve --error-percent 120", false)
            .unwrap_err()
            .to_string();
        assert!(text.contains("'120' for '--error-percent"), "{text}");
        assert!(text.contains("it is not between 0 and 100"), "{text}");
        assert!(text.contains("DEMO_ERROR_PERCENT"), "{text}");
        let text = parse("serve --latency fast", false)
            .unwrap_err()
            .to_string();
        assert!(text.contains("500ms, 30s or 5m"), "{text}");
        assert!(text.contains("DEMO_LATENCY"), "{text}");
    }

    #[test]
    fn shares_and_rates_are_read() {
        assert_eq!(percent("2.5"), Ok(2.5));
        assert_eq!(percent("7 %"), Ok(7.0));
        assert!(percent("NaN").is_err() && percent("-1").is_err());
        assert!(rate("0").is_err() && rate("inf").is_err());
    }
}
