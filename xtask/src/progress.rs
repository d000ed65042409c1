//! Shows builds and starts: bars on a terminal, plain lines elsewhere.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use localcluster::{Event, Progress};
use owo_colors::{OwoColorize as _, Stream::Stderr};

/// Receives the local cluster's progress.
pub struct Shown {
    bars: Option<MultiProgress>,
    open: Mutex<HashMap<String, ProgressBar>>,
}

/// A receiver that suits standard error.
pub fn shown() -> Arc<Shown> {
    let bars = std::io::stderr().is_terminal().then(MultiProgress::new);
    Arc::new(Shown {
        bars,
        open: Mutex::default(),
    })
}

/// A heading above a group of steps.
pub fn heading(text: &str) {
    eprintln!("{}", text.if_supports_color(Stderr, |t| t.bold()));
}

/// One thing done.
pub fn done(what: &str, took: Duration) {
    eprintln!("{}", done_line(what, took));
}

fn done_line(what: &str, took: Duration) -> String {
    format!(
        "  {} {what} {}",
        "✓".if_supports_color(Stderr, |t| t.green()),
        seconds(took).if_supports_color(Stderr, |t| t.dimmed())
    )
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants below; a default bar is no reason to stop.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Shown {
    fn say(&self, line: &str) {
        match &self.bars {
            Some(bars) => bars.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }

    fn begin(&self, what: &str, steps: Option<u64>) {
        let Some(bars) = &self.bars else {
            return eprintln!("  building {what} …");
        };
        let bar = match steps {
            Some(steps) => ProgressBar::new(steps).with_style(style(
                "  {msg:40} {bar:30} {pos:>5}/{len} packages {elapsed:>5}",
            )),
            None => ProgressBar::new_spinner().with_style(style("  {msg:40} {spinner} {elapsed}")),
        };
        let bar = bars.add(bar.with_message(what.to_owned()));
        bar.enable_steady_tick(Duration::from_millis(200));
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(what.to_owned(), bar);
    }
}

impl Progress for Shown {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Begin { what, steps } => self.begin(what, steps),
            Event::Step { what, .. } => {
                if let Some(bar) = self
                    .open
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .get(what)
                {
                    bar.inc(1);
                }
            }
            Event::End { what, took } => {
                if let Some(bar) = self
                    .open
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .remove(what)
                {
                    bar.finish_and_clear();
                }
                self.say(&done_line(what, took));
            }
            Event::Ready { what, took } => self.say(&done_line(&format!("{what} ready"), took)),
            // Other events are for other receivers.
            _ => {}
        }
    }
}
