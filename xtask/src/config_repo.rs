//! A GitOps repository made of the template `config-repo`: the same files, with the repository's own URL and an image that
//! there is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use tokio::process::Command;

/// The image that the template's releases name, with a digest that nobody has published.
pub const IMAGE: &str = "ghcr.io/todo-operator/demo";
/// The stages, each a folder of environments, in the order in which a release passes through them.
pub const STAGES: [&str; 3] = ["test", "staging", "production"];
/// The branch that Argo CD applies.
pub const MAIN: &str = "main";
/// Stands in the template for the repository's URL.
const TEMPLATE_URL: &str = "https://git.example.com/todo-config.git";
/// As the pods reach the repository of the cluster's git server.
const URL: &str = "http://git.git.svc/config.git";
/// Hexadecimal digits of SHA-256.
const DIGEST: usize = 64;

/// Writes the template into a directory, with the repository's URL and with this image in every stage. What was in it goes.
pub fn fill(template: &Path, to: &Path, image: &str) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to).with_context(|| format!("cannot remove {}", to.display()))?;
    }
    copy(template, to, &|text| filled_in(text, image))
}

/// Who commits.
#[derive(Clone, Copy, Debug)]
pub struct Author {
    pub name: &'static str,
    pub email: &'static str,
}

/// A working copy.
#[derive(Clone, Debug)]
pub struct Repository {
    directory: PathBuf,
    author: Author,
}

impl Repository {
    /// Makes a repository of a directory, and commits all of it.
    pub async fn create(directory: &Path, author: Author) -> Result<Self> {
        let this = Self::at(directory, author);
        let branch = format!("--initial-branch={MAIN}");
        this.git(&["init", "--quiet", &branch]).await?;
        this.commit("The stages and what runs in them").await?;
        Ok(this)
    }

    /// Clones a repository into a directory that is not there.
    pub async fn clone_of(url: &str, directory: &Path, author: Author) -> Result<Self> {
        let to = directory.to_string_lossy();
        git(Path::new("/"), author, &["clone", "--quiet", url, &to]).await?;
        Ok(Self::at(directory, author))
    }

    fn at(directory: &Path, author: Author) -> Self {
        Self {
            directory: directory.to_owned(),
            author,
        }
    }

    /// Where its files are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Commits whatever has changed.
    pub async fn commit(&self, message: &str) -> Result<()> {
        self.git(&["add", "--all"]).await?;
        self.git(&["commit", "--quiet", "--message", message])
            .await?;
        Ok(())
    }

    /// Runs git in it, and gives what that prints.
    pub async fn git(&self, arguments: &[&str]) -> Result<String> {
        git(&self.directory, self.author, arguments).await
    }
}

/// Runs git in a directory, and gives what that prints.
pub async fn git(directory: &Path, author: Author, arguments: &[&str]) -> Result<String> {
    let mut git = Command::new("git");
    git.args(arguments)
        .current_dir(directory)
        // Whatever a person has set: this repository is nobody's.
        .envs([
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_SYSTEM", "/dev/null"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_AUTHOR_NAME", author.name),
            ("GIT_AUTHOR_EMAIL", author.email),
            ("GIT_COMMITTER_NAME", author.name),
            ("GIT_COMMITTER_EMAIL", author.email),
            // A machine's proxy does not know the addresses of the cluster.
            ("no_proxy", "*"),
        ])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = git.output().await.context("cannot run git")?;
    if !output.status.success() {
        bail!(
            "`git {}` failed in {} ({}):\n{}",
            arguments.join(" "),
            directory.display(),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The template's text with the repository's URL and this image.
fn filled_in(text: &str, image: &str) -> String {
    let mut filled = String::new();
    let text = text.replace(TEMPLATE_URL, URL);
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
    const AUTHOR: Author = Author {
        name: "somebody",
        email: "somebody@localhost",
    };

    #[test]
    fn the_template_says_nothing_any_more_that_is_not_so() {
        let template = repository::root().unwrap().join("config-repo");
        let directory = tempfile::tempdir().unwrap();
        let made = directory.path().join("config");
        fill(&template, &made, REAL).unwrap();
        let (mut images, mut urls) = (0, 0);
        let mut look = vec![made];
        while let Some(path) = look.pop() {
            if path.is_dir() {
                let entries = fs::read_dir(path).unwrap();
                look.extend(entries.map(|entry| entry.unwrap().path()));
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            assert!(!text.contains(TEMPLATE_URL), "{}", path.display());
            urls += usize::from(text.contains(URL));
            if path
                .extension()
                .is_some_and(|extension| extension == "yaml")
            {
                let is_published = text.contains(&format!("{IMAGE}@sha256"));
                assert!(!is_published, "{}", path.display());
                images += text.matches(REAL).count();
            }
        }
        // Three components in three stages.
        assert_eq!(images, 9);
        // Argo CD's projects, platform and environments, and the three stages.
        assert!(urls >= 6, "{urls}");
    }

    #[tokio::test]
    async fn what_is_committed_is_all_that_there_is() {
        let directory = tempfile::tempdir().unwrap();
        let [server, first, second] =
            ["server.git", "first", "second"].map(|name| directory.path().join(name));
        fs::create_dir(&first).unwrap();
        fs::write(first.join("old"), "").unwrap();
        let made = Repository::create(&first, AUTHOR).await.unwrap();
        let url = server.to_str().unwrap();
        let bare = ["clone", "--quiet", "--bare", ".", url];
        made.git(&bare).await.unwrap();
        fs::write(first.join("new"), "").unwrap();
        made.commit("Something new").await.unwrap();
        made.git(&["push", "--quiet", url, MAIN]).await.unwrap();
        let clone = Repository::clone_of(url, &second, AUTHOR).await.unwrap();
        assert!(clone.directory().join("old").exists() && clone.directory().join("new").exists());
        let error = made.commit("Nothing new").await.unwrap_err().to_string();
        assert!(error.contains("git commit"), "{error}");
    }

    #[test]
    fn what_is_around_an_image_stays() {
        let digest = "0e".repeat(DIGEST / 2);
        let text = format!("a {IMAGE}@sha256:{digest}\nset image {IMAGE}@sha256:<digest>\n");
        let filled = filled_in(&text, "x@sha256:1");
        assert_eq!(
            filled,
            format!("a x@sha256:1\nset image {IMAGE}@sha256:<digest>\n")
        );
    }
}
