//! The shape of a request: what stays of it when names, versions and contents are left out.

use std::collections::BTreeMap;

use serde_json::Value;

/// The shape of a request, such as `apply apps/v1 deployments in a namespace ?fieldManager=todo-operator&force=true`.
pub fn shape(method: &str, path: &str, query: &str, content_type: &str, body: &[u8]) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let (version, rest) = match parts.as_slice() {
        ["api", version, rest @ ..] => ((*version).to_owned(), rest),
        ["apis", group, version, rest @ ..] => (format!("{group}/{version}"), rest),
        _ => return format!("{method} {path}"),
    };
    let (resource, place) = match rest {
        ["namespaces", _, plural, rest @ ..] if !matches!(*plural, "status" | "finalize") => (
            std::iter::once(*plural).chain(rest.get(1).copied()),
            "in a namespace",
        ),
        [plural, rest @ ..] => (
            std::iter::once(*plural).chain(rest.get(1).copied()),
            "in all",
        ),
        [] => return format!("{method} {path}"),
    };
    let names = if rest.first() == Some(&"namespaces") && place == "in a namespace" {
        &rest[2..]
    } else {
        rest
    };
    let parameters: BTreeMap<String, String> = form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    let verb = match (method, content_type) {
        ("GET", _) if parameters.contains_key("watch") => "watch",
        ("GET", _) if names.len() > 1 => "get",
        ("GET", _) => "list",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", "application/apply-patch+yaml") => "apply",
        ("PATCH", "application/merge-patch+json") => "merge",
        ("PATCH", other) => other,
        _ => "delete",
    };
    let resource: Vec<&str> = resource.collect();
    let mut line = format!("{verb} {version} {}", resource.join("/"));
    if matches!(verb, "list" | "watch") {
        line.push_str(&format!(" {place}"));
    }
    let mut separator = " ?";
    for (name, value) in &parameters {
        let value = match name.as_str() {
            "continue" | "resourceVersion" => "…",
            _ => value,
        };
        line.push_str(&format!("{separator}{name}={value}"));
        separator = "&";
    }
    if matches!(verb, "delete" | "merge")
        && let Ok(body) = serde_json::from_slice::<Value>(body)
    {
        let mut fields = Vec::new();
        collect("", &body, 2, &mut fields);
        line.push_str(&format!(" {{{}}}", fields.join(", ")));
    }
    line
}

/// The fields of a body, so deep; the words that stand for a choice with their value.
fn collect(path: &str, value: &Value, depth: usize, fields: &mut Vec<String>) {
    match value {
        Value::Object(object) if depth > 0 && !object.is_empty() => {
            for (name, value) in object {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                collect(&path, value, depth - 1, fields);
            }
        }
        Value::String(text) if path == "propagationPolicy" => fields.push(format!("{path}={text}")),
        _ => fields.push(path.to_owned()),
    }
}

/// What the comparison with the real server must have of a shape: its verb with its resource and place, and its verb
/// with each of its options, but not whose and which.
pub fn features(line: &str) -> Vec<String> {
    let (line, body) = line.split_once(" {").unwrap_or((line, ""));
    let (head, query) = line.split_once(" ?").unwrap_or((line, ""));
    let verb = head.split(' ').next().unwrap_or_default();
    let options = query
        .split('&')
        .filter(|option| !option.is_empty())
        .map(|option| {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            match name {
                "labelSelector" => format!(
                    "{name}={}",
                    value.replace(|c| !matches!(c, '=' | '!' | ','), "")
                ),
                "fieldSelector" => {
                    let fields: Vec<&str> = value
                        .split(',')
                        .filter_map(|part| part.split('=').next())
                        .collect();
                    format!("{name}={}", fields.join(","))
                }
                "fieldManager" | "limit" => name.to_owned(),
                _ => option.to_owned(),
            }
        });
    let mut features: Vec<String> = options.map(|option| format!("{verb} {option}")).collect();
    features.push(head.to_owned());
    if verb == "delete" {
        features.push(format!("{verb} {{{body}"));
    }
    features
}
