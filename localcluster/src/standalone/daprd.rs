//! A sidecar of Dapr, without a control plane: its components are files.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use super::{Server, write};
use crate::error::{Error, Result};
use crate::ports::free_port;
use crate::probes::answers;
use crate::process::Spec;
use crate::progress::Progress;
use crate::tools::{Tool, Tools};

const NAME: &str = "daprd";

/// What a sidecar is told.
#[derive(Debug, Clone)]
pub struct Sidecar {
    /// The name of the application.
    pub app_id: String,
    /// The port on which the application takes messages; it takes none without.
    pub app_port: Option<u16>,
    /// Components and resiliency policies, each the text of a manifest.
    pub resources: Vec<String>,
}

/// A sidecar of Dapr.
#[derive(Debug)]
pub struct Daprd {
    server: Server,
    program: PathBuf,
    config: Sidecar,
    http: u16,
    others: [u16; 3],
}

impl Daprd {
    /// Starts it, and waits until messages can be published. It subscribes when the application answers.
    ///
    /// # Errors
    /// If it cannot be built, or does not start.
    pub async fn start(tools: &Tools, config: Sidecar, progress: &dyn Progress) -> Result<Self> {
        let program = tools.ensure(Tool::Daprd, progress)?;
        let server = Server::new()?;
        let resources = server.path("resources");
        std::fs::create_dir_all(&resources).map_err(Error::io("create", &resources))?;
        for (number, text) in config.resources.iter().enumerate() {
            write(&resources.join(format!("{number}.yaml")), text)?;
        }
        let port = || free_port(NAME);
        let mut daprd = Self {
            server,
            program,
            config,
            http: port()?,
            others: [port()?, port()?, port()?],
        };
        daprd.restart().await?;
        Ok(daprd)
    }

    /// The address of its HTTP API.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.server.log(NAME)
    }

    /// Tells it to end: it commits what the application has handled. Blocks.
    ///
    /// # Errors
    /// If it does not end.
    pub fn stop(&mut self) -> Result<()> {
        const PATIENCE: Duration = Duration::from_secs(20);
        self.server.stop(PATIENCE)
    }

    /// Kills it.
    ///
    /// # Errors
    /// If it does not end.
    pub fn kill(&mut self) -> Result<()> {
        self.server.stop(Duration::ZERO)
    }

    /// Starts it again.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn restart(&mut self) -> Result<()> {
        let [grpc, internal, metrics] = self.others.map(|port| port.to_string());
        let http = self.http.to_string();
        let resources = self.server.path("resources").display().to_string();
        let mut spec = Spec::new(NAME, &self.program).args([
            "--app-id",
            &self.config.app_id,
            "--resources-path",
            &resources,
            "--dapr-http-port",
            &http,
            "--dapr-grpc-port",
            &grpc,
            "--dapr-internal-grpc-port",
            &internal,
            "--metrics-port",
            &metrics,
            "--dapr-listen-addresses",
            "127.0.0.1",
            "--enable-mtls=false",
            "--dapr-graceful-shutdown-seconds",
            "5",
        ]);
        if let Some(port) = self.config.app_port {
            let port = port.to_string();
            spec = spec.args(["--app-protocol", "http", "--app-port", &port]);
        }
        // "Outbound": components are there, whatever the application does.
        let health = (Ipv4Addr::LOCALHOST, self.http);
        let is_ready = || answers(health, "/v1.0/healthz/outbound", 204);
        self.server.launch(&spec, is_ready).await
    }
}
