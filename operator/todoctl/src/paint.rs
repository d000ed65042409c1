//! Colour, where the reader is a terminal, and text from the cluster made safe to show.

use std::io::IsTerminal;

use clap::ValueEnum;
use owo_colors::{OwoColorize, Style};

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Paints text, or leaves it as it is.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    enabled: bool,
}

impl Paint {
    /// Decides by what was asked for, by `NO_COLOR` (<https://no-color.org>) and by whether standard output is a terminal.
    pub fn for_stdout(colour: Colour) -> Self {
        let enabled = match colour {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => {
                std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
                    && std::io::stdout().is_terminal()
            }
        };
        Self { enabled }
    }

    /// No colour.
    #[cfg(test)]
    pub const fn plain() -> Self {
        Self { enabled: false }
    }

    fn with(self, style: Style, text: &str) -> String {
        if self.enabled {
            text.style(style).to_string()
        } else {
            text.to_owned()
        }
    }

    /// What is fine, or is added.
    pub fn good(self, text: &str) -> String {
        self.with(Style::new().green(), text)
    }

    /// What is wrong, or is removed.
    pub fn bad(self, text: &str) -> String {
        self.with(Style::new().red(), text)
    }

    /// What is on its way, or waits.
    pub fn busy(self, text: &str) -> String {
        self.with(Style::new().yellow(), text)
    }

    /// What is looked for first.
    pub fn strong(self, text: &str) -> String {
        self.with(Style::new().bold(), text)
    }

    /// What is looked at last.
    pub fn faint(self, text: &str) -> String {
        self.with(Style::new().dimmed(), text)
    }

    /// Where a hunk of a difference begins.
    pub fn place(self, text: &str) -> String {
        self.with(Style::new().cyan(), text)
    }
}

/// `text` without control characters but line breaks: what a container or a controller says must not command the
/// terminal.
pub fn quoted(text: &str) -> String {
    text.trim_end()
        .chars()
        .filter(|c| !c.is_control() || *c == '\n')
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_added_only_where_it_is_wanted() {
        assert_eq!(Paint::plain().bad("no"), "no");
        assert_eq!(
            Paint::for_stdout(Colour::Always).bad("no"),
            "\u{1b}[31mno\u{1b}[0m"
        );
        assert_eq!(Paint::for_stdout(Colour::Never).bad("no"), "no");
    }

    #[test]
    fn what_others_say_cannot_command_the_terminal() {
        assert_eq!(quoted("a\u{1b}[2Jb\r\nc\u{9b}1m\n"), "a[2Jb\nc1m");
    }
}
