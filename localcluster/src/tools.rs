//! Builds the programs of the local cluster from the modules that the `go.mod` and `pom.xml` files of this crate pin.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::cache::{Cache, key};
use crate::error::{Error, Result};
use crate::progress::{Event, Progress};

/// A pinned Go module file, embedded so that it is found wherever the binary runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recipe {
    pub(crate) name: &'static str,
    pub(crate) go_mod: &'static str,
    pub(crate) go_sum: &'static str,
    /// What is ours beside the module files, by path: programs, and modules that stand in for others.
    pub(crate) sources: &'static [(&'static str, &'static str)],
}

macro_rules! recipe {
    ($name:literal) => {
        Recipe {
            name: $name,
            go_mod: include_str!(concat!("../", $name, "/go.mod")),
            go_sum: include_str!(concat!("../", $name, "/go.sum")),
            sources: &[],
        }
    };
    ($name:literal, $($source:literal),+ $(,)?) => {
        Recipe {
            sources: &[$(($source, include_str!(concat!("../", $name, "/", $source)))),+],
            ..recipe!($name)
        }
    };
}

pub(crate) const ETCD: Recipe = recipe!("etcd");
pub(crate) const KUBERNETES: Recipe = recipe!("kubernetes");
pub(crate) const KWOK: Recipe = recipe!("kwok");
pub(crate) const ARGO_ROLLOUTS: Recipe = recipe!("argo-rollouts");
pub(crate) const CRDS: Recipe = recipe!("crds");
pub(crate) const COREDNS: Recipe = recipe!("coredns");
pub(crate) const LOCAL_PATH_PROVISIONER: Recipe =
    recipe!("local-path-provisioner", "volume/main.go");
pub(crate) const DAPR: Recipe = recipe!("dapr");
pub(crate) const CLOUDNATIVE_PG: Recipe = recipe!("cloudnative-pg");
pub(crate) const KEDA: Recipe = recipe!("keda");
pub(crate) const TRAEFIK: Recipe = recipe!(
    "traefik",
    "acme/acme/acme.go",
    "acme/certcrypto/certcrypto.go",
    "acme/certificate/certificate.go",
    "acme/challenge/challenge.go",
    "acme/challenge/dns01/dns01.go",
    "acme/challenge/http01/http01.go",
    "acme/challenge/tlsalpn01/tlsalpn01.go",
    "acme/go.mod",
    "acme/lego/lego.go",
    "acme/log/log.go",
    "acme/providers/dns/dns.go",
    "acme/registration/registration.go",
    "ext/ext.go",
    "ext/go.mod",
    "http-auth/auth.go",
    "http-auth/go.mod",
);
pub(crate) const ARGO_CD: Recipe = recipe!("argo-cd");
pub(crate) const KUSTOMIZE: Recipe = recipe!("kustomize");
pub(crate) const PROMETHEUS: Recipe = recipe!("prometheus");
pub(crate) const GIT_SERVER: Recipe = recipe!("git-server", "main.go");

/// The jars of Kafka.
pub(crate) const KAFKA_POM: &str = include_str!("../kafka/pom.xml");
const KAFKA_LOG4J: &str = include_str!("../kafka/log4j2.properties");

/// A key for all that Kafka's directory is made from.
pub(crate) fn kafka_key() -> String {
    key([KAFKA_POM, KAFKA_LOG4J, crate::kafka::FORMAT_PROPERTIES])
}

impl Recipe {
    /// The version that the module file requires of `module`.
    pub(crate) fn version(&self, module: &str) -> Result<&'static str> {
        required_version(self.go_mod, module).ok_or_else(|| Error::Recipe {
            recipe: format!("{}/go.mod", self.name),
            reason: format!("it does not require {module}"),
        })
    }

    /// Writes the module files into `dir`, where Go commands can then run.
    pub(crate) fn write_to(&self, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
        let modules = [("go.mod", self.go_mod), ("go.sum", self.go_sum)];
        for (name, content) in modules.into_iter().chain(self.sources.iter().copied()) {
            let path = dir.join(name);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
            }
            fs::write(&path, content).map_err(Error::io("write", &path))?;
        }
        Ok(())
    }
}

fn required_version<'a>(go_mod: &'a str, module: &str) -> Option<&'a str> {
    go_mod.lines().find_map(|line| {
        let mut words = line
            .trim()
            .trim_start_matches("require ")
            .split_whitespace();
        (words.next() == Some(module))
            .then(|| words.next())
            .flatten()
            .filter(|v| v.starts_with('v'))
    })
}

/// A program that is built from a Go module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Tool {
    /// The store of the API server.
    Etcd,
    /// The API server.
    KubeApiserver,
    /// The controllers of the built-in kinds.
    KubeControllerManager,
    /// The scheduler.
    KubeScheduler,
    /// The command line.
    Kubectl,
    /// Plays nodes and pods.
    Kwok,
    /// The Argo Rollouts controller.
    RolloutsController,
    /// Runs pods on a real node.
    Kubelet,
    /// Makes Services reachable on a real node.
    KubeProxy,
    /// Answers names of Services on a real node.
    CoreDns,
    /// Makes volumes on a real node.
    LocalPathProvisioner,
    /// Makes and removes a volume's directory for local-path-provisioner.
    VolumeHelper,
    /// CloudNativePG: operator, and manager of each instance of PostgreSQL.
    CloudNativePg,
    /// KEDA's operator.
    KedaOperator,
    /// Gives KEDA's metrics to the HPA controller.
    KedaAdapter,
    /// The proxy in front of the pods.
    Traefik,
    /// All of Argo CD: which part it is depends on the name by which it is called.
    ArgoCd,
    /// Renders manifests for Argo CD.
    Kustomize,
    /// Serves Git repositories.
    GitServer,
    /// Collects metrics of pods.
    Prometheus,
    /// The sidecar of Dapr.
    Daprd,
}

impl Tool {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::Etcd,
        Self::KubeApiserver,
        Self::KubeControllerManager,
        Self::KubeScheduler,
        Self::Kubectl,
        Self::Kwok,
        Self::RolloutsController,
        Self::Kubelet,
        Self::KubeProxy,
        Self::CoreDns,
        Self::LocalPathProvisioner,
        Self::VolumeHelper,
        Self::CloudNativePg,
        Self::KedaOperator,
        Self::KedaAdapter,
        Self::Traefik,
        Self::ArgoCd,
        Self::Kustomize,
        Self::GitServer,
        Self::Prometheus,
        Self::Daprd,
    ];

    /// What only a cluster with a real node needs.
    pub const REAL_NODE: [Self; 5] = [
        Self::Kubelet,
        Self::KubeProxy,
        Self::CoreDns,
        Self::LocalPathProvisioner,
        Self::VolumeHelper,
    ];

    /// What runs in pods of a real node when somebody asks for it: the peers themselves.
    pub const PEERS: [Self; 8] = [
        Self::CloudNativePg,
        Self::KedaOperator,
        Self::KedaAdapter,
        Self::Traefik,
        Self::ArgoCd,
        Self::Kustomize,
        Self::GitServer,
        Self::Prometheus,
    ];

    /// What the services are tested with, besides Kafka.
    pub const SERVICES: [Self; 1] = [Self::Daprd];

    /// The name of the program.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::KubeApiserver => "kube-apiserver",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::KubeScheduler => "kube-scheduler",
            Self::Kubectl => "kubectl",
            Self::Kwok => "kwok",
            Self::RolloutsController => "rollouts-controller",
            Self::Kubelet => "kubelet",
            Self::KubeProxy => "kube-proxy",
            Self::CoreDns => "coredns",
            Self::LocalPathProvisioner => "local-path-provisioner",
            Self::VolumeHelper => "volume-helper",
            Self::CloudNativePg => "cloudnative-pg",
            Self::KedaOperator => "keda-operator",
            Self::KedaAdapter => "keda-adapter",
            Self::Traefik => "traefik",
            Self::ArgoCd => "argocd",
            Self::Kustomize => "kustomize",
            Self::GitServer => "git-server",
            Self::Prometheus => "prometheus",
            Self::Daprd => "daprd",
        }
    }

    const fn recipe(self) -> Recipe {
        match self {
            Self::Etcd => ETCD,
            Self::KubeApiserver
            | Self::KubeControllerManager
            | Self::KubeScheduler
            | Self::Kubectl
            | Self::Kubelet
            | Self::KubeProxy => KUBERNETES,
            Self::Kwok => KWOK,
            Self::RolloutsController => ARGO_ROLLOUTS,
            Self::CoreDns => COREDNS,
            Self::LocalPathProvisioner | Self::VolumeHelper => LOCAL_PATH_PROVISIONER,
            Self::CloudNativePg => CLOUDNATIVE_PG,
            Self::KedaOperator | Self::KedaAdapter => KEDA,
            Self::Traefik => TRAEFIK,
            Self::ArgoCd => ARGO_CD,
            Self::Kustomize => KUSTOMIZE,
            Self::GitServer => GIT_SERVER,
            Self::Prometheus => PROMETHEUS,
            Self::Daprd => DAPR,
        }
    }

    const fn package(self) -> &'static str {
        match self {
            Self::Etcd => "go.etcd.io/etcd/server/v3",
            Self::KubeApiserver => "k8s.io/kubernetes/cmd/kube-apiserver",
            Self::KubeControllerManager => "k8s.io/kubernetes/cmd/kube-controller-manager",
            Self::KubeScheduler => "k8s.io/kubernetes/cmd/kube-scheduler",
            Self::Kubectl => "k8s.io/kubernetes/cmd/kubectl",
            Self::Kwok => "sigs.k8s.io/kwok/cmd/kwok",
            Self::RolloutsController => "github.com/argoproj/argo-rollouts/cmd/rollouts-controller",
            Self::Kubelet => "k8s.io/kubernetes/cmd/kubelet",
            Self::KubeProxy => "k8s.io/kubernetes/cmd/kube-proxy",
            Self::CoreDns => "github.com/coredns/coredns",
            Self::LocalPathProvisioner => "github.com/rancher/local-path-provisioner",
            Self::VolumeHelper => "todo-operator.dev/localcluster/local-path-provisioner/volume",
            Self::CloudNativePg => "github.com/cloudnative-pg/cloudnative-pg/cmd/manager",
            Self::KedaOperator => "github.com/kedacore/keda/v2/cmd/operator",
            Self::KedaAdapter => "github.com/kedacore/keda/v2/cmd/adapter",
            Self::Traefik => "github.com/traefik/traefik/v3/cmd/traefik",
            Self::ArgoCd => "github.com/argoproj/argo-cd/v3/cmd",
            Self::Kustomize => "sigs.k8s.io/kustomize/kustomize/v5",
            Self::GitServer => "todo-operator.dev/localcluster/git-server",
            Self::Prometheus => "github.com/prometheus/prometheus/cmd/prometheus",
            Self::Daprd => "github.com/dapr/dapr/cmd/daprd",
        }
    }

    /// Build tags.
    const fn tags(self) -> &'static str {
        match self {
            // The other ways to find pods and machines are most of the program, and want modules that are hard to get.
            Self::Prometheus => "remove_all_sd,enable_kubernetes_sd",
            // The brokers and stores that Dapr itself calls stable, Kafka among them.
            Self::Daprd => "stablecomponents",
            _ => "",
        }
    }

    /// The version of its module.
    pub(crate) fn version(self) -> Result<&'static str> {
        // All of it is ours: it is as old as this crate.
        if self == Self::GitServer {
            return Ok(concat!("v", env!("CARGO_PKG_VERSION")));
        }
        self.recipe().version(self.module())
    }

    /// The version by which people know it.
    pub(crate) fn number(self) -> Result<String> {
        let version = self.version()?.trim_start_matches('v');
        // Prometheus 3.14.0 is the version 0.314.0 of its module: 3.x has no module path of its own.
        if self == Self::Prometheus
            && let Some((major, rest)) = version
                .strip_prefix("0.")
                .and_then(|version| version.split_at_checked(1))
        {
            let rest = rest.strip_prefix('0').unwrap_or(rest);
            return Ok(format!("{major}.{rest}"));
        }
        Ok(version.to_owned())
    }

    const fn module(self) -> &'static str {
        match self {
            Self::Etcd => "go.etcd.io/etcd/server/v3",
            Self::KubeApiserver
            | Self::KubeControllerManager
            | Self::KubeScheduler
            | Self::Kubectl
            | Self::Kubelet
            | Self::KubeProxy => "k8s.io/kubernetes",
            Self::Kwok => "sigs.k8s.io/kwok",
            Self::RolloutsController => "github.com/argoproj/argo-rollouts",
            Self::CoreDns => "github.com/coredns/coredns",
            Self::LocalPathProvisioner | Self::VolumeHelper => {
                "github.com/rancher/local-path-provisioner"
            }
            Self::CloudNativePg => "github.com/cloudnative-pg/cloudnative-pg",
            Self::KedaOperator | Self::KedaAdapter => "github.com/kedacore/keda/v2",
            Self::Traefik => "github.com/traefik/traefik/v3",
            Self::ArgoCd => "github.com/argoproj/argo-cd/v3",
            Self::Kustomize => "sigs.k8s.io/kustomize/kustomize/v5",
            Self::GitServer => "todo-operator.dev/localcluster/git-server",
            Self::Prometheus => "github.com/prometheus/prometheus",
            Self::Daprd => "github.com/dapr/dapr",
        }
    }

    /// The variable from which a program tells its version, where the source does not have it and something is decided by it or
    /// written with it.
    const fn version_variable(self) -> Option<&'static str> {
        match self {
            Self::KedaOperator | Self::KedaAdapter => {
                Some("github.com/kedacore/keda/v2/version.Version")
            }
            Self::Traefik => Some("github.com/traefik/traefik/v3/pkg/version.Version"),
            Self::ArgoCd => Some("github.com/argoproj/argo-cd/v3/common.version"),
            Self::Prometheus => Some("github.com/prometheus/common/version.Version"),
            _ => None,
        }
    }

    /// A key for all that it is made from.
    pub(crate) fn key(self) -> Result<String> {
        let (recipe, ldflags, tags) = (self.recipe(), self.ldflags()?, self.tags());
        let inputs = [
            recipe.go_mod,
            recipe.go_sum,
            &ldflags,
            self.package(),
            std::env::consts::OS,
            std::env::consts::ARCH,
        ];
        Ok(key(inputs
            .into_iter()
            .chain(recipe.sources.iter().map(|(_, text)| *text))
            .chain(Some(tags).filter(|tags| !tags.is_empty()))))
    }

    fn ldflags(self) -> Result<String> {
        if let Some(variable) = self.version_variable() {
            let version = self.number()?;
            return Ok(format!("-s -w -X {variable}={version}"));
        }
        if self.recipe().name != KUBERNETES.name {
            return Ok("-s -w".to_owned());
        }
        let version = KUBERNETES.version("k8s.io/kubernetes")?;
        let (major, minor) = major_minor(version);
        // Without these the API server says that it is v0.0.0, which clients and admission rules take for a very old one.
        Ok(["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"].iter().fold("-s -w".to_owned(), |flags, package| {
            format!(
                "{flags} -X {package}.gitVersion={version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor} \
                 -X {package}.gitTreeState=clean -X {package}.gitCommit=local -X {package}.buildDate=2026-11-21T00:00:00Z"
            )
        }))
    }
}

fn major_minor(version: &str) -> (&str, &str) {
    let mut numbers = version.trim_start_matches('v').split('.');
    (
        numbers.next().unwrap_or_default(),
        numbers.next().unwrap_or_default(),
    )
}

/// The tools in a cache.
#[derive(Debug, Clone)]
pub struct Tools {
    pub(crate) cache: Cache,
}

impl Tools {
    /// The tools of this cache.
    #[must_use]
    pub const fn new(cache: Cache) -> Self {
        Self { cache }
    }

    /// The program's path, built first if it is not in the cache. Blocks, for minutes if it must build.
    ///
    /// # Errors
    /// If Go is missing or the build fails.
    pub fn ensure(&self, tool: Tool, progress: &dyn Progress) -> Result<PathBuf> {
        let (recipe, ldflags, tags) = (tool.recipe(), tool.ldflags()?, tool.tags());
        let dir = self.cache.entry(tool.name(), &tool.key()?, |work| {
            let what = format!("{} {}", tool.name(), tool.version()?);
            let begun = Instant::now();
            let module = work.join("module");
            recipe.write_to(&module)?;
            let packages = count_packages(&module, tool, &what)?;
            progress.event(Event::Begin {
                what: &what,
                steps: Some(packages),
            });
            let mut build = go(&module);
            build
                .args(["build", "-v", "-trimpath", "-tags", tags])
                .args(["-ldflags", &ldflags, "-o"])
                .arg(work.join(tool.name()))
                .arg(tool.package());
            // With -v Go names each package as it compiles it; cached ones are not named.
            run(build, &what, |line| {
                if !line.starts_with("go: ") {
                    progress.event(Event::Step {
                        what: &what,
                        detail: line,
                    });
                }
            })?;
            progress.event(Event::End {
                what: &what,
                took: begun.elapsed(),
            });
            fs::remove_dir_all(&module).map_err(Error::io("remove", &module))
        })?;
        Ok(dir.join(tool.name()))
    }

    /// The directory of Kafka's jars, copied first if it is not in the cache.
    ///
    /// # Errors
    /// If Maven or Java is missing or a download fails.
    pub fn ensure_kafka(&self, progress: &dyn Progress) -> Result<PathBuf> {
        self.cache.entry("kafka", &kafka_key(), |work| {
            let what = "Kafka";
            let begun = Instant::now();
            progress.event(Event::Begin { what, steps: None });
            let pom = work.join("pom.xml");
            fs::write(&pom, KAFKA_POM).map_err(Error::io("write", &pom))?;
            let log4j = work.join("log4j2.properties");
            fs::write(&log4j, KAFKA_LOG4J).map_err(Error::io("write", &log4j))?;
            let mut mvn = dying_with_us("mvn");
            mvn.args(["-q", "-B", "-f"])
                .arg(&pom)
                .args(["dependency:copy-dependencies", "-DincludeScope=runtime"]);
            mvn.arg(format!("-DoutputDirectory={}", work.join("libs").display()));
            run(mvn, what, |_| {})?;
            crate::kafka::format_template(work)?;
            progress.event(Event::End {
                what,
                took: begun.elapsed(),
            });
            Ok(())
        })
    }

    /// Builds everything that a real node needs beside that.
    ///
    /// # Errors
    /// If one of them cannot be built.
    pub fn ensure_real_node(&self, progress: &dyn Progress) -> Result<()> {
        for tool in Tool::REAL_NODE {
            self.ensure(tool, progress)?;
        }
        crate::node::Images::ensure(self, progress).map(drop)
    }

    /// Builds and installs everything that the services are tested with, besides Kafka.
    ///
    /// # Errors
    /// If something cannot be built or installed.
    pub fn ensure_services(&self, progress: &dyn Progress) -> Result<()> {
        for tool in Tool::SERVICES {
            self.ensure(tool, progress)?;
        }
        self.ensure_npm(progress).map(drop)
    }

    /// Builds everything that a full local cluster needs, without what only a real node, the peers on it or the services need.
    ///
    /// # Errors
    /// If one of them cannot be built.
    pub fn ensure_all(&self, progress: &dyn Progress) -> Result<()> {
        for tool in Tool::ALL {
            let is_apart = [&Tool::REAL_NODE[..], &Tool::PEERS, &Tool::SERVICES]
                .iter()
                .any(|tools| tools.contains(&tool));
            if !is_apart {
                self.ensure(tool, progress)?;
            }
        }
        self.ensure_kafka(progress)?;
        crate::crds::ensure_all(self, progress)
    }
}

/// A Go command in a directory, with the settings that make the build independent of the machine.
pub(crate) fn go(dir: &Path) -> Command {
    let mut command = dying_with_us("go");
    // A go.work or GOFLAGS of the user must not change what is built.
    command
        .current_dir(dir)
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
        .env("GOFLAGS", "-mod=readonly");
    command
}

/// A command that ends when the thread that runs it does: nobody wants a build whose asker was interrupted.
pub(crate) fn dying_with_us(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "--", program]);
    command
}

fn count_packages(module: &Path, tool: Tool, what: &str) -> Result<u64> {
    let mut list = go(module);
    list.args(["list", "-deps", "-tags", tool.tags(), tool.package()]);
    Ok(output(list, what)?.lines().count() as u64)
}

/// Runs a command and gives its standard output.
pub(crate) fn output(mut command: Command, what: &str) -> Result<String> {
    let shown = show(&command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|e| not_started(&command, what, e))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    if let Some(error) = not_found_by_setpriv(&command, output.status) {
        return Err(error);
    }
    let said = if output.stderr.is_empty() {
        &output.stdout
    } else {
        &output.stderr
    };
    let said = String::from_utf8_lossy(said);
    let lines: Vec<&str> = said.lines().collect();
    Err(Error::Command {
        what: what.to_owned(),
        command: shown,
        status: output.status.to_string(),
        output: lines[lines.len().saturating_sub(20)..].join("\n"),
    })
}

/// Runs a command and passes each line of its standard error on.
pub(crate) fn run(mut command: Command, what: &str, mut line: impl FnMut(&str)) -> Result<()> {
    let shown = show(&command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| not_started(&command, what, e))?;
    let mut tail = VecDeque::new();
    if let Some(stderr) = child.stderr.take() {
        for text in BufReader::new(stderr)
            .lines()
            .map_while(std::io::Result::ok)
        {
            line(&text);
            tail.push_back(text);
            if tail.len() > 20 {
                tail.pop_front();
            }
        }
    }
    let status = child.wait().map_err(|e| not_started(&command, what, e))?;
    if status.success() {
        return Ok(());
    }
    if let Some(error) = not_found_by_setpriv(&command, status) {
        return Err(error);
    }
    Err(Error::Command {
        what: what.to_owned(),
        command: shown,
        status: status.to_string(),
        output: Vec::from(tail).join("\n"),
    })
}

fn not_started(command: &Command, what: &str, error: std::io::Error) -> Error {
    let program = command.get_program().to_string_lossy().into_owned();
    if error.kind() == std::io::ErrorKind::NotFound {
        return missing(program);
    }
    Error::Spawn {
        part: what.to_owned(),
        program: PathBuf::from(program),
        source: error,
    }
}

/// The program that setpriv was to become, if that is what it could not find.
fn not_found_by_setpriv(command: &Command, status: std::process::ExitStatus) -> Option<Error> {
    let program = command.get_args().nth(3)?;
    (command.get_program() == "setpriv" && status.code() == Some(127))
        .then(|| missing(program.to_string_lossy().into_owned()))
}

fn missing(program: String) -> Error {
    let hint = match program.as_str() {
        "go" => "install Go 1.26 or later (https://go.dev/dl)",
        "mvn" => "install Apache Maven (Debian: apt-get install maven)",
        "npm" => "install npm (Debian: apt-get install npm)",
        "java" => "install Java 17 or later (Debian: apt-get install openjdk-17-jre-headless)",
        "setpriv" => "install util-linux",
        "apt-get" | "dpkg-deb" | "dpkg-query" => {
            "images are made of Debian packages: run this on Debian or Ubuntu, or use the Dockerfile"
        }
        "cc" => "install a C compiler (Debian: apt-get install gcc libc6-dev)",
        _ => "install it",
    };
    Error::MissingProgram { program, hint }
}

fn show(command: &Command) -> String {
    let mut words = vec![command.get_program()];
    words.extend(command.get_args());
    words.join(OsStr::new(" ")).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_single_and_grouped_requirements() {
        let text = "module m\n\nrequire a.io/x v1.2.3\n\nrequire (\n\tb.io/y v0.1.0 // indirect\n\tc.io/z/v2 v2.0.0\n)\nreplace b.io/y => b.io/y v9.9.9\n";
        assert_eq!(required_version(text, "a.io/x"), Some("v1.2.3"));
        assert_eq!(required_version(text, "b.io/y"), Some("v0.1.0"));
        assert_eq!(required_version(text, "c.io/z"), None);
    }

    #[test]
    fn every_tool_has_a_pinned_version() {
        for tool in Tool::ALL {
            assert!(tool.version().unwrap().starts_with('v'), "{}", tool.name());
        }
    }

    #[test]
    fn versions_are_stamped_where_the_source_has_none() {
        let flags = |tool: Tool| tool.ldflags().unwrap();
        assert!(flags(Tool::ArgoCd).ends_with("/common.version=3.2.11"));
        assert!(flags(Tool::Prometheus).ends_with("/version.Version=3.14.0"));
        assert_eq!(flags(Tool::CloudNativePg), "-s -w");
    }

    #[test]
    fn the_kubernetes_version_is_stamped() {
        let flags = Tool::KubeApiserver.ldflags().unwrap();
        assert!(
            flags.contains("k8s.io/component-base/version.gitVersion=v1."),
            "{flags}"
        );
        assert_eq!(major_minor("v1.36.4"), ("1", "36"));
    }

    #[test]
    fn a_missing_program_says_how_to_get_it() {
        let error = output(Command::new("surely-not-a-program"), "x").unwrap_err();
        assert!(
            error.to_string().contains("surely-not-a-program"),
            "{error}"
        );
    }
}
