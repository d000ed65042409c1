//! The operator as a process, seen from outside: its metrics, its memory, its CPU.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use localcluster::Life;
use localcluster::process::{Directory, Process, Spec, tail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::cpu;
use crate::up::operator::NAME;

/// How long a bench waits for something that takes seconds.
pub const PATIENCE: Duration = Duration::from_secs(900);
const POLL: Duration = Duration::from_millis(25);

/// A running operator; killed when it is dropped, however this process ends.
pub struct Operator {
    process: Process,
    port: u16,
    started: Instant,
}

impl Operator {
    /// Starts it; does not wait until it is ready.
    pub fn start(executable: &Path, directory: &Path, kubeconfig: &Path) -> Result<Self> {
        let port = localcluster::free_port(NAME)?;
        let spec = Spec::new(NAME, executable)
            .args([
                "--log-level",
                "warn",
                "--listen",
                &format!("127.0.0.1:{port}"),
            ])
            .env("KUBECONFIG", kubeconfig)
            .env("POD_NAMESPACE", NAME)
            .env("POD_NAME", "bench");
        let started = Instant::now();
        let process = Directory::open(directory)?.spawn(&spec, Life::Attached)?;
        Ok(Self {
            process,
            port,
            started,
        })
    }

    /// Asks it to end, as Kubernetes does.
    pub fn stop(mut self) -> Result<()> {
        self.process.stop(Duration::from_secs(20))?;
        Ok(())
    }

    /// Time since its start.
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Sum of the samples of one metric whose labels contain `labels`; 0 while it does not answer yet.
    pub async fn metric(&self, name: &str, labels: &str) -> f64 {
        let text = get(self.port, "/metrics").await.unwrap_or_default();
        sum(&text, name, labels)
    }

    /// Waits until a metric reaches a value; gives the time since the operator's start.
    pub async fn until_metric(&mut self, name: &str, labels: &str, least: f64) -> Result<Duration> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let value = self.metric(name, labels).await;
            if value >= least {
                return Ok(self.age());
            }
            if !self.process.is_alive() {
                bail!(
                    "the operator ended; its log ends with:\n{}",
                    tail(self.process.log())
                );
            }
            if Instant::now() >= deadline {
                bail!(
                    "{name}{{{labels}}} is {value} instead of {least} after {} s; the operator's log ends with:\n{}",
                    PATIENCE.as_secs(),
                    tail(self.process.log())
                );
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Seconds of CPU that it has used.
    pub fn cpu_seconds(&self) -> Result<f64> {
        cpu::seconds(self.process.id().context("the operator has ended")?)
    }

    /// Resident memory in MiB.
    pub fn resident_mib(&self) -> Result<f64> {
        resident_kib(&self.proc("status")?)
            .map(|kib| kib / 1_024.0)
            .context("/proc/<pid>/status has no VmRSS")
    }

    /// Waits until it uses less than a hundredth of a core over `quiet`.
    pub async fn until_quiet(&self, quiet: Duration) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut before = self.cpu_seconds()?;
        loop {
            tokio::time::sleep(quiet).await;
            let now = self.cpu_seconds()?;
            if now - before < 0.01 * quiet.as_secs_f64() + cpu::TICK {
                return Ok(());
            }
            if Instant::now() >= deadline {
                bail!(
                    "the operator does not come to rest within {} s",
                    PATIENCE.as_secs()
                );
            }
            before = now;
        }
    }

    fn proc(&self, file: &str) -> Result<String> {
        let pid = self.process.id().context("the operator has ended")?;
        let path = format!("/proc/{pid}/{file}");
        fs::read_to_string(&path)
            .with_context(|| format!("cannot read {path}: has the operator ended?"))
    }
}

fn resident_kib(status: &str) -> Option<f64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

fn sum(text: &str, name: &str, labels: &str) -> f64 {
    text.lines()
        .filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let (found, value) = match rest.strip_prefix('{') {
                Some(rest) => rest.split_once("} ")?,
                None => ("", rest.strip_prefix(' ')?),
            };
            found.contains(labels).then(|| value.parse::<f64>().ok())?
        })
        .sum()
}

/// Plain sockets: it is one line of HTTP.
async fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .await
        .ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_a_metric_are_added_up_by_label() {
        let text = "# TYPE writes counter\nwrites_total{kind=\"Service\"} 3\nwrites_total{kind=\"ConfigMap\"} 4\nwrites_totally 9\nleader 1\n";
        assert_eq!(sum(text, "writes_total", ""), 7.0);
        assert_eq!(sum(text, "writes_total", "kind=\"Service\""), 3.0);
        assert_eq!(sum(text, "leader", ""), 1.0);
        assert_eq!(sum(text, "absent", ""), 0.0);
    }

    #[test]
    fn memory_is_read_as_the_kernel_writes_it() {
        assert_eq!(
            resident_kib("Name:\tx\nVmRSS:\t   20480 kB\nVmSwap: 1 kB\n"),
            Some(20_480.0)
        );
        assert_eq!(resident_kib("Name:\tx\n"), None);
    }
}
