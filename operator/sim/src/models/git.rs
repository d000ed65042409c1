//! A git repository in memory: branches of commits, each a tree of files.

use std::collections::BTreeMap;
use std::sync::Arc;

use todo_operator_core::canonical;

/// Files by path.
pub type Tree = BTreeMap<String, String>;

/// One commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its hash, which stands for its tree, its message and all before it.
    pub id: String,
    /// The commit before; `None` for the first.
    pub parent: Option<String>,
    /// What it is about.
    pub message: String,
    /// Every file.
    pub tree: Arc<Tree>,
}

/// A repository.
#[derive(Clone, Debug, Default)]
pub struct Repository {
    commits: BTreeMap<String, Commit>,
    branches: BTreeMap<String, String>,
}

impl Repository {
    /// The newest commit of a branch.
    pub fn head(&self, branch: &str) -> Option<&Commit> {
        self.commits.get(self.branches.get(branch)?)
    }

    /// A commit by its hash.
    pub fn find(&self, id: &str) -> Option<&Commit> {
        self.commits.get(id)
    }

    /// Commits changes of files, `None` for one that is deleted, to a branch, which is made where there is none. Returns
    /// the commit's hash.
    pub fn commit<'a>(
        &mut self,
        branch: &str,
        message: &str,
        changes: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
    ) -> String {
        let parent = self.head(branch).cloned();
        let mut tree = parent
            .as_ref()
            .map(|parent| Tree::clone(&parent.tree))
            .unwrap_or_default();
        for (path, content) in changes {
            match content {
                Some(content) => tree.insert(path.to_owned(), content.to_owned()),
                None => tree.remove(path),
            };
        }
        let parent = parent.map(|parent| parent.id);
        let id = canonical::short(&(&parent, message, &tree), 40);
        let commit = Commit {
            id: id.clone(),
            parent,
            message: message.to_owned(),
            tree: Arc::new(tree),
        };
        self.commits.insert(id.clone(), commit);
        self.branches.insert(branch.to_owned(), id.clone());
        id
    }
}

impl Commit {
    /// The files of a folder, the folders in it left out.
    pub fn folder<'a>(&'a self, path: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let prefix = path.trim_end_matches('/');
        self.tree.iter().filter_map(move |(file, content)| {
            let rest = file.strip_prefix(prefix)?.strip_prefix('/')?;
            (!rest.contains('/')).then_some((file.as_str(), content.as_str()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_build_on_each_other() {
        let mut repository = Repository::default();
        let first = repository.commit(
            "main",
            "one",
            [("test/a.yaml", Some("a")), ("b.yaml", Some("b"))],
        );
        let second = repository.commit(
            "main",
            "two",
            [("test/a.yaml", None), ("test/x/c.yaml", Some("c"))],
        );
        assert_ne!(first, second);
        let head = repository.head("main").unwrap();
        assert_eq!(head.parent.as_ref(), Some(&first));
        assert_eq!(head.folder("test").count(), 0);
        let before = repository.find(&first).unwrap();
        let files: Vec<_> = before.folder("test/").collect();
        assert_eq!(files, [("test/a.yaml", "a")]);
    }
}
