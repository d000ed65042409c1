//! A base for programs that link glibc: some Debian packages, without a package manager, a shell or documentation.
//!
//! Packages come from the archive that this machine's apt is set to, which checks their signatures: a program must not meet an older glibc
//! than the one that it was linked with. Nothing is installed and no maintainer script runs; entries are copied from the packages' own tar
//! files, so that this needs no root.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use tar::EntryType;

use super::blob;
use super::layer::{Content, Kind, Layer, Owner};
use crate::cache::{Cache, key};
use crate::error::{Error, Result};
use crate::progress::{Event, Progress};
use crate::tools::{dying_with_us, output};

/// Where programs look for certificate authorities on Debian; in [`Base::layer`] if ca-certificates is among the packages.
pub const CA_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

const CA_FILES: &str = "usr/share/ca-certificates/";

/// Folders that are symbolic links into /usr: Debian has supported no other layout since bookworm
/// (<https://www.debian.org/releases/bookworm/amd64/release-notes/ch-information.en.html#a-merged-usr-is-now-required>).
const MERGED: [&str; 6] = ["bin", "lib", "lib32", "lib64", "libx32", "sbin"];

/// What is left out, by the beginning of the path. Of /usr/share/doc the copyright files stay: licences ask for them.
const LEFT_OUT: [&str; 8] = [
    CA_FILES,
    "usr/share/bug/",
    "usr/share/info/",
    "usr/share/lintian/",
    "usr/share/locale/",
    "usr/share/man/",
    "usr/share/menu/",
    "etc/update-motd.d/",
];

const PASSWD: &str = "\
root:x:0:0:root:/root:/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin
nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin
";
const GROUP: &str = "root:x:0:\ntty:x:5:\nstaff:x:50:\nnobody:x:65534:\nnonroot:x:65532:\n";

/// Some packages, from which a layer is made.
#[derive(Debug, Clone, Default)]
pub struct Base {
    packages: BTreeSet<String>,
    without: Vec<String>,
}

/// A package at one version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture; "all" fits each.
    pub architecture: String,
    /// The SHA-256 of its file in hexadecimal, from the signed index.
    pub sha256: String,
}

impl Base {
    /// These packages, each as `name` or `name=version`. Their dependencies are not added, but packages whose copyright file stands for theirs.
    pub fn new<S: Into<String>>(packages: impl IntoIterator<Item = S>) -> Self {
        Self {
            packages: packages.into_iter().map(Into::into).collect(),
            without: Vec::new(),
        }
    }

    /// Leaves out everything below these paths, such as `usr/lib/x86_64-linux-gnu/gconv`.
    #[must_use]
    pub fn without<S: Into<String>>(mut self, paths: impl IntoIterator<Item = S>) -> Self {
        let below = |path: S| format!("{}/", path.into().trim_matches('/'));
        self.without.extend(paths.into_iter().map(below));
        self
    }

    /// The layer, and what is in it. Besides the packages' files it has the users root, nobody and nonroot (65532), /tmp (1777), the
    /// bundle of certificate authorities, and in /var/lib/dpkg/status.d what scanners read the packages' versions from.
    ///
    /// # Errors
    /// If a package is not to be had, two bring the same file, or apt is not there.
    pub fn layer(&self, cache: &Cache, progress: &dyn Progress) -> Result<(Layer, Vec<Package>)> {
        let mut wanted = self.packages.clone();
        let mut there: BTreeMap<String, (Package, PathBuf)> = BTreeMap::new();
        while !wanted.is_empty() {
            for package in resolve(&wanted)? {
                let dir = fetch(&package, cache, progress)?;
                there.insert(package.name.clone(), (package, dir));
            }
            wanted = BTreeSet::new();
            for (package, dir) in there.values() {
                // Packages of one source share a folder of documentation by a symbolic link to it.
                let other = link_of_documentation(&package.name, &dir.join(DATA))?;
                wanted.extend(other.filter(|other| !there.contains_key(other)));
            }
        }
        let mut layer = Layer::new("Debian packages");
        let mut bundle = Vec::new();
        for (package, dir) in there.values() {
            layer = self.add(layer, package, dir, &mut bundle)?;
        }
        let packages = there.into_values().map(|(package, _)| package).collect();
        Ok((finish(layer, bundle)?, packages))
    }

    /// Adds a package's files; the certificate authorities go to the bundle.
    fn add(
        &self,
        mut layer: Layer,
        package: &Package,
        dir: &Path,
        bundle: &mut Vec<(String, Content)>,
    ) -> Result<Layer> {
        let data = dir.join(DATA);
        let mut hard_links = Vec::new();
        each(&data, |entry| {
            let path = merged(&entry.path);
            if path.starts_with(CA_FILES) && entry.kind == EntryType::Regular {
                bundle.push((path, entry.content(&data)));
                return Ok(());
            }
            if self.leaves_out(&path) {
                return Ok(());
            }
            let kind = match entry.kind {
                EntryType::Directory if layer.get(&path).is_some() => return Ok(()),
                EntryType::Directory => Kind::Directory,
                EntryType::Regular => Kind::File(entry.content(&data)),
                EntryType::Symlink => Kind::Symlink(entry.target.clone()),
                EntryType::Link => {
                    hard_links.push((path, merged(&entry.target)));
                    return Ok(());
                }
                other => {
                    return Err(unusable(
                        package,
                        format!("{path} is of the kind {other:?}"),
                    ));
                }
            };
            if layer.get(&path).is_some() {
                return Err(unusable(package, format!("another one brings {path} too")));
            }
            let empty = Layer::new("");
            layer = std::mem::replace(&mut layer, empty).with(&path, kind, entry.mode, entry.owner);
            Ok(())
        })?;
        for (path, target) in hard_links {
            let node = layer.get(&target).cloned().ok_or_else(|| {
                unusable(
                    package,
                    format!("{path} is a link to {target}, which is left out"),
                )
            })?;
            layer = layer.with(&path, node.kind, node.mode, node.owner);
        }
        let status = format!("var/lib/dpkg/status.d/{}", package.name);
        Ok(layer.file(&status, Content::file(dir.join(CONTROL)), 0o644))
    }

    fn leaves_out(&self, path: &str) -> bool {
        let below = |folder: &str| format!("{path}/").starts_with(folder);
        LEFT_OUT.iter().any(|folder| below(folder))
            || self.without.iter().any(|folder| below(folder))
            || path
                .strip_prefix("usr/share/doc/")
                .is_some_and(|rest| rest.contains('/') && !rest.ends_with("/copyright"))
    }
}

/// Everything that is not in a package.
fn finish(layer: Layer, mut bundle: Vec<(String, Content)>) -> Result<Layer> {
    let mut layer = layer
        .file("etc/passwd", Content::bytes(PASSWD), 0o644)
        .file("etc/group", Content::bytes(GROUP), 0o644)
        .file(
            "etc/nsswitch.conf",
            Content::bytes("passwd: files\ngroup: files\nhosts: files dns\n"),
            0o644,
        )
        .directory("tmp", 0o1777, Owner::ROOT)
        .directory("home/nonroot", 0o700, Owner::NONROOT);
    for name in MERGED {
        let usr = format!("usr/{name}");
        if layer.get(&usr).is_some() {
            layer = layer.symlink(name, &usr);
        }
    }
    if bundle.is_empty() {
        return Ok(layer);
    }
    bundle.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut all = Vec::new();
    for (_, content) in bundle {
        content.read_to(&mut all)?;
        if !all.ends_with(b"\n") {
            all.push(b'\n');
        }
    }
    Ok(layer.file(CA_BUNDLE, Content::bytes(all), 0o644))
}

/// The packages of this machine that hold the shared libraries that a program is linked with.
///
/// # Errors
/// If a library is missing or belongs to no package.
pub fn packages_of(program: &Path) -> Result<BTreeSet<String>> {
    let mut ldd = dying_with_us("ldd");
    // In other languages "not found" is said otherwise.
    ldd.arg(program).env("LC_ALL", "C");
    let what = format!("the list of libraries of {}", program.display());
    let mut packages = BTreeSet::new();
    for library in libraries(&output(ldd, &what)?).map_err(|library| Error::Unfit {
        path: program.to_owned(),
        reason: format!("its library {library} is not on this machine"),
    })? {
        packages.insert(owner_of(&library)?);
    }
    Ok(packages)
}

/// The paths in what ldd says, or the name of a library that was not found.
fn libraries(ldd: &str) -> std::result::Result<Vec<String>, String> {
    let mut paths = Vec::new();
    for line in ldd.lines().map(str::trim) {
        let (name, place) = line.split_once(" => ").unwrap_or((line, line));
        if place == "not found" {
            return Err(name.to_owned());
        }
        // The kernel's own library has no path.
        paths.extend(
            place
                .split(' ')
                .next()
                .filter(|path| path.starts_with('/'))
                .map(str::to_owned),
        );
    }
    Ok(paths)
}

/// dpkg knows a file by the path in its package, the loader by the one that it found it at.
fn owner_of(library: &str) -> Result<String> {
    let merged = format!("/usr{library}");
    let apart = library.strip_prefix("/usr").unwrap_or(library);
    let mut reason = None;
    for path in [library, &merged, apart] {
        let mut search = dying_with_us("dpkg-query");
        search.args(["--search", path]);
        match output(search, "the list of packages") {
            Ok(found) => {
                let owner = found.lines().find_map(|line| {
                    let (package, _) = line.split_once(": ")?;
                    // "diversion by dash from: /bin/sh" is no package.
                    (!package.contains(' ')).then(|| package.split(':').next())?
                });
                if let Some(owner) = owner {
                    return Ok(owner.to_owned());
                }
            }
            Err(error @ Error::Command { .. }) => reason = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(Error::Unfit {
        path: library.into(),
        reason: reason.map_or_else(
            || "it belongs to no Debian package".to_owned(),
            |error| format!("it belongs to no Debian package: {error}"),
        ),
    })
}

const DATA: &str = "data.tar";
const CONTROL: &str = "control";

/// The versions that apt would install, with their digests.
pub(crate) fn resolve(packages: &BTreeSet<String>) -> Result<Vec<Package>> {
    let mut apt = dying_with_us("apt-get");
    apt.args(["download", "--print-uris", "--quiet=2"])
        .args(packages);
    let names: Vec<&str> = packages.iter().map(String::as_str).collect();
    let names = names.join(" ");
    let list = output(apt, &names).map_err(|error| match error {
        Error::Command { output, .. } => Error::Package {
            package: names.clone(),
            reason: format!(
                "apt does not offer it; `apt-get update` renews its lists. It says:\n{output}"
            ),
        },
        other => other,
    })?;
    let mut resolved = Vec::new();
    for line in list.lines().filter(|line| line.starts_with('\'')) {
        resolved.push(parse(line).ok_or_else(|| Error::Package {
            package: names.clone(),
            reason: format!("apt says {line:?}, which has no SHA-256"),
        })?);
    }
    if resolved.len() != packages.len() {
        return Err(Error::Package {
            package: names,
            reason: format!(
                "apt offers {} files for {} packages",
                resolved.len(),
                packages.len()
            ),
        });
    }
    Ok(resolved)
}

/// `'URI' NAME_VERSION_ARCHITECTURE.deb SIZE SHA256:…`, with the version's colon as %3a.
fn parse(line: &str) -> Option<Package> {
    let mut words = line.split_whitespace().skip(1);
    let mut file = words.next()?.strip_suffix(".deb")?.split('_');
    let sha256 = words.nth(1)?.strip_prefix("SHA256:")?;
    Some(Package {
        name: file.next()?.to_owned(),
        version: file.next()?.replace("%3a", ":"),
        architecture: file.next()?.to_owned(),
        sha256: sha256.to_owned(),
    })
}

/// The cache's folder with the package's tar file and description.
fn fetch(package: &Package, cache: &Cache, progress: &dyn Progress) -> Result<PathBuf> {
    let Package {
        name,
        version,
        architecture,
        sha256,
    } = package;
    cache.entry(
        "deb",
        &format!("{name}-{}", key([version.as_str(), architecture, sha256])),
        |work| {
            let what = format!("{name} {version}");
            let begun = Instant::now();
            progress.event(Event::Begin {
                what: &what,
                steps: None,
            });
            let mut download = dying_with_us("apt-get");
            download
                .current_dir(work)
                .args(["download", "--quiet=2"])
                .arg(format!("{name}:{architecture}={version}"));
            output(download, &what)?;
            let deb = only_file(work)?;
            let bytes = fs::read(&deb).map_err(Error::io("read", &deb))?;
            let digest = blob::digest(&bytes);
            if blob::hex(&digest) != sha256 {
                return Err(unusable(
                    package,
                    format!("its file has {digest}, the index says sha256:{sha256}"),
                ));
            }
            let data = work.join(DATA);
            let file = File::create(&data).map_err(Error::io("create", &data))?;
            let mut unpack = Command::new("dpkg-deb");
            let status = unpack.arg("--fsys-tarfile").arg(&deb).stdout(file).status();
            let status = status.map_err(Error::io("run dpkg-deb on", &deb))?;
            if !status.success() {
                return Err(unusable(
                    package,
                    format!("`dpkg-deb --fsys-tarfile` failed ({status})"),
                ));
            }
            let mut describe = dying_with_us("dpkg-deb");
            describe.arg("--field").arg(&deb);
            let control = work.join(CONTROL);
            fs::write(&control, output(describe, &what)?).map_err(Error::io("write", &control))?;
            fs::remove_file(&deb).map_err(Error::io("remove", &deb))?;
            progress.event(Event::End {
                what: &what,
                took: begun.elapsed(),
            });
            Ok(())
        },
    )
}

fn only_file(dir: &Path) -> Result<PathBuf> {
    let mut files = fs::read_dir(dir).map_err(Error::io("read", dir))?;
    match files.next() {
        Some(file) => file.map(|file| file.path()).map_err(Error::io("read", dir)),
        None => Err(Error::Unfit {
            path: dir.to_owned(),
            reason: "apt-get downloaded nothing".to_owned(),
        }),
    }
}

/// What one entry of a package says.
struct Entry {
    path: String,
    kind: EntryType,
    target: String,
    mode: u32,
    owner: Owner,
    offset: u64,
    length: u64,
}

impl Entry {
    fn content(&self, data: &Path) -> Content {
        Content::Part {
            path: data.to_owned(),
            offset: self.offset,
            length: self.length,
        }
    }
}

/// Goes through the entries of a tar file, but for its root.
fn each(data: &Path, mut act: impl FnMut(Entry) -> Result<()>) -> Result<()> {
    let failed = || Error::io("read", data);
    let file = File::open(data).map_err(failed())?;
    let mut tar = tar::Archive::new(BufReader::new(file));
    for entry in tar.entries_with_seek().map_err(failed())? {
        let entry = entry.map_err(failed())?;
        let text = |bytes: &[u8]| {
            String::from_utf8(bytes.to_vec()).map_err(|e| Error::Unfit {
                path: data.to_owned(),
                reason: format!("it has a path that is not UTF-8: {e}"),
            })
        };
        let path = text(&entry.path_bytes())?;
        let path = path.trim_start_matches("./").trim_matches('/');
        if path.is_empty() {
            continue;
        }
        let header = entry.header();
        act(Entry {
            path: path.to_owned(),
            kind: header.entry_type(),
            target: text(&entry.link_name_bytes().unwrap_or_default())?,
            mode: header.mode().map_err(failed())?,
            owner: Owner {
                uid: header.uid().map_err(failed())?,
                gid: header.gid().map_err(failed())?,
            },
            offset: entry.raw_file_position(),
            length: entry.size(),
        })?;
    }
    Ok(())
}

/// The package to whose folder in /usr/share/doc this one's is a link.
fn link_of_documentation(name: &str, data: &Path) -> Result<impl Iterator<Item = String> + use<>> {
    let folder = format!("usr/share/doc/{name}");
    let mut other = None;
    each(data, |entry| {
        if entry.path == folder && entry.kind == EntryType::Symlink {
            other = Some(entry.target).filter(|target| !target.contains('/'));
        }
        Ok(())
    })?;
    Ok(other.into_iter())
}

/// The path with /lib and its like below /usr.
fn merged(path: &str) -> String {
    let path = path.trim_start_matches("./").trim_matches('/');
    let first = path.split('/').next().unwrap_or_default();
    if MERGED.contains(&first) {
        format!("usr/{path}")
    } else {
        path.to_owned()
    }
}

fn unusable(package: &Package, reason: String) -> Error {
    Error::Package {
        package: format!("{} {}", package.name, package.version),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apt_says_versions_with_an_epoch() {
        let line = "'http://deb.debian.org/debian/pool/main/z/zlib/zlib1g_1.2.13.dfsg-1_amd64.deb' zlib1g_1%3a1.2.13.dfsg-1_amd64.deb 86684 SHA256:d7dd";
        let package = parse(line).unwrap();
        assert_eq!(package.name, "zlib1g");
        assert_eq!(package.version, "1:1.2.13.dfsg-1");
        assert_eq!(package.architecture, "amd64");
        assert_eq!(package.sha256, "d7dd");
        assert_eq!(parse(&line.replace("SHA256", "MD5Sum")), None);
    }

    #[test]
    fn libraries_are_read_and_missing_ones_named() {
        let text = "\tlinux-vdso.so.1 (0x00007ffc)\n\tlibz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x00007f)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let paths = libraries(text).unwrap();
        assert_eq!(
            paths,
            [
                "/lib/x86_64-linux-gnu/libz.so.1",
                "/lib64/ld-linux-x86-64.so.2"
            ]
        );
        assert_eq!(
            libraries("\tlibq.so.3 => not found\n"),
            Err("libq.so.3".to_owned())
        );
        assert_eq!(libraries("\tstatically linked\n"), Ok(vec![]));
    }

    #[test]
    fn of_the_documentation_only_copyright_files_stay() {
        let base = Base::new(["x"]).without(["/usr/lib/gconv"]);
        for path in [
            "usr/share/doc/x/changelog.gz",
            "usr/share/doc/x/examples/a",
            "usr/share/man",
            "usr/share/man/man1/a.1.gz",
            "usr/lib/gconv",
            "usr/lib/gconv/a.so",
        ] {
            assert!(base.leaves_out(path), "{path}");
        }
        for path in [
            "usr/share/doc",
            "usr/share/doc/x",
            "usr/share/doc/x/copyright",
            "usr/lib/gconv-modules",
            "usr/share/mann",
        ] {
            assert!(!base.leaves_out(path), "{path}");
        }
    }

    #[test]
    fn top_level_folders_are_merged_into_usr() {
        assert_eq!(
            merged("./lib/x86_64-linux-gnu/libz.so.1"),
            "usr/lib/x86_64-linux-gnu/libz.so.1"
        );
        assert_eq!(merged("lib64"), "usr/lib64");
        assert_eq!(merged("library/x"), "library/x");
        assert_eq!(merged("etc/lib"), "etc/lib");
    }
}
