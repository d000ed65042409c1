//! `cargo xtask up` and `down` as processes of their own, apart from the cluster that a person may have.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::up::state::State;
use crate::up::timeline::Times;

/// A place for one local cluster at a time; what runs in it when it is dropped is stopped.
pub struct Local {
    home: TempDir,
    /// Beside the place for the state.
    environment: Vec<(&'static str, OsString)>,
    is_up: bool,
}

/// One `up`.
pub struct Took {
    /// From its start to its end.
    pub seconds: f64,
    pub times: Times,
}

impl Local {
    /// A new place.
    pub fn new() -> Result<Self> {
        if let Some(obstacle) = localcluster::obstacle_to_real_node() {
            bail!("this is measured on a real node, and {obstacle}");
        }
        Ok(Self {
            home: tempfile::tempdir().context("cannot make a temporary directory")?,
            environment: Vec::new(),
            is_up: false,
        })
    }

    /// The same, where nothing was built before: neither the cluster's programs nor ours. What was downloaded stays.
    pub fn with_empty_caches(mut self) -> Self {
        for (variable, name) in [
            ("TODO_OPERATOR_CACHE", "tools"),
            ("GOCACHE", "go"),
            ("CARGO_TARGET_DIR", "target"),
        ] {
            let path = self.home.path().join(name);
            self.environment.push((variable, path.into_os_string()));
        }
        self
    }

    /// Where `up` keeps its state.
    pub fn state(&self) -> State {
        State::below(self.home.path())
    }

    /// Runs `up`, and says what it says to the terminal.
    pub async fn up(&mut self) -> Result<Took> {
        let mut up = tokio::process::Command::from(self.command("up")?);
        up.args(["--pods", "real"]);
        self.is_up = true;
        let begun = Instant::now();
        let status = up.status().await.context("cannot run `up`")?;
        let seconds = begun.elapsed().as_secs_f64();
        if !status.success() {
            bail!("`cargo xtask up` failed ({status}), see above");
        }
        let run = self.state().load()?.context("`up` has left no state")?;
        Ok(Took {
            seconds,
            times: run.times,
        })
    }

    /// Runs `down`.
    pub fn down(&mut self) -> Result<Duration> {
        self.is_up = false;
        let begun = Instant::now();
        let status = self.command("down")?.status();
        let status = status.context("cannot run `down`")?;
        if !status.success() {
            bail!("`cargo xtask down` failed ({status}), see above");
        }
        Ok(begun.elapsed())
    }

    fn command(&self, task: &str) -> Result<std::process::Command> {
        let this = std::env::current_exe().context("cannot find this program")?;
        let mut command = std::process::Command::new(this);
        command
            .arg(task)
            .env("XDG_STATE_HOME", self.home.path())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            // The last line of our own output is for programs.
            .stdout(std::io::stderr());
        Ok(command)
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        if self.is_up
            && let Err(error) = self.down()
        {
            eprintln!("{error:#}: {} is still there", self.home.path().display());
        }
    }
}
