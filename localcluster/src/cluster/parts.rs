//! The processes of a cluster: how each is started, when it is ready, and how it ends.

use std::fs;
use std::future::Future;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Node as KubeNode, ServiceAccount};
use kube::api::Api;

use super::{Cluster, lock};
use crate::config::{Models, Part};
use crate::controlplane;
use crate::error::{Error, Result};
use crate::kafka;
use crate::kwok;
use crate::models;
use crate::node::{self, RealNode};
use crate::ports::is_free;
use crate::probes::{is_healthy, is_ready, serves};
use crate::process::{Life, Process, Spec, tail};
use crate::progress::Event;
use crate::tools::Tool;

/// How long a part may take to become ready on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(40);

impl Cluster {
    /// Starts a part unless it already runs.
    pub(super) fn launch(&self, part: Part) -> Result<()> {
        if self.is_running(part) {
            return Ok(());
        }
        if part == Part::Models && matches!(self.config.models, Models::Thread) {
            let thread = models::Thread::start(self.kube_config()?)?;
            lock(&self.running).models = Some(thread);
            return Ok(());
        }
        if let Some(process) = self
            .directory
            .find(part.name())
            .filter(|_| self.config.life == Life::Detached)
        {
            lock(&self.running).processes.insert(part, process);
            return Ok(());
        }
        let spec = self.spec(part)?;
        self.refuse_taken_port(part)?;
        let process = self.directory.spawn(&spec, self.config.life)?;
        lock(&self.running).processes.insert(part, process);
        Ok(())
    }

    fn refuse_taken_port(&self, part: Part) -> Result<()> {
        let fixed = match part {
            Part::ApiServer => self.config.api_port,
            Part::Kafka => self.config.kafka.as_ref().and_then(|k| k.port),
            _ => None,
        };
        match fixed {
            Some(port) if !is_free(port) => Err(Error::PortTaken {
                part: part.name().to_owned(),
                port,
            }),
            _ => Ok(()),
        }
    }

    fn spec(&self, part: Part) -> Result<Spec> {
        let tool = |tool| self.tools.ensure(tool, self.config.progress.as_ref());
        let ports = || -> Result<controlplane::Ports> {
            Ok(controlplane::Ports {
                etcd_client: self.port("etcd")?,
                etcd_peer: self.port("etcd-peer")?,
                api: self.port("kube-apiserver")?,
            })
        };
        let network = self.node.as_ref().map(|node| node.network());
        let spec = match part {
            Part::Etcd => Spec::new(part.name(), tool(Tool::Etcd)?)
                .args(controlplane::etcd(&self.state, &ports()?)),
            Part::ApiServer => Spec::new(part.name(), tool(Tool::KubeApiserver)?).args(
                controlplane::api_server(&self.state, &self.pki, &ports()?, &self.config, network),
            ),
            Part::ControllerManager => Spec::new(part.name(), tool(Tool::KubeControllerManager)?)
                .args(controlplane::controller_manager(
                    &self.kubeconfig,
                    &self.pki,
                    &self.config,
                    network,
                )),
            Part::Scheduler => Spec::new(part.name(), tool(Tool::KubeScheduler)?)
                .args(controlplane::scheduler(&self.kubeconfig)),
            Part::Kwok => Spec::new(part.name(), tool(Tool::Kwok)?)
                .args(kwok::args(&self.kubeconfig))
                .env("HOME", &self.state),
            Part::Namespaces => self.real_node()?.namespaces()?,
            Part::Containerd => self.real_node()?.containerd(self.namespaces()?)?,
            Part::Kubelet => self.real_node()?.kubelet(
                self.namespaces()?,
                tool(Tool::Kubelet)?,
                &self.pki,
                &self.server()?,
            )?,
            Part::KubeProxy => self.real_node()?.kube_proxy(
                self.namespaces()?,
                tool(Tool::KubeProxy)?,
                &self.pki,
                &self.server()?,
            )?,
            Part::ArgoRollouts => {
                let args = controlplane::argo_rollouts(
                    &self.kubeconfig,
                    self.port("rollouts-metrics")?,
                    self.port("rollouts-health")?,
                );
                Spec::new(part.name(), tool(Tool::RolloutsController)?).args(args)
            }
            Part::Kafka => {
                let kafka = self.config.kafka.clone().unwrap_or_default();
                let entry = self.tools.ensure_kafka(self.config.progress.as_ref())?;
                kafka::prepare(&entry, &self.state, &self.pki, &kafka, self.kafka_ports()?)?
            }
            Part::Models => match &self.config.models {
                Models::Process { program, args } => {
                    Spec::new(part.name(), program).args(args.clone()).args([
                        "--kubeconfig".into(),
                        self.kubeconfig.clone().into_os_string(),
                    ])
                }
                Models::None | Models::Thread => {
                    return Err(Error::NotConfigured {
                        part: part.name().to_owned(),
                    });
                }
            },
        };
        Ok(spec)
    }

    fn kafka_ports(&self) -> Result<kafka::Ports> {
        Ok(kafka::Ports {
            plaintext: self.port("kafka")?,
            controller: self.port("kafka-controller")?,
            sasl_ssl: self.port("kafka-sasl-ssl")?,
        })
    }

    pub(super) fn port(&self, name: &str) -> Result<u16> {
        lock(&self.ports).get(name)
    }

    /// The API server's address.
    pub(super) fn server(&self) -> Result<String> {
        let network = self.node.as_ref().map(|node| node.network());
        let address = controlplane::api_address(network);
        Ok(format!(
            "https://{address}:{}",
            self.port("kube-apiserver")?
        ))
    }

    pub(super) async fn wait_ready(&self, part: Part) -> Result<()> {
        if !self.config.wants(part) {
            return Ok(());
        }
        match part {
            Part::ApiServer => {
                let client = self.client()?;
                self.until("/readyz", part, || async {
                    serves(&client, "/readyz").await
                })
                .await?;
            }
            Part::ControllerManager => {
                // Without it the API server refuses pods.
                let accounts: Api<ServiceAccount> = Api::namespaced(self.client()?, "default");
                self.until("the default service account", part, || async {
                    matches!(accounts.get_opt("default").await, Ok(Some(_)))
                })
                .await?;
            }
            Part::Kwok => self.until_node_is_ready("kwok-1", part).await?,
            Part::Namespaces => {
                let node = self.real_node()?;
                self.until("namespaces", part, || async { node.has_namespaces() })
                    .await?;
            }
            Part::Containerd => {
                self.until("its answer", part, || async {
                    self.on_node(RealNode::serves_images)
                        .await
                        .is_ok_and(|is| is)
                })
                .await?;
            }
            Part::Kubelet => {
                let health = self.real_node()?.kubelet_health();
                self.until("/healthz", part, || is_healthy(health)).await?;
                self.until_node_is_ready(node::NAME, part).await?;
            }
            Part::ArgoRollouts => {
                let health = (Ipv4Addr::LOCALHOST, self.port("rollouts-health")?);
                self.until("/healthz", part, || is_healthy(health)).await?;
            }
            Part::Kafka => {
                let log = self.directory.log(part.name());
                let started = || async {
                    fs::read_to_string(&log).is_ok_and(|text| text.contains(kafka::STARTED))
                };
                self.until("the broker's start", part, started).await?;
            }
            Part::Etcd | Part::Scheduler | Part::Models | Part::KubeProxy => {}
        }
        self.config.progress.event(Event::Ready {
            what: part.name(),
            took: self.begun.elapsed(),
        });
        Ok(())
    }

    async fn until_node_is_ready(&self, name: &str, part: Part) -> Result<()> {
        let nodes: Api<KubeNode> = Api::all(self.client()?);
        self.until("a Ready node", part, || async {
            matches!(nodes.get_opt(name).await, Ok(Some(node)) if is_ready(&node))
        })
        .await
    }

    /// Polls a condition until it holds, the part has ended, or patience has.
    pub(super) async fn until<F: Future<Output = bool>>(
        &self,
        what: &str,
        part: Part,
        mut condition: impl FnMut() -> F,
    ) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let log = self.directory.log(part.name());
        loop {
            if condition().await {
                return Ok(());
            }
            // The API server ends if etcd does, and says less about why; and nobody gets ready without the API server.
            let needed = match part {
                Part::Kafka | Part::Namespaces => &[][..],
                Part::Containerd => &[Part::Namespaces][..],
                Part::Kubelet => &[
                    Part::Etcd,
                    Part::ApiServer,
                    Part::Namespaces,
                    Part::Containerd,
                    Part::KubeProxy,
                ][..],
                _ => &[Part::Etcd, Part::ApiServer][..],
            };
            for part in needed.iter().copied().chain([part]) {
                if !self.is_running(part) {
                    let log = self.directory.log(part.name());
                    return Err(Error::Ended {
                        part: part.name().to_owned(),
                        tail: tail(&log),
                        log,
                    });
                }
            }
            if Instant::now() >= deadline {
                return Err(Error::NotReady {
                    part: part.name().to_owned(),
                    seconds: PATIENCE.as_secs(),
                    waiting_for: what.to_owned(),
                    tail: tail(&log),
                    log,
                });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Whether a part runs.
    pub fn is_running(&self, part: Part) -> bool {
        let mut running = lock(&self.running);
        if part == Part::Models && running.models.is_some() {
            return running
                .models
                .as_ref()
                .is_some_and(models::Thread::is_alive);
        }
        running
            .processes
            .get_mut(&part)
            .is_some_and(Process::is_alive)
    }

    /// The process id of a running part.
    pub fn process_id(&self, part: Part) -> Option<i32> {
        lock(&self.running)
            .processes
            .get(&part)
            .and_then(Process::id)
    }

    /// Kills a part at once, as a crash would.
    ///
    /// # Errors
    /// If it does not end.
    pub fn stop_part(&self, part: Part) -> Result<()> {
        self.end(part, Duration::ZERO)
    }

    /// Starts a part that was stopped, or kills and starts one that runs; same ports, same data.
    ///
    /// # Errors
    /// If it does not become ready.
    pub async fn restart_part(&self, part: Part) -> Result<()> {
        self.stop_part(part)?;
        if part == Part::Namespaces {
            return self.restart_node().await;
        }
        self.launch(part)?;
        self.wait_ready(part).await
    }

    pub(super) fn end(&self, part: Part, patience: Duration) -> Result<()> {
        let (process, models) = {
            let mut running = lock(&self.running);
            (
                running.processes.remove(&part),
                (part == Part::Models)
                    .then(|| running.models.take())
                    .flatten(),
            )
        };
        if let Some(mut models) = models {
            models.stop();
        }
        process.map_or(Ok(()), |mut process| process.stop(patience))
    }
}
