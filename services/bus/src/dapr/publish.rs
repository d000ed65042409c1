//! Publishing through the sidecar.

use std::collections::HashMap;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Method, Request, StatusCode, Uri, header};
use form_urlencoded::byte_serialize;
use futures::StreamExt as _;
use futures::stream;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use todo_contracts::envelope::CONTENT_TYPE;

use super::{Options, TRANSPORT, misconfigured};
use crate::{BusError, Outgoing};

/// Keys that are published at once.
const AT_ONCE: usize = 16;
/// Time for one message.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Publisher {
    client: Client<HttpConnector, Full<Bytes>>,
    base: String,
}

impl Publisher {
    pub(super) fn new(options: &Options) -> Result<Self, BusError> {
        let endpoint = options.dapr_http_endpoint.trim_end_matches('/');
        let uri: Uri = endpoint
            .parse()
            .map_err(|error| misconfigured(format!("DAPR_HTTP_ENDPOINT {endpoint:?}: {error}")))?;
        if uri.scheme_str() != Some("http") {
            return Err(misconfigured(format!(
                "DAPR_HTTP_ENDPOINT {endpoint:?} is no http:// address; the sidecar is on the same machine"
            )));
        }
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build_http(),
            base: format!("{endpoint}/v1.0/publish/{}", options.dapr_pubsub),
        })
    }

    /// Those of a key one after the other, different keys beside each other.
    pub(super) async fn publish_all(&self, messages: &[Outgoing]) -> Vec<Result<(), BusError>> {
        let mut by_key: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
        for (index, outgoing) in messages.iter().enumerate() {
            let place = (outgoing.topic.as_str(), outgoing.key.as_str());
            by_key.entry(place).or_default().push(index);
        }
        let publishing = by_key.into_values().map(|indices| async move {
            let (mut results, mut has_failed) = (Vec::new(), false);
            for index in indices {
                let outgoing = &messages[index];
                let result = if has_failed {
                    let topic = outgoing.topic.clone();
                    Err(BusError::Behind { topic })
                } else {
                    self.publish(outgoing).await
                };
                has_failed = result.is_err();
                results.push((index, result));
            }
            results
        });
        let mut results: Vec<_> = stream::iter(publishing)
            .buffer_unordered(AT_ONCE)
            .collect::<Vec<_>>()
            .await
            .into_iter()
            .flatten()
            .collect();
        results.sort_by_key(|(index, _)| *index);
        results.into_iter().map(|(_, result)| result).collect()
    }

    async fn publish(&self, outgoing: &Outgoing) -> Result<(), BusError> {
        let (topic, refused) = (&outgoing.topic, |reason: String| BusError::Refused {
            transport: TRANSPORT,
            topic: outgoing.topic.clone(),
            reason,
        });
        if outgoing.key.is_empty() {
            return Err(BusError::NoKey {
                topic: topic.clone(),
                hint: "give it one",
            });
        }
        let body = body(outgoing).map_err(|error| refused(error.to_string()))?;
        let key: String = byte_serialize(outgoing.key.as_bytes()).collect();
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}/{topic}?metadata.partitionKey={key}", self.base))
            .header(header::CONTENT_TYPE, CONTENT_TYPE)
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| refused(error.to_string()))?;
        let unavailable = |reason: String| BusError::Unavailable {
            transport: TRANSPORT,
            action: "take a message",
            reason,
        };
        let asked = tokio::time::timeout(PATIENCE, async {
            let answer = self.client.request(request).await;
            let answer = answer.map_err(|error| error.to_string())?;
            let status = answer.status();
            let body = answer.into_body().collect().await;
            let body = body.map_err(|error| error.to_string())?.to_bytes();
            Ok((status, String::from_utf8_lossy(&body).into_owned()))
        });
        match asked.await {
            Err(_) => Err(unavailable(format!(
                "it does not answer within {PATIENCE:?}"
            ))),
            Ok(Err(error)) => Err(unavailable(error)),
            Ok(Ok((status, _))) if status.is_success() => Ok(()),
            // No such component, or it is not let publish there.
            Ok(Ok((status, text)))
                if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS =>
            {
                Err(refused(format!("{status}: {text}")))
            }
            Ok(Ok((status, text))) => Err(unavailable(format!("{status}: {text}"))),
        }
    }
}

/// The envelope, and beside it an attribute of Dapr's own: without a `traceid` it would put one of its own into that and into
/// `traceparent`.
fn body(outgoing: &Outgoing) -> serde_json::Result<String> {
    let mut value = serde_json::to_value(&outgoing.message)?;
    let trace = outgoing.message.traceparent.clone().unwrap_or_default();
    if let Some(attributes) = value.as_object_mut() {
        attributes.insert("traceid".to_owned(), trace.into());
    }
    serde_json::to_string(&value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_sidecar_nearby_is_asked() {
        let options = |endpoint: &str| Options {
            dapr_http_endpoint: endpoint.to_owned(),
            dapr_pubsub: "pubsub".to_owned(),
            dapr_app_listen: ([127, 0, 0, 1], 0).into(),
        };
        assert!(Publisher::new(&options("http://127.0.0.1:3500/")).is_ok());
        for wrong in ["127.0.0.1:3500", "https://dapr.example", "http://"] {
            let error = Publisher::new(&options(wrong)).err().unwrap().to_string();
            assert!(error.contains("DAPR_HTTP_ENDPOINT"), "{error}");
        }
    }
}
