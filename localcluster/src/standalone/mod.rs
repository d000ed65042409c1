//! Servers without a Kubernetes around them: what the services need. Each lives as long as its value, in a directory of its
//! own, and can be killed and started again on the same data and the same port.

mod broker;
mod daprd;
mod postgres;
mod program;
mod shared;
mod valkey;

pub use broker::Broker;
pub use daprd::{Daprd, Sidecar};
pub use postgres::{Postgres, Proof};
pub use program::Program;
pub use shared::Shared;
pub use valkey::Valkey;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::process::{Directory, Life, Process, Spec, tail};
use crate::state;

const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(30);

/// A process in a directory of its own.
#[derive(Debug)]
struct Server {
    state: PathBuf,
    directory: Directory,
    process: Option<Process>,
}

impl Server {
    /// A directory for it; nothing runs yet.
    fn new() -> Result<Self> {
        let state = state::temporary()?;
        fs::create_dir_all(&state).map_err(Error::io("create", &state))?;
        let directory = Directory::open(&state)?;
        Ok(Self {
            state,
            directory,
            process: None,
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.state.join(name)
    }

    fn log(&self, name: &str) -> PathBuf {
        self.directory.log(name)
    }

    /// Starts it, and waits until it is ready.
    async fn launch<F: Future<Output = bool> + Send>(
        &mut self,
        spec: &Spec,
        is_ready: impl Fn() -> F + Send,
    ) -> Result<()> {
        let process = self.directory.spawn(spec, Life::Attached)?;
        let process = self.process.insert(process);
        let deadline = Instant::now() + PATIENCE;
        while !is_ready().await {
            let log = process.log().to_owned();
            if !process.is_alive() {
                return Err(Error::Ended {
                    part: spec.name.clone(),
                    tail: tail(&log),
                    log,
                });
            }
            if Instant::now() >= deadline {
                return Err(Error::NotReady {
                    part: spec.name.clone(),
                    seconds: PATIENCE.as_secs(),
                    waiting_for: "it to answer".to_owned(),
                    tail: tail(&log),
                    log,
                });
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    fn stop(&mut self, patience: Duration) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.stop(patience),
            None => Ok(()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.stop(Duration::ZERO);
        let _ = state::remove(&self.state);
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(Error::io("write", path))
}
