//! Where tools lie: outside the source tree, under a key made of all that they are made from, so that a second run finds them at once.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// The cache directory.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// `$TODO_OPERATOR_CACHE`, else `todo-operator` in `$XDG_CACHE_HOME`, else in `~/.cache`.
    #[must_use]
    pub fn from_env() -> Self {
        Self::at(location(|name| env::var_os(name).map(PathBuf::from)))
    }

    /// A cache at a chosen place.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Its directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory `<name>-<key>`, made by `make` if it is not there. `make` fills a temporary directory, which is renamed when it is
    /// complete: a build that was interrupted is never taken for a finished one. A file lock lets only one process build, the others wait.
    pub(crate) fn entry(
        &self,
        name: &str,
        key: &str,
        make: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let done = self.root.join(format!("{name}-{key}"));
        if done.is_dir() {
            return Ok(done);
        }
        fs::create_dir_all(&self.root).map_err(Error::io("create", &self.root))?;
        let lock_path = self.root.join(format!("{name}.lock"));
        let lock = File::create(&lock_path).map_err(Error::io("create", &lock_path))?;
        lock.lock().map_err(Error::io("lock", &lock_path))?;
        if done.is_dir() {
            return Ok(done);
        }
        let work = self.root.join(format!("{name}-{key}.part"));
        if work.exists() {
            fs::remove_dir_all(&work).map_err(Error::io("remove", &work))?;
        }
        fs::create_dir_all(&work).map_err(Error::io("create", &work))?;
        make(&work)?;
        fs::rename(&work, &done).map_err(Error::io("rename", &work))?;
        Ok(done)
    }
}

fn location(var: impl Fn(&str) -> Option<PathBuf>) -> PathBuf {
    if let Some(dir) = var("TODO_OPERATOR_CACHE").filter(|d| !d.as_os_str().is_empty()) {
        return dir;
    }
    // The XDG specification says that relative paths are to be ignored.
    if let Some(dir) = var("XDG_CACHE_HOME").filter(|d| d.is_absolute()) {
        return dir.join("todo-operator");
    }
    var("HOME")
        .unwrap_or_else(|| PathBuf::from("/"))
        .join(".cache/todo-operator")
}

/// A key for content made from all these inputs.
pub(crate) fn key<'a>(inputs: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for input in inputs {
        hash.update((input.len() as u64).to_be_bytes());
        hash.update(input.as_bytes());
    }
    hash.finalize()
        .iter()
        .take(8)
        .map(|b| format!("{b:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_variable_wins_over_xdg_and_home() {
        let all = |name: &str| match name {
            "TODO_OPERATOR_CACHE" => Some(PathBuf::from("/a")),
            "XDG_CACHE_HOME" => Some(PathBuf::from("/b")),
            _ => Some(PathBuf::from("/c")),
        };
        assert_eq!(location(all), PathBuf::from("/a"));
        assert_eq!(
            location(|n| all(n).filter(|_| n != "TODO_OPERATOR_CACHE")),
            PathBuf::from("/b/todo-operator")
        );
        assert_eq!(
            location(|n| all(n).filter(|_| n == "HOME")),
            PathBuf::from("/c/.cache/todo-operator")
        );
    }

    #[test]
    fn keys_depend_on_where_an_input_ends() {
        assert_ne!(key(["ab", "c"]), key(["a", "bc"]));
        assert_eq!(key(["ab", "c"]), key(["ab", "c"]));
    }

    #[test]
    fn an_interrupted_build_leaves_no_entry() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        let broken = cache.entry("x", "1", |_| Err(Error::Task("stopped".to_owned())));
        assert!(broken.is_err());
        let made = cache.entry("x", "1", |work| {
            assert_eq!(fs::read_dir(work).unwrap().count(), 0);
            fs::write(work.join("f"), "x").map_err(Error::io("write", work))
        });
        assert!(made.unwrap().join("f").exists());
    }
}
