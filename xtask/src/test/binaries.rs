//! The workspace's tests, two binaries at a time: most of them wait for a cluster for most of their time, and `cargo test` runs one
//! after the other.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::progress::done;
use crate::repository::cargo;

/// How many run at once. More would make patience run out on a machine with two cores.
const AT_ONCE: usize = 2;

/// A binary full of tests.
#[derive(Debug, PartialEq, Eq)]
struct Binary {
    /// Cargo's name of it.
    target: String,
    program: PathBuf,
    /// Directory of its package, in which cargo runs tests.
    package: PathBuf,
}

impl Binary {
    /// What cargo says in one line of JSON, if that tells of a binary.
    fn from_line(line: &str) -> Option<Self> {
        let said: Value = serde_json::from_str(line).ok()?;
        let is_test = said["reason"] == "compiler-artifact" && said["profile"]["test"] == true;
        let path = |pointer: &str| said.pointer(pointer)?.as_str().map(PathBuf::from);
        Some(Self {
            target: said.pointer("/target/name")?.as_str()?.to_owned(),
            program: path("/executable").filter(|_| is_test)?,
            package: path("/manifest_path")?.parent()?.to_owned(),
        })
    }

    /// What it is called: the directory of its package, and its own name.
    fn name(&self, root: &Path) -> String {
        let package = self.package.strip_prefix(root).unwrap_or(&self.package);
        format!("{} {}", package.display(), self.target)
    }

    /// Runs its tests, and gives what they print, and whether they pass.
    fn run(&self, environment: &[(&str, &str)]) -> Result<(Vec<u8>, bool)> {
        let (mut reader, writer) = std::io::pipe().context("cannot make a pipe")?;
        let mut command = Command::new(&self.program);
        command
            .current_dir(&self.package)
            .env("CARGO_MANIFEST_DIR", &self.package)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(writer.try_clone().context("cannot make a pipe")?)
            .stderr(writer);
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        // It holds the other end of the pipe: while it does, reading would not end.
        drop(command);
        let mut printed = Vec::new();
        std::io::Read::read_to_end(&mut reader, &mut printed).context("cannot read a pipe")?;
        let status = child.wait().context("cannot wait for a test")?;
        Ok((printed, status.success()))
    }
}

/// Builds and runs every test of the workspace, documentation's last. All binaries are run, whatever becomes of one.
pub fn run(root: &Path, environment: &[(&str, &str)]) -> Result<()> {
    let binaries = build(root)?;
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(binary) = binaries.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let begun = Instant::now();
                    let outcome = binary.run(environment);
                    let told = tell(&binary.name(root), outcome, begun.elapsed());
                    if let Ok(mut outcomes) = outcomes.lock() {
                        outcomes.push(told);
                    }
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().unwrap_or_default();
    let failed: Vec<&str> = outcomes.iter().filter_map(|o| o.as_deref()).collect();
    if outcomes.len() != binaries.len() || !failed.is_empty() {
        bail!("tests failed in:\n  {}", failed.join("\n  "));
    }
    let documentation = cargo(root)
        .args(["test", "--workspace", "--doc", "--quiet"])
        .status();
    if !documentation.context("cannot run cargo")?.success() {
        bail!("an example in the documentation failed");
    }
    Ok(())
}

fn build(root: &Path) -> Result<Vec<Binary>> {
    let output = cargo(root)
        .args(["test", "--workspace", "--no-run"])
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    if !output.status.success() {
        bail!("the tests cannot be built");
    }
    let lines = String::from_utf8_lossy(&output.stdout);
    let binaries: Vec<Binary> = lines.lines().filter_map(Binary::from_line).collect();
    if binaries.is_empty() {
        bail!("cargo named no test");
    }
    Ok(binaries)
}

/// Says what became of a binary's tests, and gives its name if they failed.
fn tell(name: &str, outcome: Result<(Vec<u8>, bool)>, took: Duration) -> Option<String> {
    let (printed, is_good) = outcome.unwrap_or_else(|error| (format!("{error:#}").into(), false));
    let mut stdout = std::io::stdout().lock();
    // Nobody who listens is nobody who minds.
    let _ = writeln!(stdout, "\n{name}").and_then(|()| stdout.write_all(&printed));
    drop(stdout);
    if is_good {
        done(name, took);
        return None;
    }
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> (tempfile::TempDir, Binary) {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("test");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let binary = Binary {
            target: "test".to_owned(),
            program,
            package: directory.path().to_owned(),
        };
        (directory, binary)
    }

    #[test]
    fn a_binary_runs_in_its_package_and_tells_all() {
        let (directory, binary) = shell("pwd; echo $FULL >&2; exit 0");
        let (printed, is_good) = binary.run(&[("FULL", "1")]).unwrap();
        let package = directory.path().canonicalize().unwrap();
        let expected = format!("{}\n1\n", package.display());
        assert_eq!(String::from_utf8(printed).unwrap(), expected);
        assert!(is_good);
        let (_directory, binary) = shell("exit 101");
        assert!(!binary.run(&[]).unwrap().1);
    }

    #[test]
    fn only_tests_are_binaries_of_tests() {
        let line = |test: bool, executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"/a/b/Cargo.toml","target":{{"name":"y"}},"profile":{{"test":{test}}},"executable":{executable}}}"#
            )
        };
        let expected = Binary {
            target: "y".to_owned(),
            program: "/t/x".into(),
            package: "/a/b".into(),
        };
        assert_eq!(expected.name(Path::new("/a")), "b y");
        assert_eq!(Binary::from_line(&line(true, "\"/t/x\"")), Some(expected));
        assert_eq!(Binary::from_line(&line(false, "\"/t/x\"")), None);
        assert_eq!(Binary::from_line(&line(true, "null")), None);
        assert_eq!(Binary::from_line("warning: no JSON"), None);
    }
}
