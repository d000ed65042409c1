//! The operator's certificate or password for a Kafka cluster: files of a mounted Secret.

use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use super::{KafkaCluster, KafkaError};

/// The authorities that the brokers' certificates are checked against; the system's without it.
pub(super) const CA: &str = "ca.crt";
/// The operator's certificate.
pub(super) const CERTIFICATE: &str = "user.crt";
/// The key of that certificate.
pub(super) const KEY: &str = "user.key";
const USERNAME: &str = "username";
const PASSWORD: &str = "password";

/// What lies in a credential's directory. Two of them are equal if a client made with one is as good as with the other.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Credential {
    directory: PathBuf,
    files: BTreeMap<&'static str, Vec<u8>>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("directory", &self.directory)
            .field("files", &self.files.keys())
            .finish()
    }
}

impl Credential {
    /// Reads what is mounted for `cluster` below `directory`: nothing, if the cluster needs no credential.
    pub(super) async fn read(directory: &Path, cluster: &KafkaCluster) -> Result<Self, KafkaError> {
        let Some(name) = &cluster.credential else {
            return Ok(Self::default());
        };
        let unusable = |reason: String| KafkaError::Credential {
            cluster: cluster.to_string(),
            credential: name.clone(),
            reason,
        };
        let mut parts = Path::new(name).components();
        if !matches!(
            (parts.next(), parts.next()),
            (Some(Component::Normal(_)), None)
        ) {
            return Err(unusable("it is not the name of a directory".to_owned()));
        }
        let directory = directory.join(name);
        let mut files = BTreeMap::new();
        for file in [CA, CERTIFICATE, KEY, USERNAME, PASSWORD] {
            match tokio::fs::read(directory.join(file)).await {
                Ok(content) => drop(files.insert(file, content)),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(unusable(format!("cannot read {file}: {error}"))),
            }
        }
        if files.is_empty() {
            return Err(unusable(format!(
                "{} holds neither {CA} nor {CERTIFICATE} and {KEY} nor {USERNAME} and {PASSWORD}; mount the Secret there",
                directory.display()
            )));
        }
        Ok(Self { directory, files })
    }

    /// The path of a file, if it is there.
    pub(super) fn path(&self, file: &'static str) -> Option<String> {
        let there = self.files.contains_key(file);
        there.then(|| self.directory.join(file).display().to_string())
    }

    /// Name and password. A line break at the end of a file comes from an editor, and belongs to neither.
    pub(super) fn login(&self) -> Option<(String, String)> {
        Some((self.line(USERNAME)?, self.line(PASSWORD)?))
    }

    fn line(&self, file: &str) -> Option<String> {
        let text = String::from_utf8(self.files.get(file)?.clone()).ok()?;
        let line = text.trim_end_matches(['\r', '\n']);
        (!line.is_empty()).then(|| line.to_owned())
    }
}
