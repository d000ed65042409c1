//! Blobs: bytes that are known by their SHA-256. Layers go through in pieces, so that a large one is never in memory.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::PathBuf;

use flate2::{Compression as Level, GzBuilder};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::layer::Layer;
use super::recipe::Compression;
use crate::cache::Cache;
use crate::error::{Error, Result};

/// Names what the compressor makes, in the keys of the cache. A test holds it to its bytes: change both together.
const GZIP: &str = "gzip-miniz-6";

/// Counts and hashes what goes through it.
pub(super) struct Hashing<T> {
    inner: T,
    hash: Sha256,
    size: u64,
}

impl<T> Hashing<T> {
    pub(super) fn new(inner: T) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
            size: 0,
        }
    }

    /// What has been written to, the digest and the number of bytes.
    pub(super) fn finish(self) -> (T, String, u64) {
        (self.inner, text(&self.hash.finalize()), self.size)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        self.hash.update(&into[..read]);
        self.size += read as u64;
        Ok(read)
    }
}

/// The digest of some bytes, as <https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md#digests> writes it.
pub(super) fn digest(bytes: &[u8]) -> String {
    text(&Sha256::digest(bytes))
}

fn text(hash: &[u8]) -> String {
    hash.iter()
        .fold("sha256:".to_owned(), |text, b| format!("{text}{b:02x}"))
}

/// The hexadecimal part of a digest, by which blobs are filed.
pub(super) fn hex(digest: &str) -> &str {
    digest.trim_start_matches("sha256:")
}

/// Where the bytes of a blob are to be had.
#[derive(Debug, Clone)]
pub(super) enum Source {
    Bytes(Vec<u8>),
    File(PathBuf),
    Layer(Layer),
}

/// A blob of an image.
#[derive(Debug, Clone)]
pub(super) struct Blob {
    pub(super) digest: String,
    pub(super) size: u64,
    pub(super) source: Source,
}

impl Blob {
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        Self {
            digest: digest(&bytes),
            size: bytes.len() as u64,
            source: Source::Bytes(bytes),
        }
    }
}

/// A layer as a blob, and the digest of its uncompressed tar file (its "diff id").
#[derive(Debug, Clone)]
pub(super) struct Packed {
    pub(super) diff_id: String,
    pub(super) blob: Blob,
}

/// What the cache knows of a compressed layer.
#[derive(Serialize, Deserialize)]
struct Known {
    digest: String,
    size: u64,
}

/// Hashes a layer and, if it is to be compressed and the cache does not have it, compresses it into the cache.
pub(super) fn pack(layer: &Layer, compression: Compression, cache: &Cache) -> Result<Packed> {
    let mut hashing = Hashing::new(io::sink());
    layer.write(&mut hashing)?;
    let (_, diff_id, size) = hashing.finish();
    if compression == Compression::None {
        let blob = Blob {
            digest: diff_id.clone(),
            size,
            source: Source::Layer(layer.clone()),
        };
        return Ok(Packed { diff_id, blob });
    }
    let key = format!("{}-{GZIP}", hex(&diff_id));
    let dir = cache.entry("image-layer", &key, |work| {
        let path = work.join("blob");
        let file = File::create(&path).map_err(Error::io("create", &path))?;
        let gzip = gzip(Hashing::new(BufWriter::new(file)));
        let mut plain = Hashing::new(gzip);
        layer.write(&mut plain)?;
        let (gzip, again, _) = plain.finish();
        if again != diff_id {
            return Err(changed(layer));
        }
        let (mut file, digest, size) = gzip.finish().map_err(Error::io("write", &path))?.finish();
        file.flush().map_err(Error::io("write", &path))?;
        let known = serde_json::to_vec(&Known { digest, size })
            .map_err(|e| Error::io("write", &path)(e.into()))?;
        let path = work.join("blob.json");
        fs::write(&path, known).map_err(Error::io("write", &path))
    })?;
    let path = dir.join("blob.json");
    let known = fs::read(&path).map_err(Error::io("read", &path))?;
    let known: Known = serde_json::from_slice(&known).map_err(|e| Error::State {
        path,
        reason: e.to_string(),
    })?;
    let blob = Blob {
        digest: known.digest,
        size: known.size,
        source: Source::File(dir.join("blob")),
    };
    Ok(Packed { diff_id, blob })
}

/// Neither time nor name stand in the header, and the system is "unknown": <https://www.rfc-editor.org/rfc/rfc1952#page-5>.
fn gzip<W: Write>(out: W) -> flate2::write::GzEncoder<W> {
    GzBuilder::new()
        .mtime(0)
        .operating_system(255)
        .write(out, Level::new(6))
}

fn changed(layer: &Layer) -> Error {
    Error::Changed {
        layer: layer.title().to_owned(),
    }
}

/// Writes a blob, and makes sure that it is what its digest says.
pub(super) fn copy(blob: &Blob, out: impl Write) -> Result<()> {
    let mut hashing = Hashing::new(out);
    match &blob.source {
        Source::Bytes(bytes) => hashing
            .write_all(bytes)
            .map_err(Error::io("write", &blob.digest))?,
        Source::Layer(layer) => layer.write(&mut hashing)?,
        Source::File(path) => {
            let mut file = File::open(path).map_err(Error::io("open", path))?;
            io::copy(&mut file, &mut hashing).map_err(Error::io("copy", path))?;
        }
    }
    let (_, digest, _) = hashing.finish();
    if digest == blob.digest {
        return Ok(());
    }
    Err(match &blob.source {
        Source::Layer(layer) => changed(layer),
        Source::File(path) => Error::State {
            path: path.clone(),
            reason: format!("its digest is {digest}, not {}", blob.digest),
        },
        Source::Bytes(_) => Error::Task(format!("the digest of {} is {digest}", blob.digest)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Content;

    #[test]
    fn the_compressor_makes_the_bytes_that_its_name_stands_for() {
        // Words by a little generator: enough likeness that each setting of the compressor makes something else of them.
        let mut seed = 1_u32;
        let mut text = String::new();
        for _ in 0..50_000 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            text.push_str(
                ["al", "be", "ce ", "do", "el", "fi ", "go", "hu"][(seed >> 29) as usize],
            );
        }
        let mut gzip = gzip(Vec::new());
        gzip.write_all(text.as_bytes()).unwrap();
        let made = digest(&gzip.finish().unwrap());
        assert_eq!(
            made, "sha256:492ba20c0daf3cc812662ccfad6e6a34c93c8abcff62304a713662b176416671",
            "the compressor's output has changed: give GZIP another name, or layers from the cache differ from new ones"
        );
    }

    #[test]
    fn a_damaged_blob_of_the_cache_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        let layer = Layer::new("x").file("a", Content::bytes("text"), 0o644);
        let packed = pack(&layer, Compression::Gzip, &cache).unwrap();
        let Source::File(path) = &packed.blob.source else {
            panic!("a compressed layer is in the cache")
        };
        let mut bytes = fs::read(path).unwrap();
        bytes[20] ^= 1;
        fs::write(path, bytes).unwrap();
        let error = copy(&packed.blob, io::sink()).unwrap_err();
        assert!(matches!(error, Error::State { .. }), "{error}");
    }

    #[test]
    fn a_layer_that_changes_while_it_is_written_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, "one").unwrap();
        let layer = Layer::new("x").file("a", Content::file(&path), 0o644);
        let packed = pack(&layer, Compression::None, &Cache::at(dir.path())).unwrap();
        fs::write(&path, "two").unwrap();
        let error = copy(&packed.blob, io::sink()).unwrap_err();
        assert!(matches!(error, Error::Changed { .. }), "{error}");
    }
}
