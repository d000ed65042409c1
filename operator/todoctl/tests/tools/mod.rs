//! The tools that todoctl calls, as they are pinned: a test does not depend on what is installed.

use std::ffi::OsString;
use std::path::PathBuf;

use localcluster::{Cache, Silent, Tool, Tools};

/// `PATH` with the pinned kubectl before everything else.
pub fn path() -> OsString {
    let kubectl = Tools::new(Cache::from_env())
        .ensure(Tool::Kubectl, &Silent)
        .unwrap();
    let installed = std::env::var_os("PATH").unwrap_or_default();
    let ours = kubectl.parent().map(PathBuf::from);
    std::env::join_paths(ours.into_iter().chain(std::env::split_paths(&installed))).unwrap()
}
