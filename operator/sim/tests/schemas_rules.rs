//! The rules of merging, ownership, defaulting, pruning and validation, without a cluster. `schemas.rs` compares the
//! same with a real API server; here each rule stands alone.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

use std::path::Path;

use serde_json::{Value, json};
use todo_operator_sim::apiserver::managed::{
    ApplyError, ApplyOptions, UpdateOptions, apply, keep_times, update,
};
use todo_operator_sim::apiserver::schema::{Reason, Resource};

const EARLY: &str = "2026-01-01T00:00:00Z";
const LATE: &str = "2026-01-01T00:01:00Z";

fn resource() -> Resource {
    let text = json!({"type": "string"});
    let port = json!({"type": "object", "required": ["port"], "properties": {
        "port": {"type": "integer"}, "protocol": {"type": "string", "default": "TCP"}, "name": text}});
    let spec = json!({"type": "object", "properties": {
        "replicas": {"type": "integer", "default": 1, "minimum": 0, "maximum": 10},
        "mode": {"type": "string", "enum": ["a", "b"]},
        "optional": {"type": "string", "nullable": true},
        "text": {"type": "string", "maxLength": 3, "pattern": "^[a-z]*$"},
        "count": {"type": "integer", "format": "int32"},
        "either": {"x-kubernetes-int-or-string": true},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": text},
        "atomic": {"type": "array", "items": text, "maxItems": 2},
        "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "protocol"],
            "items": port},
        "labels": {"type": "object", "additionalProperties": text},
        "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    }});
    let crd = json!({"spec": {
        "group": "test", "scope": "Namespaced", "names": {"kind": "Sample", "plural": "samples"},
        "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                "spec": spec, "status": {"type": "object", "properties": {"phase": text}}}}}}],
    }});
    Resource::from_crd(&crd).unwrap()
}

fn sample(spec: Value) -> Value {
    json!({"apiVersion": "test/v1", "kind": "Sample", "metadata": {"name": "s", "namespace": "n"}, "spec": spec})
}

fn try_apply(
    live: Option<&Value>,
    manager: &str,
    spec: Value,
    force: bool,
) -> Result<Value, ApplyError> {
    let resource = resource();
    let options = ApplyOptions {
        manager,
        force,
        subresource: "",
        time: if live.is_none() { EARLY } else { LATE },
        normalize: &|object| resource.schema.default(object),
    };
    apply(&resource, live, &sample(spec), &options)
}

fn applied(live: Option<&Value>, manager: &str, spec: Value) -> Value {
    try_apply(live, manager, spec, false).unwrap()
}

fn owned(object: &Value, manager: &str) -> Value {
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    let entry = entries.iter().find(|entry| entry["manager"] == manager);
    entry.map_or(Value::Null, |entry| entry["fieldsV1"].clone())
}

#[test]
fn what_is_no_longer_applied_goes() {
    let live = applied(
        None,
        "a",
        json!({"mode": "a", "labels": {"k": "v", "l": "v"}}),
    );
    let live = applied(Some(&live), "b", json!({"labels": {"k": "v"}}));
    let live = applied(Some(&live), "a", json!({}));
    // The other manager's label stays, and so does the default, which nobody owns.
    assert_eq!(live["spec"], json!({"labels": {"k": "v"}, "replicas": 1}));
    assert_eq!(owned(&live, "a"), json!({"f:spec": {}}));
    assert_eq!(
        owned(&live, "b"),
        json!({"f:spec": {"f:labels": {"f:k": {}}}})
    );
}

#[test]
fn conflicts_name_their_managers_and_fields() {
    let live = applied(
        None,
        "a",
        json!({"mode": "a", "ports": [{"port": 80, "name": "x"}]}),
    );
    let one = try_apply(Some(&live), "b", json!({"mode": "b"}), false).unwrap_err();
    assert_eq!(
        one.to_string(),
        "Apply failed with 1 conflict: conflict with \"a\": .spec.mode"
    );
    let live = update(
        &resource(),
        Some(&live),
        {
            let mut new = live.clone();
            new["spec"]["labels"] = json!({"k": "v"});
            new
        },
        &UpdateOptions {
            manager: "u",
            subresource: "",
            time: LATE,
        },
    );
    let wanted = json!({"ports": [{"port": 80, "name": "y"}], "labels": {"k": "w"}});
    let ApplyError::Conflict { message, causes } =
        try_apply(Some(&live), "b", wanted.clone(), false).unwrap_err()
    else {
        panic!("not a conflict");
    };
    assert_eq!(
        message,
        "Apply failed with 2 conflicts: conflicts with \"a\":\n- .spec.ports[port=80,protocol=\"TCP\"].name\nconflicts \
         with \"u\" using test/v1:\n- .spec.labels.k"
    );
    assert_eq!(causes.len(), 2);
    assert_eq!(causes[1].message, "conflict with \"u\" using test/v1");
    // By force, the fields change hands.
    let forced = try_apply(Some(&live), "b", wanted, true).unwrap();
    assert_eq!(forced["spec"]["labels"], json!({"k": "w"}));
    assert_eq!(owned(&forced, "u"), json!({"f:spec": {"f:labels": {}}}));
}

#[test]
fn an_apply_without_effect_changes_nothing() {
    let live = applied(None, "a", json!({"mode": "a", "set": ["x"]}));
    assert_eq!(
        applied(Some(&live), "a", json!({"mode": "a", "set": ["x"]})),
        live
    );
    // A second owner is a change, but without a time of its own.
    let shared = applied(Some(&live), "b", json!({"mode": "a"}));
    assert_ne!(shared, live);
    let entries = shared["metadata"]["managedFields"].as_array().unwrap();
    let of_b = entries
        .iter()
        .find(|entry| entry["manager"] == "b")
        .unwrap();
    assert_eq!(of_b.get("time"), None);
}

#[test]
fn lists_merge_by_their_kind() {
    let live = applied(
        None,
        "a",
        json!({"set": ["x", "y"], "ports": [{"port": 1}, {"port": 2}]}),
    );
    let spec = json!({"set": ["z", "x"], "ports": [{"port": 2, "name": "two"}, {"port": 3, "protocol": "UDP"}]});
    let live = applied(Some(&live), "b", spec);
    assert_eq!(live["spec"]["set"], json!(["z", "x", "y"]));
    assert_eq!(
        live["spec"]["ports"],
        json!([
            {"port": 1, "protocol": "TCP"},
            {"port": 2, "protocol": "TCP", "name": "two"},
            {"port": 3, "protocol": "UDP"},
        ])
    );
    let live = applied(Some(&live), "a", json!({"atomic": ["p"]}));
    assert_eq!(live["spec"]["set"], json!(["z", "x"]));
    let taken = try_apply(Some(&live), "b", json!({"atomic": ["p", "q"]}), false);
    assert!(taken.unwrap_err().to_string().ends_with(".spec.atomic"));
}

#[test]
fn what_does_not_fit_the_schema_is_refused() {
    let error = |spec| try_apply(None, "a", spec, false).unwrap_err().to_string();
    let head = "failed to create typed patch object (n/s; test/v1, Kind=Sample): ";
    assert_eq!(
        error(json!({"more": 1})),
        format!("{head}.spec.more: field not declared in schema")
    );
    assert_eq!(
        error(json!({"mode": 7, "set": ["x", "x"]})),
        format!(
            "{head}errors:\n  .spec.mode: expected string, got &value.valueUnstructured{{Value:7}}\n  .spec.set: duplicate \
             entries for key [=\"x\"]"
        )
    );
    let resource = resource();
    let options = ApplyOptions {
        manager: "a",
        force: false,
        subresource: "",
        time: EARLY,
        normalize: &|_| {},
    };
    let mut other = sample(json!({}));
    other["apiVersion"] = json!("test/v2");
    let error = apply(&resource, None, &other, &options).unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid object type: test/v2, Kind=Sample"
    );
    assert!(matches!(error, ApplyError::BadRequest(_)));
}

#[test]
fn what_existed_before_the_first_apply_has_an_owner() {
    let mut live = sample(json!({"mode": "a"}));
    live["metadata"]["uid"] = json!("u");
    let live = applied(Some(&live), "b", json!({"replicas": 1}));
    assert_eq!(
        owned(&live, "before-first-apply"),
        json!({"f:spec": {".": {}, "f:mode": {}}})
    );
}

#[test]
fn updates_own_what_they_change() {
    let resource = resource();
    let options = |manager, subresource| UpdateOptions {
        manager,
        subresource,
        time: EARLY,
    };
    let mut new = sample(json!({"mode": "a", "labels": {"k": "v"}}));
    // The status is reset on writes of the object, and all else on writes of the status.
    new["status"] = json!({"phase": "up"});
    let live = update(&resource, None, new, &options("a", ""));
    let fields = json!({"f:spec": {".": {}, "f:labels": {".": {}, "f:k": {}}, "f:mode": {}}});
    assert_eq!(owned(&live, "a"), fields);
    let mut new = live.clone();
    new["spec"]["mode"] = json!("b");
    new["status"] = json!({"phase": "down"});
    let live = update(&resource, Some(&live), new, &options("b", "status"));
    assert_eq!(owned(&live, "a"), fields);
    assert_eq!(owned(&live, "b"), json!({"f:status": {"f:phase": {}}}));
    // An object whose managed fields are taken away stays without.
    let mut new = live.clone();
    new["metadata"]["managedFields"] = json!([{}]);
    let live = update(&resource, Some(&live), new, &options("c", ""));
    assert_eq!(live["metadata"].get("managedFields"), None);
    let live = update(
        &resource,
        Some(&live),
        sample(json!({"mode": "a"})),
        &options("c", ""),
    );
    assert_eq!(live["metadata"].get("managedFields"), None);
}

#[test]
fn times_alone_are_no_change() {
    let live = applied(None, "a", json!({"mode": "a"}));
    let mut new = live.clone();
    new["metadata"]["managedFields"][0]["time"] = json!(LATE);
    keep_times(&live, &mut new);
    assert_eq!(new, live);
    new["metadata"]["managedFields"][0]["time"] = json!(LATE);
    new["spec"]["mode"] = json!("b");
    keep_times(&live, &mut new);
    assert_eq!(new["metadata"]["managedFields"][0]["time"], LATE);
}

#[test]
fn builtin_kinds_begin_with_their_zero_value() {
    let resources = Resource::builtin();
    let find = |kind: &str| resources.iter().find(|r| r.kind == kind).unwrap();
    let deployment = find("Deployment");
    assert_eq!(
        deployment.empty["spec"]["template"]["spec"],
        json!({"containers": null})
    );
    let new = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "status": {},
        "spec": {"template": {"metadata": {}, "spec": {"containers": [{"name": "c", "image": "i"}]}}, "strategy": {}}});
    let options = UpdateOptions {
        manager: "a",
        subresource: "",
        time: EARLY,
    };
    let live = update(deployment, None, new, &options);
    // Structs are there from the beginning, so that nobody owns them themselves.
    let container = json!({".": {}, "f:image": {}, "f:name": {}});
    assert_eq!(
        owned(&live, "a"),
        json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"c\"}": container}}}}})
    );
    let lease = find("Lease");
    assert!(
        !lease.status
            && lease.plural == "leases"
            && lease.api_version() == "coordination.k8s.io/v1"
    );
}

#[test]
fn pruning_tells_what_it_drops() {
    let schema = resource().schema;
    let mut object = sample(json!({
        "more": 1, "mode": null, "replicas": null, "optional": null, "any": {"x": 1},
        "ports": [{"port": 1, "deep": {}}], "labels": {"k": "v", "l": null},
    }));
    object["metadata"]["labels"] = json!({});
    object["metadata"]["other"] = json!(1);
    assert_eq!(
        schema.prune(&mut object),
        ["metadata.other", "spec.more", "spec.ports[0].deep"]
    );
    schema.default(&mut object);
    let spec = json!({"replicas": 1, "optional": null, "any": {"x": 1}, "ports": [{"port": 1, "protocol": "TCP"}],
        "labels": {"k": "v"}});
    assert_eq!(object, sample(spec));

    let mut map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "datum": {}, "data": {"a": "b"}});
    let resources = Resource::builtin();
    let config_map = resources.iter().find(|r| r.kind == "ConfigMap").unwrap();
    assert_eq!(config_map.schema.prune(&mut map), ["datum"]);
}

#[test]
fn problems_read_as_the_servers() {
    let schema = resource().schema;
    let problems = |spec: Value| -> Vec<String> {
        let problems = schema.validate(&sample(spec), None);
        problems.iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        problems(json!({"replicas": 11, "mode": "c", "text": "abcd", "atomic": ["a", "b", "c"]})),
        [
            "spec.atomic: Too many: 3: must have at most 2 items",
            "spec.mode: Unsupported value: \"c\": supported values: \"a\", \"b\"",
            "spec.replicas: Invalid value: 11: spec.replicas in body should be less than or equal to 10",
            "spec.text: Too long: may not be more than 3 bytes",
        ]
    );
    assert_eq!(
        problems(json!({"text": "A", "either": true, "count": 3_000_000_000_u64})),
        [
            "<nil>: Invalid value: \"\": Checked value must be of type integer with format int32 in spec.count",
            "spec.either: Invalid value: \"boolean\": spec.either in body must be of type integer,string: \"boolean\"",
            "spec.text: Invalid value: \"A\": spec.text in body should match '^[a-z]*$'",
        ]
    );
    assert_eq!(
        problems(
            json!({"ports": [{"port": 1, "protocol": "TCP"}, {"port": 1, "protocol": "TCP"}, {}], "set": ["a", "a"]})
        ),
        [
            "spec.ports[2].port: Required value",
            "spec.ports[1]: Duplicate value: {\"port\":1,\"protocol\":\"TCP\"}",
            "spec.set[1]: Duplicate value: \"a\"",
        ]
    );
    let required = &schema.validate(&sample(json!({"ports": [{}]})), None)[0];
    assert_eq!(
        (required.reason, required.blocks_rules()),
        (Reason::Required, true)
    );
}

#[test]
fn what_was_wrong_before_may_stay() {
    let schema = resource().schema;
    // Items of a list are found again by their keys.
    let one = json!({"port": 1, "protocol": "TCP", "name": 5});
    let two = json!({"port": 2, "protocol": "TCP"});
    let old = sample(json!({"replicas": 11, "ports": [one, two]}));
    let new = sample(json!({"replicas": 11, "mode": "c", "ports": [two, one]}));
    let problems = schema.validate(&new, Some(&old));
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].field, "spec.mode");
    let mut with_status = new.clone();
    with_status["status"] = json!({"phase": 1});
    let problems = schema.validate_status(&with_status, &old);
    assert_eq!(
        problems[0].to_string(),
        "status.phase: Invalid value: \"integer\": phase in body must be of type string: \"integer\""
    );
}

#[test]
fn our_own_definitions_are_understood() {
    let crds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds");
    for name in [
        "todoapps",
        "todoenvironments",
        "todointents",
        "todoreleases",
    ] {
        let text = std::fs::read_to_string(crds.join(format!("{name}.yaml"))).unwrap();
        let resource = Resource::from_crd(&serde_yaml::from_str(&text).unwrap()).unwrap();
        assert_eq!(resource.plural, name);
        assert!(resource.is_custom && resource.group == "todo-operator.dev");
    }
}
