//! Every type of message has examples; they say what the types say, and the schemas say it too.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panic"
)]

mod support;

use std::collections::BTreeSet;

use serde_json::Value;
use todo_contracts::{Envelope, Topic, catalog, schema};

use crate::support::{fixtures, rewritten};

#[test]
fn every_type_has_a_full_and_a_minimal_example_with_a_key() {
    let fixtures = fixtures();
    for entry in catalog() {
        for name in ["full", "minimal"] {
            let fixture = fixtures
                .get(&format!("{}/{name}", entry.kind))
                .unwrap_or_else(|| panic!("fixtures/{}/{name}.json is missing", entry.kind));
            let envelope: Envelope = serde_json::from_value(fixture.clone()).unwrap();
            assert_eq!(envelope.kind, entry.kind);
            let key = entry.topic.key_of(&envelope);
            assert!(
                key.is_some(),
                "{}/{name}: no {}",
                entry.kind,
                entry.topic.key()
            );
        }
    }
    assert_eq!(
        fixtures.len(),
        2 * catalog().len(),
        "a fixture belongs to no type"
    );
}

#[test]
fn what_is_read_is_written_as_it_was() {
    for (name, wire) in fixtures() {
        let written = rewritten(&wire).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(written, wire, "{name}");
    }
}

#[test]
fn full_examples_have_every_field() {
    let fixtures = fixtures();
    let mut envelope = BTreeSet::new();
    for named in schema::schemas() {
        if named.name == schema::ENVELOPE {
            envelope = fields(&named.schema);
            continue;
        }
        let data = &fixtures[&format!("{}/full", named.name)]["data"];
        for field in fields(&named.schema) {
            assert!(
                data.get(&field).is_some(),
                "fixtures/{}/full.json: no {field}",
                named.name
            );
        }
    }
    let event = fixtures["todo.task.created.v1/full"].as_object().unwrap();
    let given: BTreeSet<_> = event.keys().cloned().collect();
    assert_eq!(given, envelope);
}

fn fields(schema: &Value) -> BTreeSet<String> {
    let fields = schema["properties"].as_object().unwrap().keys();
    fields.cloned().collect()
}

#[test]
fn examples_are_valid_by_the_schemas_and_minimal_ones_by_no_field_less() {
    let fixtures = fixtures();
    for named in schema::schemas() {
        let validator = jsonschema::draft202012::options()
            .should_validate_formats(true)
            .build(&named.schema)
            .unwrap();
        if named.name == schema::ENVELOPE {
            for (name, wire) in &fixtures {
                if let Err(error) = validator.validate(wire) {
                    panic!("{name}: {error}");
                }
            }
            continue;
        }
        for example in ["full", "minimal"] {
            let name = format!("{}/{example}", named.name);
            let data = &fixtures[&name]["data"];
            if let Err(error) = validator.validate(data) {
                panic!("{name}: {}: {error}", error.instance_path());
            }
        }
        let minimal = &fixtures[&format!("{}/minimal", named.name)];
        for field in minimal["data"].as_object().unwrap().keys() {
            let mut less = minimal.clone();
            less["data"].as_object_mut().unwrap().remove(field);
            assert!(
                !validator.is_valid(&less["data"]),
                "{}: {field}",
                named.name
            );
            let refused = rewritten(&less).unwrap_err();
            assert!(
                refused.contains(field.as_str()),
                "{}: {refused}",
                named.name
            );
        }
    }
}

#[test]
fn a_wrong_field_is_named() {
    let mut wire = fixtures()["todo.task.created.v1/full"].clone();
    wire["data"]["due"]["date"] = "2026-02-30".into();
    let error = rewritten(&wire).unwrap_err();
    assert!(error.contains("todo.task.created.v1: due.date:"), "{error}");
}

#[test]
fn a_later_version_of_a_type_is_unknown_and_not_malformed() {
    let mut wire = fixtures()["todo.task.created.v1/full"].clone();
    wire["type"] = "todo.task.created.v2".into();
    let envelope: Envelope = serde_json::from_value(wire).unwrap();
    let error = todo_contracts::task_events::TaskEvent::read(&envelope).unwrap_err();
    assert!(matches!(
        error,
        todo_contracts::MessageError::UnknownType {
            topic: Topic::TaskEvents,
            ..
        }
    ));
}
