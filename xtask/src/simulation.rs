//! How the simulated Kubernetes is run.

use std::path::Path;
use std::process::Command;

use crate::repository::cargo;

/// What compares the simulated API server with a real one.
pub const FIDELITY: [&str; 9] = [
    "test",
    "--profile",
    "sim",
    "--package",
    "todo-operator-sim",
    "--test",
    "fidelity",
    "--features",
    "mutants",
];

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
