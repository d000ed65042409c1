//! A real node: containerd, kubelet and kube-proxy in namespaces of their own, with everything they write below the
//! cluster's state directory. Needs root.

mod addons;
mod namespaces;
mod network;
mod settings;
mod static_image;

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node as KubeNode;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use crate::cache::key;
use crate::config::Part;
use crate::error::{Error, Result};
use crate::pki::{Pki, write_private};
use crate::process::Spec;
use crate::progress::Progress;
use crate::tools::{Tools, output};

pub(crate) use addons::Images;
pub(crate) use network::Network;
pub(crate) use settings::NAME;
pub use static_image::write_static_image;

/// How long the kernel may take to end what was killed.
const PATIENCE: Duration = Duration::from_secs(15);

/// Where distributions put the CNI plugins.
const PLUGIN_DIRECTORIES: [&str; 4] = [
    "/usr/lib/cni",
    "/opt/cni/bin",
    "/usr/libexec/cni",
    "/usr/lib/cni/bin",
];

/// Directories of administrators' programs, which the PATH of a user who became root may lack.
const ADMINISTRATORS_PATH: &str = "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin";

/// One real node.
#[derive(Debug)]
pub(crate) struct RealNode {
    root: PathBuf,
    network: Network,
    own_images: Images,
    plugins: PathBuf,
}

/// Says what is missing on this machine, before anything is built or started.
pub(crate) fn require() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Error::NotRoot);
    }
    for (program, hint) in [
        ("containerd", "Debian: apt-get install containerd"),
        ("ctr", "Debian: apt-get install containerd"),
        ("runc", "Debian: apt-get install runc"),
        ("nft", "Debian: apt-get install nftables"),
        ("ip", "Debian: apt-get install iproute2"),
        ("mount", "Debian: apt-get install mount"),
        ("unshare", "install util-linux"),
        ("nsenter", "install util-linux"),
    ] {
        if !std::env::split_paths(&path()).any(|dir| dir.join(program).is_file()) {
            return Err(Error::MissingProgram {
                program: program.to_owned(),
                hint,
            });
        }
    }
    plugins().map(drop)
}

/// Why this machine can have no real node, whatever is installed on it; nothing if it can.
#[must_use]
pub fn obstacle_to_real_node() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("it needs root".to_owned());
    }
    let mut unshare = Command::new("unshare");
    unshare.args([
        "--mount",
        "--net",
        "--pid",
        "--fork",
        "--mount-proc",
        "true",
    ]);
    // As in a container without privileges.
    let refused = output(unshare, "namespaces").err()?;
    Some(format!("this root may not make namespaces ({refused})"))
}

/// Whether the CNI plugins that a real node needs are installed.
#[must_use]
pub fn has_cni_plugins() -> bool {
    plugins().is_ok()
}

fn plugins() -> Result<PathBuf> {
    PLUGIN_DIRECTORIES
        .iter()
        .map(PathBuf::from)
        .find(|dir| dir.join("ptp").is_file() && dir.join("host-local").is_file())
        .ok_or_else(|| Error::MissingDirectory {
            what: "the directory of the CNI plugins",
            dirs: PLUGIN_DIRECTORIES.map(str::to_owned).to_vec(),
            hint: "Debian: apt-get install containernetworking-plugins",
        })
}

fn path() -> String {
    let ours = std::env::var("PATH").unwrap_or_default();
    format!("{ours}:{ADMINISTRATORS_PATH}")
}

fn root(state: &Path) -> PathBuf {
    state.join("node")
}

fn network_file(state: &Path) -> PathBuf {
    root(state).join("network.json")
}

/// Refuses the state directory of a cluster with the other kind of node.
pub(crate) fn refuse_other(state: &Path, is_real: bool) -> Result<()> {
    let certificate = |name: &str| state.join("pki").join(name).exists();
    // An interrupted start is begun again, with whatever node.
    let (was_started, was_real) = (certificate("sa.key"), certificate("kubelet.crt"));
    if was_started && was_real != is_real {
        return Err(Error::OtherNode {
            state: state.to_owned(),
            made: if was_real {
                "with a real node"
            } else {
                "without a real node"
            },
        });
    }
    Ok(())
}

/// Removes what is left of a node outside of its directory, after its processes were stopped or have crashed.
pub(crate) fn clear(state: &Path) -> Result<()> {
    let Some(network) = Network::read(&network_file(state))? else {
        return Ok(());
    };
    wait_for_end(state, &network)?;
    network.remove_link()
}

fn wait_for_end(state: &Path, network: &Network) -> Result<()> {
    namespaces::wait_for_end(&root(state), PATIENCE)?;
    namespaces::remove_cgroup(network.owner(), PATIENCE)
}

impl RealNode {
    /// Chooses addresses, or those of an earlier run. Blocks.
    pub(crate) fn open(state: &Path, tools: &Tools, progress: &dyn Progress) -> Result<Self> {
        let root = root(state);
        fs::create_dir_all(&root).map_err(Error::io("create", &root))?;
        let owner = format!("localcluster-{}", key([root.to_string_lossy().as_ref()]));
        Ok(Self {
            network: Network::open(&network_file(state), &owner)?,
            own_images: Images::ensure(tools, progress)?,
            plugins: plugins()?,
            root,
        })
    }

    pub(crate) fn network(&self) -> &Network {
        &self.network
    }

    /// Waits until everything on an earlier node of this cluster has ended, whose first process has.
    pub(crate) fn wait_for_end(&self, state: &Path) -> Result<()> {
        wait_for_end(state, &self.network)
    }

    /// Says how to start the first process, in which the namespaces are made.
    pub(crate) fn namespaces(&self) -> Result<Spec> {
        self.network.renew_link()?;
        namespaces::make_cgroup(self.network.owner())?;
        namespaces::prepare(Part::Namespaces.name(), &self.root)
    }

    /// Whether the namespaces can be used.
    pub(crate) fn has_namespaces(&self) -> bool {
        namespaces::is_ready(&self.root)
    }

    /// Links the network namespace to the host, unless that was done.
    pub(crate) fn connect(&self, namespaces: i32) -> Result<()> {
        namespaces::remember(&self.root, namespaces)?;
        self.network.connect(namespaces)
    }

    pub(crate) fn containerd(&self, namespaces: i32) -> Result<Spec> {
        let cni = self.root.join("cni");
        fs::create_dir_all(&cni).map_err(Error::io("create", &cni))?;
        self.write(
            "cni/pods.conflist",
            &settings::cni(&self.root, &self.network).to_string(),
        )?;
        let file = self.write(
            "containerd.toml",
            &settings::containerd(&self.root, &self.plugins, &self.own_images.pause.reference),
        )?;
        let spec = Spec::new(Part::Containerd.name(), "containerd")
            .args(["--config".into(), file.into_os_string()]);
        Ok(namespaces::inside(namespaces, with_path(spec)))
    }

    pub(crate) fn kubelet(
        &self,
        namespaces: i32,
        program: PathBuf,
        pki: &Pki,
        server: &str,
    ) -> Result<Spec> {
        // Nobody outside answers names.
        self.write("resolv.conf", "nameserver 127.0.0.1\n")?;
        let settings = settings::kubelet(
            &self.root,
            &pki.file(""),
            self.network.owner(),
            &self.network,
        )
        .to_string();
        let settings = self.write("kubelet.json", &settings)?;
        let kubeconfig = self.kubeconfig("kubelet", pki, server)?;
        let spec = Spec::new(Part::Kubelet.name(), program).args([
            format!("--config={}", settings.display()),
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--hostname-override={NAME}"),
            format!("--node-ip={}", self.network.node()),
        ]);
        Ok(namespaces::inside(namespaces, with_path(spec)))
    }

    pub(crate) fn kube_proxy(
        &self,
        namespaces: i32,
        program: PathBuf,
        pki: &Pki,
        server: &str,
    ) -> Result<Spec> {
        let kubeconfig = self.kubeconfig("kube-proxy", pki, server)?;
        let settings = settings::kube_proxy(&kubeconfig, &self.network).to_string();
        let settings = self.write("kube-proxy.json", &settings)?;
        let spec = Spec::new(Part::KubeProxy.name(), program)
            .args([format!("--config={}", settings.display())]);
        Ok(namespaces::inside(namespaces, with_path(spec)))
    }

    fn kubeconfig(&self, user: &str, pki: &Pki, server: &str) -> Result<PathBuf> {
        self.write(
            &format!("{user}.kubeconfig"),
            &pki.certificate_kubeconfig(server, user)?,
        )
    }

    fn write(&self, name: &str, content: &str) -> Result<PathBuf> {
        let path = self.root.join(name);
        write_private(&path, content)?;
        Ok(path)
    }

    /// Whether containerd answers. Blocks.
    pub(crate) fn serves_images(&self, namespaces: i32) -> bool {
        self.ctr(namespaces, ["version".as_ref()]).is_ok()
    }

    /// Imports the images that every real node has, unless they are there. Blocks.
    pub(crate) fn load_own_images(&self, namespaces: i32) -> Result<()> {
        let there = self.images(namespaces)?;
        for image in self.own_images.all() {
            if !there.contains(&image.reference) {
                self.load_image(namespaces, &image.file)?;
            }
        }
        Ok(())
    }

    /// Imports an OCI image layout. Blocks.
    pub(crate) fn load_image(&self, namespaces: i32, file: &Path) -> Result<()> {
        let file = file.canonicalize().map_err(Error::io("read", file))?;
        let args = ["images".as_ref(), "import".as_ref(), file.as_path()];
        let said = self.ctr(namespaces, args)?;
        for (name, by_digest) in names_by_digest(&said) {
            let args = ["images", "tag", "--force", name, &by_digest].map(AsRef::as_ref);
            self.ctr(namespaces, args)?;
        }
        Ok(())
    }

    /// The full names of the images that are there. Blocks.
    pub(crate) fn images(&self, namespaces: i32) -> Result<BTreeSet<String>> {
        let listed = self.ctr(namespaces, ["images", "list", "--quiet"].map(AsRef::as_ref))?;
        Ok(listed.lines().map(str::to_owned).collect())
    }

    fn ctr<'a>(&self, namespaces: i32, args: impl IntoIterator<Item = &'a Path>) -> Result<String> {
        // Inside, so that the socket's path is short wherever the state directory lies.
        let spec = Spec::new("ctr", "ctr")
            .args(["--address", settings::SOCKET, "--namespace", "k8s.io"])
            .args(args);
        let spec = namespaces::inside(namespaces, with_path(spec));
        let mut command = Command::new(spec.program);
        command.args(spec.args).envs(spec.env);
        output(command, "containerd's images")
    }

    /// Where kubelet says that it is well.
    pub(crate) fn kubelet_health(&self) -> (Ipv4Addr, u16) {
        (self.network.node(), settings::KUBELET_HEALTH)
    }

    /// Applies the addons.
    pub(crate) async fn apply_addons(&self, client: &Client) -> Result<()> {
        let volumes = self.root.join("volumes");
        addons::apply(client, &self.own_images, &self.network, &volumes).await
    }

    /// Whether all addons serve.
    pub(crate) async fn has_addons(&self, client: &Client) -> bool {
        for deployment in addons::DEPLOYMENTS {
            if !addons::is_available(client, deployment).await {
                return false;
            }
        }
        true
    }
}

/// What `ctr images import` says that it has unpacked: the name in the file, and the name by digest under which a registry
/// would give it too.
fn names_by_digest(said: &str) -> impl Iterator<Item = (&str, String)> {
    said.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("unpacking ")?.split_once(" (")?;
        let (digest, _) = rest.split_once(')')?;
        // A colon before the last slash is that of a port.
        let repository = match name.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => repository,
            _ => name,
        };
        Some((name, format!("{repository}@{digest}")))
    })
}

fn with_path(spec: Spec) -> Spec {
    spec.env("PATH", path())
}

/// What an earlier node said of itself is not true of a new one, but it would be believed until that has spoken.
pub(crate) async fn doubt(client: &Client) -> Result<()> {
    let nodes: Api<KubeNode> = Api::all(client.clone());
    let action = || Error::kube(format!("mark the node {NAME} as not ready"));
    if nodes.get_opt(NAME).await.map_err(action())?.is_none() {
        return Ok(());
    }
    let unknown = json!({"status": {"conditions": [
        {"type": "Ready", "status": "Unknown", "reason": "NodeStarts"},
    ]}});
    nodes
        .patch_status(NAME, &PatchParams::default(), &Patch::Strategic(&unknown))
        .await
        .map_err(action())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_directory_belongs_to_one_kind_of_node() {
        let dir = tempfile::tempdir().unwrap();
        let pki = dir.path().join("pki");
        refuse_other(dir.path(), true).unwrap();
        Pki::open(&pki, None).unwrap();
        refuse_other(dir.path(), false).unwrap();
        let error = refuse_other(dir.path(), true).unwrap_err();
        assert!(error.to_string().contains("without a real node"), "{error}");
    }

    #[test]
    fn an_image_has_a_name_by_digest() {
        let said = "unpacking localhost/demo:1 (sha256:aa)...done\nunpacking localhost:5000/demo (sha256:bb)...done\nelse\n";
        let names: Vec<_> = names_by_digest(said).collect();
        let expected = [
            ("localhost/demo:1", "localhost/demo@sha256:aa".to_owned()),
            (
                "localhost:5000/demo",
                "localhost:5000/demo@sha256:bb".to_owned(),
            ),
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn what_never_had_a_node_is_cleared_at_once() {
        let dir = tempfile::tempdir().unwrap();
        clear(dir.path()).unwrap();
    }
}
