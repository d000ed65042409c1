//! What is in the images of the peers.

use std::path::PathBuf;
use std::time::Instant;

use super::Product;
use crate::cache::key;
use crate::error::{Error, Result};
use crate::image::debian::{Base, CA_BUNDLE, resolve};
use crate::image::{Compression, Content, Layer, Owner, Recipe};
use crate::progress::{Event, Progress};
use crate::tools::{KAFKA_POM, Tool, Tools, kafka_key};

/// Debian 12 has no other.
pub(super) const REDIS_VERSION: &str = "7";

/// The name of the file in the cache.
const FILE: &str = "image.tar";

/// Changes when images are made differently of the same contents.
const FORMAT: &str = "1";

/// An image as data. Without packages it is a static program and little else.
#[derive(Debug)]
pub(super) struct Image {
    /// As in `localhost/NAME:TAG`.
    pub(super) name: &'static str,
    /// What the tag begins with, if that is not the product's version.
    version: Option<&'static str>,
    /// Programs of ours, and where they go.
    programs: &'static [(Tool, &'static str)],
    /// Debian packages, without their dependencies: what they need here is named too.
    packages: &'static [&'static [&'static str]],
    /// What is left out of the packages.
    without: &'static [&'static str],
    /// Symbolic links and their targets; `ARCHITECTURE` is this machine's by Go's name.
    links: &'static [(&'static str, &'static str)],
    /// Directories that the user owns.
    directories: &'static [&'static str],
    user: User,
    /// The jars of Kafka, in /opt/kafka.
    has_kafka: bool,
    working_directory: &'static str,
    entrypoint: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
}

/// Whom an image runs as.
#[derive(Debug, Clone, Copy)]
struct User {
    name: &'static str,
    id: u64,
    home: &'static str,
}

const NONROOT: User = User {
    name: "nonroot",
    id: 65532,
    home: "/home/nonroot",
};

const EMPTY: Image = Image {
    name: "",
    version: None,
    programs: &[],
    packages: &[],
    without: &[],
    links: &[],
    directories: &[],
    user: NONROOT,
    has_kafka: false,
    working_directory: "/",
    entrypoint: &[],
    environment: &[],
};

const LIBC: &[&str] = &["base-files", "libc6", "libgcc-s1", "libstdc++6", "zlib1g"];
const COMPRESSION: &[&str] = &["liblz4-1", "liblzma5", "libzstd1"];
const SYSTEMD: &[&str] = &["libcap2", "libgcrypt20", "libgpg-error0", "libsystemd0"];
const GNUTLS: &[&str] = &[
    "libffi8",
    "libgmp10",
    "libgnutls30",
    "libhogweed6",
    "libidn2-0",
    "libnettle8",
    "libp11-kit0",
    "libtasn1-6",
    "libunistring2",
];
const LDAP_AND_KERBEROS: &[&str] = &[
    "libcom-err2",
    "libgssapi-krb5-2",
    "libk5crypto3",
    "libkeyutils1",
    "libkrb5-3",
    "libkrb5support0",
    "libldap-2.5-0",
    "libsasl2-2",
    "libssl3",
];
const GIT: &[&str] = &["git", "libpcre2-8-0"];

const POSTGRESQL: Image = Image {
    name: "postgresql",
    version: Some("15"),
    packages: &[
        LIBC,
        COMPRESSION,
        SYSTEMD,
        GNUTLS,
        LDAP_AND_KERBEROS,
        &[
            // initdb runs a shell, and asks it for locales.
            "dash",
            "libc-bin",
            "libaudit1",
            "libcap-ng0",
            "libicu72",
            "libpam0g",
            "libpq5",
            "libreadline8",
            "libtinfo6",
            "libuuid1",
            "libxml2",
            "postgresql-15",
            "postgresql-client-15",
            "tzdata",
        ],
    ],
    // Compiles queries with LLVM, which is as large as all the rest; the server does without if it is not there.
    without: &[
        "usr/lib/postgresql/15/lib/llvmjit.so",
        "usr/lib/postgresql/15/lib/bitcode",
    ],
    directories: &["var/lib/postgresql", "var/run/postgresql"],
    // What the operator runs it as.
    user: User {
        name: "postgres",
        id: 26,
        home: "/var/lib/postgresql",
    },
    environment: &[
        (
            "PATH",
            "/usr/lib/postgresql/15/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ),
        ("LANG", "C.UTF-8"),
    ],
    ..EMPTY
};

const REDIS: Image = Image {
    name: "redis",
    version: Some(REDIS_VERSION),
    packages: &[
        LIBC,
        COMPRESSION,
        SYSTEMD,
        &[
            "libatomic1",
            "libjemalloc2",
            "liblzf1",
            "libssl3",
            "redis-server",
            "redis-tools",
        ],
    ],
    user: User {
        name: "redis",
        id: 999,
        home: "/tmp",
    },
    entrypoint: &["/usr/bin/redis-server"],
    ..EMPTY
};

const ARGO_CD: Image = Image {
    name: "argocd",
    programs: &[
        (Tool::ArgoCd, "usr/local/bin/argocd"),
        (Tool::Kustomize, "usr/local/bin/kustomize"),
    ],
    packages: &[
        LIBC,
        COMPRESSION,
        GNUTLS,
        LDAP_AND_KERBEROS,
        GIT,
        &[
            "ca-certificates",
            // An init container copies with `cp`.
            "coreutils",
            "dash",
            "libacl1",
            "libattr1",
            "libbrotli1",
            "libcurl3-gnutls",
            "libnghttp2-14",
            "libpsl5",
            "librtmp1",
            "libselinux1",
            "libssh2-1",
        ],
    ],
    // Which part it is depends on the name.
    links: &[
        ("usr/local/bin/argocd-application-controller", "argocd"),
        ("usr/local/bin/argocd-applicationset-controller", "argocd"),
        ("usr/local/bin/argocd-cmp-server", "argocd"),
        ("usr/local/bin/argocd-git-ask-pass", "argocd"),
        ("usr/local/bin/argocd-k8s-auth", "argocd"),
        ("usr/local/bin/argocd-repo-server", "argocd"),
    ],
    directories: &[
        "app/config/controller/tls",
        "app/config/gpg/keys",
        "app/config/gpg/source",
        "app/config/reposerver/tls",
        "app/config/server/tls",
        "app/config/ssh",
        "app/config/tls",
        "helm-working-dir",
        "home/argocd",
    ],
    user: User {
        name: "argocd",
        id: 999,
        home: "/home/argocd",
    },
    working_directory: "/home/argocd",
    environment: &[("USER", "argocd")],
    ..EMPTY
};

const KAFKA: Image = Image {
    name: "kafka",
    packages: &[LIBC, &["openjdk-17-jre-headless"]],
    // Written when the package is installed; the other file is what would be in it.
    links: &[
        (
            "usr/lib/jvm/java-17-openjdk-ARCHITECTURE/lib/jvm.cfg",
            "jvm.cfg-default",
        ),
        (
            "usr/bin/java",
            "../lib/jvm/java-17-openjdk-ARCHITECTURE/bin/java",
        ),
    ],
    directories: &["var/lib/kafka"],
    has_kafka: true,
    entrypoint: &[
        "/usr/bin/java",
        "-Xms256m",
        "-Xmx256m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-XX:MaxDirectMemorySize=64m",
        "-Dlog4j2.configurationFile=/opt/kafka/log4j2.properties",
        "-cp",
        "/opt/kafka/libs/*",
        "kafka.Kafka",
        "/etc/kafka/server.properties",
    ],
    ..EMPTY
};

const GIT_SERVER: Image = Image {
    name: "git-server",
    programs: &[(Tool::GitServer, "usr/local/bin/git-server")],
    packages: &[LIBC, GIT],
    directories: &["srv/git"],
    entrypoint: &["/usr/local/bin/git-server"],
    ..EMPTY
};

const ARGO_ROLLOUTS: Image = Image {
    name: "argo-rollouts",
    programs: &[(Tool::RolloutsController, "bin/rollouts-controller")],
    directories: &["home/argo-rollouts"],
    user: User {
        name: "argo-rollouts",
        id: 999,
        home: "/home/argo-rollouts",
    },
    // Where it looks for plugins.
    working_directory: "/home/argo-rollouts",
    entrypoint: &["/bin/rollouts-controller"],
    ..EMPTY
};

const CLOUDNATIVE_PG: Image = Image {
    name: "cloudnative-pg",
    programs: &[(Tool::CloudNativePg, "manager")],
    // Where it looks for the managers that it may give to pods of each architecture.
    links: &[("operator/manager_ARCHITECTURE", "../manager")],
    entrypoint: &["/manager"],
    ..EMPTY
};

const KEDA_OPERATOR: Image = Image {
    name: "keda-operator",
    programs: &[(Tool::KedaOperator, "keda")],
    entrypoint: &["/keda"],
    ..EMPTY
};

const KEDA_ADAPTER: Image = Image {
    name: "keda-adapter",
    programs: &[(Tool::KedaAdapter, "keda-adapter")],
    entrypoint: &["/keda-adapter"],
    ..EMPTY
};

const PROMETHEUS: Image = Image {
    name: "prometheus",
    programs: &[(Tool::Prometheus, "bin/prometheus")],
    directories: &["data"],
    entrypoint: &["/bin/prometheus"],
    ..EMPTY
};

const TRAEFIK: Image = Image {
    name: "traefik",
    programs: &[(Tool::Traefik, "traefik")],
    entrypoint: &["/traefik"],
    ..EMPTY
};

impl Product {
    pub(super) const fn images(self) -> &'static [&'static Image] {
        match self {
            Self::ArgoCd => &[&ARGO_CD, &REDIS],
            Self::ArgoRollouts => &[&ARGO_ROLLOUTS],
            Self::CloudNativePg => &[&CLOUDNATIVE_PG, &POSTGRESQL],
            Self::GitServer => &[&GIT_SERVER],
            Self::Kafka => &[&KAFKA],
            Self::Keda => &[&KEDA_OPERATOR, &KEDA_ADAPTER],
            Self::Prometheus => &[&PROMETHEUS],
            Self::Redis => &[&REDIS],
            Self::Traefik => &[&TRAEFIK],
        }
    }
}

/// The version of Kafka's jars.
pub(super) fn kafka_version() -> Result<&'static str> {
    KAFKA_POM
        .split_once("<artifactId>kafka_2.13</artifactId>")
        .and_then(|(_, rest)| rest.split_once("<version>"))
        .and_then(|(_, rest)| rest.split_once("</version>"))
        .map(|(version, _)| version)
        .ok_or_else(|| Error::Recipe {
            recipe: "kafka/pom.xml".to_owned(),
            reason: "it does not require kafka_2.13".to_owned(),
        })
}

impl Image {
    /// The version, and a key for what the image is made of: when that has changed, pods get another image. Packages are the newest
    /// when it is made, which makes no other tag.
    pub(super) fn tag(&self, product: Product) -> Result<String> {
        let contents = format!("{self:?}");
        let mut inputs = vec![FORMAT.to_owned(), contents];
        for (tool, _) in self.programs {
            inputs.push(tool.key()?);
        }
        if self.has_kafka {
            inputs.push(kafka_key());
        }
        let version = match self.version {
            Some(version) => version.to_owned(),
            None => product.version()?,
        };
        let key = key(inputs.iter().map(String::as_str));
        Ok(format!("{version}-{key}"))
    }

    /// Its full name.
    pub(super) fn reference(&self, product: Product) -> Result<String> {
        Ok(format!("localhost/{}:{}", self.name, self.tag(product)?))
    }

    /// The file from which containerd imports it, made unless it is in the cache. Blocks.
    pub(super) fn ensure(
        &self,
        product: Product,
        tools: &Tools,
        progress: &dyn Progress,
    ) -> Result<PathBuf> {
        for (tool, _) in self.programs {
            tools.ensure(*tool, progress)?;
        }
        if self.has_kafka {
            tools.ensure_kafka(progress)?;
        }
        let reference = self.reference(product)?;
        let name = format!("image-{}", self.name);
        let dir = tools.cache.entry(&name, &self.tag(product)?, |work| {
            let what = format!("image {reference}");
            let begun = Instant::now();
            progress.event(Event::Begin {
                what: &what,
                steps: None,
            });
            recipe(tools, self, &reference, progress)?.write(&tools.cache, &work.join(FILE))?;
            progress.event(Event::End {
                what: &what,
                took: begun.elapsed(),
            });
            Ok(())
        })?;
        Ok(dir.join(FILE))
    }
}

/// Whether apt offers every package of every image. Blocks.
pub(super) fn check_packages() -> Result<()> {
    let images = Product::ALL.iter().flat_map(|product| product.images());
    let packages = images.flat_map(|image| image.packages.concat());
    resolve(&packages.map(str::to_owned).collect()).map(drop)
}

fn recipe(tools: &Tools, image: &Image, name: &str, progress: &dyn Progress) -> Result<Recipe> {
    let mut recipe = Recipe::new(name).compression(Compression::None);
    if !image.packages.is_empty() {
        let base = Base::new(image.packages.concat()).without(image.without.iter().copied());
        recipe = recipe.layer(base.layer(&tools.cache, progress)?.0);
    }
    let User { id, home, .. } = image.user;
    let mut recipe = recipe
        .layer(own_layer(tools, image, progress)?)
        .user(format!("{id}:{id}"))
        .working_directory(image.working_directory)
        .entrypoint(image.entrypoint.iter().copied())
        .env("HOME", home);
    if image.packages.concat().contains(&"ca-certificates") {
        recipe = recipe.env("SSL_CERT_FILE", CA_BUNDLE);
    }
    for (name, value) in image.environment {
        recipe = recipe.env(*name, *value);
    }
    Ok(recipe)
}

/// Everything that is not in a package.
fn own_layer(tools: &Tools, image: &Image, progress: &dyn Progress) -> Result<Layer> {
    let User { name, id, home } = image.user;
    let owner = Owner { uid: id, gid: id };
    let passwd = format!(
        "root:x:0:0:root:/root:/sbin/nologin\n{name}:x:{id}:{id}:{name}:{home}:/sbin/nologin\n"
    );
    let group = format!("root:x:0:\n{name}:x:{id}:\n");
    let mut layer = Layer::new("programs and settings")
        // initdb and Git ask who they are.
        .file("etc/passwd", Content::bytes(passwd), 0o644)
        .file("etc/group", Content::bytes(group), 0o644)
        .directory("tmp", 0o1777, Owner::ROOT);
    for directory in image.directories {
        layer = layer.directory(directory, 0o755, owner);
    }
    for (tool, path) in image.programs {
        let program = tools.ensure(*tool, progress)?;
        layer = layer.file(path, Content::file(program), 0o755);
    }
    for (path, target) in image.links {
        let whole = |text: &str| text.replace("ARCHITECTURE", architecture());
        layer = layer.symlink(&whole(path), &whole(target));
    }
    if image.has_kafka {
        let kafka = tools.ensure_kafka(progress)?;
        layer = layer
            .tree("opt/kafka/libs", &kafka.join("libs"), Owner::ROOT)?
            .file(
                "opt/kafka/log4j2.properties",
                Content::file(kafka.join("log4j2.properties")),
                0o644,
            );
    }
    Ok(layer)
}

/// This machine's, by Go's and Debian's name.
const fn architecture() -> &'static str {
    match std::env::consts::ARCH.as_bytes() {
        b"x86_64" => "amd64",
        b"aarch64" => "arm64",
        _ => std::env::consts::ARCH,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_tells_the_version_and_changes_with_the_contents() {
        let tag = |image: &Image| image.tag(Product::CloudNativePg).unwrap();
        assert!(tag(&POSTGRESQL).starts_with("15-"), "{}", tag(&POSTGRESQL));
        let other = Image {
            working_directory: "/tmp",
            ..POSTGRESQL
        };
        assert_ne!(tag(&other), tag(&POSTGRESQL));
        let operator = tag(&CLOUDNATIVE_PG);
        let version = Product::CloudNativePg.version().unwrap();
        assert!(operator.starts_with(&format!("{version}-")), "{operator}");
    }
}
