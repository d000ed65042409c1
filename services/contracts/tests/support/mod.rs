//! Fixtures, for all tests.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do, and no test file uses them all"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use todo_contracts::reminders::ReminderMessage;
use todo_contracts::task_commands::TaskCommand;
use todo_contracts::task_events::TaskEvent;
use todo_contracts::task_updates::TaskUpdate;
use todo_contracts::user_events::UserEvent;
use todo_contracts::user_profiles::UserProfileMessage;
use todo_contracts::workspace_members::WorkspaceMemberMessage;
use todo_contracts::{Envelope, MessageError, Topic, catalog};

/// A file of this crate.
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

pub fn read(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

/// The files of a folder, or folders, sorted.
pub fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// Every fixture, by `type/name`.
pub fn fixtures() -> BTreeMap<String, Value> {
    let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let mut all = BTreeMap::new();
    for folder in entries(&path("fixtures")) {
        let kind = folder.file_name().unwrap().to_str().unwrap();
        for file in entries(&folder) {
            all.insert(format!("{kind}/{}", name(&file)), read(&file));
        }
    }
    all
}

/// Reads a message by its type, and writes it again.
pub fn rewritten(wire: &Value) -> Result<Value, String> {
    let envelope: Envelope =
        serde_json::from_value(wire.clone()).map_err(|error| format!("envelope: {error}"))?;
    let topic = catalog()
        .into_iter()
        .find(|entry| entry.kind == envelope.kind)
        .map(|entry| entry.topic)
        .ok_or_else(|| format!("type {} is unknown", envelope.kind))?;
    let data = data(topic, &envelope).map_err(|error| error.to_string())?;
    let written = Envelope { data, ..envelope };
    Ok(serde_json::to_value(written).unwrap())
}

fn data(topic: Topic, envelope: &Envelope) -> Result<Value, MessageError> {
    Ok(match topic {
        Topic::TaskCommands => TaskCommand::read(envelope)?.data(),
        Topic::TaskEvents => TaskEvent::read(envelope)?.data(),
        Topic::TaskUpdates => TaskUpdate::read(envelope)?.data(),
        Topic::Reminders => ReminderMessage::read(envelope)?.data(),
        Topic::UserEvents => UserEvent::read(envelope)?.data(),
        Topic::UserProfiles => UserProfileMessage::read(envelope)?.data(),
        Topic::WorkspaceMembers => WorkspaceMemberMessage::read(envelope)?.data(),
    })
}
