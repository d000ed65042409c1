//! Starts a cluster with a real node, uses it, and looks whether anything of it stays on the machine. Needs root.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::future::Future;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Service};
use kube::Client;
use kube::api::{Api, LogParams, PostParams};
use localcluster::{
    Cluster, Config, Event, Lines, Node, Part, Progress, running, stop_all, write_static_image,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const DEADLINE: Duration = Duration::from_secs(60);
const IMAGE: &str = "localhost/pod-of-the-test:1";

/// What is the machine's as a whole: a node must leave it as it was.
#[derive(Debug, PartialEq, Eq)]
struct Machine {
    sysctls: Vec<String>,
    rules: String,
}

impl Machine {
    fn now() -> Self {
        let sysctls = [
            "vm/overcommit_memory",
            "vm/panic_on_oom",
            "kernel/panic",
            "kernel/panic_on_oops",
            "net/ipv4/ip_forward",
        ];
        let read = |name: &&str| fs::read_to_string(Path::new("/proc/sys").join(name)).unwrap();
        Self {
            sysctls: sysctls.iter().map(read).collect(),
            rules: output("nft", &["list", "ruleset"]),
        }
    }
}

/// What a cluster has on the machine while it runs.
struct Traces {
    state: String,
    link: String,
    network: String,
    /// The alias of its link and the name of its control group.
    owner: String,
    /// With their start times: numbers are used again.
    processes: Vec<(PathBuf, String)>,
}

impl Traces {
    /// Of the cluster with this state directory.
    fn of(state: &Path) -> Self {
        let kubeconfig = fs::read_to_string(state.join("kubeconfig")).unwrap();
        let number = kubeconfig.split("https://10.").nth(1).unwrap();
        let number = number.split('.').next().unwrap();
        let link = format!("/sys/class/net/localcluster{number}");
        let pid_file = fs::read_to_string(state.join("pid/node-namespaces")).unwrap();
        let maker = serde_json::from_str::<Value>(&pid_file).unwrap()["pid"].clone();
        let namespaces = ["net", "mnt", "pid_for_children"]
            .map(|name| fs::read_link(format!("/proc/{maker}/ns/{name}")).unwrap());
        let is_inside = |process: &Path| {
            ["net", "mnt", "pid"].iter().any(|name| {
                fs::read_link(process.join("ns").join(name))
                    .is_ok_and(|namespace| namespaces.contains(&namespace))
            })
        };
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let processes = processes
            .map(|process| process.path())
            .filter(|process| is_inside(process))
            .filter_map(|process| Some((process.clone(), start_time(&process)?)))
            .collect();
        Self {
            state: state.display().to_string(),
            owner: alias(&link),
            link,
            network: format!("10.{number}.0.0/16"),
            processes,
        }
    }

    /// Those that are still there.
    fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        for (process, started) in &self.processes {
            if start_time(process).as_ref() == Some(started) {
                left.push(process.display().to_string());
            }
        }
        for process in fs::read_dir("/proc").unwrap().flatten() {
            for name in ["cmdline", "mountinfo"] {
                let path = process.path().join(name);
                let text = fs::read(&path).unwrap_or_default();
                if String::from_utf8_lossy(&text).contains(&self.state) {
                    left.push(path.display().to_string());
                }
            }
        }
        if Path::new(&self.state).exists() {
            left.push(self.state.clone());
        }
        let hierarchies = fs::read_dir("/sys/fs/cgroup").unwrap().flatten();
        let mut cgroups: Vec<_> = hierarchies.map(|e| e.path().join(&self.owner)).collect();
        cgroups.push(Path::new("/sys/fs/cgroup").join(&self.owner));
        cgroups.retain(|dir| dir.exists());
        left.extend(cgroups.iter().map(|dir| dir.display().to_string()));
        if alias(&self.link) == self.owner {
            left.push(self.link.clone());
        }
        // Another cluster may have taken the addresses over.
        if !Path::new(&self.link).exists() {
            let routes = ["route", "show", "table", "all", "root", &self.network];
            left.extend(output("ip", &routes).lines().map(str::to_owned));
        }
        left
    }
}

fn alias(link: &str) -> String {
    let alias = fs::read_to_string(format!("{link}/ifalias")).unwrap_or_default();
    alias.trim().to_owned()
}

/// Field 22; none if it has ended.
fn start_time(process: &Path) -> Option<String> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    (fields.next()? != "Z").then(|| fields.nth(18).map(str::to_owned))?
}

fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn image(dir: &Path) -> PathBuf {
    let source = dir.join("main.go");
    fs::write(&source, include_str!("node/pod.go")).unwrap();
    let program = dir.join("pod");
    let built = Command::new("go")
        .current_dir(dir)
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "")
        .env("GOWORK", "off")
        .args(["build", "-o"])
        .arg(&program)
        .arg(&source)
        .output()
        .unwrap();
    assert!(built.status.success(), "{built:?}");
    let file = dir.join("pod.tar");
    write_static_image(&program, IMAGE, &file).unwrap();
    file
}

async fn create<K>(client: &Client, object: Value)
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + serde::Serialize,
    K::DynamicType: Default,
{
    let api: Api<K> = Api::default_namespaced(client.clone());
    let object: K = serde_json::from_value(object).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap();
}

fn pod() -> Value {
    json!({
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {
            "containers": [{
                "name": "web",
                "image": IMAGE,
                "imagePullPolicy": "Never",
                "readinessProbe": {"httpGet": {"path": "/hello", "port": 8080}, "periodSeconds": 1},
                "securityContext": {"runAsUser": 1000, "runAsNonRoot": true},
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            }],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        },
    })
}

async fn until<F: Future<Output = Result<String, String>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> String {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(e) => assert!(
                Instant::now() < deadline,
                "{what}: not within {DEADLINE:?}: {e}"
            ),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn until_ready(client: &Client, name: &str) {
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    until(&format!("the pod {name} is ready"), || async {
        let status = pods.get(name).await.unwrap().status.unwrap_or_default();
        let conditions = status.conditions.iter().flatten();
        let is_ready = |c: &&k8s_openapi::api::core::v1::PodCondition| {
            c.type_ == "Ready" && c.status == "True"
        };
        match conditions.clone().find(is_ready) {
            Some(_) => Ok(String::new()),
            None => Err(format!("{status:?}")),
        }
    })
    .await;
}

/// The body of an answer with status 200.
async fn get(address: &str, path: &str) -> Result<String, String> {
    let ask = async {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.0\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = tokio::time::timeout(Duration::from_secs(10), ask)
        .await
        .map_err(|e| e.to_string())?
        .map_err(|e| e.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    match head.contains(" 200 ") {
        true => Ok(body.to_owned()),
        false => Err(answer),
    }
}

/// Says when each part was ready.
struct Times;

impl Progress for Times {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Ready { what, took } => eprintln!("{what} ready after {took:.1?}"),
            other => Lines.event(other),
        }
    }
}

fn is_root() -> bool {
    let is = nix::unistd::geteuid().is_root();
    if !is {
        eprintln!("skipped: a real node needs root");
    }
    is
}

#[tokio::test]
async fn pods_run_with_names_volumes_and_services_and_nothing_stays() {
    if !is_root() {
        return;
    }
    let before = Machine::now();
    let dir = tempfile::tempdir().unwrap();
    let image = image(dir.path());
    let config = Config::control_plane()
        .node(Node::Kubelet)
        .progress(Arc::new(Times));
    let cluster = Cluster::start(config).await.unwrap();
    let client = cluster.client().unwrap();
    cluster.load_image(&image).await.unwrap();

    let claim = json!({
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    });
    create::<PersistentVolumeClaim>(&client, claim).await;
    let service = json!({
        "metadata": {"name": "front"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
    });
    create::<Service>(&client, service).await;
    create::<Pod>(&client, pod()).await;
    until_ready(&client, "web").await;

    let services: Api<Service> = Api::default_namespaced(client.clone());
    let service = services.get("front").await.unwrap().spec.unwrap();
    let address = service.cluster_ip.unwrap();
    let web = format!("{address}:80");
    // kube-proxy follows the readiness of pods a little later.
    let ask = |path: &'static str| until(path, || get(&web, path));
    assert_eq!(ask("/hello").await, "hello from web");
    let name = "/resolve?name=front.default.svc.cluster.local";
    assert_eq!(ask(name).await, address);
    assert_eq!(ask("/resolve?name=front").await, address);
    // Through the Service to itself.
    assert_eq!(ask("/get?url=http://front/hello").await, "200 OK");
    assert_eq!(ask("/write?text=kept").await, "written");
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let log = pods.logs("web", &LogParams::default()).await.unwrap();
    assert_eq!(log, "listening\n");

    // As if the machine had lost power: the pod is started again, with its volume.
    cluster.restart_part(Part::Namespaces).await.unwrap();
    assert_eq!(ask("/read").await, "kept");

    let traces = Traces::of(cluster.state());
    assert!(traces.left().len() > 10, "{:?}", traces.left());
    cluster.stop().unwrap();
    assert_eq!(traces.left(), Vec::<String>::new());
    assert_eq!(Machine::now(), before);
}

#[tokio::test]
async fn a_detached_cluster_is_resumed_and_stopped() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("local");
    let config = || Config::control_plane().node(Node::Kubelet).detached(&state);
    let first = Cluster::start(config()).await.unwrap();
    let etcd = first.process_id(Part::Etcd);
    // The whole node crashes.
    first.stop_part(Part::Namespaces).unwrap();
    drop(first);
    let second = Cluster::start(config()).await.unwrap();
    assert_eq!(second.process_id(Part::Etcd), etcd);
    let kubelet = second.process_id(Part::Kubelet);
    // One part of it crashes: the others are kept.
    second.stop_part(Part::Containerd).unwrap();
    drop(second);
    let third = Cluster::start(config()).await.unwrap();
    assert_eq!(third.process_id(Part::Kubelet), kubelet);
    assert!(third.is_running(Part::Containerd));
    drop(third);
    let traces = Traces::of(&state);
    assert_eq!(running(&state).unwrap().len(), 8);
    assert_eq!(stop_all(&state, &[]).unwrap().len(), 8);
    assert_eq!(traces.left(), Vec::<String>::new());
}

/// Set in the process that is killed.
const OWNER: &str = "LOCALCLUSTER_TEST_OWNER";

/// Not a test of its own: starts a cluster and waits to be killed.
#[tokio::test]
async fn owner_that_is_killed() {
    if std::env::var_os(OWNER).is_none() {
        return;
    }
    let config = Config::control_plane().node(Node::Kubelet);
    let cluster = Cluster::start(config).await.unwrap();
    println!("\nstate: {}", cluster.state().display());
    tokio::time::sleep(DEADLINE).await;
}

#[tokio::test]
async fn a_cluster_whose_owner_was_killed_ends_and_the_next_one_clears_it_away() {
    if !is_root() {
        return;
    }
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "owner_that_is_killed", "--nocapture"])
        .env(OWNER, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    let state = lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("state: ").map(PathBuf::from))
        .unwrap();
    let traces = Traces::of(&state);
    owner.kill().unwrap();
    owner.wait().unwrap();
    until("all its processes have ended", || async {
        let left = traces.left();
        match left.iter().any(|trace| trace.contains("/proc/")) {
            true => Err(format!("{left:?}")),
            false => Ok(String::new()),
        }
    })
    .await;
    let next = Cluster::start(Config::control_plane()).await.unwrap();
    assert_eq!(traces.left(), Vec::<String>::new());
    next.stop().unwrap();
}
