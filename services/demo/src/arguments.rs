//! The command line, which `--help` documents. Every option can be set by an environment variable too, because that is
//! how the operator hands things to a component: its own names, and what a release's `config` and the component's `env` say.

use std::ffi::OsString;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use jiff::SignedDuration;

use crate::kafka::{check, produce, worker};
use crate::{backup, migrate, serve};

/// A service that does little, can be told to do it badly, and says what it did.
///
/// Without a command it is a worker where KAFKA_GROUP_ID is set, as the operator does for whoever consumes a topic, and
/// serves HTTP otherwise. Durations are written as 500ms, 30s or 5m.
#[derive(Debug, Parser)]
#[command(name = "demo", version, override_usage = "demo [COMMAND] [OPTIONS]")]
struct Arguments {
    #[command(subcommand)]
    role: Role,
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

/// Reads the command line. `consumes` says whether the process is a worker where no command says what it is.
///
/// # Errors
/// If something is wrong with it; the error says where the value came from.
pub fn read(
    arguments: impl IntoIterator<Item = OsString>,
    consumes: bool,
) -> Result<Role, clap::Error> {
    let mut arguments: Vec<_> = arguments.into_iter().collect();
    if !names_a_command(arguments.get(1)) {
        let role = if consumes { "worker" } else { "serve" };
        arguments.insert(arguments.len().min(1), role.into());
    }
    let mut command = Arguments::command();
    let matches = command.try_get_matches_from_mut(&arguments);
    matches
        .and_then(|matches| Arguments::from_arg_matches(&matches))
        .map(|arguments| arguments.role)
        .map_err(|error| with_variable(error, &command))
}

fn names_a_command(first: Option<&OsString>) -> bool {
    const ABOUT_THE_WHOLE: [&str; 4] = ["-h", "--help", "-V", "--version"];
    first.and_then(|first| first.to_str()).is_some_and(|first| {
        ABOUT_THE_WHOLE.contains(&first) || !first.starts_with('-') && !first.is_empty()
    })
}

/// A wrong value mostly comes from a variable, whose name clap does not say.
fn with_variable(error: clap::Error, command: &Command) -> clap::Error {
    if !matches!(
        error.kind(),
        ErrorKind::ValueValidation | ErrorKind::InvalidValue | ErrorKind::MissingRequiredArgument
    ) {
        return error;
    }
    let named: Vec<&str> = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(name)) => vec![name],
        Some(ContextValue::Strings(names)) => names.iter().map(String::as_str).collect(),
        _ => return error,
    };
    let variables: Vec<_> = named
        .iter()
        .filter_map(|name| {
            let long = name.split([' ', '=']).next()?.strip_prefix("--")?;
            let mut arguments = command.get_subcommands().flat_map(Command::get_arguments);
            let argument = arguments.find(|argument| argument.get_long() == Some(long))?;
            let variable = argument.get_env()?.to_str()?;
            Some(format!("--{long} is also set by {variable}"))
        })
        .collect();
    if variables.is_empty() {
        return error;
    }
    let text = error.render().to_string();
    let text = text.trim_start_matches("error: ").trim_end();
    clap::Error::raw(
        error.kind(),
        format!("{text}\n\n{}\n", variables.join("\n")),
    )
}

/// Reads a duration such as `500ms`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = |reason: String| format!("{reason}; write a duration such as 500ms, 30s or 5m");
    let duration: SignedDuration = text
        .parse()
        .map_err(|error: jiff::Error| wrong(error.to_string()))?;
    Duration::try_from(duration).map_err(|_| wrong("it is negative".to_owned()))
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

/// Reads a text that may not be empty: Kubernetes hands an empty variable where nothing was meant.
pub(crate) fn name(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("it is empty".to_owned()),
        name => Ok(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str, consumes: bool) -> Result<Role, clap::Error> {
        let words = std::iter::once("demo").chain(words.split_whitespace());
        read(words.map(OsString::from), consumes)
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
    fn durations_and_shares_are_read() {
        assert_eq!(duration("1500ms"), Ok(Duration::from_millis(1_500)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        assert!(duration("-1s").is_err() && duration("").is_err() && duration("5").is_err());
        assert_eq!(percent("2.5"), Ok(2.5));
        assert_eq!(percent("7 %"), Ok(7.0));
        assert!(percent("NaN").is_err() && percent("-1").is_err());
        assert!(rate("0").is_err() && rate("inf").is_err());
    }
}
