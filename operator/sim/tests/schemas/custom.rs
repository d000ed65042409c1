//! Random writes of custom resources.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use todo_operator_sim::apiserver::schema::Resource;

use crate::model::{Kind, latest_time, sorted, write};
use crate::random::{Random, Shape, object};
use crate::server::{Call, Server, Write};

const MANAGERS: [&str; 3] = ["alice", "bob", "carol"];
const OBJECTS: u64 = 30;
const WRITES: usize = 25;

/// A definition with every kind of list and map, and every way of defaulting.
pub fn definition() -> Value {
    let text = json!({"type": "string"});
    let pair = json!({"type": "object", "properties": {
        "x": {"type": "integer"}, "y": {"type": "string", "default": "why"}}});
    let spec = json!({"type": "object", "required": ["mode"], "properties": {
        "replicas": {"type": "integer", "format": "int32", "default": 1, "minimum": 0, "maximum": 10},
        "mode": {"type": "string", "enum": ["a", "b"], "default": "a"},
        "optional": {"type": "string", "nullable": true},
        "text": {"type": "string", "minLength": 2, "maxLength": 5, "pattern": "^[a-z]*$"},
        "ratio": {"type": "number", "minimum": 0.5},
        "flag": {"type": "boolean"},
        "port": {"x-kubernetes-int-or-string": true},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "maxItems": 4, "items": text},
        "numbers": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "integer"}},
        "atomic": {"type": "array", "x-kubernetes-list-type": "atomic", "items": pair},
        "plain": {"type": "array", "items": pair},
        "ports": {"type": "array", "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["port", "protocol"],
            "items": {"type": "object", "required": ["port"], "properties": {
                "port": {"type": "integer"},
                "protocol": {"type": "string", "default": "TCP"},
                "name": text,
                "pair": pair}}},
        "named": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "required": ["name"], "properties": {
                "name": text,
                "value": text,
                "inner": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"],
                    "items": {"type": "object", "required": ["id"], "properties": {
                        "id": {"type": "integer"}, "value": text}}}}}},
        "labels": {"type": "object", "additionalProperties": text},
        "pairs": {"type": "object", "additionalProperties": pair},
        "atomicMap": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": text},
        "atomicPair": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {
            "x": {"type": "integer"}, "y": {"type": "string", "default": "why"}}},
        "any": {"x-kubernetes-preserve-unknown-fields": true},
        "partly": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {
            "known": text, "deep": {"type": "object", "properties": {"known": text}}}},
        "embedded": {"type": "object", "x-kubernetes-embedded-resource": true,
            "x-kubernetes-preserve-unknown-fields": true},
        "defaulted": {"type": "object", "default": {"x": 1}, "properties": pair["properties"]},
        "empty": {"type": "object"},
    }});
    let condition = json!({"type": "object", "required": ["type", "status"], "properties": {
        "type": text, "status": text, "reason": text}});
    let status = json!({"type": "object", "properties": {
        "phase": text,
        "count": {"type": "integer", "default": 0},
        "conditions": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
            "items": condition}}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "samples.schemas.test"},
        "spec": {
            "group": "schemas.test",
            "scope": "Namespaced",
            "names": {"plural": "samples", "singular": "sample", "kind": "Sample", "listKind": "SampleList"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "required": ["spec"], "properties": {
                    "spec": spec, "status": status}}}}],
        },
    })
}

fn metadata() -> Shape {
    use Shape::{List, OneOf};
    object([
        (
            "labels",
            4,
            object([
                ("one", 5, OneOf(&[r#""1""#, r#""2""#])),
                ("two", 5, OneOf(&[r#""1""#, r#""2""#])),
            ]),
        ),
        (
            "annotations",
            3,
            object([
                ("note.test/a", 5, OneOf(&[r#""x""#, r#""y""#])),
                ("note.test/b", 5, OneOf(&[r#""x""#])),
            ]),
        ),
        (
            "finalizers",
            2,
            List(vec![
                OneOf(&[r#""schemas.test/one""#]),
                OneOf(&[r#""schemas.test/two""#]),
            ]),
        ),
        (
            "ownerReferences",
            2,
            List(vec![
                OneOf(&[
                    r#"{"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "u1"}"#,
                    r#"{"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "u1", "controller": true}"#,
                ]),
                OneOf(&[
                    r#"{"apiVersion": "v1", "kind": "ConfigMap", "name": "b", "uid": "u2"}"#,
                    r#"{"apiVersion": "v1", "kind": "ConfigMap", "name": "b", "uid": "u2", "blockOwnerDeletion": false}"#,
                ]),
            ]),
        ),
    ])
}

fn spec(rare: usize) -> Shape {
    use Shape::{List, OneOf};
    let text = || OneOf(&[r#""p""#, r#""q""#, r#""""#]);
    let pair = || {
        object([
            ("x", 6, OneOf(&["1", "2"])),
            ("y", 4, OneOf(&[r#""z""#, "null"])),
        ])
    };
    let port = |port: &'static [&'static str]| {
        object([
            ("port", 10, OneOf(port)),
            ("protocol", 5, OneOf(&[r#""TCP""#, r#""UDP""#])),
            ("name", 4, OneOf(&[r#""n""#, r#""m""#])),
            (
                "pair",
                4,
                object([("x", 6, OneOf(&["1", "2"])), ("y", 4, OneOf(&[r#""z""#]))]),
            ),
        ])
    };
    let inner = |id: &'static [&'static str]| {
        object([
            ("id", 10, OneOf(id)),
            ("value", 5, OneOf(&[r#""i""#, r#""j""#])),
        ])
    };
    let named = |name: &'static [&'static str]| {
        object([
            ("name", 10, OneOf(name)),
            ("value", 5, OneOf(&[r#""v""#, r#""w""#])),
            (
                "inner",
                5,
                List(vec![inner(&["1"]), inner(&["2"]), inner(&["3"])]),
            ),
        ])
    };
    object([
        ("replicas", 4, OneOf(&["0", "1", "3", "null"])),
        ("mode", 4, OneOf(&[r#""a""#, r#""b""#])),
        ("optional", 4, OneOf(&[r#""o""#, "null"])),
        ("text", 4, OneOf(&[r#""abc""#, r#""abd""#])),
        ("ratio", 3, OneOf(&["0.5", "1", "1.5"])),
        ("flag", 3, OneOf(&["true", "false"])),
        ("port", 3, OneOf(&["80", r#""http""#])),
        (
            "set",
            4,
            List(vec![
                OneOf(&[r#""a""#]),
                OneOf(&[r#""b""#]),
                OneOf(&[r#""c""#]),
            ]),
        ),
        (
            "numbers",
            3,
            List(vec![OneOf(&["1"]), OneOf(&["2"]), OneOf(&["10"])]),
        ),
        ("atomic", 3, List(vec![pair(), pair()])),
        ("plain", 3, List(vec![pair(), pair()])),
        (
            "ports",
            5,
            List(vec![port(&["80"]), port(&["81"]), port(&["9"])]),
        ),
        (
            "named",
            5,
            List(vec![
                named(&[r#""a""#]),
                named(&[r#""b""#]),
                named(&[r#""c&d""#]),
            ]),
        ),
        (
            "labels",
            4,
            object([("k", 5, text()), ("l", 5, text()), ("m.n/o", 5, text())]),
        ),
        ("pairs", 4, object([("k", 5, pair()), ("l", 5, pair())])),
        ("atomicMap", 3, object([("k", 5, text()), ("l", 5, text())])),
        ("atomicPair", 3, pair()),
        (
            "any",
            4,
            OneOf(&[
                "1",
                r#""s""#,
                "{}",
                "[]",
                r#"{"a": 1}"#,
                r#"{"a": {"b": [1]}, "c": true}"#,
                r#"{"a": {"d": null}}"#,
                r#"[{"a": 1}]"#,
            ]),
        ),
        (
            "partly",
            4,
            object([
                ("known", 5, text()),
                ("unknown", 5, OneOf(&["1", r#"{"a": 1}"#, r#"{"b": []}"#])),
                ("deep", 5, object([("known", 5, text())])),
            ]),
        ),
        (
            "embedded",
            2,
            OneOf(&[
                r#"{"apiVersion": "v1", "kind": "ConfigMap"}"#,
                r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "e", "labels": {"a": "b"}}, "data": {"k": "v"}}"#,
                r#"{"apiVersion": "v1", "kind": "Secret", "metadata": {"labels": {"c": "d"}}, "x": [1, 2]}"#,
            ]),
        ),
        ("defaulted", 3, object([("x", 5, OneOf(&["1", "2"]))])),
        ("empty", 2, OneOf(&["{}"])),
        // What the schema does not allow.
        ("unknown", rare, OneOf(&["1", r#"{"a": 1}"#])),
        (
            "replicas",
            rare,
            OneOf(&["11", "-1", r#""three""#, "1.5", "true"]),
        ),
        ("mode", rare, OneOf(&[r#""c""#, "null", "7"])),
        (
            "text",
            rare,
            OneOf(&[r#""a""#, r#""abcdef""#, r#""ABC""#, "5", "null"]),
        ),
        ("ratio", rare, OneOf(&["0.25", "[]"])),
        ("flag", rare, OneOf(&["1", r#""true""#])),
        ("port", rare, OneOf(&["true", "1.5", "{}"])),
        (
            "set",
            rare,
            OneOf(&[
                r#"["a", "a"]"#,
                r#"["1", "2", "3", "4", "5"]"#,
                "{}",
                "[null]",
                "[[]]",
            ]),
        ),
        (
            "ports",
            rare,
            OneOf(&[
                r#"[{"port": 1}, {"port": 1, "protocol": "TCP"}]"#,
                r#"[{"name": "x"}]"#,
                "[null]",
                "[1]",
                "null",
                r#"[{"port": "80"}]"#,
            ]),
        ),
        (
            "named",
            rare,
            OneOf(&[r#"[{"value": "v"}]"#, r#"[{"name": "a", "more": 1}]"#]),
        ),
        (
            "labels",
            rare,
            OneOf(&[r#"{"k": 1}"#, r#"{"k": null}"#, "[]", "null"]),
        ),
        (
            "embedded",
            rare,
            OneOf(&[
                r#"{"apiVersion": "v1"}"#,
                r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"more": 1}}"#,
            ]),
        ),
    ])
}

fn status() -> Shape {
    use Shape::{List, OneOf};
    let condition = |name: &'static [&'static str]| {
        object([
            ("type", 10, OneOf(name)),
            ("status", 10, OneOf(&[r#""True""#, r#""False""#])),
            ("reason", 5, OneOf(&[r#""R""#, r#""S""#])),
        ])
    };
    object([
        ("phase", 5, OneOf(&[r#""up""#, r#""down""#])),
        ("count", 3, OneOf(&["1", "2"])),
        (
            "conditions",
            6,
            List(vec![
                condition(&[r#""Ready""#]),
                condition(&[r#""Synced""#]),
            ]),
        ),
    ])
}

/// Random writes of an object with the test's own definition.
pub async fn compare(server: &Server) {
    let crd = definition();
    let resource = Resource::from_crd(&crd).unwrap();
    let create = Write {
        manager: "test",
        status: false,
        call: Call::Create { object: crd },
    };
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    server.write(definitions, "", &create).await.unwrap();
    let path = "/apis/schemas.test/v1/namespaces/default/samples";
    until_served(server, path).await;
    for seed in 1..=OBJECTS {
        let mut random = Random::new(seed);
        let mut run = Run::new(server, &resource, path, seed);
        for _ in 0..WRITES {
            let next = random_write(&mut random, &resource, &run.name, run.live.as_ref());
            run.write(next).await;
        }
    }
}

/// Whether a write was stored.
pub enum Answered {
    Accepted,
    Refused,
}

/// Writes of one object, on the real server and by the simulation's rules.
pub struct Run<'a> {
    server: &'a Server,
    pub resource: &'a Resource,
    path: &'a str,
    seed: u64,
    history: Vec<Write>,
    /// The bytes in the store: a custom resource is pruned when it is read.
    stored: Option<Value>,
    pub name: String,
    pub live: Option<Value>,
}

impl<'a> Run<'a> {
    pub fn new(server: &'a Server, resource: &'a Resource, path: &'a str, seed: u64) -> Self {
        Self {
            server,
            resource,
            path,
            seed,
            history: Vec::new(),
            stored: None,
            name: format!("sample-{seed}"),
            live: None,
        }
    }

    /// Makes a write and compares.
    pub async fn write(&mut self, next: Write) -> Answered {
        let resource = self.resource;
        let answer = self.server.write(self.path, &self.name, &next).await;
        let time = latest_time(match (&answer, &self.live) {
            (Ok(object), _) => object,
            (Err(_), Some(live)) => live,
            (Err(_), None) => &Value::Null,
        });
        let kind = Kind {
            resource,
            decode: &|object| {
                resource.schema.prune(object);
                resource.schema.default(object);
            },
            normalize: &|object| resource.schema.default(object),
            prepare: &|_| {},
        };
        let expected = write(&kind, self.live.as_ref(), &next, &time);
        self.history.push(next);
        let read = expected.clone().map(|mut object| {
            resource.schema.prune(&mut object);
            resource.schema.default(&mut object);
            object
        });
        check(self.seed, &self.history, self.live.as_ref(), &answer, read);
        let (Ok(object), Ok(mut new)) = (answer, expected) else {
            return Answered::Refused;
        };
        for name in ["uid", "creationTimestamp", "generation", "namespace"] {
            if let Some(value) = object["metadata"].get(name) {
                new["metadata"][name] = value.clone();
            }
        }
        // A write is skipped when it would store the same bytes.
        let version = object["metadata"]["resourceVersion"].clone();
        if let (Some(live), Some(stored)) = (&self.live, &self.stored) {
            let mut stored = stored.clone();
            stored["metadata"]["resourceVersion"] = new["metadata"]["resourceVersion"].clone();
            let same = stored == new;
            let kept = live["metadata"]["resourceVersion"] == version;
            assert_eq!(
                kept,
                same,
                "{} seed {}: {:?}",
                resource.kind,
                self.seed,
                self.history.last()
            );
        }
        new["metadata"]["resourceVersion"] = version;
        self.stored = Some(new);
        self.live = Some(object);
        Answered::Accepted
    }
}

/// Waits until the server serves a resource.
pub async fn until_served(server: &Server, path: &str) {
    for _ in 0..200 {
        if server
            .get(&format!("{path}/nothing"))
            .await
            .is_err_and(|failure| {
                failure.code == 404
                    && failure.reason == "NotFound"
                    && failure.message.contains("nothing")
            })
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{path} is not served");
}

fn random_write(
    random: &mut Random,
    resource: &Resource,
    name: &str,
    live: Option<&Value>,
) -> Write {
    let manager = *random.pick(&MANAGERS);
    let rare = usize::from(random.once_in(6));
    let on_status = live.is_some() && random.once_in(4);
    let mut body = json!({
        "apiVersion": resource.api_version(),
        "kind": resource.kind,
        "metadata": metadata().make(random),
    });
    if !on_status || random.once_in(5) {
        body["spec"] = spec(rare).make(random);
    }
    if on_status || random.once_in(8) {
        body["status"] = status().make(random);
    }
    let kind = if live.is_none() {
        random.below(2) * 5
    } else {
        random.below(5)
    };
    let call = match kind {
        0..=2 => {
            body["metadata"]["name"] = name.into();
            Call::Apply {
                force: random.once_in(2),
                object: body,
            }
        }
        3 => {
            let live = live.unwrap();
            for field in ["name", "namespace", "resourceVersion"] {
                body["metadata"][field] = live["metadata"][field].clone();
            }
            if random.once_in(3) {
                body["metadata"]["managedFields"] = live["metadata"]["managedFields"].clone();
            }
            if random.once_in(20) {
                body["metadata"]["managedFields"] = random.json(&["[]", "[{}]"]);
            }
            Call::Put { object: body }
        }
        5 => {
            body["metadata"]["name"] = name.into();
            Call::Create { object: body }
        }
        _ => {
            let body = body.as_object_mut().unwrap();
            body.remove("apiVersion");
            body.remove("kind");
            Call::Merge {
                patch: Value::Object(body.clone()),
            }
        }
    };
    Write {
        manager,
        status: on_status,
        call,
    }
}

/// Fails where the server's answer and the computed one differ.
pub fn check(
    seed: u64,
    history: &[Write],
    live: Option<&Value>,
    answer: &Result<Value, crate::server::Failure>,
    expected: Result<Value, crate::server::Failure>,
) {
    let masked = |object: &Value| {
        let mut object = object.clone();
        let metadata = object["metadata"].as_object_mut().unwrap();
        for name in ["uid", "creationTimestamp", "resourceVersion", "namespace"] {
            metadata.remove(name);
        }
        if live.is_none() {
            metadata.remove("generation");
        }
        object
    };
    let kind = history.last().map(|write| write.kind());
    let at = || {
        format!(
            "{kind:?} seed {seed}, write {}: {:?}",
            history.len(),
            history.last().unwrap()
        )
    };
    match (answer, expected) {
        (Ok(object), Ok(expected)) => {
            let (l, r) = (masked(object), masked(&expected));
            if l != r {
                let dir = std::env::temp_dir();
                let files = [
                    ("server", &l),
                    ("expected", &r),
                    ("live", live.unwrap_or(&Value::Null)),
                ];
                for (name, value) in files {
                    let text = serde_json::to_string_pretty(value).unwrap();
                    std::fs::write(dir.join(format!("{name}.json")), text).unwrap();
                }
                panic!(
                    "{}\nsee {}/{{live,server,expected}}.json",
                    at(),
                    Path::new(&dir).display()
                );
            }
        }
        // Rules in CEL are not evaluated here.
        (Err(failure), Ok(_)) if is_rule_only(failure) => {}
        (Err(failure), Err(expected)) if has_rule(failure) => {
            let causes = &failure.causes;
            assert!(
                expected.causes.iter().all(|cause| causes.contains(cause)),
                "{}",
                at()
            );
        }
        (Err(failure), Err(expected)) => {
            assert_eq!(sorted(failure.clone()), sorted(expected), "{}", at());
        }
        (answer, expected) => panic!("{}\nserver: {answer:?}\nexpected: {expected:?}", at()),
    }
}

/// Whether a failure may be that of a rule.
fn has_rule(failure: &crate::server::Failure) -> bool {
    failure.code == 422 && failure.causes.iter().any(is_rule)
}

fn is_rule_only(failure: &crate::server::Failure) -> bool {
    has_rule(failure) && failure.causes.iter().all(is_rule)
}

/// The messages of the schema's own checks all say one of these.
fn is_rule((_, message, _): &(String, String, String)) -> bool {
    const CHECKS: [&str; 7] = [
        " in body ",
        "Required value",
        "Duplicate value",
        "Unsupported value",
        "must validate",
        "Too ",
        "some validation rules",
    ];
    !CHECKS.iter().any(|check| message.contains(check))
}
