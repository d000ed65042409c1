//! Where this repository lies, and cargo in it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The repository from which this program was built.
pub fn root() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the xtask crate does not stand in the repository's root")?;
    if !root.join("Cargo.toml").is_file() {
        bail!(
            "the repository is no longer at {}: run `cargo xtask` from where it is now",
            root.display()
        );
    }
    Ok(root.to_owned())
}

/// The cargo that runs us, for the repository. In CI the target directory lies in the cache: a clean clone has none.
pub fn cargo(root: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root);
    // `cargo run` describes our package to us. Build scripts that watch these variables (ring's does) would run again
    // each time that a person's cargo and ours take turns.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(describes_a_package) {
            cargo.env_remove(name);
        }
    }
    if std::env::var_os("CI").is_some() && std::env::var_os("CARGO_TARGET_DIR").is_none() {
        cargo.env(
            "CARGO_TARGET_DIR",
            localcluster::Cache::from_env().root().join("target"),
        );
    }
    cargo
}

fn describes_a_package(variable: &str) -> bool {
    [
        "CARGO_PKG_",
        "CARGO_MANIFEST_",
        "CARGO_BIN_",
        "CARGO_CRATE_",
        "CARGO_PRIMARY_",
    ]
    .iter()
    .any(|prefix| variable.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_a_person_are_kept() {
        assert!(describes_a_package("CARGO_MANIFEST_DIR"));
        assert!(!describes_a_package("CARGO_TARGET_DIR"));
        assert!(!describes_a_package("CARGO_HOME"));
        assert!(!describes_a_package("CARGO_BUILD_JOBS"));
    }
}
