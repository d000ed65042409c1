//! `cargo xtask image`: the container images of our programs, each in a file that containerd, Docker and skopeo take.
//!
//! An image is the optimised program over a layer of the Debian packages that it is linked with. As root each is tried before it
//! is named: its root is unpacked and the program asked for its version there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::builder::PossibleValuesParser;
use localcluster::Cache;
use localcluster::image::debian::{Base, CA_BUNDLE, Package, packages_of};
use localcluster::image::{Archive, Content, Layer, Recipe, Written};

use crate::progress::{heading, shown};
use crate::release::{self, Profile, Program};
use crate::{prerequisites, repository};

/// Arguments of `cargo xtask image`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Which images; all if none is named.
    #[arg(value_name = "NAME", value_parser = PossibleValuesParser::new(IMAGES.iter().map(|image| image.name)))]
    pub names: Vec<String>,
    /// Where to put the files [default: `images` in cargo's target directory].
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Only name the images.
    #[arg(long, conflicts_with_all = ["names", "output"])]
    pub list: bool,
}

/// An image of one program, which becomes its entrypoint at `/BINARY`.
struct Image {
    /// On the command line, and of the file.
    name: &'static str,
    /// As in `localhost/REPOSITORY:dev`.
    repository: &'static str,
    program: Program,
    description: &'static str,
    /// Debian packages besides those of the shared libraries.
    packages: &'static [&'static str],
    port: Option<u16>,
}

// Who is who on the network, the certificate authorities for brokers and databases that use public ones, and what scanners know
// the distribution by.
const PACKAGES: [&str; 3] = ["base-files", "ca-certificates", "netbase"];

static IMAGES: [Image; 2] = [
    Image {
        name: "operator",
        repository: "todo-operator",
        program: release::OPERATOR,
        description: "A Kubernetes operator for event-driven applications",
        packages: &PACKAGES,
        port: Some(8080),
    },
    Image {
        name: "demo",
        repository: "todo-demo",
        program: Program {
            package: "todo-demo",
            binary: "demo",
        },
        description: "A service to demonstrate the operator with: it can err, be slow, and never be ready",
        packages: &PACKAGES,
        port: Some(8080),
    },
];

/// `latest` would be pulled each time.
const TAG: &str = "dev";

impl Image {
    fn full_name(&self) -> String {
        format!("localhost/{}:{TAG}", self.repository)
    }
}

/// Writes the images that are asked for, or names all.
pub fn run(args: &Args) -> Result<()> {
    if args.list {
        for image in &IMAGES {
            println!(
                "{:10} {:30} {}",
                image.name,
                image.full_name(),
                image.description
            );
        }
        return Ok(());
    }
    prerequisites::ensure(false)?;
    let is_asked =
        |image: &&Image| args.names.is_empty() || args.names.iter().any(|name| name == image.name);
    for image in IMAGES.iter().filter(is_asked) {
        heading(&format!("Image {}", image.name));
        let Prepared {
            program,
            recipe,
            packages,
        } = prepare(image, Profile::Release)?;
        let to = output(args, &program)?.join(format!("{}.tar", image.name));
        let written = recipe.write(&Cache::from_env(), &to)?;
        // Nobody is to load what does not work.
        let tried = try_out(image, &written).inspect_err(|_| drop(fs::remove_file(&to)))?;
        println!("{}", report(&written, &packages, &tried));
    }
    Ok(())
}

/// The recipe of an image of the table, whose program is built first.
pub fn recipe(name: &str, profile: Profile) -> Result<Recipe> {
    let image = IMAGES.iter().find(|image| image.name == name);
    let image = image.with_context(|| format!("there is no image {name:?}"))?;
    Ok(prepare(image, profile)?.recipe)
}

struct Prepared {
    program: PathBuf,
    recipe: Recipe,
    packages: Vec<Package>,
}

fn prepare(image: &Image, profile: Profile) -> Result<Prepared> {
    let root = repository::root()?;
    let created = created(std::env::var("SOURCE_DATE_EPOCH").ok().as_deref())?;
    let program = release::program(&root, image.program, profile)?;
    let (recipe, packages) = describe(image, &program, revision(&root).as_deref())?;
    Ok(Prepared {
        program,
        recipe: recipe.created(created),
        packages,
    })
}

fn output(args: &Args, program: &Path) -> Result<PathBuf> {
    match &args.output {
        Some(output) => {
            std::path::absolute(output).with_context(|| format!("cannot find {}", output.display()))
        }
        // Cargo says where the program is, which is two folders below its target directory.
        None => program
            .ancestors()
            .nth(2)
            .map(|target| target.join("images"))
            .with_context(|| format!("{} is in no target directory", program.display())),
    }
}

fn describe(
    image: &Image,
    program: &Path,
    revision: Option<&str>,
) -> Result<(Recipe, Vec<Package>)> {
    let cache = Cache::from_env();
    let mut packages = packages_of(program)?;
    packages.extend(image.packages.iter().map(|package| (*package).to_owned()));
    // glibc's tables of character sets; Rust knows UTF-8 by itself.
    let gconv = format!("usr/lib/{}-linux-gnu/gconv", std::env::consts::ARCH);
    let (base, packages) = Base::new(packages)
        .without([gconv])
        .layer(&cache, shown().as_ref())?;
    let path = format!("/{}", image.program.binary);
    let layer = Layer::new(format!(
        "{} {}",
        image.program.binary,
        env!("CARGO_PKG_VERSION")
    ))
    .file(&path, Content::file(program), 0o755);
    let mut recipe = Recipe::new(image.full_name())
        .layer(base)
        .layer(layer)
        .entrypoint([path])
        .env("SSL_CERT_FILE", CA_BUNDLE);
    if let Some(port) = image.port {
        recipe = recipe.port(port);
    }
    let labels = [
        ("title", Some(image.repository)),
        ("description", Some(image.description)),
        ("source", Some(env!("CARGO_PKG_REPOSITORY"))),
        ("revision", revision),
        ("version", Some(env!("CARGO_PKG_VERSION"))),
        ("licenses", Some(env!("CARGO_PKG_LICENSE"))),
    ];
    for (name, value) in labels {
        if let Some(value) = value {
            recipe = recipe.label(format!("org.opencontainers.image.{name}"), value);
        }
    }
    Ok((recipe, packages))
}

/// The commit, marked if the tree has changes that are in no commit. None outside of a git repository.
fn revision(root: &Path) -> Option<String> {
    let git = |args: &[&str]| {
        let output = Command::new("git")
            .current_dir(root)
            .args(args)
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let commit = git(&["rev-parse", "HEAD"])?;
    let changes = git(&["status", "--porcelain"])?;
    Some(if changes.is_empty() {
        commit
    } else {
        format!("{commit}-dirty")
    })
}

/// The time of creation that `SOURCE_DATE_EPOCH` asks for, else 0.
fn created(variable: Option<&str>) -> Result<i64> {
    let Some(text) = variable.filter(|text| !text.is_empty()) else {
        return Ok(0);
    };
    text.parse().ok().filter(|seconds| *seconds >= 0).with_context(|| {
        format!("SOURCE_DATE_EPOCH is {text:?}; it must be a number of seconds since 1970, as `git log -1 --format=%ct` prints")
    })
}

/// Reads the file back, and runs the program in its root.
fn try_out(image: &Image, written: &Written) -> Result<String> {
    let archive = Archive::open(&written.path)?;
    if !nix::unistd::geteuid().is_root() {
        return Ok("every digest fits; not run, as only root can chroot".to_owned());
    }
    let dir = tempfile::tempdir().context("cannot make a temporary directory")?;
    archive.unpack(dir.path())?;
    let mut chroot = Command::new("chroot");
    chroot
        .arg(format!("--userspec={}", archive.user()))
        .arg(dir.path())
        .args(archive.words())
        .arg("--version")
        // Nothing of this machine's settings is in a container.
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let output = chroot.output().context("cannot run chroot")?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || !said.contains(env!("CARGO_PKG_VERSION")) {
        bail!(
            "{} does not run in its image ({}): it said {said:?} and {:?}. If a library is missing, add its Debian package to the image's table in xtask/src/image.rs",
            image.program.binary,
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(format!(
        "every digest fits; runs in it as {}: {}",
        archive.user(),
        said.trim()
    ))
}

fn report(written: &Written, packages: &[Package], tried: &str) -> String {
    let path = written.path.display();
    let (_, repository) = written.name.split_once('/').unwrap_or_default();
    let packages: Vec<_> = packages
        .iter()
        .map(|package| format!("{} {}", package.name, package.version))
        .collect();
    format!(
        "{name}\n  digest  {digest}\n  size    {size:.1} MiB\n  file    {path}\n  base    {packages}\n  tried   {tried}\n  load    \
         ctr -n k8s.io images import {path}\n          docker load -i {path}\n          skopeo copy oci-archive:{path} docker://REGISTRY/{repository}",
        name = written.name,
        digest = written.digest,
        size = written.size as f64 / 1024.0 / 1024.0,
        packages = packages.join(", "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_different_and_programs_exist() {
        let root = repository::root().unwrap();
        let names: std::collections::BTreeSet<_> = IMAGES.iter().map(|image| image.name).collect();
        assert_eq!(names.len(), IMAGES.len());
        let metadata = repository::cargo(&root)
            .args([
                "metadata",
                "--no-deps",
                "--format-version",
                "1",
                "--offline",
            ])
            .output()
            .unwrap();
        let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).unwrap();
        for image in &IMAGES {
            let packages = metadata["packages"].as_array().unwrap();
            let package = packages
                .iter()
                .find(|package| package["name"] == image.program.package);
            let targets = package.unwrap()["targets"].as_array().unwrap();
            assert!(
                targets
                    .iter()
                    .any(|target| target["name"] == image.program.binary),
                "{}",
                image.name
            );
        }
    }

    #[test]
    fn the_time_of_creation_is_a_number() {
        assert_eq!(created(None).unwrap(), 0);
        assert_eq!(created(Some("")).unwrap(), 0);
        assert_eq!(created(Some("1700000000")).unwrap(), 1_700_000_000);
        assert!(created(Some("yesterday")).is_err());
        assert!(created(Some("-1")).is_err());
    }

    #[test]
    fn commands_name_the_file() {
        let written = Written {
            name: "localhost/todo-operator:dev".to_owned(),
            digest: "sha256:1".to_owned(),
            path: PathBuf::from("/x/operator.tar"),
            size: 3 << 20,
        };
        let text = report(&written, &[], "well");
        assert!(
            text.contains("ctr -n k8s.io images import /x/operator.tar\n"),
            "{text}"
        );
        assert!(text.contains("docker load -i /x/operator.tar\n"), "{text}");
        assert!(
            text.contains("oci-archive:/x/operator.tar docker://REGISTRY/todo-operator:dev"),
            "{text}"
        );
        assert!(text.contains("3.0 MiB"), "{text}");
    }

    #[test]
    fn the_dockerfile_makes_the_same_images() {
        let dockerfile = include_str!("../../Dockerfile");
        for image in &IMAGES {
            let Program { package, binary } = image.program;
            let begin = format!("FROM image AS {}\n", image.name);
            let (_, stage) = dockerfile.split_once(&begin).unwrap();
            let stage = stage.split("\nFROM ").next().unwrap();
            for line in [
                format!("image.title=\"{}\"", image.repository),
                format!("image.description=\"{}\"", image.description),
                format!("COPY --from=build-{} /root-of-image/ /\n", image.name),
                format!("ENTRYPOINT [\"/{binary}\"]\n"),
            ] {
                assert!(stage.contains(&line), "{}: {line}", image.name);
            }
            let build = format!("    program {package} {binary}\n");
            assert!(dockerfile.contains(&build), "{build}");
        }
    }
}
