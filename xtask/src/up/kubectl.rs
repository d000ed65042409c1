//! kubectl with a kubeconfig.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

/// A kubectl that talks to one cluster.
#[derive(Debug, Clone)]
pub struct Kubectl {
    program: PathBuf,
    /// Its first arguments: which kubeconfig, which context.
    cluster: Vec<String>,
    root: PathBuf,
}

impl Kubectl {
    pub fn new(program: PathBuf, cluster: Vec<String>, root: PathBuf) -> Self {
        Self {
            program,
            cluster,
            root,
        }
    }

    /// Applies a kustomization of this repository, server-side: some CRDs are too long for the annotation of the other way.
    pub async fn apply(&self, kustomization: &str) -> Result<()> {
        if !self
            .root
            .join(kustomization)
            .join("kustomization.yaml")
            .is_file()
        {
            bail!(
                "{kustomization}/kustomization.yaml is missing in {}",
                self.root.display()
            );
        }
        self.run(&[
            "apply",
            "--server-side",
            "--force-conflicts",
            "-k",
            kustomization,
        ])
        .await
    }

    /// Runs one command, and says what it said if it fails.
    pub async fn run(&self, args: &[&str]) -> Result<()> {
        self.output(args).await.map(drop)
    }

    /// The same, and gives what it has written.
    pub async fn output(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.program);
        command
            .args(&self.cluster)
            .args(args)
            .current_dir(&self.root)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = command
            .output()
            .await
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        if !output.status.success() {
            bail!(
                "`kubectl {}` failed ({}):\n{}",
                args.join(" "),
                output.status,
                String::from_utf8_lossy(&output.stderr).trim_end()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// How a person calls it: by name if there is one on PATH, else by the path of ours.
    pub fn shown(&self) -> String {
        if on_path("kubectl") {
            "kubectl".to_owned()
        } else {
            self.program.display().to_string()
        }
    }
}

/// Whether a program of this name is on PATH.
pub fn on_path(name: &str) -> bool {
    find(name, std::env::var_os("PATH").as_deref()).is_some()
}

fn find(name: &str, path: Option<&OsStr>) -> Option<PathBuf> {
    std::env::split_paths(path?)
        .map(|dir| dir.join(name))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata()
        .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_executables_on_path_are_found() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("kubectl"), "").unwrap();
        assert_eq!(find("kubectl", Some(dir.path().as_os_str())), None);
        assert!(find("sh", Some(OsStr::new("/bin:/usr/bin"))).is_some());
        assert_eq!(find("sh", None), None);
    }
}
