//! Sequences of requests, from a seed.
//!
//! A request says in words what the servers decide: `$NS` is the sequence's namespace, `$uid PATH`, `$version PATH`
//! and `$former PATH` are the UID, the version and the version before of the object that was last seen at a path, and
//! `{"$live": PATH, "with": PATCH, "else": OBJECT}` is that object with a merge patch on it, or another where there was
//! none.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::kinds::Kind;
use crate::random::Random;

/// One request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The method; `WATCH` reads a watch from the version of the last list until it has told of a new object, which is
    /// the body.
    pub method: String,
    pub path: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub query: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub content_type: String,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub body: Value,
}

/// How watches are asked for, beside what they are limited to.
pub const WATCH_QUERY: &str =
    "watch=true&timeoutSeconds=290&allowWatchBookmarks=true&resourceVersion=$listed";
const APPLY: &str = "application/apply-patch+yaml";
const MERGE: &str = "application/merge-patch+json";
const JSON: &str = "application/json-patch+json";
const PLAIN: &str = "application/json";
const MANAGERS: [&str; 3] = ["todo-operator", "kubectl", "argo-rollouts"];
const NAMES: [&str; 3] = ["a", "b", "b-c"];
const EVENTS: &str = "fieldSelector=reason%3DFailedMount%2Ctype%3DWarning";
/// Selects the objects of this sequence, in all namespaces.
const OWN: &str = "labelSelector=run%3D$NS";
const SELECTORS: [&str; 5] = [
    "labelSelector=team%3Da",
    "labelSelector=team%3Da%2Ctier%3D1",
    "labelSelector=team",
    "labelSelector=%21team",
    "labelSelector=team%21%3Da",
];

fn request(method: &str, path: &str, query: String, content_type: &str, body: Value) -> Request {
    Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query,
        content_type: content_type.to_owned(),
        body,
    }
}

/// What every sequence begins with.
pub fn beginning() -> Vec<Request> {
    let namespace = |name: &str| {
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        request("POST", "/api/v1/namespaces", String::new(), PLAIN, body)
    };
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"},
        "automountServiceAccountToken": false,
    });
    let account = |namespace: &str| {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
        request("POST", &path, String::new(), PLAIN, account.clone())
    };
    vec![
        namespace("$NS"),
        namespace("$NS-b"),
        // Limits and quotas are kept apart from what they would refuse.
        namespace("$NS-policy"),
        account("$NS"),
        account("$NS-b"),
    ]
}

/// A random sequence about a few kinds.
pub fn sequence(kinds: &[&Kind], seed: u64, length: usize) -> Vec<Request> {
    let mut random = Random::new(seed);
    let mut chosen: Vec<&Kind> = (0..3).map(|_| *random.pick(kinds)).collect();
    // Events of both groups are the same objects, which the simulation has in two places.
    chosen.sort_by_key(|kind| kind.plural());
    chosen.dedup_by_key(|kind| kind.plural());
    let mut requests = beginning();
    let mut watches = 0;
    while requests.len() < length {
        let kind = *random.pick(&chosen);
        requests.push(if random.once_in(40) && !kind.is_plain() {
            watches += 1;
            watch(kind, &mut random, watches)
        } else {
            any(kind, &mut random)
        });
    }
    for (index, kind) in chosen.iter().enumerate() {
        if !kind.is_plain() {
            requests.push(watch(kind, &mut random, 1000 + index));
        }
    }
    requests
}

fn name_of(kind: &Kind, name: &str) -> String {
    if kind.is_namespaced() {
        name.to_owned()
    } else {
        format!("$NS-{name}")
    }
}

fn any(kind: &Kind, random: &mut Random) -> Request {
    let name = name_of(kind, NAMES[random.below(NAMES.len())]);
    let mut place = kind.path.clone();
    if random.once_in(5) {
        place = place.replace("/namespaces/$NS/", "/namespaces/$NS-b/");
    }
    let path = format!("{place}/{name}");
    let manager = *random.pick(&MANAGERS);
    let strict = if random.once_in(2) {
        "&fieldValidation=Strict"
    } else {
        ""
    };
    let status = kind.has_status() && random.once_in(3);
    let sub = if status {
        format!("{path}/status")
    } else {
        path.clone()
    };
    match random.below(if kind.is_plain() { 38 } else { 100 }) {
        0..10 => {
            let mut body = kind.object(random);
            body["metadata"]["name"] = json!(name);
            let query = format!("fieldManager={manager}{strict}");
            request("POST", &place, query, PLAIN, body)
        }
        10..18 => request("GET", &path, String::new(), "", Value::Null),
        18..26 => list(kind, random),
        26..34 => delete(&path, random),
        34..38 if kind.is_plain() => {
            let patch =
                json!({"series": {"count": 3, "lastObservedTime": "2026-01-05T09:00:05.000000Z"}});
            request("PATCH", &path, String::new(), MERGE, patch)
        }
        // What puts or applies the status of a Service that is not there makes one without an address: nobody does.
        _ if status && kind.plural() == "services" => {
            merge(kind, random, &path, &sub, manager, status)
        }
        34..60 => apply(kind, random, &name, &sub, manager, strict, status),
        60..78 => merge(kind, random, &path, &sub, manager, status),
        78..84 => json_patch(&path, random),
        84..88 if kind.scale => scale(&path, &name, random),
        84..88 if kind.plural() == "namespaces" => finalize(kind, &path, &name, random),
        _ => {
            let mut with = if status {
                json!({"status": kind.status(random)})
            } else {
                kind.change(random)
            };
            if random.once_in(4) {
                with["metadata"]["resourceVersion"] = json!(null);
            } else if random.once_in(8) {
                with["metadata"]["resourceVersion"] = json!(format!("$former {path}"));
            } else if random.once_in(12) {
                with["metadata"]["uid"] = json!("00000000-0000-4000-8000-000000000000");
            } else if random.once_in(12) {
                with["metadata"]["uid"] = json!(null);
            }
            let query = if random.once_in(3) {
                String::new()
            } else {
                format!("fieldManager={manager}")
            };
            let mut new = kind.object(random);
            new["metadata"]["name"] = json!(name);
            request(
                "PUT",
                &sub,
                query,
                PLAIN,
                json!({"$live": path, "with": with, "else": new}),
            )
        }
    }
}

fn list(kind: &Kind, random: &mut Random) -> Request {
    let by_name = |name: &str| format!("fieldSelector=metadata.name%3D{}", name_of(kind, name));
    let (path, mut query) = match random.below(5) {
        0 if kind.is_namespaced() => (kind.path.clone(), (*random.pick(&SELECTORS)).to_owned()),
        1 if kind.plural() == "events" => (kind.path.clone(), EVENTS.to_owned()),
        2 | 3 => (kind.everywhere(), OWN.to_owned()),
        4 if kind.is_namespaced() => (kind.path.clone(), String::new()),
        _ => (kind.path.clone(), by_name("a")),
    };
    if random.once_in(2) {
        query = format!("limit={}&{query}", 1 + random.below(2));
    }
    request(
        "LIST",
        &path,
        query.trim_end_matches('&').to_owned(),
        "",
        Value::Null,
    )
}

fn delete(path: &str, random: &mut Random) -> Request {
    let mut options = json!({});
    match random.below(6) {
        0 => options["propagationPolicy"] = json!("Foreground"),
        1 => options["propagationPolicy"] = json!("Orphan"),
        2..5 => options["propagationPolicy"] = json!("Background"),
        _ => {}
    }
    match random.below(8) {
        0 => options["preconditions"] = json!({"uid": "00000000-0000-4000-8000-000000000000"}),
        1 => options["preconditions"] = json!({"resourceVersion": format!("$former {path}")}),
        2..6 => {
            options["preconditions"] = json!({"uid": format!("$uid {path}"), "resourceVersion": format!("$version {path}")});
        }
        _ => {}
    }
    request("DELETE", path, String::new(), PLAIN, options)
}

fn apply(
    kind: &Kind,
    random: &mut Random,
    name: &str,
    path: &str,
    manager: &str,
    strict: &str,
    status: bool,
) -> Request {
    let mut body = kind.object(random);
    if status {
        body = json!({"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": {}});
        body["status"] = kind.status(random);
    } else if random.once_in(3) {
        // Only a part of the object, as somebody has it who looks after a few fields.
        body = json!({"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": body["metadata"]});
        json_patch::merge(&mut body, &kind.change(random));
    }
    body["metadata"]["name"] = json!(name);
    let object = path.trim_end_matches("/status");
    match random.below(14) {
        0 => body["metadata"]["uid"] = json!(format!("$uid {object}")),
        1 => body["metadata"]["uid"] = json!("00000000-0000-4000-8000-000000000000"),
        2 => body["metadata"]["resourceVersion"] = json!(format!("$version {object}")),
        3 => body["metadata"]["resourceVersion"] = json!(format!("$former {object}")),
        4 if kind.is_namespaced() => body["metadata"]["namespace"] = json!("elsewhere"),
        5 => body["metadata"]["name"] = json!("other"),
        _ => {}
    }
    let force = if random.once_in(2) { "&force=true" } else { "" };
    let query = format!("fieldManager={manager}{force}{strict}");
    request("PATCH", path, query, APPLY, body)
}

fn merge(
    kind: &Kind,
    random: &mut Random,
    object: &str,
    path: &str,
    manager: &str,
    status: bool,
) -> Request {
    let mut patch = if status {
        json!({"status": kind.status(random)})
    } else {
        kind.change(random)
    };
    match random.below(8) {
        0 => patch["metadata"]["resourceVersion"] = json!(format!("$version {object}")),
        1 => patch["metadata"]["resourceVersion"] = json!(format!("$former {object}")),
        2 => patch["metadata"]["finalizers"] = json!([]),
        3 if random.once_in(3) => {
            patch["metadata"]["uid"] = json!("00000000-0000-4000-8000-000000000000");
        }
        _ => {}
    }
    let query = if random.once_in(2) {
        String::new()
    } else {
        format!("fieldManager={manager}")
    };
    request("PATCH", path, query, MERGE, patch)
}

fn json_patch(path: &str, random: &mut Random) -> Request {
    let patch = match random.below(4) {
        0 => json!([{"op": "remove", "path": "/metadata/finalizers"}]),
        1 => json!([{"op": "add", "path": "/metadata/annotations", "value": {"patched": "yes"}}]),
        2 => {
            json!([{"op": "test", "path": "/metadata/name", "value": "a"}, {"op": "remove", "path": "/metadata/labels"}])
        }
        _ => json!([{"op": "add", "path": "/metadata/labels", "value": {"team": "a"}}]),
    };
    request("PATCH", path, String::new(), JSON, patch)
}

fn scale(path: &str, name: &str, random: &mut Random) -> Request {
    let path = format!("{path}/scale");
    match random.below(3) {
        0 => request("GET", &path, String::new(), "", Value::Null),
        1 => {
            let patch = json!({"spec": {"replicas": random.below(4)}});
            request("PATCH", &path, "fieldManager=keda".to_owned(), MERGE, patch)
        }
        _ => {
            let new = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": name}});
            let body = json!({"$live": path, "with": {"spec": {"replicas": random.below(4)}}, "else": new});
            request("PUT", &path, "fieldManager=hpa".to_owned(), PLAIN, body)
        }
    }
}

fn finalize(kind: &Kind, path: &str, name: &str, random: &mut Random) -> Request {
    let mut new = kind.body.clone();
    new["metadata"]["name"] = json!(name);
    let with = random.json(&[
        r#"{"spec": {"finalizers": null}}"#,
        r#"{"spec": {"finalizers": ["kubernetes"]}}"#,
    ]);
    let body = json!({"$live": path, "with": with, "else": new});
    request(
        "PUT",
        &format!("{path}/finalize"),
        String::new(),
        PLAIN,
        body,
    )
}

fn watch(kind: &Kind, random: &mut Random, number: usize) -> Request {
    let mut body = kind.body.clone();
    body["metadata"]["name"] = json!(name_of(kind, &format!("sentinel-{number}")));
    body["metadata"]["labels"] = json!({"run": "$NS", "team": "a", "tier": "1"});
    // The selectors select the sentinel.
    let name = &body["metadata"]["name"].as_str().unwrap_or_default();
    let (path, query) = match random.below(6) {
        0 | 1 => (kind.everywhere(), OWN.to_owned()),
        2 => (
            kind.path.clone(),
            format!("fieldSelector=metadata.name%3D{name}"),
        ),
        3 if kind.plural() == "events" => (kind.path.clone(), EVENTS.to_owned()),
        4 if kind.is_namespaced() => (kind.path.clone(), String::new()),
        _ if kind.is_namespaced() => (kind.path.clone(), SELECTORS[random.below(3)].to_owned()),
        _ => (kind.path.clone(), OWN.to_owned()),
    };
    request(
        "WATCH",
        &path,
        query,
        "",
        json!({"at": kind.path, "sentinel": body}),
    )
}
