//! What a case is, and which there are.

use anyhow::Result;
use futures::future::LocalBoxFuture;
use localcluster::peers::Product;

use super::cases;
use super::platform::Platform;
use super::recorder::Recorder;

/// Something that is seen to work, or not.
pub struct Case {
    /// On the command line, and of its output folder.
    pub name: &'static str,
    /// What it shows.
    pub shows: &'static str,
    /// Whether `cargo xtask test` runs it; `test --full` runs all.
    pub is_quick: bool,
    /// The peers that it needs.
    pub needs: &'static [Product],
    /// Fails if it does not show that.
    pub run: for<'a> fn(&'a Context) -> LocalBoxFuture<'a, Result<()>>,
}

/// What a case works with.
pub struct Context {
    /// Of the case.
    pub name: &'static str,
    /// What it runs on.
    pub platform: Platform,
    /// Where it notes what happens.
    pub record: Recorder,
}

/// All of them, those first that leave least behind.
pub static CASES: [&Case; 13] = [
    &cases::drift::CASE,
    &cases::deletion::CASE,
    &cases::isolation::CASE,
    &cases::scale_out::CASE,
    &cases::bad_release::CASE,
    &cases::worker_canary::CASE,
    &cases::canary_scaling::CASE,
    &cases::ladder::CASE,
    &cases::failover::CASE,
    &cases::outage::CASE,
    &cases::pull::CASE,
    &cases::sync::CASE,
    &cases::push::CASE,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_different_and_can_be_namespaces() {
        let names: BTreeSet<_> = CASES.iter().map(|case| case.name).collect();
        assert_eq!(names.len(), CASES.len());
        for name in names {
            let is_label = name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
            assert!(is_label && name.len() <= 30, "{name}");
        }
        assert!(CASES.iter().any(|case| case.is_quick));
    }

    #[test]
    fn the_documentation_names_each_and_says_which_are_quick() {
        let page = include_str!("../../../docs/e2e.md");
        for case in CASES {
            let begin = format!("| `{}` | ", case.name);
            let row = page.lines().find(|line| line.starts_with(&begin));
            let row = row.unwrap_or_else(|| panic!("{} is not in docs/e2e.md", case.name));
            assert_eq!(row.ends_with("| yes |"), case.is_quick, "{row}");
        }
        let rows = page.lines().filter(|line| line.starts_with("| `"));
        assert_eq!(rows.count(), CASES.len());
    }
}
