//! What can go wrong, each with where it happened and what to do about it.

use std::io;
use std::path::PathBuf;

/// A failure of the local cluster.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or directory could not be used.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb: "create", "read".
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A program that must be installed is not.
    #[error("`{program}` is not on PATH: {hint}")]
    MissingProgram {
        /// Its name.
        program: String,
        /// How to get it.
        hint: &'static str,
    },
    /// A build or download command failed.
    #[error("`{command}` failed ({status}) while making {what}; its output ended with:\n{output}")]
    Command {
        /// What was being made.
        what: String,
        /// The command line.
        command: String,
        /// Its exit status.
        status: String,
        /// The end of its standard error.
        output: String,
    },
    /// A recipe (go.mod, an unpacked module) does not have what is expected of it.
    #[error("the recipe {recipe} is not usable: {reason}")]
    Recipe {
        /// Which recipe.
        recipe: String,
        /// What is missing.
        reason: String,
    },
    /// A process could not be started.
    #[error("cannot start {part} ({}): {source}", program.display())]
    Spawn {
        /// The part of the cluster.
        part: String,
        /// The program.
        program: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A process ended while others waited for it.
    #[error("{part} ended before it was ready; {} ends with:\n{tail}", log.display())]
    Ended {
        /// The part of the cluster.
        part: String,
        /// Its log file.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// A process did not become ready.
    #[error("{part} was not ready after {seconds} s ({waiting_for}); {} ends with:\n{tail}", log.display())]
    NotReady {
        /// The part of the cluster.
        part: String,
        /// How long was waited.
        seconds: u64,
        /// The condition that did not come.
        waiting_for: String,
        /// Its log file.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// Something in the cluster does not serve.
    #[error(
        "{object} did not serve within {seconds} s: see `kubectl describe` and `kubectl logs` of it and its pods"
    )]
    NotServing {
        /// Kind, namespace and name.
        object: String,
        /// How long was waited.
        seconds: u64,
    },
    /// A process did not end although it was told to.
    #[error("process {pid} ({part}) is still there {seconds} s after SIGKILL")]
    NotStopped {
        /// The part of the cluster.
        part: String,
        /// Its process id.
        pid: i32,
        /// How long was waited.
        seconds: u64,
    },
    /// A fixed port is in use.
    #[error(
        "port {port} on 127.0.0.1, which {part} needs, is taken: stop what listens there (`ss -ltnp 'sport = :{port}'`)"
    )]
    PortTaken {
        /// Who needs it.
        part: String,
        /// The port.
        port: u16,
    },
    /// No free port was found.
    #[error("no free port on 127.0.0.1 for {part} after many tries")]
    NoFreePort {
        /// Who needs it.
        part: String,
    },
    /// A real node was asked for by somebody who may not make namespaces.
    #[error("a real node needs root: run this as root, or ask for `Node::Kwok`")]
    NotRoot,
    /// A directory with what a real node needs is nowhere.
    #[error("{what} is in none of {}: {hint}", dirs.join(", "))]
    MissingDirectory {
        /// What is missing.
        what: &'static str,
        /// Where it was looked for.
        dirs: Vec<String>,
        /// How to get it.
        hint: &'static str,
    },
    /// The addresses of a cluster that comes back belong to another one now.
    #[error(
        "the network {network} of this cluster is used by another one through {link}: stop one of them (`cargo xtask down`)"
    )]
    NetworkTaken {
        /// The addresses.
        network: String,
        /// The link.
        link: String,
    },
    /// All networks are in use.
    #[error(
        "each of 10.96.0.0/16 to 10.127.0.0/16 has a route or a link already (`ip route`, `ip link`): stop a cluster"
    )]
    NoFreeNetwork,
    /// A state directory was made with the other kind of node.
    #[error(
        "{} is that of a cluster {made}: addresses and certificates are others, so stop it first (`cargo xtask down`)",
        state.display()
    )]
    OtherNode {
        /// The state directory.
        state: PathBuf,
        /// With or without a real node.
        made: &'static str,
    },
    /// Something of a stopped node is still there.
    #[error("{what} of the stopped node is still there after {seconds} s")]
    NotCleared {
        /// What is left.
        what: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The part was not configured, so it cannot be addressed.
    #[error("{part} is not part of this cluster: ask for it in `Config`")]
    NotConfigured {
        /// The part of the cluster.
        part: String,
    },
    /// A certificate or key could not be made.
    #[error("cannot make the certificate {name}: {source}")]
    Certificate {
        /// Which certificate.
        name: String,
        /// The cause.
        source: rcgen::Error,
    },
    /// The API server refused or could not be reached.
    #[error("Kubernetes API: cannot {action}: {source}")]
    Kube {
        /// What was tried.
        action: String,
        /// The client's answer.
        source: Box<kube::Error>,
    },
    /// A kubeconfig could not be read.
    #[error("the kubeconfig {} cannot be used: {reason}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
    /// A file of the state directory has content that nobody wrote there.
    #[error("the state file {} is damaged ({reason}): remove the directory that holds it", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
    /// A recipe of an image cannot be followed.
    #[error("the image {image} cannot be made: {reason}")]
    Image {
        /// Its name.
        image: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Something on the disk cannot become part of an image.
    #[error("{} cannot be put into an image: {reason}", path.display())]
    Unfit {
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A file of a layer changed between the moment it was hashed and the moment it was written.
    #[error(
        "a file of the layer {layer:?} changed while the image was written: write it again when nothing builds there"
    )]
    Changed {
        /// The layer's title.
        layer: String,
    },
    /// A file is not an image, or not one of ours.
    #[error("{} is not an image archive of ours: {reason}", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A Debian package cannot be had or used.
    #[error("the Debian package {package} cannot be used: {reason}")]
    Package {
        /// Its name.
        package: String,
        /// The cause.
        reason: String,
    },
    /// A blocking task was cancelled or panicked.
    #[error("a background task of the local cluster failed: {0}")]
    Task(String),
}

impl Error {
    /// An [`Error::Io`] for `path`, to be used with `map_err`.
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    /// An [`Error::Kube`], to be used with `map_err`.
    pub(crate) fn kube(action: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let action = action.into();
        move |source| Self::Kube {
            action,
            source: Box::new(source),
        }
    }
}

/// The result of everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;
