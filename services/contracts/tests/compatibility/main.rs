//! What was released stays readable, and what is written today can be read by who has the last release.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panic"
)]

mod changes;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;

use serde_json::Value;
use todo_contracts::schema;

use crate::changes::{breaking, lost};
use crate::support::{entries, fixtures, path, read, rewritten};

/// Schemas and fixtures of a release.
struct Release {
    version: String,
    schemas: BTreeMap<String, Value>,
    fixtures: BTreeMap<String, Value>,
}

/// All releases, the last one last.
fn releases() -> Vec<Release> {
    let mut all: Vec<_> = entries(&path("released"))
        .iter()
        .map(|file| {
            let content = read(file);
            let map = |name: &str| serde_json::from_value(content[name].clone()).unwrap();
            Release {
                version: file.file_stem().unwrap().to_str().unwrap().to_owned(),
                schemas: map("schemas"),
                fixtures: map("fixtures"),
            }
        })
        .collect();
    let number = |release: &Release| -> Vec<u64> {
        let parts = release.version.split('.');
        parts.map(|part| part.parse().unwrap()).collect()
    };
    all.sort_by_key(number);
    assert!(!all.is_empty(), "nothing was released");
    all
}

fn fail(problems: &[String]) {
    assert!(
        problems.is_empty(),
        "this breaks who has an earlier release; make it a type with a higher version, and publish both for a while:\n  {}",
        problems.join("\n  ")
    );
}

#[test]
fn every_released_message_is_read_today_and_nothing_of_it_is_lost() {
    let mut problems = Vec::new();
    for release in releases() {
        for (name, wire) in &release.fixtures {
            match rewritten(wire) {
                Ok(written) => problems.extend(
                    lost(wire, &written)
                        .into_iter()
                        .map(|path| format!("{} of {}: {path} is lost", name, release.version)),
                ),
                Err(error) => problems.push(format!("{name} of {}: {error}", release.version)),
            }
        }
    }
    fail(&problems);
}

#[test]
fn every_message_of_today_is_valid_by_the_last_release() {
    let last = releases().pop().unwrap();
    let mut problems = Vec::new();
    for (name, wire) in fixtures() {
        let kind = name.split('/').next().unwrap();
        let parts = [(schema::ENVELOPE, &wire), (kind, &wire["data"])];
        for (schema, instance) in parts {
            // A type that was not released yet surprises nobody.
            let Some(schema) = last.schemas.get(schema) else {
                continue;
            };
            let validator = jsonschema::validator_for(schema).unwrap();
            for error in validator.iter_errors(instance) {
                problems.push(format!("{name}: {}: {error}", error.instance_path()));
            }
        }
    }
    fail(&problems);
}

#[test]
fn no_schema_has_changed_in_a_breaking_way() {
    let today: BTreeMap<_, _> = schema::schemas()
        .into_iter()
        .map(|named| (named.name, named.schema))
        .collect();
    let mut problems = Vec::new();
    for release in releases() {
        for (name, released) in &release.schemas {
            match today.get(name) {
                Some(schema) => problems.extend(breaking(name, released, schema)),
                None => problems.push(format!("{name} is gone")),
            }
        }
    }
    problems.dedup();
    fail(&problems);
}
