//! From documents to TodoApps and TodoEnvironments, as strictly as the API server reads them.

use std::fmt;
use std::path::PathBuf;

use kube::CustomResourceExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use todo_operator_api::{GROUP, TodoApp, TodoEnvironment, VERSION};

use crate::source::{self, Document, Place, SourceError};

/// Manifests that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// They cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Something is wrong in them: everything that was found.
    #[error("{0}")]
    Findings(Findings),
    /// There is nothing to work on.
    #[error("no {wanted} in {paths}: give a file or directory that holds one")]
    Nothing {
        /// What was looked for.
        wanted: String,
        /// Where.
        paths: String,
    },
}

/// Something wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Where.
    pub place: Place,
    /// What, and what to do.
    pub message: String,
}

/// Everything that is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// An error where anything was found, in the order of the files.
    pub fn refuse(mut findings: Vec<Finding>) -> Result<(), ManifestError> {
        findings.sort();
        findings.dedup();
        if findings.is_empty() {
            Ok(())
        } else {
            Err(ManifestError::Findings(Self(findings)))
        }
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, finding) in self.0.iter().enumerate() {
            let separator = if position == 0 { "" } else { "\n" };
            write!(f, "{separator}{}: {}", finding.place, finding.message)?;
        }
        Ok(())
    }
}

/// An object, and where it stands.
#[derive(Clone, Debug)]
pub struct Manifest<T> {
    /// The object.
    pub object: T,
    /// Where it stands.
    pub document: Document,
}

impl<T> Manifest<T> {
    /// A finding about the field at `path`.
    pub fn finding(&self, path: &str, message: impl Into<String>) -> Finding {
        Finding {
            place: self.document.place(path),
            message: message.into(),
        }
    }
}

/// The objects of ours among what was read.
#[derive(Clone, Debug, Default)]
pub struct Manifests {
    /// TodoApps.
    pub apps: Vec<Manifest<TodoApp>>,
    /// TodoEnvironments.
    pub environments: Vec<Manifest<TodoEnvironment>>,
}

/// `paths` hold no `wanted`.
pub fn nothing(wanted: &str, paths: &[PathBuf]) -> ManifestError {
    let paths: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    ManifestError::Nothing {
        wanted: wanted.to_owned(),
        paths: paths.join(", "),
    }
}

/// Reads what `paths` hold; everything else than TodoApps and TodoEnvironments is left out.
pub fn load(paths: &[PathBuf]) -> Result<Manifests, ManifestError> {
    let mut manifests = Manifests::default();
    let mut findings = Vec::new();
    for document in source::read(paths)? {
        let text = |field: &str| {
            document
                .value
                .get(field)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let Some(version) = text("apiVersion")
            .strip_prefix(GROUP)
            .and_then(|rest| rest.strip_prefix('/'))
        else {
            continue;
        };
        if version != VERSION {
            let message = format!("{GROUP}/{version} is not known: use {GROUP}/{VERSION}");
            findings.push(Finding {
                place: document.place("apiVersion"),
                message,
            });
            continue;
        }
        match text("kind") {
            "TodoApp" => manifests.apps.extend(typed(document, &mut findings)),
            "TodoEnvironment" => manifests
                .environments
                .extend(typed(document, &mut findings)),
            _ => {}
        }
    }
    Findings::refuse(findings)?;
    Ok(manifests)
}

/// The document as a resource of ours. An unknown field, a field that stands twice, and a value of the wrong type are
/// findings, as the API server refuses them under strict validation.
fn typed<T>(document: Document, findings: &mut Vec<Finding>) -> Option<Manifest<T>>
where
    T: DeserializeOwned + Serialize + CustomResourceExt,
{
    let found_before = findings.len();
    for (key, place) in document.duplicates() {
        findings.push(Finding {
            place,
            message: format!("{key} stands twice: remove one"),
        });
    }
    let mut track = serde_path_to_error::Track::new();
    let mut unknown = Vec::new();
    let result: Result<T, _> = serde_ignored::deserialize(
        serde_path_to_error::Deserializer::new(&document.value, &mut track),
        |path| unknown.push(path.to_string().replace(".?", "")),
    );
    // The type has no room for these two, which have been looked at.
    unknown.retain(|path| path != "apiVersion" && path != "kind");
    for path in unknown {
        let message = format!("{path}: there is no such field");
        findings.push(Finding {
            place: document.place(&path),
            message,
        });
    }
    let object = match result {
        Ok(object) => object,
        Err(error) => {
            let path = track.path().to_string();
            let at = if path == "." {
                String::new()
            } else {
                format!("{path}: ")
            };
            findings.push(Finding {
                place: document.place(&path),
                message: format!("{at}{error}"),
            });
            return None;
        }
    };
    (findings.len() == found_before).then_some(Manifest { object, document })
}

/// The CEL rules of the resource that `manifest` breaks; with `old`, also those about what may change.
pub fn broken_rules<T>(manifest: &Manifest<T>, old: Option<&T>) -> Vec<Finding>
where
    T: Serialize + CustomResourceExt,
{
    let schema = T::crd()
        .spec
        .versions
        .into_iter()
        .find_map(|version| version.schema?.open_api_v3_schema);
    let values = (
        serde_json::to_value(schema),
        serde_json::to_value(&manifest.object),
        old.map(serde_json::to_value).transpose(),
    );
    let (Ok(schema), Ok(object), Ok(old)) = values else {
        return Vec::new();
    };
    let Err(errors) = kube_cel::Validator::new().validate(&schema, &object, old.as_ref()) else {
        return Vec::new();
    };
    let errors = errors.into_vec().into_iter();
    errors
        // What this evaluator cannot evaluate is left to the API server.
        .filter(|error| error.kind == kube_cel::ErrorKind::ValidationFailure)
        .map(|error| {
            let at = if error.field_path.is_empty() {
                String::new()
            } else {
                format!("{}: ", error.field_path)
            };
            manifest.finding(&error.field_path, format!("{at}{}", error.message))
        })
        .collect()
}

#[cfg(test)]
mod tests;
