//! One of the two servers, with what the sequence has seen of it.

use std::collections::HashMap;
use std::time::Duration;

use futures::{AsyncBufReadExt, TryStreamExt};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use crate::requests::{Request, WATCH_QUERY};

/// How long a watch may take to tell what there is to tell.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer: its status code and its body.
pub type Answer = (u16, Value);

/// A server as one sequence sees it.
pub struct Side {
    client: Client,
    namespace: String,
    seen: HashMap<String, Seen>,
    /// Versions of lists.
    listed: HashMap<String, String>,
}

#[derive(Default)]
struct Seen {
    object: Value,
    former: String,
}

impl Side {
    pub fn new(client: Client, namespace: &str) -> Self {
        Self {
            client,
            namespace: namespace.to_owned(),
            seen: HashMap::new(),
            listed: HashMap::new(),
        }
    }

    /// Sends a request.
    pub async fn send(&mut self, request: &Request) -> Answer {
        let path = request.path.replace("$NS", &self.namespace);
        let query = request.query.replace("$NS", &self.namespace);
        match request.method.as_str() {
            "LIST" => self.list(&path, &query).await,
            "WATCH" => self.watch(&path, &query, &request.body).await,
            method => {
                let body = match &request.body {
                    Value::Null => String::new(),
                    body => self.filled_in(body).to_string(),
                };
                let answer = self
                    .http(method, &path, &query, &request.content_type, body)
                    .await;
                self.note(&path, &answer);
                answer
            }
        }
    }

    /// Every page of a list.
    async fn list(&mut self, path: &str, query: &str) -> Answer {
        let mut pages = Vec::new();
        let mut next = query.to_owned();
        loop {
            let (code, page) = self.http("GET", path, &next, "", String::new()).await;
            if next == query
                && let Some(version) = page["metadata"]["resourceVersion"].as_str()
            {
                self.listed.insert(path.to_owned(), version.to_owned());
            }
            let token = page["metadata"]["continue"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            match page["items"].as_array() {
                // Where other sequences have objects too, these decide over the pages.
                Some(items) if query.contains(&format!("run%3D{}", self.namespace)) => {
                    pages.extend(items.clone())
                }
                _ => pages.push(page),
            }
            if token.is_empty() || code != 200 {
                return (code, json!(pages));
            }
            let token = form_urlencoded::byte_serialize(token.as_bytes()).collect::<String>();
            next = format!("{query}&continue={token}");
        }
    }

    /// What a watch tells from the last list on, until it tells of the sentinel.
    async fn watch(&mut self, path: &str, query: &str, body: &Value) -> Answer {
        let Some(version) = self.listed.get(path).cloned() else {
            return (0, Value::Null);
        };
        let body = self.filled_in(body);
        let (at, sentinel) = (body["at"].as_str().unwrap_or_default(), &body["sentinel"]);
        let created = self
            .http("POST", at, "", "application/json", sentinel.to_string())
            .await;
        if created.0 != 201 {
            return created;
        }
        let name = sentinel["metadata"]["name"].clone();
        let query = format!("{}&{query}", WATCH_QUERY.replace("$listed", &version));
        let uri = format!("{path}?{}", query.trim_end_matches('&'));
        let request = axum::http::Request::get(uri).body(Body::empty()).unwrap();
        let mut events = Vec::new();
        let read = async {
            let response = self.client.send(request).await.unwrap();
            let body = axum::body::Body::new(response.into_body());
            let stream = body.into_data_stream().map_err(std::io::Error::other);
            let mut lines = stream.into_async_read().lines();
            while let Some(line) = lines.try_next().await.unwrap() {
                let event: Value = serde_json::from_str(&line).unwrap();
                let about = event["object"]["metadata"]["name"]
                    .as_str()
                    .unwrap_or_default();
                if event["type"] == "BOOKMARK" {
                    continue;
                }
                let is_last = name == about || event["type"] == "ERROR";
                events.push(event);
                if is_last {
                    return;
                }
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, read).await.is_ok();
        if !in_time {
            events.push(json!("and then nothing more"));
        }
        (200, json!(events))
    }

    async fn http(
        &self,
        method: &str,
        path: &str,
        query: &str,
        content_type: &str,
        body: String,
    ) -> Answer {
        let uri = match query {
            "" => path.to_owned(),
            query => format!("{path}?{query}"),
        };
        let mut request = axum::http::Request::builder().method(method).uri(uri);
        if !content_type.is_empty() {
            request = request.header("content-type", content_type);
        }
        let request = request.body(Body::from(body.into_bytes())).unwrap();
        let response = self.client.send(request).await.unwrap();
        let code = response.status().as_u16();
        let bytes = response.into_body().collect_bytes().await.unwrap();
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&bytes).into_owned()));
        (code, body)
    }

    fn note(&mut self, path: &str, (code, body): &Answer) {
        if *code >= 300 || body["kind"] == "Status" {
            return;
        }
        let path = match body["kind"].as_str() {
            // What was created is at its own path.
            _ if *code == 201
                && !path.ends_with(body["metadata"]["name"].as_str().unwrap_or_default()) =>
            {
                format!(
                    "{path}/{}",
                    body["metadata"]["name"].as_str().unwrap_or_default()
                )
            }
            Some("Scale") => path.to_owned(),
            _ => path
                .trim_end_matches("/status")
                .trim_end_matches("/finalize")
                .to_owned(),
        };
        let seen = self.seen.entry(path).or_default();
        let version = |object: &Value| {
            object["metadata"]["resourceVersion"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        if version(&seen.object) != version(body) {
            seen.former = version(&seen.object);
        }
        seen.object = body.clone();
    }

    fn filled_in(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::from(self.text(text)),
            Value::Array(items) => items.iter().map(|item| self.filled_in(item)).collect(),
            Value::Object(fields) => match fields.get("$live") {
                Some(path) => {
                    let path = path
                        .as_str()
                        .unwrap_or_default()
                        .replace("$NS", &self.namespace);
                    let Some(seen) = self.seen.get(&path) else {
                        return self.filled_in(&fields["else"]);
                    };
                    let mut object = seen.object.clone();
                    json_patch::merge(&mut object, &self.filled_in(&fields["with"]));
                    object
                }
                None => fields
                    .iter()
                    .map(|(name, value)| (name.clone(), self.filled_in(value)))
                    .collect(),
            },
            other => other.clone(),
        }
    }

    fn text(&self, text: &str) -> String {
        let text = text.replace("$NS", &self.namespace);
        let Some((what, path)) = text
            .split_once(' ')
            .filter(|(what, _)| what.starts_with('$'))
        else {
            return text;
        };
        let seen = self.seen.get(path);
        let field = |field: &str| {
            let value = seen.and_then(|seen| seen.object["metadata"][field].as_str());
            value.unwrap_or("1").to_owned()
        };
        match what {
            "$uid" => field("uid"),
            "$version" => field("resourceVersion"),
            "$former" => match seen.map(|seen| seen.former.as_str()) {
                Some("") | None => "1".to_owned(),
                Some(former) => former.to_owned(),
            },
            _ => text,
        }
    }
}
