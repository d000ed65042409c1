//! State directories: what runs in one, stopping it, and removing what is left.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::config::Part;
use crate::error::{Error, Result};
use crate::node;
use crate::process::Directory;

/// What a real node consists of.
const NODE: [Part; 4] = [
    Part::KubeProxy,
    Part::Kubelet,
    Part::Containerd,
    Part::Namespaces,
];

/// Names of the processes that run in the directory of a detached cluster.
///
/// # Errors
/// If the directory cannot be used.
pub fn running(state: &Path) -> Result<Vec<String>> {
    if !state.exists() {
        return Ok(Vec::new());
    }
    let directory = Directory::open(state)?;
    let mut names = directory.names();
    names.retain(|name| directory.find(name).is_some());
    Ok(names)
}

/// Stops every process of a detached cluster (and whatever else was started in the same directory) except those named in
/// `keep`, and removes the directory if it keeps none. Gives the names of those that it stopped.
///
/// # Errors
/// If a process does not end, or a file cannot be removed.
pub fn stop_all(state: &Path, keep: &[String]) -> Result<Vec<String>> {
    // Strangers, such as the operator itself, come first: they use the rest.
    let order = |name: &str| {
        Part::ALL
            .into_iter()
            .position(|p| p.name() == name)
            .map_or(0, |i| i + 1)
    };
    let mut names = running(state)?;
    names.retain(|name| !keep.contains(name));
    names.sort_by_key(|name| order(name));
    if !names.is_empty() {
        let directory = Directory::open(state)?;
        for mut process in names.iter().filter_map(|name| directory.find(name)) {
            // Nothing on a real node is asked: all that it has goes.
            let patience = match NODE.map(Part::name).contains(&process.name()) {
                true => Duration::ZERO,
                false => Duration::from_secs(3),
            };
            process.stop(patience)?;
        }
    }
    if keep.is_empty() {
        remove(state)?;
    } else if !keep.iter().any(|name| name == Part::Namespaces.name()) {
        node::clear(state)?;
    }
    Ok(names)
}

/// Removes the state directory of a cluster whose processes were stopped, and what it has outside of that.
pub(crate) fn remove(dir: &Path) -> Result<()> {
    node::clear(dir)?;
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", dir)(e)),
        _ => Ok(()),
    }
}

/// A new directory for an attached cluster. Directories of processes that were killed before they could clean up are
/// removed on the way.
pub(crate) fn temporary() -> Result<PathBuf> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let parent = std::env::temp_dir().join("todo-operator-tests");
    fs::create_dir_all(&parent).map_err(Error::io("create", &parent))?;
    let ours = std::process::id();
    for entry in fs::read_dir(&parent)
        .map_err(Error::io("read", &parent))?
        .flatten()
    {
        let owner = entry
            .file_name()
            .to_str()
            .and_then(|n| n.split('-').next()?.parse::<u32>().ok());
        if owner
            .is_some_and(|pid| pid != ours && !Path::new("/proc").join(pid.to_string()).exists())
        {
            // Another process may be removing it at this moment.
            let _ = remove(&entry.path());
        }
    }
    let state = parent.join(format!("{ours}-{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
    remove(&state)?;
    Ok(state)
}
