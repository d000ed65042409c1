//! Where a component's volumes are mounted.

use todo_operator_api::component::Component;

use super::{Problems, syntax};

/// Where the operator mounts credentials.
const CREDENTIALS: &str = "/etc/app";
/// Longest name of a volume: the operator puts `secret-` before it, and the API server takes 63.
const LONGEST_VOLUME: usize = 56;

pub(super) fn check(problems: &mut Problems, path: &str, component: &Component) {
    for (name, files) in &component.secret_files {
        let path = format!("{path}.secretFiles.{name}");
        if !syntax::is_label(name) || name.len() > LONGEST_VOLUME {
            problems.add(
                &path,
                name,
                format!("a volume's name is lower-case letters, digits and '-', at most {LONGEST_VOLUME}"),
            );
        }
        syntax::object_name(problems, &format!("{path}.secret"), Some(&files.secret));
    }
    let mounts: Vec<(String, &str)> = component
        .secret_files
        .iter()
        .map(|(name, files)| {
            (
                format!("{path}.secretFiles.{name}.path"),
                files.path.as_str(),
            )
        })
        .chain(
            component
                .writable
                .iter()
                .enumerate()
                .map(|(index, directory)| {
                    (format!("{path}.writable[{index}]"), directory.as_str())
                }),
        )
        .collect();
    for (index, (field, directory)) in mounts.iter().enumerate() {
        if !is_directory(directory) {
            problems.add(
                field,
                directory,
                "a directory is an absolute path without '..', '.', '//' and ':', and not / itself",
            );
            continue;
        }
        if overlap(directory, CREDENTIALS) {
            problems.add(field, directory, format!("{CREDENTIALS} belongs to the operator, which mounts credentials there: choose another directory"));
        }
        // Each pair once, at the second.
        if let Some((_, other)) = mounts
            .iter()
            .take(index)
            .find(|(_, other)| overlap(directory, other))
        {
            problems.add(field, directory, format!("another volume is mounted at {other}: choose directories of which none contains another"));
        }
    }
}

fn is_directory(path: &str) -> bool {
    let segments = path
        .strip_prefix('/')
        .map(|path| path.strip_suffix('/').unwrap_or(path));
    segments.is_some_and(|segments| {
        segments
            .split('/')
            .all(|segment| !matches!(segment, "" | "." | "..") && !segment.contains(':'))
    })
}

/// Whether one directory is the other, or contains it.
fn overlap(one: &str, other: &str) -> bool {
    let (one, other) = (one.trim_end_matches('/'), other.trim_end_matches('/'));
    let contains = |outer: &str, inner: &str| {
        inner
            .strip_prefix(outer)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    contains(one, other) || contains(other, one)
}
