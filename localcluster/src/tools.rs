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
    /// A program of our own beside the module files: its path and text.
    pub(crate) program: Option<(&'static str, &'static str)>,
}

macro_rules! recipe {
    ($name:literal) => {
        Recipe {
            name: $name,
            go_mod: include_str!(concat!("../", $name, "/go.mod")),
            go_sum: include_str!(concat!("../", $name, "/go.sum")),
            program: None,
        }
    };
    ($name:literal, $program:literal) => {
        Recipe {
            program: Some(($program, include_str!(concat!("../", $name, "/", $program)))),
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
        for (name, content) in modules.into_iter().chain(self.program) {
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
    /// The sidecar of Dapr.
    Daprd,
}

impl Tool {
    /// All of them.
    pub const ALL: [Self; 13] = [
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
            Self::Daprd => "github.com/dapr/dapr/cmd/daprd",
        }
    }

    /// Build tags.
    const fn tags(self) -> &'static str {
        match self {
            // The brokers and stores that Dapr itself calls stable, Kafka among them.
            Self::Daprd => "stablecomponents",
            _ => "",
        }
    }

    /// The version of its module.
    pub(crate) fn version(self) -> Result<&'static str> {
        self.recipe().version(self.module())
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
            Self::Daprd => "github.com/dapr/dapr",
        }
    }

    fn ldflags(self) -> Result<String> {
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
        let recipe = tool.recipe();
        let ldflags = tool.ldflags()?;
        let inputs = [
            recipe.go_mod,
            recipe.go_sum,
            &ldflags,
            tool.package(),
            std::env::consts::OS,
            std::env::consts::ARCH,
        ];
        let tags = Some(tool.tags()).filter(|tags| !tags.is_empty());
        let program = recipe.program.map(|(_, text)| text);
        let key = key(inputs.into_iter().chain(tags).chain(program));
        let dir = self.cache.entry(tool.name(), &key, |work| {
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
                .args(["build", "-v", "-trimpath", "-tags", tool.tags()])
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
        const POM: &str = include_str!("../kafka/pom.xml");
        const LOG4J: &str = include_str!("../kafka/log4j2.properties");
        self.cache.entry(
            "kafka",
            &key([POM, LOG4J, crate::kafka::FORMAT_PROPERTIES]),
            |work| {
                let what = "Kafka";
                let begun = Instant::now();
                progress.event(Event::Begin { what, steps: None });
                let pom = work.join("pom.xml");
                fs::write(&pom, POM).map_err(Error::io("write", &pom))?;
                let log4j = work.join("log4j2.properties");
                fs::write(&log4j, LOG4J).map_err(Error::io("write", &log4j))?;
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
            },
        )
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

    /// Builds everything that a full local cluster needs, without what only a real node needs.
    ///
    /// # Errors
    /// If one of them cannot be built.
    pub fn ensure_all(&self, progress: &dyn Progress) -> Result<()> {
        for tool in Tool::ALL {
            if !Tool::REAL_NODE.contains(&tool) && !Tool::SERVICES.contains(&tool) {
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
            "images are made of Debian packages: run this on Debian or Ubuntu, or use operator/Dockerfile"
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
            assert!(
                tool.recipe()
                    .version(tool.module())
                    .unwrap()
                    .starts_with('v'),
                "{}",
                tool.name()
            );
        }
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
