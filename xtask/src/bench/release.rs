//! The release builds of the operator and of this program.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::repository::cargo;

const OPERATOR: &str = "todo-operator";
const LOAD: &str = "xtask";

/// Whether this program was built without optimisation.
pub const fn is_debug_build() -> bool {
    cfg!(debug_assertions)
}

/// Builds both programs and becomes the optimised build of this one, with the same arguments. Returns only if that fails.
pub fn continue_in(root: &Path) -> Result<()> {
    let load = build(root, LOAD)?;
    let error = Command::new(&load).args(std::env::args_os().skip(1)).exec();
    Err(error).with_context(|| format!("cannot run {}", load.display()))
}

/// The optimised operator.
pub fn operator(root: &Path) -> Result<PathBuf> {
    build(root, OPERATOR)
}

/// Builds both, in one go so that they share their dependencies, and gives the path of one.
fn build(root: &Path, binary: &str) -> Result<PathBuf> {
    let mut command = cargo(root);
    command
        .args([
            "build",
            "--release",
            "--message-format",
            "json-render-diagnostics",
        ])
        .args(["--package", "todo-operator-controller", "--bin", OPERATOR])
        .args(["--package", LOAD, "--bin", LOAD]);
    let output = output(command).context("cannot run cargo")?;
    if !output.status.success() {
        bail!("the release build failed ({}), see above", output.status);
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    executable(&messages, binary)
        .with_context(|| format!("cargo did not say where it has put {binary}"))
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
        assert_eq!(executable(messages, LOAD), Some(PathBuf::from("/t/xtask")));
        assert_eq!(
            executable(messages, OPERATOR),
            Some(PathBuf::from("/t/todo-operator"))
        );
        assert_eq!(executable("{}", OPERATOR), None);
    }
}
