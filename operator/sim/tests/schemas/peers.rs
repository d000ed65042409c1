//! Random writes of the custom resources of the operator and of its peers, made from their schemas.

use std::path::Path;

use serde_json::{Map, Value, json};
use todo_operator_sim::apiserver::schema::Resource;

use crate::custom::{Answered, Run, until_served};
use crate::random::Random;
use crate::server::{Call, Server, Write};

const MANAGERS: [&str; 3] = ["alice", "bob", "carol"];
const OBJECTS: u64 = 3;
const WRITES: usize = 8;
/// Texts from which those that fit a field are picked.
const TEXTS: [&str; 16] = [
    "a",
    "b",
    "ab-c",
    "example.test",
    "10s",
    "5m",
    "1Gi",
    "500m",
    "80",
    "/a",
    "UTC",
    "v1",
    "",
    "YWJjZA==",
    "2026-01-01T00:00:00Z",
    "https://example.test/a?b=c&d",
];

/// Random writes of every custom resource that the server has, the operator's own among them.
pub async fn compare(server: &Server) {
    let crds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds");
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    for name in [
        "todoapps",
        "todoenvironments",
        "todointents",
        "todoreleases",
    ] {
        let text = std::fs::read_to_string(crds.join(format!("{name}.yaml"))).unwrap();
        let create = Write {
            manager: "test",
            status: false,
            call: Call::Create {
                object: serde_yaml::from_str(&text).unwrap(),
            },
        };
        server.write(definitions, "", &create).await.unwrap();
    }
    let demo = crds.join("../operator/core/src/render/tests/demo.yaml");
    let demo: Value = serde_yaml::from_str(&std::fs::read_to_string(demo).unwrap()).unwrap();
    let list = server.list(definitions).await;
    let (mut accepted, mut refused) = (0, 0);
    for crd in list["items"].as_array().unwrap() {
        let resource = Resource::from_crd(crd).unwrap();
        if !resource.versions.contains(&resource.version) || resource.group == "schemas.test" {
            continue;
        }
        let versions = crd["spec"]["versions"].as_array().unwrap();
        let stored = versions.iter().find(|v| v["storage"] == true).unwrap();
        let schema = &stored["schema"]["openAPIV3Schema"];
        let namespace = if resource.namespaced {
            "/namespaces/default"
        } else {
            ""
        };
        let path = format!(
            "/apis/{}{namespace}/{}",
            resource.api_version(),
            resource.plural
        );
        until_served(server, &path).await;
        for seed in 1..=OBJECTS {
            let mut run = Run::new(server, &resource, &path, seed);
            let mut random = Random::new(seed);
            for _ in 0..WRITES {
                let mut next = random_write(&mut random, &resource, schema, &run);
                if resource.kind == "TodoApp"
                    && let Call::Create { object }
                    | Call::Apply { object, .. }
                    | Call::Put { object } = &mut next.call
                {
                    // Hardly any object made from this schema passes its rules.
                    object["spec"] = vary(&mut random, &demo["spec"]);
                }
                match run.write(next).await {
                    Answered::Accepted => accepted += 1,
                    Answered::Refused => refused += 1,
                }
            }
        }
    }
    assert!(
        accepted > 500,
        "{accepted} writes accepted, {refused} refused"
    );
}

fn random_write(random: &mut Random, resource: &Resource, schema: &Value, run: &Run<'_>) -> Write {
    let manager = *random.pick(&MANAGERS);
    let status = resource.status && run.live.is_some() && random.once_in(4);
    let mut body = Map::new();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let wanted = match name.as_str() {
            "apiVersion" | "kind" | "metadata" => false,
            "status" => status,
            _ => !status || random.once_in(4),
        };
        if wanted && let Some(value) = value(random, property, 0) {
            body.insert(name.clone(), value);
        }
    }
    let how = if run.live.is_none() {
        0
    } else {
        random.below(5)
    };
    body.insert("metadata".to_owned(), json!({}));
    let call = match (how, &run.live) {
        (4, _) => Call::Merge {
            patch: Value::Object(body),
        },
        (how, live) => {
            body.insert("apiVersion".to_owned(), json!(resource.api_version()));
            body.insert("kind".to_owned(), json!(resource.kind));
            let mut object = Value::Object(body);
            object["metadata"]["name"] = json!(run.name);
            match live {
                Some(live) if how == 3 => {
                    object["metadata"]["resourceVersion"] =
                        live["metadata"]["resourceVersion"].clone();
                    Call::Put { object }
                }
                _ => Call::Apply {
                    force: random.once_in(2),
                    object,
                },
            }
        }
    };
    Write {
        manager,
        status,
        call,
    }
}

/// A value without some of its parts, and with other numbers.
fn vary(random: &mut Random, value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields
                .iter()
                .filter(|_| !random.once_in(12))
                .collect::<Vec<_>>();
            let varied = kept
                .into_iter()
                .map(|(name, value)| (name.clone(), vary(random, value)));
            Value::Object(varied.collect())
        }
        Value::Array(items) => {
            let kept = items
                .iter()
                .filter(|_| !random.once_in(12))
                .collect::<Vec<_>>();
            kept.into_iter().map(|item| vary(random, item)).collect()
        }
        Value::Number(number) if random.once_in(4) => json!(number.as_i64().unwrap() + 1),
        _ => value.clone(),
    }
}

/// A value that most likely fits a schema.
fn value(random: &mut Random, schema: &Value, depth: usize) -> Option<Value> {
    if let Some(values) = schema["enum"].as_array() {
        return Some(random.pick(values).clone());
    }
    if schema["x-kubernetes-int-or-string"] == true {
        let text = text(random, schema);
        return if random.once_in(2) {
            text
        } else {
            Some(json!(random.below(4)))
        };
    }
    let size = |name: &str| {
        schema[name]
            .as_u64()
            .map(|size| usize::try_from(size).unwrap())
    };
    match schema["type"].as_str() {
        None => Some(random.json(&["1", r#""x""#, r#"{"a": {"b": 1}}"#, "[1]"])),
        Some("boolean") => Some(json!(random.once_in(2))),
        Some("integer" | "number") => {
            let least = schema["minimum"].as_i64().unwrap_or(0);
            let most = schema["maximum"].as_i64().unwrap_or(least + 5);
            let span = usize::try_from((most - least).min(4)).unwrap();
            let exclusive = i64::from(schema["exclusiveMinimum"] == true);
            Some(json!(
                least + exclusive + i64::try_from(random.below(span + 1)).unwrap()
            ))
        }
        Some("string") => text(random, schema),
        Some("array") => {
            let least = size("minItems").unwrap_or(0);
            let most = size("maxItems").unwrap_or(3).clamp(least, least.max(3));
            let count = least + random.below(most - least + 1);
            let mut list: Vec<Value> = Vec::new();
            let keys = schema["x-kubernetes-list-map-keys"].as_array();
            for _ in 0..count {
                let Some(item) = value(random, &schema["items"], depth + 1) else {
                    continue;
                };
                let same = |other: &Value| match keys {
                    Some(keys) => keys.iter().all(|key| {
                        let key = key.as_str().unwrap();
                        other[key] == item[key]
                    }),
                    None => *other == item,
                };
                // Items of sets and maps are mostly there once.
                if !list.iter().any(same) || random.once_in(50) {
                    list.push(item);
                }
            }
            Some(Value::Array(list))
        }
        _ => Some(object(random, schema, depth)),
    }
}

fn object(random: &mut Random, schema: &Value, depth: usize) -> Value {
    let mut object = Map::new();
    let properties = schema["properties"].as_object();
    let count = properties.map_or(0, Map::len);
    let required = schema["required"].as_array();
    let is_required = |name: &str| required.is_some_and(|r| r.iter().any(|r| r == name));
    for (name, property) in properties.into_iter().flatten() {
        // Large and deep objects are thinned out.
        let wanted = if is_required(name) {
            !random.once_in(60)
        } else {
            depth < 6 && random.below(count.max(4)) < 3
        };
        if wanted && let Some(value) = value(random, property, depth + 1) {
            object.insert(name.clone(), value);
        }
    }
    if schema["additionalProperties"].is_object() {
        for name in ["a", "b", "c.d/e"] {
            if random.once_in(2)
                && let Some(value) = value(random, &schema["additionalProperties"], depth + 1)
            {
                object.insert(name.to_owned(), value);
            }
        }
    }
    if schema["x-kubernetes-preserve-unknown-fields"] == true && random.once_in(2) {
        object.insert("unknown".to_owned(), random.json(&["1", r#"{"a": []}"#]));
    }
    Value::Object(object)
}

/// A text that fits, but sometimes any.
fn text(random: &mut Random, schema: &Value) -> Option<Value> {
    let any = random.once_in(100);
    let pattern = schema["pattern"]
        .as_str()
        .and_then(|pattern| regex::Regex::new(pattern).ok());
    let fits = |text: &&&str| {
        let length = text.chars().count();
        let short = schema["minLength"]
            .as_u64()
            .is_some_and(|min| length < usize::try_from(min).unwrap());
        let format = schema["format"].as_str().unwrap_or("");
        any || !short
            && pattern
                .as_ref()
                .is_none_or(|pattern| pattern.is_match(text))
            && (format != "date-time" || text.starts_with("2026"))
            && (format != "byte" || text.ends_with("=="))
    };
    let fitting: Vec<&&str> = TEXTS.iter().filter(fits).collect();
    (!fitting.is_empty()).then(|| json!(**random.pick(&fitting)))
}
