//! The way between the operator and the API server: a `kube::Client` whose requests and watch events can be hurt.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Request, Response, header};
use futures::stream;
use kube::Client;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::apiserver::call::{Call, Verb, Watch};
use crate::apiserver::failure::Failure;
use crate::apiserver::server::ApiServer;
use crate::apiserver::signal::Listener;
use crate::apiserver::store::{Change, ResourceId};

/// How late an event is that is [`EventFate::Delayed`].
const DELAY: Duration = Duration::from_secs(5);

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// It is carried out and answered.
    Answered,
    /// It is not carried out, and answered so.
    Refused(Failure),
    /// It is carried out, and the connection breaks before the answer.
    ReplyLost,
    /// It is not carried out: there is no connection.
    Unreachable,
    /// It is never carried out, nor answered.
    NeverSent,
    /// It is carried out, and never answered.
    NeverAnswered,
}

/// What becomes of an event that a watch is about to bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventFate {
    /// It is brought.
    Brought,
    /// The connection breaks before it.
    Cut,
    /// The server has compacted the history: "410 Gone".
    Gone,
    /// It is held back until the object has changed again, and only the later state is brought.
    Merged,
    /// It is brought late, and what comes after it still later.
    Delayed,
}

/// Decides over requests and events.
pub trait Network: Send + Sync + 'static {
    /// Time that a message is on its way.
    fn latency(&self) -> Duration;
    /// What becomes of a request that arrives now.
    fn request(&self, call: &Call) -> Fate;
    /// Takes note of an answer.
    fn answered(&self, call: &Call, answer: &Result<u16, Failure>);
    /// What becomes of an event.
    fn event(&self, plural: &str, event: &Value) -> EventFate;
    /// By how many changes the server is behind that answers this list; 0 for a server that is not.
    fn staleness(&self, plural: &str) -> u64;
}

/// A client of a simulated server over a network.
pub fn client(server: Arc<ApiServer>, network: Arc<dyn Network>) -> Client {
    let service = tower::service_fn(move |request: Request<kube::client::Body>| {
        let (server, network) = (Arc::clone(&server), Arc::clone(&network));
        async move { answer(server, network, request).await }
    });
    Client::new(service, "default")
}

/// The connection broke.
#[derive(Debug, thiserror::Error)]
#[error("the connection was reset (simulated)")]
pub struct Reset;

async fn answer(
    server: Arc<ApiServer>,
    network: Arc<dyn Network>,
    request: Request<kube::client::Body>,
) -> Result<Response<Body>, Reset> {
    let (parts, body) = request.into_parts();
    let body = body.collect_bytes().await.map_err(|_| Reset)?;
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let content_type = parts
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    tokio::time::sleep(network.latency()).await;
    let call = match Call::parse(parts.method.as_str(), path, content_type, &body) {
        Ok(call) => call,
        Err(failure) => return Ok(refusal(&failure)),
    };
    let fate = network.request(&call);
    let answer = match &fate {
        Fate::NeverSent => return std::future::pending().await,
        Fate::Unreachable => return Err(Reset),
        Fate::Refused(failure) => Err(failure.clone()),
        Fate::Answered | Fate::ReplyLost | Fate::NeverAnswered => match &call.verb {
            Verb::Watch(options) => {
                return match server.watched(&call) {
                    Ok(id) => Ok(watch(server, network, call.clone(), id, options)),
                    Err(failure) => Ok(refusal(&failure)),
                };
            }
            Verb::List(_) => server.list_behind(&call, network.staleness(&call.plural)),
            _ => server.call(&call),
        },
    };
    let code = answer
        .as_ref()
        .map(|answer| answer.code)
        .map_err(Clone::clone);
    network.answered(&call, &code);
    match fate {
        Fate::ReplyLost => return Err(Reset),
        Fate::NeverAnswered => return std::future::pending().await,
        _ => {}
    }
    tokio::time::sleep(network.latency()).await;
    Ok(match answer {
        Ok(answer) => response(answer.code, Body::from(bytes(&answer.body))),
        Err(failure) => refusal(&failure),
    })
}

fn refusal(failure: &Failure) -> Response<Body> {
    let body = match &failure.status {
        Some(status) => status.to_string(),
        None => "404 page not found\n".to_owned(),
    };
    response(failure.code, Body::from(body))
}

fn response(code: u16, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = axum::http::StatusCode::from_u16(code).unwrap_or_default();
    let json = axum::http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// A watch under way.
struct Watching {
    server: Arc<ApiServer>,
    network: Arc<dyn Network>,
    call: Call,
    options: Watch,
    id: ResourceId,
    changed: Listener,
    ends: Option<Instant>,
    /// Nothing comes after this.
    over: bool,
}

fn watch(
    server: Arc<ApiServer>,
    network: Arc<dyn Network>,
    call: Call,
    id: ResourceId,
    options: &Watch,
) -> Response<Body> {
    let watching = Watching {
        changed: server.read(|store| store.listen_to(id)),
        ends: options.timeout.map(|timeout| Instant::now() + timeout),
        options: options.clone(),
        over: false,
        server,
        network,
        call,
        id,
    };
    let lines = stream::unfold(watching, async |mut watching| {
        let line = watching.next().await?;
        Some((line, watching))
    });
    response(200, Body::from_stream(lines))
}

/// What a watch finds when it looks.
enum Found {
    Nothing,
    NotServed,
    Change(Change),
}

impl Watching {
    async fn next(&mut self) -> Option<Result<Bytes, Reset>> {
        while !self.over {
            self.changed.catch_up();
            match self.look() {
                Found::NotServed => return None,
                Found::Nothing => {
                    if !self.wait().await {
                        return None;
                    }
                }
                Found::Change(change) => {
                    self.options.resource_version = change.revision;
                    let Some(event) = change.event(&self.options.selector) else {
                        continue;
                    };
                    if let Some(line) = self.bring(change, event).await {
                        return Some(line);
                    }
                }
            }
        }
        None
    }

    /// The next change after what was brought.
    fn look(&self) -> Found {
        let namespace = &self.call.namespace;
        self.server.read(|store| {
            if !store.is_served(self.id) {
                return Found::NotServed;
            }
            store
                .changes_after(self.id, self.options.resource_version)
                .iter()
                .find(|change| namespace.is_empty() || **namespace == *change.key.namespace)
                .map_or(Found::Nothing, |change| Found::Change(change.clone()))
        })
    }

    /// Waits for a change; `false` when the watch has come to its end.
    async fn wait(&mut self) -> bool {
        match self.ends {
            None => {
                self.changed.changed().await;
                true
            }
            Some(ends) => tokio::time::timeout_at(ends, self.changed.changed())
                .await
                .is_ok(),
        }
    }

    async fn bring(&mut self, change: Change, event: Value) -> Option<Result<Bytes, Reset>> {
        match self.network.event(&self.call.plural, &event) {
            EventFate::Brought => {
                tokio::time::sleep(self.network.latency()).await;
                Some(Ok(line(&event)))
            }
            EventFate::Delayed => {
                tokio::time::sleep(DELAY).await;
                Some(Ok(line(&event)))
            }
            EventFate::Cut => {
                self.over = true;
                Some(Err(Reset))
            }
            EventFate::Gone => Some(Ok(self.gone())),
            EventFate::Merged => {
                let merged = self.merge(change).await;
                let event = merged.event(&self.options.selector)?;
                Some(Ok(line(&event)))
            }
        }
    }

    /// Holds a change back until the object changes again, for ten seconds at most; the two as one.
    async fn merge(&mut self, first: Change) -> Change {
        let until = Instant::now() + Duration::from_secs(10);
        let mut merged = first;
        loop {
            self.changed.catch_up();
            let later = self.server.read(|store| {
                let later = store.changes_after(self.id, merged.revision);
                later
                    .iter()
                    .find(|change| change.key == merged.key)
                    .cloned()
            });
            if let Some(later) = later {
                // Others of the same kind that came between are brought after it: the order across objects is lost too.
                merged.after = later.after;
                return merged;
            }
            if tokio::time::timeout_at(until, self.changed.changed())
                .await
                .is_err()
            {
                return merged;
            }
        }
    }

    fn gone(&mut self) -> Bytes {
        self.over = true;
        line(&json!({"type": "ERROR", "object": Failure::expired().status}))
    }
}

/// A line of a watch, its type before its object as the API server writes it: a reader need not keep the object until it
/// knows what it is.
fn line(event: &Value) -> Bytes {
    let mut line = format!("{{\"type\":{},\"object\":", event["type"]).into_bytes();
    line.append(&mut bytes(&event["object"]));
    line.extend(b"}\n");
    line.into()
}

fn bytes(value: &Value) -> Vec<u8> {
    // Nothing in a JSON document cannot be written as JSON.
    serde_json::to_vec(value).unwrap_or_default()
}

/// A network on which nothing goes wrong and nothing takes time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Perfect;

impl Network for Perfect {
    fn latency(&self) -> Duration {
        Duration::ZERO
    }

    fn request(&self, _: &Call) -> Fate {
        Fate::Answered
    }

    fn answered(&self, _: &Call, _: &Result<u16, Failure>) {}

    fn event(&self, _: &str, _: &Value) -> EventFate {
        EventFate::Brought
    }

    fn staleness(&self, _: &str) -> u64 {
        0
    }
}
