//! Reads an image archive: to check it, and to look into its root.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use serde::de::DeserializeOwned;

use super::archive::file_of;
use super::blob::Hashing;
use super::manifest::{Descriptor, DockerImage, Image, Index, LAYER_GZIP, Manifest};
use crate::error::{Error, Result};

/// An image in a file that [`Recipe::write`](super::Recipe::write) has made.
#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
    /// Where each entry begins and how long it is.
    entries: BTreeMap<String, (u64, u64)>,
    manifest: Manifest,
    image: Image,
}

impl Archive {
    /// Opens an archive and compares everything in it with its digests: manifest, configuration, layers, the layers' uncompressed tar files,
    /// and the names by which Docker finds them.
    ///
    /// # Errors
    /// If something differs or is missing.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        let mut tar = tar::Archive::new(BufReader::new(file));
        let mut entries = BTreeMap::new();
        for entry in tar.entries_with_seek().map_err(Error::io("read", path))? {
            let entry = entry.map_err(Error::io("read", path))?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            entries.insert(name, (entry.raw_file_position(), entry.size()));
        }
        let found = Found { path, entries };
        let index: Index = found.parse("index.json")?;
        let [descriptor] = &index.manifests[..] else {
            return Err(found.wrong(format!("it has {} manifests", index.manifests.len())));
        };
        let manifest: Manifest = found.blob(descriptor)?;
        let image: Image = found.blob(&manifest.config)?;
        let docker: Vec<DockerImage> = found.parse("manifest.json")?;
        let files: Vec<String> = manifest.layers.iter().map(|l| file_of(&l.digest)).collect();
        if !matches!(&docker[..], [one] if one.layers == files && one.config == file_of(&manifest.config.digest))
        {
            return Err(found.wrong("manifest.json names other blobs than the manifest".to_owned()));
        }
        if manifest.layers.len() != image.rootfs.diff_ids.len() {
            return Err(found.wrong("layers and diff_ids are not of one number".to_owned()));
        }
        for (layer, diff_id) in manifest.layers.iter().zip(&image.rootfs.diff_ids) {
            found.check(layer)?;
            let mut plain = Hashing::new(found.layer(layer)?);
            io::copy(&mut plain, &mut io::sink()).map_err(Error::io("read", path))?;
            let (_, digest, _) = plain.finish();
            if digest != *diff_id {
                return Err(found.wrong(format!(
                    "the layer {} unpacks to {digest}, its diff_id is {diff_id}",
                    layer.digest
                )));
            }
        }
        let Found { entries, .. } = found;
        Ok(Self {
            path: path.to_owned(),
            entries,
            manifest,
            image,
        })
    }

    /// The user that it runs as.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.image.config.user
    }

    /// The program and its arguments.
    #[must_use]
    pub fn words(&self) -> Vec<&str> {
        let config = &self.image.config;
        let words = config.entrypoint.iter().chain(&config.cmd);
        words.map(String::as_str).collect()
    }

    /// Unpacks its layers into an empty directory, with modes and, for root, owners.
    ///
    /// # Errors
    /// If that cannot be written to.
    pub fn unpack(&self, into: &Path) -> Result<()> {
        let found = Found {
            path: &self.path,
            entries: self.entries.clone(),
        };
        for layer in &self.manifest.layers {
            let mut tar = tar::Archive::new(found.layer(layer)?);
            tar.set_preserve_permissions(true);
            tar.set_preserve_ownerships(nix::unistd::geteuid().is_root());
            tar.unpack(into).map_err(Error::io("unpack into", into))?;
        }
        Ok(())
    }
}

struct Found<'a> {
    path: &'a Path,
    entries: BTreeMap<String, (u64, u64)>,
}

impl Found<'_> {
    fn wrong(&self, reason: String) -> Error {
        Error::Archive {
            path: self.path.to_owned(),
            reason,
        }
    }

    fn open(&self, name: &str) -> Result<io::Take<File>> {
        let (offset, length) = self
            .entries
            .get(name)
            .ok_or_else(|| self.wrong(format!("it has no {name}")))?;
        let mut file = File::open(self.path).map_err(Error::io("open", self.path))?;
        file.seek(SeekFrom::Start(*offset))
            .map_err(Error::io("read", self.path))?;
        Ok(file.take(*length))
    }

    fn layer(&self, layer: &Descriptor) -> Result<Box<dyn Read>> {
        let plain = BufReader::new(self.open(&file_of(&layer.digest))?);
        Ok(if layer.media_type == LAYER_GZIP {
            Box::new(GzDecoder::new(plain))
        } else {
            Box::new(plain)
        })
    }

    fn check(&self, blob: &Descriptor) -> Result<()> {
        let mut bytes = Hashing::new(self.open(&file_of(&blob.digest))?);
        io::copy(&mut bytes, &mut io::sink()).map_err(Error::io("read", self.path))?;
        let (_, digest, size) = bytes.finish();
        if (&digest, size) == (&blob.digest, blob.size) {
            return Ok(());
        }
        Err(self.wrong(format!(
            "the blob {} of {} bytes has digest {digest} and {size} bytes",
            blob.digest, blob.size
        )))
    }

    fn blob<T: DeserializeOwned>(&self, descriptor: &Descriptor) -> Result<T> {
        self.check(descriptor)?;
        self.parse(&file_of(&descriptor.digest))
    }

    fn parse<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        serde_json::from_reader(BufReader::new(self.open(name)?))
            .map_err(|e| self.wrong(format!("{name}: {e}")))
    }
}
