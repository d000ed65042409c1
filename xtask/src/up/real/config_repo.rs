//! The template of `config-repo`, published in the cluster's git server.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::config_repo::{Author, MAIN, Repository, copy, git};

/// The template alone: where it changes, the change is merged into `main` and leaves alone what people have pushed there.
const TEMPLATE: &str = "template";
const AUTHOR: Author = Author {
    name: "cargo xtask up",
    email: "up@localhost",
};
/// How long the Git server's Service may refuse after its pod is ready.
const PATIENCE: Duration = Duration::from_secs(20);

/// Pushes the template as it is filled in, unless the repository has it, and says which commit Argo CD shall apply.
pub async fn publish(filled: &Path, url: &str) -> Result<String> {
    until_served(url).await?;
    let dir = tempfile::tempdir().context("cannot make a temporary directory")?;
    let clone = Repository::clone_of(url, &dir.path().join("config"), AUTHOR).await?;
    if has(&clone, TEMPLATE).await {
        clone.git(&["switch", "--quiet", TEMPLATE]).await?;
        clone.git(&["rm", "-r", "--quiet", "."]).await?;
    } else {
        let switch = ["switch", "--quiet", "--orphan", TEMPLATE];
        clone.git(&switch).await?;
    }
    copy(filled, clone.directory(), &str::to_owned)?;
    clone.git(&["add", "--all"]).await?;
    let status = clone.git(&["status", "--porcelain"]).await?;
    if !status.is_empty() {
        clone
            .commit("config-repo as `cargo xtask up` fills it in")
            .await?;
    }
    if has(&clone, MAIN).await {
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
    while let Err(error) = git(&here, AUTHOR, &["ls-remote", "--quiet", url]).await {
        if begun.elapsed() > PATIENCE {
            return Err(error);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

/// Whether the repository that was cloned has a branch.
async fn has(clone: &Repository, branch: &str) -> bool {
    let reference = format!("refs/remotes/origin/{branch}");
    let verify = ["rev-parse", "--verify", "--quiet", &reference];
    clone.git(&verify).await.is_ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    /// A bare repository, and a directory with one file to publish.
    async fn repository() -> (tempfile::TempDir, String, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let init = [
            "init",
            "--quiet",
            "--bare",
            "--initial-branch=main",
            "r.git",
        ];
        git(dir.path(), AUTHOR, &init).await.unwrap();
        let filled = dir.path().join("filled");
        fs::create_dir(&filled).unwrap();
        fs::write(filled.join("a"), "one\n").unwrap();
        let url = dir.path().join("r.git").display().to_string();
        (dir, url, filled)
    }

    async fn read(url: &str, file: &str) -> String {
        let show = format!("main:{file}");
        git(Path::new(url), AUTHOR, &["show", &show]).await.unwrap()
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
        let theirs = dir.path().join("theirs");
        let theirs = Repository::clone_of(&url, &theirs, AUTHOR).await.unwrap();
        fs::write(theirs.directory().join("b"), "of a person\n").unwrap();
        theirs.commit("b").await.unwrap();
        theirs.git(&["push", "--quiet"]).await.unwrap();

        fs::write(filled.join("a"), "two\n").unwrap();
        publish(&filled, &url).await.unwrap();
        assert_eq!(read(&url, "a").await, "two\n");
        assert_eq!(read(&url, "b").await, "of a person\n");
    }
}
