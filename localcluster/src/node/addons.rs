//! What runs in pods of a real node from the start: the cluster's DNS and the provisioner of volumes; and their images.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use k8s_openapi::api::apps::v1::Deployment;
use kube::Client;
use kube::api::Api;
use serde_json::Value;

use super::network::Network;
use super::static_image::write_static_image;
use crate::cache::key;
use crate::crds::downloaded_dir;
use crate::error::{Error, Result};
use crate::manifests;
use crate::progress::{Event, Progress};
use crate::tools::{KUBERNETES, Tool, Tools, dying_with_us, go, output};

const COREDNS: &str = include_str!("../../coredns/coredns.yaml");
const LOCAL_PATH_PROVISIONER: &str =
    include_str!("../../local-path-provisioner/local-path-provisioner.yaml");

/// Where the source of the pause program lies.
const PAUSE_MODULE: &str = "k8s.io/kubernetes";

/// Changes when the images are written differently.
const FORMAT: &str = "1";

/// An image that every real node has.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    /// Its full name.
    pub(crate) reference: String,
    /// The file from which containerd imports it.
    pub(crate) file: PathBuf,
}

/// The images without which no pod runs, and those of the addons.
#[derive(Debug, Clone)]
pub(crate) struct Images {
    pub(crate) pause: Image,
    coredns: Image,
    local_path_provisioner: Image,
    volume_helper: Image,
}

impl Images {
    /// Makes those that are not in the cache. Blocks.
    pub(crate) fn ensure(tools: &Tools, progress: &dyn Progress) -> Result<Self> {
        let image = |tool: Tool| -> Result<Image> {
            let program = tools.ensure(tool, progress)?;
            of_program(tools, &program, tool.version()?, progress)
        };
        Ok(Self {
            pause: of_program(
                tools,
                &pause(tools, progress)?,
                KUBERNETES.version(PAUSE_MODULE)?,
                progress,
            )?,
            coredns: image(Tool::CoreDns)?,
            local_path_provisioner: image(Tool::LocalPathProvisioner)?,
            volume_helper: image(Tool::VolumeHelper)?,
        })
    }

    /// All of them, those that are needed first at the beginning.
    pub(crate) fn all(&self) -> [&Image; 4] {
        [
            &self.pause,
            &self.coredns,
            &self.local_path_provisioner,
            &self.volume_helper,
        ]
    }
}

fn of_program(
    tools: &Tools,
    program: &Path,
    version: &str,
    progress: &dyn Progress,
) -> Result<Image> {
    let name = program
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let reference = format!("localhost/{name}:{version}");
    // The program's own directory is named after all that it is made from.
    let key = key([FORMAT, &reference, &program.to_string_lossy()]);
    let entry = format!("image-{name}");
    let dir = tools.cache.entry(&entry, &key, |work| {
        let what = format!("image {reference}");
        let begun = Instant::now();
        progress.event(Event::Begin {
            what: &what,
            steps: None,
        });
        write_static_image(program, &reference, &work.join("image.tar"))?;
        progress.event(Event::End {
            what: &what,
            took: begun.elapsed(),
        });
        Ok(())
    })?;
    Ok(Image {
        reference,
        file: dir.join("image.tar"),
    })
}

/// The program that holds a pod's namespaces, compiled from Kubernetes' own source: kubelet's only part that is not Go.
fn pause(tools: &Tools, progress: &dyn Progress) -> Result<PathBuf> {
    let version = KUBERNETES.version(PAUSE_MODULE)?;
    let inputs = [version, std::env::consts::ARCH];
    let dir = tools.cache.entry("pause", &key(inputs), |work| {
        let what = format!("pause {version}");
        let begun = Instant::now();
        progress.event(Event::Begin {
            what: &what,
            steps: None,
        });
        let module = work.join("module");
        KUBERNETES.write_to(&module)?;
        let mut download = go(&module);
        download
            .args(["mod", "download", "-json"])
            .arg(format!("{PAUSE_MODULE}@{version}"));
        let source = downloaded_dir(&output(download, &what)?, PAUSE_MODULE)?;
        let mut compile = dying_with_us("cc");
        compile
            .args(["-Os", "-static", "-s", "-o"])
            .arg(work.join("pause"))
            .arg(source.join("build/pause/linux/pause.c"));
        output(compile, &what)?;
        progress.event(Event::End {
            what: &what,
            took: begun.elapsed(),
        });
        fs::remove_dir_all(&module).map_err(Error::io("remove", &module))
    })?;
    Ok(dir.join("pause"))
}

/// The Deployments that must be available, by namespace and name.
pub(crate) const DEPLOYMENTS: [(&str, &str); 2] = [
    ("kube-system", "coredns"),
    ("local-path-storage", "local-path-provisioner"),
];

/// Applies all objects of the addons.
pub(crate) async fn apply(
    client: &Client,
    images: &Images,
    network: &Network,
    volumes: &Path,
) -> Result<()> {
    for object in objects(images, network, volumes)? {
        manifests::apply(client, &object).await?;
    }
    Ok(())
}

fn objects(images: &Images, network: &Network, volumes: &Path) -> Result<Vec<Value>> {
    let coredns = COREDNS
        .replace("$IMAGE", &images.coredns.reference)
        .replace("$CLUSTER_IP", &network.dns_service().to_string());
    let provisioner = LOCAL_PATH_PROVISIONER
        .replace("$IMAGE", &images.local_path_provisioner.reference)
        .replace("$HELPER_IMAGE", &images.volume_helper.reference)
        .replace("$VOLUMES", &volumes.to_string_lossy());
    let mut objects = manifests::documents("coredns/coredns.yaml", &coredns)?;
    objects.extend(manifests::documents(
        "local-path-provisioner/local-path-provisioner.yaml",
        &provisioner,
    )?);
    Ok(objects)
}

/// Whether a Deployment serves, in its newest version.
pub(crate) async fn is_available(client: &Client, (namespace, name): (&str, &str)) -> bool {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let Ok(deployment) = deployments.get(name).await else {
        return false;
    };
    deployment.status.is_some_and(|status| {
        status.observed_generation == deployment.metadata.generation
            && status.available_replicas.unwrap_or(0) >= 1
    })
}
