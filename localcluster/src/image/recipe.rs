//! What is in an image.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::archive::{self, Written};
use super::layer::Layer;
use crate::cache::Cache;
use crate::error::{Error, Result};

/// How layers are stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Compression {
    /// Small files, for a registry or a download. A layer is compressed once and then taken from the cache.
    #[default]
    Gzip,
    /// No time is lost, for a containerd on the same machine.
    None,
}

/// What is in an image, and how it runs.
#[derive(Debug, Clone)]
pub struct Recipe {
    pub(super) name: String,
    pub(super) layers: Vec<Arc<Layer>>,
    pub(super) user: String,
    pub(super) working_directory: String,
    pub(super) entrypoint: Vec<String>,
    pub(super) command: Vec<String>,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) ports: Vec<String>,
    pub(super) created: i64,
    pub(super) compression: Compression,
}

impl Recipe {
    /// An image without layers, by its full name with a tag, such as `localhost/todo-operator:dev`. It runs as 65532:65532 in `/`.
    pub fn new(name: impl Into<String>) -> Self {
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        Self {
            name: name.into(),
            layers: Vec::new(),
            user: "65532:65532".to_owned(),
            working_directory: "/".to_owned(),
            entrypoint: Vec::new(),
            command: Vec::new(),
            environment: BTreeMap::from([("PATH".to_owned(), path.to_owned())]),
            labels: BTreeMap::new(),
            ports: Vec::new(),
            created: 0,
            compression: Compression::default(),
        }
    }

    /// An image that begins as this one: with its layers and all of its settings but the labels, which describe this one.
    #[must_use]
    pub fn derive(&self, name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            labels: BTreeMap::new(),
            ..self.clone()
        }
    }

    /// One more layer, over those that are there.
    #[must_use]
    pub fn layer(mut self, layer: impl Into<Arc<Layer>>) -> Self {
        self.layers.push(layer.into());
        self
    }

    /// The user, as `65532:65532`. Numbers, so that Kubernetes can check `runAsNonRoot`; `0:0` must be asked for.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = user.into();
        self
    }

    /// The directory in which it starts.
    #[must_use]
    pub fn working_directory(mut self, path: impl Into<String>) -> Self {
        self.working_directory = path.into();
        self
    }

    /// The program and its first arguments.
    #[must_use]
    pub fn entrypoint<S: Into<String>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.entrypoint = words.into_iter().map(Into::into).collect();
        self
    }

    /// The arguments that a container gets if it names none.
    #[must_use]
    pub fn command<S: Into<String>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.command = words.into_iter().map(Into::into).collect();
        self
    }

    /// An environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// A label; `org.opencontainers.image.…` are those of
    /// <https://github.com/opencontainers/image-spec/blob/v1.1.1/annotations.md#pre-defined-annotation-keys>.
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// A TCP port on which it listens.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.ports.push(format!("{port}/tcp"));
        self
    }

    /// When it was made, in seconds since 1970: `SOURCE_DATE_EPOCH` (<https://reproducible-builds.org/specs/source-date-epoch/>), else 0. The
    /// files in it have time 0 nevertheless, so that a layer that has not changed is the same blob in every release.
    #[must_use]
    pub const fn created(mut self, seconds: i64) -> Self {
        self.created = seconds;
        self
    }

    /// How layers are stored.
    #[must_use]
    pub const fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Writes the image as one file, which is both an OCI archive and a Docker archive. Replaces `to` only when it is complete.
    ///
    /// # Errors
    /// If the recipe is not usable, a file of it cannot be read or changes meanwhile, or the disk is full.
    pub fn write(&self, cache: &Cache, to: &Path) -> Result<Written> {
        if let Some(reason) = self.problem() {
            return Err(Error::Image {
                image: self.name.clone(),
                reason,
            });
        }
        archive::write(self, cache, to)
    }

    /// The part of the name behind the colon.
    pub(super) fn tag(&self) -> &str {
        self.name.rsplit_once(':').map_or("", |(_, tag)| tag)
    }

    fn problem(&self) -> Option<String> {
        if let Some(problem) = problem_of_name(&self.name) {
            return Some(problem);
        }
        if self.layers.is_empty() {
            return Some("it has no layer".to_owned());
        }
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !self.user.splitn(2, ':').all(is_number) {
            return Some(format!(
                "the user {:?} is not of numbers, as 65532:65532: Kubernetes cannot see otherwise that it is not root",
                self.user
            ));
        }
        if !self.working_directory.starts_with('/') {
            return Some(format!(
                "the working directory {:?} does not begin with /",
                self.working_directory
            ));
        }
        self.layers.iter().find_map(|layer| layer.problem())
    }
}

/// Runtimes complete short names in different ways, so a name must be whole:
/// <https://github.com/distribution/reference/blob/v0.6.0/reference.go#L4-L26>.
fn problem_of_name(name: &str) -> Option<String> {
    let expected = "expected registry/path:tag in lower case, as localhost/todo-operator:dev";
    let split = name
        .rsplit_once(':')
        .filter(|(_, tag)| !tag.contains('/'))
        .and_then(|(repository, tag)| Some((repository.split_once('/')?, tag)));
    let Some(((registry, path), tag)) = split else {
        return Some(format!("its name has no registry or no tag: {expected}"));
    };
    if registry != "localhost" && !registry.contains(['.', ':']) {
        return Some(format!(
            "Docker takes {registry:?} for a folder on docker.io: {expected}"
        ));
    }
    if tag == "latest" {
        return Some(
            "Kubernetes pulls an image with the tag `latest` each time: give it another".to_owned(),
        );
    }
    let in_path = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    let in_registry = |b: u8| b.is_ascii_alphanumeric() || b".-:".contains(&b);
    let in_tag = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let fits = registry.bytes().all(in_registry)
        && path
            .split('/')
            .all(|part| !part.is_empty() && part.bytes().all(in_path))
        && (1..=128).contains(&tag.len())
        && tag.bytes().all(in_tag)
        && !tag.starts_with(['.', '-']);
    (!fits)
        .then(|| format!("its name has characters or lengths that no registry takes: {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Content;

    #[test]
    fn names_must_be_whole() {
        for good in [
            "localhost/todo-operator:dev",
            "ghcr.io/a/b_c:v1.0.0",
            "localhost:5000/x:1",
        ] {
            assert_eq!(problem_of_name(good), None, "{good}");
        }
        for (bad, why) in [
            ("todo-operator:dev", "no registry"),
            ("localhost/x", "no tag"),
            ("localhost:5000/x", "no tag"),
            ("acme/x:1", "docker.io"),
            ("localhost/x:latest", "latest"),
            ("localhost/X:1", "characters"),
            ("localhost//x:1", "characters"),
            ("localhost/x:.1", "characters"),
        ] {
            let problem = problem_of_name(bad).unwrap_or_default();
            assert!(problem.contains(why), "{bad}: {problem}");
        }
    }

    #[test]
    fn a_user_by_name_is_refused() {
        let layer = Layer::new("x").file("a", Content::bytes(""), 0o644);
        let image = Recipe::new("localhost/x:1").layer(layer);
        assert_eq!(image.problem(), None);
        assert!(image.user("nonroot").problem().unwrap().contains("numbers"));
    }
}
