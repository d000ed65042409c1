//! The GitOps repository: the template in config-repo, filled in for this cluster and pushed to its Git server.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::process::Command;

pub use crate::config_repo::IMAGE;
use crate::config_repo::{self, URL as TEMPLATE_URL};
use crate::up::STAGES;

/// Its address for pods.
const URL: &str = "http://git.git.svc/config.git";

/// What Argo CD applies.
const MAIN: &str = "main";
/// The template alone: where it changes, the change is merged into `main` and leaves alone what people have pushed there.
const TEMPLATE: &str = "template";

/// How long the Git server's Service may refuse after its pod is ready.
const PATIENCE: Duration = Duration::from_secs(20);

/// Writes the template into `to`, with the repository's address, and with the image of this digest as the release of each stage.
pub async fn fill(template: &Path, to: &Path, kustomize: &Path, digest: &str) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to).with_context(|| format!("cannot remove {}", to.display()))?;
    }
    if copy(template, to)? == 0 {
        bail!(
            "{} nowhere names {TEMPLATE_URL}, which the address of the repository stands for",
            template.display()
        );
    }
    for stage in STAGES {
        let release = to.join("environments").join(stage).join("demo/release");
        let image = format!("{IMAGE}@{digest}");
        let edit = ["edit", "set", "image", &image];
        run(kustomize, &release, &edit).await?;
    }
    Ok(())
}

/// Copies a directory with the address filled in, and counts the files that have it.
fn copy(from: &Path, to: &Path) -> Result<usize> {
    let filled = Cell::new(0);
    config_repo::copy(from, to, &|text| {
        filled.set(filled.get() + usize::from(text.contains(TEMPLATE_URL)));
        text.replace(TEMPLATE_URL, URL)
    })?;
    Ok(filled.get())
}

/// Pushes what [`fill`] has written, unless the repository has it, and says which commit Argo CD shall apply.
pub async fn publish(filled: &Path, url: &str) -> Result<String> {
    until_served(url).await?;
    let dir = tempfile::tempdir().context("cannot make a temporary directory")?;
    let clone = Clone {
        dir: dir.path().join("config"),
    };
    let to = clone.dir.to_string_lossy();
    git(dir.path(), &["clone", "--quiet", url, &to]).await?;
    let is_new = !clone.has(TEMPLATE).await;
    if is_new {
        clone
            .git(&["switch", "--quiet", "--orphan", TEMPLATE])
            .await?;
    } else {
        clone.git(&["switch", "--quiet", TEMPLATE]).await?;
        clone.git(&["rm", "-r", "--quiet", "."]).await?;
    }
    copy(filled, &clone.dir)?;
    clone.git(&["add", "--all"]).await?;
    let status = clone.git(&["status", "--porcelain"]).await?;
    if !status.is_empty() {
        let message = "config-repo as `cargo xtask up` fills it in";
        clone
            .git(&["commit", "--quiet", "--message", message])
            .await?;
    }
    if clone.has(MAIN).await {
        clone.git(&["switch", "--quiet", MAIN]).await?;
        // Who changes the template, or builds another image, wants to see it.
        let merge = [
            "merge",
            "--quiet",
            "--no-edit",
            "--strategy-option=theirs",
            TEMPLATE,
        ];
        clone.git(&merge).await?;
    } else {
        clone.git(&["switch", "--quiet", "--create", MAIN]).await?;
    }
    clone
        .git(&["push", "--quiet", "origin", TEMPLATE, MAIN])
        .await?;
    let commit = clone.git(&["rev-parse", "HEAD"]).await?;
    Ok(commit.trim().to_owned())
}

async fn until_served(url: &str) -> Result<()> {
    let begun = Instant::now();
    let here = std::env::temp_dir();
    while let Err(error) = git(&here, &["ls-remote", "--quiet", url]).await {
        if begun.elapsed() > PATIENCE {
            return Err(error);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

/// A clone of the repository.
struct Clone {
    dir: PathBuf,
}

impl Clone {
    async fn git(&self, args: &[&str]) -> Result<String> {
        git(&self.dir, args).await
    }

    /// Whether the repository has a branch.
    async fn has(&self, branch: &str) -> bool {
        let reference = format!("refs/remotes/origin/{branch}");
        self.git(&["rev-parse", "--verify", "--quiet", &reference])
            .await
            .is_ok()
    }
}

async fn git(dir: &Path, args: &[&str]) -> Result<String> {
    run(Path::new("git"), dir, args).await
}

async fn run(program: &Path, dir: &Path, args: &[&str]) -> Result<String> {
    const AUTHOR: &str = "cargo xtask up";
    const EMAIL: &str = "up@localhost";
    let mut command = Command::new(program);
    command
        .args(args)
        .current_dir(dir)
        // Whatever a person has set: this repository is nobody's.
        .envs([
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_SYSTEM", "/dev/null"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_AUTHOR_NAME", AUTHOR),
            ("GIT_AUTHOR_EMAIL", EMAIL),
            ("GIT_COMMITTER_NAME", AUTHOR),
            ("GIT_COMMITTER_EMAIL", EMAIL),
            // A machine's proxy does not know the addresses of the cluster.
            ("no_proxy", "*"),
        ])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = command
        .output()
        .await
        .with_context(|| format!("cannot run {}", program.display()))?;
    if !output.status.success() {
        bail!(
            "`{} {}` failed ({}):\n{}",
            program.display(),
            args.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bare repository, and a directory with one file to publish.
    async fn repository() -> (tempfile::TempDir, String, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        git(
            dir.path(),
            &[
                "init",
                "--quiet",
                "--bare",
                "--initial-branch=main",
                "r.git",
            ],
        )
        .await
        .unwrap();
        let filled = dir.path().join("filled");
        fs::create_dir(&filled).unwrap();
        fs::write(filled.join("a"), "one\n").unwrap();
        let url = dir.path().join("r.git").display().to_string();
        (dir, url, filled)
    }

    async fn read(url: &str, file: &str) -> String {
        git(Path::new(url), &["show", &format!("main:{file}")])
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn what_has_not_changed_is_no_new_commit() {
        let (_dir, url, filled) = repository().await;
        let first = publish(&filled, &url).await.unwrap();
        assert_eq!(publish(&filled, &url).await.unwrap(), first);
        assert_eq!(read(&url, "a").await, "one\n");
    }

    #[tokio::test]
    async fn a_change_of_the_template_leaves_what_people_have_pushed() {
        let (dir, url, filled) = repository().await;
        publish(&filled, &url).await.unwrap();
        let theirs = Clone {
            dir: dir.path().join("theirs"),
        };
        git(dir.path(), &["clone", "--quiet", &url, "theirs"])
            .await
            .unwrap();
        fs::write(theirs.dir.join("b"), "of a person\n").unwrap();
        theirs.git(&["add", "b"]).await.unwrap();
        theirs
            .git(&["commit", "--quiet", "--message=b"])
            .await
            .unwrap();
        theirs.git(&["push", "--quiet"]).await.unwrap();

        fs::write(filled.join("a"), "two\n").unwrap();
        publish(&filled, &url).await.unwrap();
        assert_eq!(read(&url, "a").await, "two\n");
        assert_eq!(read(&url, "b").await, "of a person\n");
    }

    #[test]
    fn the_template_names_the_address_and_the_image() {
        let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config-repo");
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("filled");
        // Argo CD's projects, platform and environments, and the three stages.
        assert!(copy(&template, &to).unwrap() >= 6);
        for stage in STAGES {
            let release = to.join(format!("environments/{stage}/demo/release/release.yaml"));
            let release = fs::read_to_string(release).unwrap();
            assert!(
                release.contains(&format!("image: {IMAGE}@sha256:")),
                "{release}"
            );
        }
        let platform = fs::read_to_string(to.join("argocd/platform.yaml")).unwrap();
        assert!(
            platform.contains(&format!("repoURL: {URL}\n")),
            "{platform}"
        );
    }
}
