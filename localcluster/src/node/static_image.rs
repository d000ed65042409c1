//! A static program as an OCI image: one uncompressed layer, the same bytes for the same program.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

const BLOCK: usize = 512;

/// Writes an OCI image layout as a tar file, which [`Cluster::load_image`](crate::Cluster::load_image) takes: an image called
/// `reference` (such as `localhost/web:1`) that runs `program`, which must need no library, as the user that the pod names.
///
/// # Errors
/// If the program cannot be read or the file not be written.
pub fn write_static_image(program: &Path, reference: &str, to: &Path) -> Result<()> {
    let name = program
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    let content = fs::read(program).map_err(Error::io("read", program))?;
    let layer = layer(&name, &content).map_err(Error::io("read", program))?;
    let image = Image::new(&name, reference, layer);
    let mut file = File::create(to).map_err(Error::io("create", to))?;
    image.write(&mut file).map_err(Error::io("write", to))
}

struct Image {
    index: Vec<u8>,
    /// By digest, without `sha256:`.
    blobs: [(String, Vec<u8>); 3],
}

impl Image {
    fn new(program: &str, reference: &str, layer: Vec<u8>) -> Self {
        let digest = sha256(&layer);
        let layer_size = layer.len();
        let config = bytes(&json!({
            "architecture": architecture(),
            "os": "linux",
            "config": {
                "Entrypoint": [format!("/{program}")],
                "Env": ["PATH=/"],
                "WorkingDir": "/",
            },
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
        }));
        let manifest = bytes(&json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &sha256(&config), config.len()),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &digest, layer_size)],
        }));
        let mut named = descriptor(
            "application/vnd.oci.image.manifest.v1+json",
            &sha256(&manifest),
            manifest.len(),
        );
        // containerd takes the name of an imported image from here.
        named["annotations"] = json!({"io.containerd.image.name": reference});
        named["platform"] = json!({"architecture": architecture(), "os": "linux"});
        let index = bytes(&json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [named],
        }));
        let blobs = [manifest, config, layer].map(|blob| (sha256(&blob), blob));
        Self { index, blobs }
    }

    fn write(&self, to: &mut File) -> io::Result<()> {
        append(
            to,
            "oci-layout",
            0o644,
            br#"{"imageLayoutVersion":"1.0.0"}"#,
        )?;
        append(to, "index.json", 0o644, &self.index)?;
        for (digest, blob) in &self.blobs {
            append(to, &format!("blobs/sha256/{digest}"), 0o644, blob)?;
        }
        end(to)
    }
}

/// The program at `/`, and the `/tmp` and `/etc/passwd` without which many programs do not start.
fn layer(name: &str, content: &[u8]) -> io::Result<Vec<u8>> {
    let mut tar = Vec::with_capacity(content.len() + 8 * BLOCK);
    append(
        &mut tar,
        "etc/passwd",
        0o644,
        b"root:x:0:0:root:/:/none\nnonroot:x:65532:65532:nonroot:/:/none\n",
    )?;
    append(&mut tar, "tmp/", 0o1777, b"")?;
    append(&mut tar, name, 0o755, content)?;
    end(&mut tar)?;
    Ok(tar)
}

/// One file of a tar archive, or a directory if its name ends with a slash. Owner root, time 0.
fn append(tar: &mut impl io::Write, name: &str, mode: u32, mut content: &[u8]) -> io::Result<()> {
    let mut header = [0u8; BLOCK];
    let mut field = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    if name.len() > 100 {
        return Err(io::Error::other(format!("the name {name} is too long")));
    }
    field(0, name.as_bytes());
    field(100, format!("{mode:07o}").as_bytes());
    field(108, b"0000000");
    field(116, b"0000000");
    field(124, format!("{:011o}", content.len()).as_bytes());
    field(136, b"00000000000");
    // The checksum is computed with spaces in its own place.
    field(148, b"        ");
    field(156, if name.ends_with('/') { b"5" } else { b"0" });
    field(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar.write_all(&header)?;
    let padding = content.len().next_multiple_of(BLOCK) - content.len();
    io::copy(&mut content, tar)?;
    io::copy(&mut io::repeat(0).take(padding as u64), tar).map(drop)
}

fn end(tar: &mut impl io::Write) -> io::Result<()> {
    tar.write_all(&[0; 2 * BLOCK])
}

fn descriptor(media_type: &str, digest: &str, size: usize) -> Value {
    json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": size})
}

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// As Go and so OCI name it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_program_gives_the_same_bytes_and_tar_can_read_them() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("program");
        fs::write(&program, "#!\n".repeat(1000)).unwrap();
        let (a, b) = (dir.path().join("a.tar"), dir.path().join("b.tar"));
        write_static_image(&program, "localhost/x:1", &a).unwrap();
        write_static_image(&program, "localhost/x:1", &b).unwrap();
        assert_eq!(fs::read(&a).unwrap(), fs::read(&b).unwrap());
        let listed = std::process::Command::new("tar")
            .arg("-tf")
            .arg(&a)
            .output()
            .unwrap();
        assert!(listed.status.success(), "{listed:?}");
        let names = String::from_utf8(listed.stdout).unwrap();
        assert!(
            names.starts_with("oci-layout\nindex.json\nblobs/sha256/"),
            "{names}"
        );
        assert_eq!(names.lines().count(), 5);
    }

    #[test]
    fn an_archive_consists_of_whole_blocks() {
        for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1] {
            let tar = layer("x", &vec![7; length]).unwrap();
            assert_eq!(tar.len() % BLOCK, 0);
        }
    }
}
