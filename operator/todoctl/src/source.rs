//! Reading manifests: files, directories of them, kustomize directories, standard input.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use crate::lines::Lines;

/// Names of the file that makes a directory a kustomize directory.
const KUSTOMIZATIONS: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];
/// Programs that build a kustomize directory, the one that more people have first.
const KUSTOMIZE: [&[&str]; 2] = [&["kubectl", "kustomize"], &["kustomize", "build"]];

/// Manifests that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A file or directory cannot be read.
    #[error("{}: {error}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// A file is not YAML.
    #[error("{place}: not YAML: {message}")]
    Syntax {
        /// File and line.
        place: Place,
        /// What the reader expected.
        message: String,
    },
    /// Neither program that builds a kustomize directory is installed.
    #[error(
        "{}: it is a kustomize directory, and neither kubectl nor kustomize is installed: install one, or build it elsewhere \
         and give the result (`-` reads standard input)",
        directory.display()
    )]
    NoKustomize {
        /// The directory.
        directory: PathBuf,
    },
    /// The kustomize directory cannot be built.
    #[error("{}: `{program}` fails: {message}", directory.display())]
    Kustomize {
        /// The directory.
        directory: PathBuf,
        /// The program that was run.
        program: String,
        /// What it said.
        message: String,
    },
}

/// Where something stands: a file and line, or an object in what a kustomize directory builds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A line of a file.
    Line(PathBuf, usize),
    /// An object, as `TodoApp demo`, in the result of a kustomize directory. Its lines are in several files.
    Built(PathBuf, String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(file, line) => write!(f, "{}:{line}", file.display()),
            Self::Built(directory, object) => {
                write!(f, "{} (kustomize): {object}", directory.display())
            }
        }
    }
}

/// One object, and where it stands.
#[derive(Clone, Debug)]
pub struct Document {
    /// The object.
    pub value: Value,
    path: PathBuf,
    is_built: bool,
    lines: Arc<Lines>,
    /// Path of the object in its document: empty, or an item of a `List`.
    prefix: String,
}

impl Document {
    /// Where the field at `path` stands, or would.
    pub fn place(&self, path: &str) -> Place {
        if self.is_built {
            return Place::Built(self.path.clone(), self.name());
        }
        let path = [self.prefix.as_str(), path].join(if self.prefix.is_empty() { "" } else { "." });
        let line = if path.is_empty() {
            self.lines.start()
        } else {
            self.lines.find(&path)
        };
        Place::Line(self.path.clone(), line)
    }

    /// Keys that stand twice, with the place of the second.
    pub fn duplicates(&self) -> Vec<(String, Place)> {
        let duplicates = self.lines.duplicates().iter();
        duplicates
            .map(|(key, line)| {
                let place = if self.is_built {
                    self.place("")
                } else {
                    Place::Line(self.path.clone(), *line)
                };
                (key.clone(), place)
            })
            .collect()
    }

    /// `Kind name`.
    fn name(&self) -> String {
        let text = |pointer: &str| {
            self.value
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or("?")
        };
        format!("{} {}", text("/kind"), text("/metadata/name"))
    }
}

/// Every object in `paths`, in order: a file, `-` for standard input, a kustomize directory, or a directory with any of
/// them below it.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Document>, SourceError> {
    let mut documents = Vec::new();
    for path in paths {
        if path == Path::new("-") {
            let mut text = String::new();
            io::stdin()
                .read_to_string(&mut text)
                .map_err(|error| unreadable(path, error))?;
            documents.extend(parse(Path::new("standard input"), &text, false)?);
        } else if path.is_dir() {
            read_directory(path, &mut documents)?;
        } else {
            read_file(path, &mut documents)?;
        }
    }
    Ok(documents)
}

fn unreadable(path: &Path, error: io::Error) -> SourceError {
    SourceError::Unreadable {
        path: path.to_owned(),
        error,
    }
}

fn read_file(path: &Path, documents: &mut Vec<Document>) -> Result<(), SourceError> {
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, error))?;
    documents.extend(parse(path, &text, false)?);
    Ok(())
}

fn read_directory(path: &Path, documents: &mut Vec<Document>) -> Result<(), SourceError> {
    if KUSTOMIZATIONS.iter().any(|name| path.join(name).is_file()) {
        documents.extend(parse(path, &kustomize(path)?, true)?);
        return Ok(());
    }
    let entries = std::fs::read_dir(path).map_err(|error| unreadable(path, error))?;
    let mut entries: Vec<PathBuf> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .map_err(|error| unreadable(path, error))?;
    entries.sort();
    for entry in entries {
        let is_hidden = entry
            .file_name()
            .and_then(OsStr::to_str)
            .is_some_and(|name| name.starts_with('.'));
        if entry.is_dir() && !is_hidden {
            read_directory(&entry, documents)?;
        } else if matches!(
            entry.extension().and_then(OsStr::to_str),
            Some("yaml" | "yml" | "json")
        ) {
            read_file(&entry, documents)?;
        }
    }
    Ok(())
}

/// What a kustomize directory builds.
fn kustomize(directory: &Path) -> Result<String, SourceError> {
    for program in KUSTOMIZE {
        let Some((name, arguments)) = program.split_first() else {
            continue;
        };
        let output = match Command::new(name).args(arguments).arg(directory).output() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(unreadable(Path::new(name), error)),
            Ok(output) => output,
        };
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        return Err(SourceError::Kustomize {
            directory: directory.to_owned(),
            program: program.join(" "),
            message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        });
    }
    Err(SourceError::NoKustomize {
        directory: directory.to_owned(),
    })
}

fn parse(path: &Path, text: &str, is_built: bool) -> Result<Vec<Document>, SourceError> {
    let syntax = |line, message| SourceError::Syntax {
        place: Place::Line(path.to_owned(), line),
        message,
    };
    let lines = Lines::documents(text).map_err(|error| syntax(error.line, error.message))?;
    let values = values(text).map_err(|error| {
        let line = error.location().map_or(1, |location| location.line());
        syntax(line, error.to_string())
    })?;
    let documents = values.into_iter().zip(lines).flat_map(|(value, lines)| {
        let lines = Arc::new(lines);
        let document = |value, prefix| Document {
            value,
            path: path.to_owned(),
            is_built,
            lines: Arc::clone(&lines),
            prefix,
        };
        match items(&value) {
            Some(items) => items
                .iter()
                .enumerate()
                .map(|(position, item)| document(item.clone(), format!("items[{position}]")))
                .collect(),
            None => vec![document(value, String::new())],
        }
    });
    Ok(documents.collect())
}

/// The documents of a text that are maps or lists: an empty one is no object.
fn values(text: &str) -> Result<Vec<Value>, serde_yaml::Error> {
    serde_yaml::Deserializer::from_str(text)
        // serde_json keeps the last of two equal keys; `Lines` has seen both.
        .map(Value::deserialize)
        .filter(|value| {
            value
                .as_ref()
                .map_or(true, |value| value.is_object() || value.is_array())
        })
        .collect()
}

/// The items of a `List`.
fn items(value: &Value) -> Option<&Vec<Value>> {
    let is_list = value.get("kind").and_then(Value::as_str) == Some("List");
    value.get("items").filter(|_| is_list)?.as_array()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents(text: &str) -> Vec<Document> {
        parse(Path::new("a.yaml"), text, false).unwrap()
    }

    #[test]
    fn the_items_of_a_list_are_objects_of_their_own() {
        let documents = documents("kind: List\nitems:\n- kind: A\n  x: 1\n- kind: B\n  x: 2\n");
        assert_eq!(documents.len(), 2);
        assert_eq!(documents[1].value["kind"], "B");
        assert_eq!(documents[1].place("x").to_string(), "a.yaml:6");
        assert_eq!(documents[1].place("").to_string(), "a.yaml:5");
    }

    #[test]
    fn values_and_lines_belong_together_around_empty_documents() {
        let documents =
            documents("---\n# nothing\n---\nkind: A\n---\nnull\n---\n~\n---\nkind: B\n");
        let found: Vec<_> = documents
            .iter()
            .map(|document| {
                (
                    document.value["kind"].as_str().unwrap(),
                    document.place("kind").to_string(),
                )
            })
            .collect();
        assert_eq!(
            found,
            [("A", "a.yaml:4".to_owned()), ("B", "a.yaml:10".to_owned())]
        );
    }

    #[test]
    fn what_is_built_names_directory_and_object() {
        let text = "kind: TodoApp\nmetadata: {name: demo}\n";
        let documents = parse(Path::new("environments/test"), text, true).unwrap();
        assert_eq!(
            documents[0].place("metadata").to_string(),
            "environments/test (kustomize): TodoApp demo"
        );
    }

    #[test]
    fn a_file_that_is_no_yaml_names_the_line() {
        let error = parse(Path::new("a.yaml"), "a: 1\nb: [1,\n", false)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("a.yaml:"), "{error}");
        assert!(error.contains("not YAML"), "{error}");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = read(&[PathBuf::from("no/such/file.yaml")])
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("no/such/file.yaml: "), "{error}");
    }
}
