//! Receiving from the sidecar: it asks for the subscriptions, and posts each message to a path.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Options, TRANSPORT, misconfigured};
use crate::{BusError, Delivery, Handler, Joined, Subscription, Verdict};

/// Header in which the component for Kafka says the key.
const KEY: &str = "__key";
/// Longest time that the sidecar is kept waiting to be told that a message is to come again.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

#[derive(Clone)]
struct Receiver {
    subscriptions: Arc<Value>,
    handler: Arc<dyn Handler>,
    joined: Joined,
    stop: CancellationToken,
}

pub(super) async fn run(
    options: &Options,
    subscription: Subscription,
    handler: Arc<dyn Handler>,
    stop: CancellationToken,
    drain: Duration,
) -> Result<(), BusError> {
    let address = options.dapr_app_listen;
    let listener = TcpListener::bind(address).await.map_err(|error| {
        misconfigured(format!(
            "cannot listen on {address} (DAPR_APP_LISTEN): {error}"
        ))
    })?;
    let topics = subscription.topics.iter();
    let subscriptions = topics.map(|topic| {
        json!({"pubsubname": options.dapr_pubsub, "topic": topic, "route": format!("/bus/{topic}")})
    });
    let receiver = Receiver {
        subscriptions: Arc::new(subscriptions.collect()),
        handler,
        joined: subscription.joined,
        stop: stop.clone(),
    };
    let router = Router::new()
        .route("/dapr/subscribe", get(subscribe))
        .route("/bus/{topic}", post(receive))
        // 404 would make the sidecar drop a message.
        .fallback(async || StatusCode::SERVICE_UNAVAILABLE)
        .with_state(receiver);
    let stopping = stop.clone();
    let server = axum::serve(listener, router)
        .with_graceful_shutdown(async move { stopping.cancelled().await });
    let late = async {
        stop.cancelled().await;
        tokio::time::sleep(drain).await;
    };
    tokio::select! {
        served = server => served.map_err(|error| misconfigured(error.to_string())),
        () = late => Err(BusError::NoFarewell { transport: TRANSPORT, after: drain }),
    }
}

async fn subscribe(State(receiver): State<Receiver>) -> Json<Value> {
    receiver.joined.yes();
    Json(receiver.subscriptions.as_ref().clone())
}

async fn receive(
    State(receiver): State<Receiver>,
    Path(topic): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if receiver.stop.is_cancelled() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    // A text of HTTP has no letters beyond English, a key may.
    let key = headers
        .get(KEY)
        .and_then(|key| str::from_utf8(key.as_bytes()).ok());
    let delivery = Delivery::read(&topic, key.map(str::to_owned), &body);
    match receiver.handler.handle(&[delivery]).await {
        Verdict::Done | Verdict::Retry { done: 1.., .. } => answer("SUCCESS"),
        Verdict::Retry { after, .. } => {
            tokio::select! {
                () = tokio::time::sleep(after.min(LONGEST_WAIT)) => {}
                () = receiver.stop.cancelled() => {}
            }
            answer("RETRY")
        }
    }
}

fn answer(status: &str) -> Response {
    Json(json!({"status": status})).into_response()
}
