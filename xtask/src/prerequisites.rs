//! What must be on the machine. As root on Debian or Ubuntu it is installed; elsewhere the command is said.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use localcluster::peers;

use crate::progress::heading;

/// The oldest Go that the pinned modules accept.
const GO: (u32, u32) = (1, 26);
/// The oldest Java that Kafka runs on.
const JAVA: u32 = 17;

/// Something that must be there.
struct Need {
    what: &'static str,
    /// Debian's package; none has the Go that is needed.
    package: Option<&'static str>,
    is_met: fn() -> bool,
}

static OPERATOR: [Need; 5] = [
    Need {
        what: "a C compiler",
        package: Some("gcc"),
        is_met: || runs("cc", &["--version"]),
    },
    Need {
        what: "a C++ compiler",
        package: Some("g++"),
        is_met: || runs("c++", &["--version"]),
    },
    Need {
        what: "make and CMake",
        package: Some("cmake make"),
        is_met: || runs("cmake", &["--version"]) && runs("make", &["--version"]),
    },
    Need {
        what: "pkg-config",
        package: Some("pkg-config"),
        is_met: || runs("pkg-config", &["--version"]),
    },
    Need {
        what: "OpenSSL's headers",
        package: Some("libssl-dev"),
        is_met: || runs("pkg-config", &["--exists", "openssl"]),
    },
];

const GO_TOOLCHAIN: Need = Need {
    what: "Go 1.26 or later",
    package: None,
    is_met: || output("go", &["version"]).is_some_and(|text| is_new_go(&text)),
};

const JAVA_RUNTIME: Need = Need {
    what: "Java 17 or later",
    package: Some("openjdk-17-jre-headless"),
    is_met: || java().is_some_and(|text| is_new_java(&text)),
};

const MAVEN: Need = Need {
    what: "Apache Maven",
    package: Some("maven"),
    is_met: || runs("mvn", &["--version"]),
};

const SETSID: Need = Need {
    what: "setsid",
    package: Some("util-linux"),
    is_met: || runs("setsid", &["--version"]),
};

const SETPRIV: Need = Need {
    what: "setpriv",
    package: Some("util-linux"),
    is_met: || runs("setpriv", &["--version"]),
};

static CLUSTER: [Need; 5] = [GO_TOOLCHAIN, JAVA_RUNTIME, MAVEN, SETSID, SETPRIV];

static REAL_NODE: [Need; 6] = [
    Need {
        what: "containerd",
        package: Some("containerd"),
        is_met: || runs("containerd", &["--version"]) && runs("ctr", &["--version"]),
    },
    Need {
        what: "runc",
        package: Some("runc"),
        is_met: || runs("runc", &["--version"]),
    },
    Need {
        what: "the CNI plugins",
        package: Some("containernetworking-plugins"),
        is_met: localcluster::has_cni_plugins,
    },
    Need {
        what: "nft",
        package: Some("nftables"),
        is_met: || runs("nft", &["--version"]),
    },
    Need {
        what: "ip",
        package: Some("iproute2"),
        is_met: || runs("ip", &["-Version"]),
    },
    Need {
        what: "a C compiler",
        package: Some("gcc libc6-dev"),
        is_met: || runs("cc", &["--version"]),
    },
];

static PEERS: [Need; 1] = [Need {
    what: "Git",
    package: Some("git"),
    is_met: || runs("git", &["--version"]),
}];

/// What the services run on.
static SERVERS: [Need; 5] = [
    Need {
        what: "PostgreSQL 15 or later",
        package: Some("postgresql"),
        is_met: has_postgresql,
    },
    Need {
        what: "Valkey or Redis",
        // Debian 12 has no Valkey.
        package: Some("redis-server"),
        is_met: || runs("valkey-server", &["--version"]) || runs("redis-server", &["--version"]),
    },
    JAVA_RUNTIME,
    MAVEN,
    SETPRIV,
];

/// What the packages for other languages are tried with.
static LANGUAGES: [Need; 1] = [Need {
    what: "Python 3.10 or later",
    package: Some("python3"),
    is_met: || {
        runs(
            "python3",
            &["-c", "import sys; sys.exit(sys.version_info < (3, 10))"],
        )
    },
}];

/// What the packages for other languages are generated with.
static GENERATORS: [Need; 2] = [
    GO_TOOLCHAIN,
    // Node itself comes as a package of npm: Debian's is too old.
    Need {
        what: "npm",
        package: Some("npm"),
        is_met: || runs("npm", &["--version"]),
    },
];

/// Makes sure that the services can be tested: with a real database, and their contracts in other languages.
pub fn ensure_services() -> Result<()> {
    meet(&[&SERVERS, &LANGUAGES, &GENERATORS])
}

/// Makes sure that the contracts can be generated for other languages.
pub fn ensure_generators() -> Result<()> {
    meet(&[&GENERATORS])
}

/// Makes sure that the operator can be built and, if `with_cluster`, that a local cluster can be.
pub fn ensure(with_cluster: bool) -> Result<()> {
    let cluster = if with_cluster { &CLUSTER[..] } else { &[] };
    meet(&[&OPERATOR, cluster])
}

/// Makes sure that a local cluster can have a real node, for which one must be root anyway.
pub fn ensure_real_node() -> Result<()> {
    meet(&[&REAL_NODE])
}

/// Makes sure that peers can run on a real node: one of them serves a Git repository, which is filled from here, and their images are
/// made of Debian's packages.
pub fn ensure_peers() -> Result<()> {
    meet(&[&PEERS])?;
    if peers::check_packages().is_ok() {
        return Ok(());
    }
    apt_get(&["update", "-qq"])?;
    peers::check_packages().context("the peers' images cannot be made on this system")
}

fn meet(needs: &[&'static [Need]]) -> Result<()> {
    let missing = missing(needs);
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = missing.iter().map(|need| need.what).collect();
    if missing.iter().any(|need| need.package.is_none()) {
        bail!(
            "{} is missing: install Go from https://go.dev/dl and put its `go` on PATH, then run this again",
            names.join(", ")
        );
    }
    let mut packages: Vec<_> = missing
        .iter()
        .filter_map(|need| need.package)
        .flat_map(str::split_whitespace)
        .collect();
    packages.dedup();
    if !is_debian() {
        bail!(
            "{} is missing: install it with your system's package manager (on Debian: apt-get install {}), then run this again",
            names.join(", "),
            packages.join(" ")
        );
    }
    if !nix::unistd::geteuid().is_root() {
        bail!(
            "{} is missing. Run:\n\n  sudo apt-get update && sudo apt-get install --yes --no-install-recommends {}\n\nthen run this again",
            names.join(", "),
            packages.join(" ")
        );
    }
    heading(&format!("Installing {}", packages.join(" ")));
    apt_get(&["update", "-qq"])?;
    let mut install = vec!["install", "--yes", "-qq", "--no-install-recommends"];
    install.extend(packages);
    apt_get(&install)?;
    let still: Vec<_> = self::missing(needs).iter().map(|need| need.what).collect();
    if !still.is_empty() {
        bail!(
            "{} is still missing after the installation: see the output of apt-get above",
            still.join(", ")
        );
    }
    Ok(())
}

fn missing(needs: &[&'static [Need]]) -> Vec<&'static Need> {
    needs
        .iter()
        .flat_map(|needs| needs.iter())
        .filter(|need| !(need.is_met)())
        .collect()
}

fn apt_get(args: &[&str]) -> Result<()> {
    let status = Command::new("apt-get")
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        // What a package brings is started by who needs it, not by its installation (`invoke-rc.d`).
        .env("RUNLEVEL", "1")
        .stdin(Stdio::null())
        .status()
        .context("cannot run apt-get")?;
    if !status.success() {
        bail!("`apt-get {}` failed ({status})", args.join(" "));
    }
    Ok(())
}

fn is_debian() -> bool {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    names_debian(&release)
}

fn names_debian(release: &str) -> bool {
    let values = release
        .lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(name, _)| matches!(*name, "ID" | "ID_LIKE"));
    values
        .flat_map(|(_, value)| value.trim_matches('"').split(' '))
        .any(|id| matches!(id, "debian" | "ubuntu"))
}

fn runs(program: &str, args: &[&str]) -> bool {
    let status = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

fn output(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    // Java writes its version to standard error.
    Some(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// Debian keeps its programs away from PATH, one folder a version.
fn has_postgresql() -> bool {
    let mut versions = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    versions.any(|version| version.path().join("bin/initdb").exists())
}

fn java() -> Option<String> {
    output("java", &["-version"])
}

/// "go version go1.26.8 linux/amd64"
fn is_new_go(text: &str) -> bool {
    let version = text
        .split_whitespace()
        .find_map(|word| word.strip_prefix("go1."))
        .and_then(|rest| rest.split(['.', 'r', 'b']).next()?.parse().ok());
    version.is_some_and(|minor: u32| (1, minor) >= GO)
}

/// `openjdk version "17.0.15" 2025-04-15`; before Java 9 "1.8.0".
fn is_new_java(text: &str) -> bool {
    let version = text
        .split('"')
        .nth(1)
        .and_then(|version| version.split(['.', '-', '+']).next()?.parse::<u32>().ok());
    version.is_some_and(|major| major >= JAVA)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_versions_are_compared_as_numbers() {
        assert!(is_new_go("go version go1.26.8 linux/amd64"));
        assert!(is_new_go("go version go1.26 linux/amd64"));
        assert!(is_new_go("go version go1.27rc1 linux/amd64"));
        assert!(!is_new_go("go version go1.19.8 linux/amd64"));
        assert!(!is_new_go(""));
    }

    #[test]
    fn java_versions_are_read_old_and_new() {
        assert!(is_new_java("openjdk version \"17.0.15\" 2025-04-15\n"));
        assert!(is_new_java("openjdk version \"25\" 2025-09-16\n"));
        assert!(!is_new_java("java version \"1.8.0_402\"\n"));
        assert!(!is_new_java("The program 'java' is not installed"));
    }

    #[test]
    fn debian_and_its_children_are_known() {
        assert!(names_debian("NAME=\"Debian GNU/Linux\"\nID=debian\n"));
        assert!(names_debian("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n"));
        assert!(!names_debian("ID=fedora\n"));
    }
}
