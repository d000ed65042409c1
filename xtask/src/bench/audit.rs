//! What the API server saw: its audit log, which no client can flatter.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde::Deserialize;

use crate::up::operator::NAME;

/// One request, as far as it is counted here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    stage: String,
    stage_timestamp: MicroTime,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    user: User,
    #[serde(default)]
    object_ref: Object,
    #[serde(default)]
    response_status: Status,
}

#[derive(Debug, Deserialize)]
struct User {
    username: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Object {
    resource: String,
    subresource: String,
    name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    code: u16,
}

impl Request {
    /// Whether the operator sent it. Lease renewals are not counted: they are the sign of life itself.
    pub fn is_operators(&self) -> bool {
        self.user.username == format!("system:serviceaccount:{NAME}:{NAME}")
            && self.object_ref.resource != "leases"
    }

    /// Whether it asked for a change.
    pub fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }

    /// Whether it wrote something and the API server took it.
    pub fn is_successful_write(&self) -> bool {
        self.is_write() && (200..300).contains(&self.response_status.code)
    }

    /// The plural of what it asks for, with the subresource: `todoapps/status`.
    pub fn resource(&self) -> String {
        let Object {
            resource,
            subresource,
            ..
        } = &self.object_ref;
        if subresource.is_empty() {
            resource.clone()
        } else {
            format!("{resource}/{subresource}")
        }
    }

    /// Name of the object.
    pub fn name(&self) -> &str {
        &self.object_ref.name
    }

    /// When the API server had answered, in microseconds.
    pub fn answered(&self) -> i64 {
        self.stage_timestamp.0.as_microsecond()
    }
}

/// Reads an audit log from where the last read ended.
pub struct AuditLog {
    path: PathBuf,
    position: u64,
}

impl AuditLog {
    /// A reader that begins at the log's present end.
    pub fn from_now(path: &Path) -> Result<Self> {
        let mut log = Self {
            path: path.to_owned(),
            position: 0,
        };
        log.position = log
            .open()?
            .metadata()
            .context("cannot read the audit log")?
            .len();
        Ok(log)
    }

    /// Every answered request since the last call.
    pub fn read(&mut self) -> Result<Vec<Request>> {
        let mut file = self.open()?;
        file.seek(SeekFrom::Start(self.position))?;
        let mut reader = BufReader::new(file);
        let mut requests = Vec::new();
        let mut line = String::new();
        loop {
            line.clear();
            let read = reader.read_line(&mut line)?;
            // What has no end yet is still being written.
            if read == 0 || !line.ends_with('\n') {
                return Ok(requests);
            }
            self.position += read as u64;
            let request: Request = serde_json::from_str(&line)
                .with_context(|| format!("a line of {} is no audit event", self.path.display()))?;
            if request.stage == "ResponseComplete" {
                requests.push(request);
            }
        }
    }

    fn open(&self) -> Result<File> {
        File::open(&self.path).with_context(|| format!("cannot open {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn line(stage: &str, user: &str, verb: &str, object: &str, code: u16) -> String {
        format!(
            r#"{{"stage":"{stage}","stageTimestamp":"2026-05-01T10:00:00.000250Z","verb":"{verb}","user":{{"username":"{user}"}},"objectRef":{object},"responseStatus":{{"code":{code}}}}}"#
        )
    }

    #[test]
    fn only_answered_requests_are_read_and_each_once() {
        let us = "system:serviceaccount:todo-operator:todo-operator";
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let mut file = File::create(&path).unwrap();
        writeln!(
            file,
            "{}",
            line(
                "ResponseComplete",
                us,
                "patch",
                r#"{"resource":"services"}"#,
                201
            )
        )
        .unwrap();
        let mut log = AuditLog::from_now(&path).unwrap();
        let status = r#"{"resource":"todoapps","subresource":"status","name":"a"}"#;
        writeln!(
            file,
            "{}",
            line("ResponseComplete", us, "patch", status, 409)
        )
        .unwrap();
        writeln!(
            file,
            "{}",
            line(
                "ResponseStarted",
                us,
                "watch",
                r#"{"resource":"pods"}"#,
                200
            )
        )
        .unwrap();
        writeln!(
            file,
            "{}",
            line(
                "ResponseComplete",
                us,
                "patch",
                r#"{"resource":"leases"}"#,
                200
            )
        )
        .unwrap();
        let half = line("ResponseComplete", "admin", "get", "{}", 200);
        write!(file, "{}", &half[..20]).unwrap();
        let read = log.read().unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(
            (read[0].resource().as_str(), read[0].name()),
            ("todoapps/status", "a")
        );
        assert!(read[0].is_operators() && read[0].is_write() && !read[0].is_successful_write());
        assert_eq!(read[0].answered() % 1_000_000, 250);
        assert!(!read[1].is_operators());
        writeln!(file, "{}", &half[20..]).unwrap();
        let read = log.read().unwrap();
        assert_eq!(read.len(), 1);
        assert!(!read[0].is_operators() && !read[0].is_write());
    }
}
