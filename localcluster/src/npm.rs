//! Programs from npm, and the Node that runs them: Debian's is too old for some of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::cache::key;
use crate::error::{Error, Result};
use crate::progress::{Event, Progress};
use crate::tools::{Tools, dying_with_us, run};

const PACKAGE: &str = include_str!("../npm/package.json");
const LOCK: &str = include_str!("../npm/package-lock.json");

/// An installation of the packages that `npm/package-lock.json` pins.
#[derive(Debug, Clone)]
pub struct NodeModules {
    root: PathBuf,
}

impl Tools {
    /// The packages of npm, installed first if they are not in the cache. No script of a package is run.
    ///
    /// # Errors
    /// If npm is missing or an installation fails.
    pub fn ensure_npm(&self, progress: &dyn Progress) -> Result<NodeModules> {
        let key = key([PACKAGE, LOCK, std::env::consts::OS, std::env::consts::ARCH]);
        let root = self.cache.entry("npm", &key, |work| {
            let what = "packages of npm";
            let begun = Instant::now();
            progress.event(Event::Begin { what, steps: None });
            for (name, text) in [("package.json", PACKAGE), ("package-lock.json", LOCK)] {
                let path = work.join(name);
                fs::write(&path, text).map_err(Error::io("write", &path))?;
            }
            let mut npm = dying_with_us("npm");
            npm.current_dir(work).args([
                "ci",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
                "--loglevel=error",
            ]);
            run(npm, what, |_| {})?;
            progress.event(Event::End {
                what,
                took: begun.elapsed(),
            });
            Ok(())
        })?;
        Ok(NodeModules { root })
    }
}

impl NodeModules {
    /// The directory in which Node looks for packages.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.root.join("node_modules")
    }

    /// Node, to run a script.
    #[must_use]
    pub fn node(&self) -> Command {
        let architecture = match std::env::consts::ARCH {
            "aarch64" => "arm64",
            _ => "x64",
        };
        let packaged = self
            .path()
            .join(format!("node-linux-{architecture}/bin/node"));
        if packaged.exists() {
            dying_with_us(&packaged.display().to_string())
        } else {
            dying_with_us("node")
        }
    }

    /// A program of a package, to be given arguments.
    #[must_use]
    pub fn program(&self, script: impl AsRef<Path>) -> Command {
        let mut node = self.node();
        node.arg(self.path().join(script));
        node
    }
}
