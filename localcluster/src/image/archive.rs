//! The file that is loaded: an OCI image layout in a tar file, with the `manifest.json` of a Docker archive in it.
//! <https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md>

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use tar::{Builder, EntryType, Header};

use super::blob::{self, Blob, Packed, hex};
use super::manifest::{
    self, Descriptor, DockerImage, Empty, Execution, History, Image, Index, Manifest, Platform,
    RootFs,
};
use super::recipe::{Compression, Recipe};
use crate::cache::Cache;
use crate::error::{Error, Result};

/// An image that was written.
#[derive(Debug, Clone)]
pub struct Written {
    /// Its name with the tag.
    pub name: String,
    /// The digest of its manifest, by which registries and runtimes know it.
    pub digest: String,
    /// The file.
    pub path: PathBuf,
    /// The file's size in bytes.
    pub size: u64,
}

pub(super) fn write(recipe: &Recipe, cache: &Cache, to: &Path) -> Result<Written> {
    let layers = recipe
        .layers
        .iter()
        .map(|layer| blob::pack(layer, recipe.compression, cache))
        .collect::<Result<Vec<Packed>>>()?;
    let config = Blob::of(json(&image(recipe, &layers)?, to)?);
    let manifest = Blob::of(json(&manifest(recipe, &config, &layers), to)?);
    let index = json(&index(recipe, &manifest), to)?;
    let docker = json(&[docker(recipe, &config, &layers)], to)?;

    if let Some(parent) = to.parent().filter(|parent| *parent != Path::new("")) {
        fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
    }
    let part = to.with_added_extension("part");
    let file = File::create(&part).map_err(Error::io("create", &part))?;
    let mut tar = Builder::new(BufWriter::new(file));
    let failed = || Error::io("write", &part);
    // containerd and skopeo read it from front to back: what says that it is a layout comes first.
    for (name, content) in [
        ("oci-layout", manifest::LAYOUT.as_bytes()),
        ("index.json", &index),
        ("manifest.json", &docker),
    ] {
        tar.append_data(
            &mut header(EntryType::Regular, content.len() as u64),
            name,
            content,
        )
        .map_err(failed())?;
    }
    for name in ["blobs/", "blobs/sha256/"] {
        tar.append_data(&mut header(EntryType::Directory, 0), name, io::empty())
            .map_err(failed())?;
    }
    let mut there = BTreeSet::new();
    for blob in [&manifest, &config]
        .into_iter()
        .chain(layers.iter().map(|layer| &layer.blob))
    {
        if there.insert(&blob.digest) {
            append(&mut tar, blob, &part)?;
        }
    }
    let mut file = tar.into_inner().map_err(failed())?;
    file.flush().map_err(failed())?;
    let size = file.get_ref().metadata().map_err(failed())?.len();
    fs::rename(&part, to).map_err(Error::io("rename", &part))?;
    Ok(Written {
        name: recipe.name.clone(),
        digest: manifest.digest,
        path: to.to_owned(),
        size,
    })
}

fn append(tar: &mut Builder<BufWriter<File>>, blob: &Blob, part: &Path) -> Result<()> {
    let mut header = header(EntryType::Regular, blob.size);
    let mut entry = header
        .set_path(file_of(&blob.digest))
        .map(|()| header.set_cksum())
        .and_then(|()| tar.get_mut().write_all(header.as_bytes()));
    if entry.is_ok() {
        blob::copy(blob, tar.get_mut())?;
        // Entries of a tar file fill blocks of 512 bytes.
        let fill = (512 - blob.size % 512) % 512;
        entry = io::copy(&mut io::Read::take(io::repeat(0), fill), tar.get_mut()).map(drop);
    }
    entry.map_err(Error::io("write", part))
}

fn header(kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(if kind == EntryType::Directory {
        0o755
    } else {
        0o644
    });
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header
}

pub(super) fn file_of(digest: &str) -> String {
    format!("blobs/sha256/{}", hex(digest))
}

fn json(value: &impl Serialize, to: &Path) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| Error::io("write", to)(e.into()))
}

fn image(recipe: &Recipe, layers: &[Packed]) -> Result<Image> {
    let created = jiff::Timestamp::from_second(recipe.created)
        .map_err(|e| Error::Image {
            image: recipe.name.clone(),
            reason: format!("{} is no time of creation: {e}", recipe.created),
        })?
        .to_string();
    let history = recipe.layers.iter().map(|layer| History {
        created: created.clone(),
        created_by: layer.title().to_owned(),
    });
    Ok(Image {
        history: history.collect(),
        created,
        architecture: architecture().to_owned(),
        os: "linux".to_owned(),
        config: Execution {
            user: recipe.user.clone(),
            exposed_ports: recipe
                .ports
                .iter()
                .map(|port| (port.clone(), Empty {}))
                .collect(),
            env: recipe
                .environment
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect(),
            entrypoint: recipe.entrypoint.clone(),
            cmd: recipe.command.clone(),
            working_dir: recipe.working_directory.clone(),
            labels: recipe.labels.clone(),
        },
        rootfs: RootFs {
            kind: "layers".to_owned(),
            diff_ids: layers.iter().map(|layer| layer.diff_id.clone()).collect(),
        },
    })
}

fn manifest(recipe: &Recipe, config: &Blob, layers: &[Packed]) -> Manifest {
    let kind = match recipe.compression {
        Compression::Gzip => manifest::LAYER_GZIP,
        Compression::None => manifest::LAYER,
    };
    Manifest {
        schema_version: 2,
        media_type: manifest::MANIFEST.to_owned(),
        config: descriptor(manifest::CONFIG, config),
        layers: layers
            .iter()
            .map(|layer| descriptor(kind, &layer.blob))
            .collect(),
    }
}

fn index(recipe: &Recipe, manifest: &Blob) -> Index {
    // containerd names the image by the first, skopeo by the second:
    // https://github.com/containerd/containerd/blob/v2.1.0/core/images/annotations.go
    let annotations = BTreeMap::from([
        ("io.containerd.image.name".to_owned(), recipe.name.clone()),
        (
            "org.opencontainers.image.ref.name".to_owned(),
            recipe.tag().to_owned(),
        ),
    ]);
    let platform = Platform {
        architecture: architecture().to_owned(),
        os: "linux".to_owned(),
    };
    Index {
        schema_version: 2,
        media_type: manifest::INDEX.to_owned(),
        manifests: vec![Descriptor {
            platform: Some(platform),
            annotations,
            ..descriptor(manifest::MANIFEST, manifest)
        }],
    }
}

fn docker(recipe: &Recipe, config: &Blob, layers: &[Packed]) -> DockerImage {
    DockerImage {
        config: file_of(&config.digest),
        repo_tags: vec![recipe.name.clone()],
        layers: layers
            .iter()
            .map(|layer| file_of(&layer.blob.digest))
            .collect(),
    }
}

fn descriptor(kind: &str, blob: &Blob) -> Descriptor {
    Descriptor {
        media_type: kind.to_owned(),
        digest: blob.digest.clone(),
        size: blob.size,
        platform: None,
        annotations: BTreeMap::new(),
    }
}

/// This machine's, for which its programs are built, by Go's name:
/// <https://github.com/opencontainers/image-spec/blob/v1.1.1/image-index.md#image-index-property-descriptions>.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}
