//! A program of one's own, which says on a port of its own whether it is ready.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Server;
use crate::error::Result;
use crate::process::Spec;

/// A running program that has `/readyz` on an admin port, as components of the operator have.
#[derive(Debug)]
pub struct Program {
    server: Server,
    spec: Spec,
    admin: SocketAddr,
}

impl Program {
    /// Starts it, and waits until it is ready.
    ///
    /// # Errors
    /// If it does not start, ends, or is not ready within two minutes: with the last lines of its log.
    pub async fn start(spec: Spec, admin: SocketAddr) -> Result<Self> {
        let server = Server::new()?;
        let mut program = Self {
            server,
            spec,
            admin,
        };
        program.restart().await?;
        Ok(program)
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Where it says whether it is ready.
    #[must_use]
    pub const fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Its log, from its last start on.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.server.log(&self.spec.name)
    }

    /// The directory in which it runs.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.server.state
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        self.server.process.as_ref()?.id()
    }

    /// Kills it, as SIGKILL does.
    ///
    /// # Errors
    /// If it does not end.
    pub fn kill(&mut self) -> Result<()> {
        self.server.stop(Duration::ZERO)
    }

    /// Asks it to end (SIGTERM), and kills it if it does not in time.
    ///
    /// # Errors
    /// If it does not end.
    pub fn stop(&mut self, patience: Duration) -> Result<()> {
        self.server.stop(patience)
    }

    /// Starts it again, and waits until it is ready.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn restart(&mut self) -> Result<()> {
        let admin = self.admin;
        let is_ready = || async move {
            asked(admin)
                .await
                .is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
        };
        self.server.launch(&self.spec, is_ready).await
    }
}

async fn asked(admin: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(admin).await.ok()?;
    let request = "GET /readyz HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}
