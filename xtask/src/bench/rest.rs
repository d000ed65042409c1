//! `rest`: what each part of a local cluster with a real node holds in memory while nothing happens.
//!
//! Counted is the proportional set size: a page that several processes share counts for each by its share, so that sums are right.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, ResourceExt as _};
use localcluster::process::Directory;

use super::local::Local;
use super::report::{Goal, Report};
use crate::progress::heading;

/// At rest is what was left alone for so long.
const REST: Duration = Duration::from_secs(120);

/// Measures.
pub async fn run() -> Result<Report> {
    let mut local = Local::new()?;
    local.up().await?;
    heading(&format!("At rest for {} s", REST.as_secs()));
    tokio::time::sleep(REST).await;
    let state = local.state();
    let owners = owners(state.dir()).await?;
    let parts = parts(&owners, &processes()?);
    local.down()?;
    let total: u64 = parts.values().sum();
    let mut report = Report::default().figure("mib", mib(total), Goal::None);
    for (part, kib) in &parts {
        report = report.figure(format!("mib.{part}"), mib(*kib), Goal::None);
    }
    Ok(report)
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1_024.0
}

/// Who has started what.
#[derive(Debug, Default)]
struct Owners {
    /// Namespaces by the uid of their pods.
    pods: BTreeMap<String, String>,
    /// Names of processes of the host by their id.
    processes: BTreeMap<i32, String>,
}

async fn owners(state: &Path) -> Result<Owners> {
    let kubeconfig = Kubeconfig::read_from(state.join("kubeconfig"))?;
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    let pods: Api<Pod> = Api::all(Client::try_from(config)?);
    let pods = pods.list(&ListParams::default()).await;
    let pods = pods.context("cannot list the pods")?;
    let directory = Directory::open(state)?;
    let processes = directory.names();
    let processes = processes.iter().filter_map(|name| directory.find(name));
    Ok(Owners {
        pods: pods
            .iter()
            .filter_map(|pod| Some((pod.uid()?, pod.namespace()?)))
            .collect(),
        processes: processes
            .filter_map(|process| Some((process.id()?, process.name().to_owned())))
            .collect(),
    })
}

/// A process of this machine.
#[derive(Debug, Clone)]
struct Process {
    parent: i32,
    cgroup: String,
    kib: u64,
}

fn processes() -> Result<BTreeMap<i32, Process>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc")
        .context("cannot read /proc")?
        .flatten()
    {
        let id = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        // What has ended meanwhile, and threads of the kernel, have no memory.
        if let Some(id) = id
            && let Some(process) = read(&entry.path())
        {
            found.insert(id, process);
        }
    }
    Ok(found)
}

fn read(dir: &Path) -> Option<Process> {
    let text = |name| fs::read_to_string(dir.join(name)).ok();
    Some(Process {
        parent: field(&text("status")?, "PPid:")?,
        cgroup: text("cgroup")?,
        kib: field(&text("smaps_rollup")?, "Pss:")?,
    })
}

/// The number in the line that begins with a word.
fn field<T: std::str::FromStr>(text: &str, name: &str) -> Option<T> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The memory of each part in KiB: pods count for their namespace, everything else for whoever of our processes has started it.
fn parts(owners: &Owners, processes: &BTreeMap<i32, Process>) -> BTreeMap<String, u64> {
    let mut parts = BTreeMap::new();
    for (id, process) in processes {
        let part = namespace(owners, process).or_else(|| ancestor(owners, processes, *id));
        if let Some(part) = part {
            *parts.entry(part.to_owned()).or_default() += process.kib;
        }
    }
    parts
}

/// Kubelet names a pod's control group after its uid.
fn namespace<'a>(owners: &'a Owners, process: &Process) -> Option<&'a str> {
    let (_, rest) = process.cgroup.split_once("/pod")?;
    let uid = rest.split(['/', '\n']).next()?;
    owners.pods.get(uid).map(String::as_str)
}

fn ancestor<'a>(
    owners: &'a Owners,
    processes: &BTreeMap<i32, Process>,
    mut id: i32,
) -> Option<&'a str> {
    loop {
        if let Some(name) = owners.processes.get(&id) {
            return Some(name);
        }
        id = processes.get(&id)?.parent;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(parent: i32, cgroup: &str, kib: u64) -> Process {
        Process {
            parent,
            cgroup: cgroup.to_owned(),
            kib,
        }
    }

    #[test]
    fn a_process_counts_for_its_pod_or_its_ancestor() {
        let owners = Owners {
            pods: [("u-1".to_owned(), "kafka".to_owned())].into(),
            processes: [(10, "etcd".to_owned()), (20, "containerd".to_owned())].into(),
        };
        let all = BTreeMap::from([
            (1, process(0, "0::/", 1)),
            (10, process(1, "0::/", 2)),
            (20, process(1, "0::/", 4)),
            // A shim, and what runs in the pod.
            (21, process(20, "0::/", 8)),
            (
                22,
                process(21, "5:cpu:/x/kubepods/podu-1/abc\n4:memory:/\n", 16),
            ),
            (23, process(22, "0::/x/kubepods/podu-1/abc\n", 32)),
            // Somebody else's.
            (30, process(1, "0::/kubepods/podu-2/abc", 64)),
        ]);
        let expected = [("containerd", 12), ("etcd", 2), ("kafka", 48)];
        let expected = expected.map(|(name, kib)| (name.to_owned(), kib));
        assert_eq!(parts(&owners, &all), expected.into());
    }

    #[test]
    fn numbers_are_read_as_the_kernel_writes_them() {
        assert_eq!(
            field("Rss:  9 kB\nPss:                1234 kB\n", "Pss:"),
            Some(1_234)
        );
        assert_eq!(field("Name:\tx\nPPid:\t7\n", "PPid:"), Some(7));
        assert_eq!(field::<u64>("", "Pss:"), None);
    }
}
