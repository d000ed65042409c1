//! What `up` remembers between runs.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::parts::Pods;
use super::timeline::Times;

/// The directory of everything that `up` writes and `down` removes.
#[derive(Debug, Clone)]
pub struct State {
    dir: PathBuf,
}

/// One `up`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
// What another version of this program has started can be stopped by this one.
#[serde(default)]
pub struct Run {
    /// The context of the user's cluster; none for the local one.
    pub context: Option<String>,
    /// What the pods of the local cluster are.
    pub pods: Option<Pods>,
    /// Where the operator serves its health and metrics.
    pub operator_port: u16,
    /// When the binary that the operator runs was built, in nanoseconds since 1970: a newer one replaces it.
    pub operator_built: u128,
    /// How long the last one took.
    pub times: Times,
}

impl State {
    /// That of `up`.
    pub fn locate() -> Self {
        Self::named("local")
    }

    /// `todo-operator/NAME` in `$XDG_STATE_HOME`, else in `~/.local/state`.
    pub fn named(name: &str) -> Self {
        let base = env::var_os("XDG_STATE_HOME")
            .map(PathBuf::from)
            .filter(|dir| dir.is_absolute());
        let home = || PathBuf::from(env::var_os("HOME").unwrap_or_else(|| "/".into()));
        let base = base.unwrap_or_else(|| home().join(".local/state"));
        Self {
            dir: base.join("todo-operator").join(name),
        }
    }

    /// That of an `up` for which `$XDG_STATE_HOME` is `base`.
    pub fn below(base: &Path) -> Self {
        Self {
            dir: base.join("todo-operator/local"),
        }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The kubeconfig with which the operator runs.
    pub fn operator_kubeconfig(&self) -> PathBuf {
        self.dir.join("operator.kubeconfig")
    }

    fn file(&self) -> PathBuf {
        self.dir.join("up.json")
    }

    /// What the last `up` has written, if it still stands.
    pub fn load(&self) -> Result<Option<Run>> {
        let path = self.file();
        if !path.exists() {
            return Ok(None);
        }
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let run = serde_json::from_str(&text).with_context(|| {
            format!(
                "{} is damaged: remove {}",
                path.display(),
                self.dir.display()
            )
        })?;
        Ok(Some(run))
    }

    pub fn save(&self, run: &Run) -> Result<()> {
        fs::create_dir_all(&self.dir)
            .with_context(|| format!("cannot create {}", self.dir.display()))?;
        let path = self.file();
        fs::write(&path, serde_json::to_string(run)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let state = State {
            dir: dir.path().join("local"),
        };
        assert_eq!(state.load().unwrap(), None);
        let run = Run {
            context: Some("kind".to_owned()),
            pods: Some(Pods::Modelled),
            operator_port: 7,
            operator_built: 1,
            times: Times {
                ready: [("operator".to_owned(), 1.5)].into(),
                ..Times::default()
            },
        };
        state.save(&run).unwrap();
        assert_eq!(state.load().unwrap(), Some(run));
    }
}
