//! The command line, which `--help` documents. Every option can be set by an environment variable too, because that is how
//! the operator hands things to a component.

use std::ffi::OsString;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, Parser};
use jiff::SignedDuration;

/// Reads the command line; without a command it is that of `default_command`.
///
/// # Errors
/// If something is wrong with it. The error says where the value came from.
pub fn read<T: Parser>(
    arguments: impl IntoIterator<Item = OsString>,
    default_command: Option<&str>,
) -> Result<T, clap::Error> {
    let mut arguments: Vec<_> = arguments.into_iter().collect();
    if let Some(command) = default_command
        && !names_a_command(arguments.get(1))
    {
        arguments.insert(arguments.len().min(1), command.into());
    }
    let mut command = T::command();
    let matches = command.try_get_matches_from_mut(&arguments);
    matches
        .and_then(|matches| T::from_arg_matches(&matches))
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
            let variable = find(command, long)?.get_env()?.to_str()?;
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

/// The argument of that name, of the command or of one below it.
fn find<'a>(command: &'a Command, long: &str) -> Option<&'a Arg> {
    let own = command
        .get_arguments()
        .find(|argument| argument.get_long() == Some(long));
    own.or_else(|| {
        command
            .get_subcommands()
            .find_map(|command| find(command, long))
    })
}

/// Reads a duration such as `500ms`.
///
/// # Errors
/// If it is none, or negative.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = |reason: String| format!("{reason}; write a duration such as 500ms, 30s or 5m");
    let duration: SignedDuration = text
        .parse()
        .map_err(|error: jiff::Error| wrong(error.to_string()))?;
    Duration::try_from(duration).map_err(|_| wrong("it is negative".to_owned()))
}

/// Reads a text that may not be empty: Kubernetes hands an empty variable where nothing was meant.
///
/// # Errors
/// If it is empty.
pub fn name(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("it is empty".to_owned()),
        name => Ok(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Subcommand;

    use super::*;

    #[derive(Debug, Parser)]
    struct Service {
        #[command(subcommand)]
        role: Role,
    }

    #[derive(Debug, Subcommand)]
    enum Role {
        Serve {
            #[arg(long, env = "KIT_TEST_PATIENCE", default_value = "3s", value_parser = duration)]
            patience: Duration,
            #[arg(long, env = "KIT_TEST_GROUP", value_parser = name)]
            group: String,
        },
        Migrate,
    }

    fn parse(words: &str) -> Result<Service, clap::Error> {
        let words = std::iter::once("service").chain(words.split_whitespace());
        read(words.map(OsString::from), Some("serve"))
    }

    #[test]
    fn without_a_command_it_is_the_default() {
        for words in ["--group g", "serve --group g"] {
            let service = parse(words).unwrap();
            assert!(matches!(service.role, Role::Serve { .. }), "{service:?}");
        }
        assert!(matches!(parse("migrate").unwrap().role, Role::Migrate));
        assert_eq!(parse("--help").unwrap_err().kind(), ErrorKind::DisplayHelp);
    }

    #[test]
    fn a_wrong_value_says_which_and_why_and_where_it_came_from() {
        let text = parse("--group g --patience soon").unwrap_err().to_string();
        for part in [
            "'soon'",
            "--patience",
            "500ms, 30s or 5m",
            "KIT_TEST_PATIENCE",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn what_is_missing_says_its_variable() {
        let text = parse("").unwrap_err().to_string();
        assert!(
            text.contains("--group is also set by KIT_TEST_GROUP"),
            "{text}"
        );
    }

    #[test]
    fn durations_are_read_and_empty_names_are_not() {
        assert_eq!(duration("1500ms"), Ok(Duration::from_millis(1_500)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        assert!(duration("-1s").is_err() && duration("").is_err() && duration("5").is_err());
        assert!(name(" ").is_err());
        assert_eq!(name(" a "), Ok("a".to_owned()));
    }
}
