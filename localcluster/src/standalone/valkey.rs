//! A Valkey server, or a Redis server where the system has no Valkey yet.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::Server;
use crate::error::{Error, Result};
use crate::pki::LOOPBACK;
use crate::ports::free_port;
use crate::process::Spec;

const NAME: &str = "valkey";
/// Debian 12 has Redis, later ones Valkey. What is used of them is the same.
const PROGRAMS: [&str; 2] = ["valkey-server", "redis-server"];

/// A Valkey server. It keeps what it is given in memory alone: a kill loses all of it.
#[derive(Debug)]
pub struct Valkey {
    server: Server,
    program: PathBuf,
    port: u16,
}

impl Valkey {
    /// Starts it, empty.
    ///
    /// # Errors
    /// If neither Valkey nor Redis is installed, or it does not start.
    pub async fn start() -> Result<Self> {
        let program = program().ok_or_else(|| Error::MissingProgram {
            program: PROGRAMS[0].to_owned(),
            hint: "install Valkey or Redis (Debian: apt-get install redis-server)",
        })?;
        let mut valkey = Self {
            server: Server::new()?,
            program,
            port: free_port(NAME)?,
        };
        valkey.restart().await?;
        Ok(valkey)
    }

    /// Where it is, as clients want it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{LOOPBACK}:{}", self.port)
    }

    /// Kills it: all that it had is gone.
    ///
    /// # Errors
    /// If it does not end.
    pub fn kill(&mut self) -> Result<()> {
        self.server.stop(Duration::ZERO)
    }

    /// Starts it again on the same port, empty.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn restart(&mut self) -> Result<()> {
        let spec = Spec::new(NAME, &self.program).args([
            "--bind".to_owned(),
            LOOPBACK.to_string(),
            "--port".to_owned(),
            self.port.to_string(),
            "--save".to_owned(),
            String::new(),
            "--dir".to_owned(),
            self.server.state.display().to_string(),
        ]);
        let address = (LOOPBACK, self.port);
        let is_ready = || async move { tokio::net::TcpStream::connect(address).await.is_ok() };
        self.server.launch(&spec, is_ready).await
    }
}

fn program() -> Option<PathBuf> {
    let is_there = |program: &&str| {
        let asked = Command::new(program).arg("--version").output();
        asked.is_ok_and(|output| output.status.success())
    };
    PROGRAMS.into_iter().find(is_there).map(PathBuf::from)
}
