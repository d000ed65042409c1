//! Images: the same recipe is the same bytes, everything is what its digest says, and other programs take the files.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use flate2::read::GzDecoder;
use localcluster::image::debian::{Base, CA_BUNDLE, packages_of};
use localcluster::image::{Archive, Compression, Content, Layer, Owner, Recipe};
use localcluster::{Cache, Error, Lines};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// A folder as a build leaves it behind; `variant` changes everything that must not matter.
fn folder(at: &Path, variant: bool) {
    let mut names = [
        "b",
        "a",
        "z-with-a-name-of-more-than-one-hundred-bytes-which-does-not-fit-into-the-field-of-a-tar-header-as-it-was-in-1979",
    ];
    if variant {
        names.reverse();
    }
    let sub = at.join("sub");
    fs::create_dir_all(&sub).unwrap();
    for name in names {
        let file = sub.join(name);
        fs::write(&file, name).unwrap();
        let mode = match (name == "a", variant) {
            (true, false) => 0o755,
            (true, true) => 0o700,
            (false, false) => 0o644,
            (false, true) => 0o664,
        };
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        if variant {
            let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
            File::options()
                .write(true)
                .open(&file)
                .unwrap()
                .set_modified(then)
                .unwrap();
            if nix::unistd::geteuid().is_root() {
                chown(&file, Some(1234), Some(1234)).unwrap();
            }
        }
    }
    symlink("b", sub.join("link")).unwrap();
}

fn recipe(from: &Path, variant: bool) -> Recipe {
    let base = Layer::new("base")
        .directory("tmp", 0o1777, Owner::ROOT)
        .file("etc/passwd", Content::bytes("x"), 0o644);
    // The order of calls is of no account within a layer.
    let layer = Layer::new("files");
    let layer = if variant {
        layer
            .tree("/opt", from, Owner::NONROOT)
            .unwrap()
            .symlink("run", "opt/sub/a")
    } else {
        layer
            .symlink("/run", "opt/sub/a")
            .tree("opt", from, Owner::NONROOT)
            .unwrap()
    };
    Recipe::new("localhost/localcluster-test:1.0")
        .layer(base)
        .layer(layer)
        .entrypoint(["/run"])
        .command(["--help"])
        .env("LANG", "C.UTF-8")
        .port(8080)
        .label("org.opencontainers.image.title", "a test")
        .created(1_700_000_000)
}

fn write(variant: bool, compression: Compression) -> (TempDir, std::path::PathBuf, String) {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join(if variant { "other" } else { "from" });
    folder(&from, variant);
    let to = dir.path().join("image.tar");
    let image = recipe(&from, variant).compression(compression);
    let written = image
        .write(&Cache::at(dir.path().join("cache")), &to)
        .unwrap();
    (dir, to, written.digest)
}

#[test]
fn the_same_recipe_is_the_same_bytes() {
    for compression in [Compression::Gzip, Compression::None] {
        let (_one, first, digest) = write(false, compression);
        let (_two, second, again) = write(true, compression);
        assert_eq!(digest, again);
        assert!(
            fs::read(first).unwrap() == fs::read(second).unwrap(),
            "{compression:?}"
        );
    }
}

#[test]
fn another_file_or_mode_or_owner_is_another_image() {
    let dir = tempfile::tempdir().unwrap();
    let digest = |layer: Layer| {
        let image = Recipe::new("localhost/x:1").layer(layer);
        image
            .write(&Cache::at(dir.path()), &dir.path().join("x.tar"))
            .unwrap()
            .digest
    };
    let digests = [
        digest(Layer::new("x").file("a", Content::bytes("1"), 0o644)),
        digest(Layer::new("x").file("a", Content::bytes("2"), 0o644)),
        digest(Layer::new("x").file("a", Content::bytes("1"), 0o755)),
        digest(Layer::new("x").file_of("a", Content::bytes("1"), 0o644, Owner::NONROOT)),
    ];
    let different: std::collections::BTreeSet<_> = digests.iter().collect();
    assert_eq!(different.len(), 4);
}

/// Entries of a tar file with their contents, and what their headers say.
fn entries(bytes: &[u8]) -> BTreeMap<String, (tar::Header, Vec<u8>)> {
    let mut tar = tar::Archive::new(bytes);
    let mut found = BTreeMap::new();
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_string_lossy().into_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        found.insert(name, (entry.header().clone(), content));
    }
    found
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold("sha256:".to_owned(), |text, b| format!("{text}{b:02x}"))
}

/// Looks at the file with none of the code that wrote it.
#[test]
fn every_digest_is_that_of_its_blob() {
    for compression in [Compression::Gzip, Compression::None] {
        let (_dir, path, digest) = write(false, compression);
        let archive = entries(&fs::read(path).unwrap());
        let json = |name: &str| -> Value { serde_json::from_slice(&archive[name].1).unwrap() };
        let blob = |descriptor: &Value| {
            let digest = descriptor["digest"].as_str().unwrap();
            let content = &archive[&format!("blobs/{}", digest.replace(':', "/"))].1;
            assert_eq!(sha256(content), digest);
            assert_eq!(descriptor["size"], content.len());
            content.clone()
        };
        assert_eq!(json("oci-layout")["imageLayoutVersion"], "1.0.0");
        let entry = &json("index.json")["manifests"][0];
        assert_eq!(entry["digest"], digest);
        assert_eq!(
            entry["annotations"]["io.containerd.image.name"],
            "localhost/localcluster-test:1.0"
        );
        assert_eq!(
            entry["annotations"]["org.opencontainers.image.ref.name"],
            "1.0"
        );
        let manifest: Value = serde_json::from_slice(&blob(entry)).unwrap();
        let config: Value = serde_json::from_slice(&blob(&manifest["config"])).unwrap();
        assert_eq!(config["config"]["User"], "65532:65532");
        assert_eq!(config["created"], "2023-11-14T22:13:20Z");
        let diff_ids = config["rootfs"]["diff_ids"].as_array().unwrap();
        let layers = manifest["layers"].as_array().unwrap();
        assert_eq!(layers.len(), 2);
        assert_eq!(diff_ids.len(), 2);
        for (layer, diff_id) in layers.iter().zip(diff_ids) {
            let mut plain = blob(layer);
            if compression == Compression::Gzip {
                assert_eq!(
                    plain[4..10],
                    [0, 0, 0, 0, 0, 255],
                    "time and system of the header"
                );
                let mut unpacked = Vec::new();
                GzDecoder::new(&plain[..])
                    .read_to_end(&mut unpacked)
                    .unwrap();
                plain = unpacked;
            }
            assert_eq!(sha256(&plain), *diff_id);
            for (name, (header, _)) in entries(&plain) {
                assert_eq!(header.mtime().unwrap(), 0, "{name}");
                assert_eq!(header.username().unwrap(), Some(""), "{name}");
                let owner = if name.starts_with("opt/") { 65532 } else { 0 };
                assert_eq!(header.uid().unwrap(), owner, "{name}");
            }
        }
        let docker = &json("manifest.json")[0];
        assert_eq!(docker["RepoTags"][0], "localhost/localcluster-test:1.0");
        let hex = manifest["config"]["digest"]
            .as_str()
            .unwrap()
            .replace(':', "/");
        assert_eq!(docker["Config"], format!("blobs/{hex}"));
        assert_eq!(docker["Layers"].as_array().unwrap().len(), 2);
    }
}

#[test]
fn a_damaged_archive_is_found_out() {
    let (dir, path, _) = write(false, Compression::Gzip);
    Archive::open(&path).unwrap();
    let whole = fs::read(&path).unwrap();
    let mut tar = tar::Archive::new(&whole[..]);
    let places: Vec<(u64, u64)> = tar
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.raw_file_position(), entry.size()))
        .filter(|(_, size)| *size > 100)
        .collect();
    // index.json, manifest.json, manifest, config, two layers.
    assert_eq!(places.len(), 6);
    for (offset, size) in places {
        let mut broken = whole.clone();
        broken[usize::try_from(offset + size / 2).unwrap()] ^= 0x10;
        let path = dir.path().join("broken.tar");
        fs::write(&path, broken).unwrap();
        let opened = Archive::open(&path);
        // A name in index.json may differ without harm, a digest or a length may not.
        if let Ok(archive) = opened {
            assert_eq!(archive.user(), "65532:65532");
            assert!(offset < 2048, "damage at {offset} was not seen");
        }
    }
}

#[test]
fn another_configuration_than_the_digest_says_is_found_out() {
    let (_dir, path, _) = write(false, Compression::None);
    let mut bytes = fs::read(&path).unwrap();
    let (then, later) = (b"2023-11-14T22", b"2024-11-14T22");
    let at = bytes.windows(then.len()).position(|window| window == then);
    bytes[at.unwrap()..][..later.len()].copy_from_slice(later);
    fs::write(&path, bytes).unwrap();
    let error = Archive::open(&path).unwrap_err();
    assert!(error.to_string().contains("has digest"), "{error}");
}

#[test]
fn a_recipe_that_cannot_be_followed_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("x.tar");
    let layer = Layer::new("x").file("a", Content::file(dir.path().join("gone")), 0o644);
    let write = |image: Recipe| image.write(&Cache::at(dir.path()), &to).unwrap_err();
    let error = write(Recipe::new("localhost/x:latest").layer(layer.clone()));
    assert!(matches!(&error, Error::Image { .. }), "{error}");
    let error = write(Recipe::new("localhost/x:1").layer(layer));
    assert!(error.to_string().contains("gone"), "{error}");
    assert!(!to.exists());
}

fn skopeo(args: &[&str]) -> Option<Output> {
    match Command::new("skopeo").args(args).output() {
        Ok(output) => Some(output),
        Err(_) => {
            eprintln!("skipped: skopeo is not installed (Debian: apt-get install skopeo)");
            None
        }
    }
}

#[test]
fn skopeo_takes_it_as_oci_and_as_docker_archive() {
    for compression in [Compression::Gzip, Compression::None] {
        let (dir, path, digest) = write(false, compression);
        let (oci, docker) = (
            format!("oci-archive:{}", path.display()),
            format!("docker-archive:{}", path.display()),
        );
        for source in [&oci, &docker] {
            let Some(output) = skopeo(&["inspect", source]) else {
                return;
            };
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{source}: {error}");
            let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(seen["Labels"]["org.opencontainers.image.title"], "a test");
            assert_eq!(seen["Layers"].as_array().unwrap().len(), 2);
            if *source == oci {
                assert_eq!(seen["Digest"], digest);
            }
            // Copying reads every layer and compares it with its digest.
            let to = format!("dir:{}", dir.path().join("copy").display());
            let Some(output) = skopeo(&["--insecure-policy", "copy", source, &to]) else {
                return;
            };
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{source}: {error}");
        }
    }
}

#[test]
fn a_program_of_this_machine_runs_in_a_base_of_its_packages() {
    if Command::new("apt-get").arg("--version").output().is_err() {
        return eprintln!("skipped: there is no apt-get");
    }
    let dir = tempfile::tempdir().unwrap();
    let program = Path::new("/usr/bin/id");
    let mut packages = packages_of(program).unwrap();
    assert!(packages.contains("libc6"), "{packages:?}");
    packages.insert("ca-certificates".to_owned());
    packages.insert("libgcc-s1".to_owned());
    let image = |cache: &Cache, to: &str| {
        let (base, packages) = Base::new(packages.clone()).layer(cache, &Lines).unwrap();
        // It holds the copyright file of libgcc-s1.
        assert!(
            packages
                .iter()
                .any(|package| package.name.starts_with("gcc-") && package.name.ends_with("-base"))
        );
        let layer = Layer::new("id").file("id", Content::file(program), 0o755);
        let image = Recipe::new("localhost/id:1")
            .layer(base)
            .layer(layer)
            .entrypoint(["/id", "-u"]);
        image.write(cache, &dir.path().join(to)).unwrap()
    };
    let written = image(&Cache::from_env(), "first.tar");
    assert_eq!(
        written.digest,
        image(&Cache::at(dir.path().join("cache")), "second.tar").digest
    );

    let archive = Archive::open(&written.path).unwrap();
    assert_eq!(archive.words(), ["/id", "-u"]);
    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    archive.unpack(&root).unwrap();
    let bundle = fs::read_to_string(root.join(CA_BUNDLE.trim_start_matches('/'))).unwrap();
    assert!(bundle.matches("-----BEGIN CERTIFICATE-----").count() > 100);
    assert!(root.join("usr/share/doc/libgcc-s1/copyright").exists());
    assert!(!root.join("usr/share/man").exists());
    let mode = fs::metadata(root.join("tmp")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o1777);
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("skipped: only root can chroot");
    }
    let mut chroot = Command::new("chroot");
    let user = format!("--userspec={}", archive.user());
    let output = chroot
        .arg(user)
        .arg(&root)
        .args(archive.words())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "65532\n");
}
