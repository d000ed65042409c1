//! A GitOps repository made of the template `config-repo`: the same files, with the repository's own URL and an image that
//! there is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// Stands in the template for the repository's URL.
pub const URL: &str = "https://git.example.com/todo-config.git";
/// The image that the template's releases name, with a digest that nobody has published.
pub const IMAGE: &str = "ghcr.io/todo-operator/demo";
/// Hexadecimal digits of SHA-256.
const DIGEST: usize = 64;
const BRANCH: &str = "main";
const AUTHOR: [&str; 4] = ["-c", "user.name=ci", "-c", "user.email=ci@localhost"];

/// A working copy.
#[derive(Clone, Debug)]
pub struct ConfigRepo {
    directory: PathBuf,
}

impl ConfigRepo {
    /// Makes a repository in an empty or new directory, and commits all of it.
    pub fn create(template: &Path, directory: &Path, url: &str, image: &str) -> Result<Self> {
        copy(template, directory, &|text| filled_in(text, url, image))?;
        let repository = Self {
            directory: directory.to_owned(),
        };
        repository.git(&["init", "--quiet", &format!("--initial-branch={BRANCH}")])?;
        repository.commit("The stages and what runs in them")?;
        Ok(repository)
    }

    /// Where its files are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Commits whatever has changed.
    pub fn commit(&self, message: &str) -> Result<()> {
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--message", message])
    }

    /// Pushes, without force but for the first time: a server may still have what an earlier one was.
    pub fn push(&self, to: &str, is_first: bool) -> Result<()> {
        let mut arguments = vec!["push", "--quiet", to, BRANCH];
        if is_first {
            arguments.push("--force");
        }
        self.git(&arguments)
    }

    fn git(&self, arguments: &[&str]) -> Result<()> {
        let mut git = Command::new("git");
        git.current_dir(&self.directory)
            .args(AUTHOR)
            .args(arguments)
            // A machine's proxy and a person's settings have nothing to do with it.
            .env("no_proxy", "*")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0");
        let output = git.output().context("cannot run git")?;
        if !output.status.success() {
            bail!(
                "`git {}` failed in {}: {}",
                arguments.join(" "),
                self.directory.display(),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(())
    }
}

/// The template's text with this URL and this image.
fn filled_in(text: &str, url: &str, image: &str) -> String {
    let mut filled = String::new();
    let text = text.replace(URL, url);
    let mut rest = text.as_str();
    let by_digest = format!("{IMAGE}@sha256:");
    while let Some((before, after)) = rest.split_once(&by_digest) {
        let behind = after.trim_start_matches(|c: char| c.is_ascii_hexdigit());
        let is_whole = after.len() - behind.len() == DIGEST;
        filled.push_str(before);
        filled.push_str(if is_whole { image } else { &by_digest });
        rest = if is_whole { behind } else { after };
    }
    filled + rest
}

/// Copies a directory of texts, each of them changed.
pub fn copy(from: &Path, to: &Path, change: &impl Fn(&str) -> String) -> Result<()> {
    let unreadable = || format!("cannot read {}", from.display());
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(unreadable)? {
        let entry = entry.with_context(unreadable)?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to, change)?;
        } else {
            let text = fs::read_to_string(&from)
                .with_context(|| format!("cannot read {}", from.display()))?;
            fs::write(&to, change(&text))
                .with_context(|| format!("cannot write {}", to.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository;

    const REAL: &str = "localhost/demo@sha256:abc";

    #[test]
    fn the_template_says_nothing_any_more_that_is_not_so() {
        let template = repository::root().unwrap().join("config-repo");
        let directory = tempfile::tempdir().unwrap();
        let made = directory.path().join("config");
        let made =
            ConfigRepo::create(&template, &made, "http://git.git.svc/config.git", REAL).unwrap();
        let mut named = 0;
        let mut look = vec![made.directory().to_owned()];
        while let Some(path) = look.pop() {
            if path.is_dir() {
                if path.file_name().is_some_and(|name| name != ".git") {
                    look.extend(
                        fs::read_dir(path)
                            .unwrap()
                            .map(|entry| entry.unwrap().path()),
                    );
                }
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            assert!(!text.contains(URL), "{}", path.display());
            if path
                .extension()
                .is_some_and(|extension| extension == "yaml")
            {
                assert!(
                    !text.contains(&format!("{IMAGE}@sha256")),
                    "{}",
                    path.display()
                );
                named += text.matches(REAL).count();
            }
        }
        // Three components in three stages.
        assert_eq!(named, 9);
        let server = directory.path().join("server.git");
        let server = server.to_str().unwrap();
        made.git(&["init", "--quiet", "--bare", server]).unwrap();
        made.push(server, true).unwrap();
        fs::write(made.directory().join("new"), "").unwrap();
        made.commit("Something new").unwrap();
        made.push(server, false).unwrap();
        let error = made.commit("Nothing new").unwrap_err().to_string();
        assert!(error.contains("git commit"), "{error}");
    }

    #[test]
    fn what_is_around_an_image_stays() {
        let digest = "0e".repeat(DIGEST / 2);
        let text = format!("a {IMAGE}@sha256:{digest}\nset image {IMAGE}@sha256:<digest>\n");
        let filled = filled_in(&text, "u", "x@sha256:1");
        assert_eq!(
            filled,
            format!("a x@sha256:1\nset image {IMAGE}@sha256:<digest>\n")
        );
    }
}
