//! Builds of our programs, this one among them.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::repository::cargo;

/// The operator.
pub const OPERATOR: Program = Program {
    package: "todo-operator-controller",
    binary: "todo-operator",
};
const LOAD: Program = Program {
    package: "xtask",
    binary: "xtask",
};

/// A program of this workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Program {
    /// The package that it belongs to.
    pub package: &'static str,
    /// Its name.
    pub binary: &'static str,
}

/// How much time is spent on optimising.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// All that it takes: what is released, and what is measured.
    Release,
    /// Little: for what is built again and again.
    Quick,
    /// None.
    Debug,
}

impl Profile {
    /// By its name in Cargo.toml.
    const fn argument(self) -> &'static str {
        match self {
            Self::Release => "--profile=release",
            Self::Quick => "--profile=sim",
            Self::Debug => "--profile=dev",
        }
    }
}

/// Whether this program was built without optimisation.
pub const fn is_debug_build() -> bool {
    cfg!(debug_assertions)
}

/// Builds the operator and this program, and becomes the optimised build of this one, with the same arguments. Returns only if that fails.
pub fn continue_in(root: &Path) -> Result<()> {
    let load = build(root, &[OPERATOR, LOAD], LOAD, Profile::Release)?;
    let error = Command::new(&load).args(std::env::args_os().skip(1)).exec();
    Err(error).with_context(|| format!("cannot run {}", load.display()))
}

/// The optimised operator, as [`continue_in`] has built it.
pub fn operator(root: &Path) -> Result<PathBuf> {
    build(root, &[OPERATOR, LOAD], OPERATOR, Profile::Release)
}

/// A program, with no more of its dependencies than it asks for itself.
pub fn program(root: &Path, program: Program, profile: Profile) -> Result<PathBuf> {
    build(root, &[program], program, profile)
}

/// Builds programs in one go, so that they share their dependencies, and gives the path of `wanted`, which is one of them.
fn build(root: &Path, programs: &[Program], wanted: Program, profile: Profile) -> Result<PathBuf> {
    let mut command = cargo(root);
    command.args([
        "build",
        profile.argument(),
        "--message-format",
        "json-render-diagnostics",
    ]);
    for Program { package, binary } in programs {
        command.args(["--package", package, "--bin", binary]);
    }
    let output = output(command).context("cannot run cargo")?;
    if !output.status.success() {
        bail!(
            "the build of {} failed ({}), see above",
            wanted.binary,
            output.status
        );
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    executable(&messages, wanted.binary)
        .with_context(|| format!("cargo did not say where it has put {}", wanted.binary))
}

/// Cargo's progress and errors stay on the terminal.
fn output(mut command: Command) -> io::Result<std::process::Output> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()?
        .wait_with_output()
}

fn executable(messages: &str, binary: &str) -> Option<PathBuf> {
    let messages = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    messages
        .filter(|message| message["target"]["name"] == binary)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_binary_is_where_cargo_says() {
        let messages = "{\"target\":{\"name\":\"xtask\"},\"executable\":null}\n{\"target\":{\"name\":\"xtask\"},\"executable\":\"/t/xtask\"}\nnoise\n{\"target\":{\"name\":\"todo-operator\"},\"executable\":\"/t/todo-operator\"}\n";
        assert_eq!(
            executable(messages, LOAD.binary),
            Some(PathBuf::from("/t/xtask"))
        );
        assert_eq!(
            executable(messages, OPERATOR.binary),
            Some(PathBuf::from("/t/todo-operator"))
        );
        assert_eq!(executable("{}", OPERATOR.binary), None);
    }
}
