//! A Kafka broker.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::Server;
use crate::config::Kafka;
use crate::error::Result;
use crate::kafka::{self, Ports};
use crate::pki::Pki;
use crate::ports;
use crate::process::Spec;
use crate::progress::Progress;
use crate::tools::Tools;

const NAME: &str = "kafka";

/// A Kafka broker.
#[derive(Debug)]
pub struct Broker {
    server: Server,
    spec: Spec,
    ports: Ports,
    ca: PathBuf,
}

impl Broker {
    /// Starts it, without topics.
    ///
    /// # Errors
    /// If its jars cannot be had, or it does not start.
    pub async fn start(tools: &Tools, config: Kafka, progress: &dyn Progress) -> Result<Self> {
        let entry = tools.ensure_kafka(progress)?;
        let server = Server::new()?;
        let mut chosen = ports::Ports::open(&server.path("ports.json"))?;
        if let Some(port) = config.port {
            chosen.set(NAME, port)?;
        }
        let ports = Ports {
            plaintext: chosen.get(NAME)?,
            controller: chosen.get("kafka-controller")?,
            sasl_ssl: chosen.get("kafka-sasl-ssl")?,
        };
        let pki = Pki::open(&server.path("pki"), None)?;
        let spec = kafka::prepare(&entry, &server.state, &pki, &config, ports)?;
        let mut broker = Self {
            server,
            spec,
            ports,
            ca: pki.file("kafka-ca.crt"),
        };
        broker.restart().await?;
        Ok(broker)
    }

    /// `host:port` of the listener without protection.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.ports.plaintext)
    }

    /// `host:port` of the listener with TLS and SASL, if there is a user.
    #[must_use]
    pub fn sasl_bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.ports.sasl_ssl)
    }

    /// The authority that signed its certificate, as PEM.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.ca.clone()
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.server.log(NAME)
    }

    /// Kills it: nothing is written on the way.
    ///
    /// # Errors
    /// If it does not end.
    pub fn kill(&mut self) -> Result<()> {
        self.server.stop(Duration::ZERO)
    }

    /// Starts it again on the same data.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn restart(&mut self) -> Result<()> {
        let log = self.server.log(NAME);
        let is_ready =
            || async { fs::read_to_string(&log).is_ok_and(|text| text.contains(kafka::STARTED)) };
        self.server.launch(&self.spec, is_ready).await
    }
}
