//! How the simulated Kubernetes is run.

use std::path::Path;
use std::process::Command;

use crate::repository::cargo;

/// Compares the simulated API server with a real one, optimised.
pub fn fidelity(root: &Path) -> Command {
    let mut command = cargo(root);
    command
        .args(["test", "--quiet", "--profile", "sim"])
        .args(["--package", "todo-operator-sim", "--features", "mutants"])
        .args(["--test", "fidelity", "--", "--nocapture"]);
    command
}

/// Runs the simulation, optimised.
pub fn command(root: &Path, arguments: &[&str]) -> Command {
    let mut command = cargo(root);
    command
        .args(["run", "--quiet", "--profile", "sim"])
        .args(["--package", "todo-operator-sim", "--features", "mutants"])
        .arg("--")
        .args(arguments);
    command
}
