//! One request and what becomes of it.

use std::error::Error;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::{HeaderMap, Request};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::Connect;
use serde_json::Value;

use super::plan::Plan;

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Who gave it, if that is asked.
    pub(super) by: Option<String>,
}

/// Sends one request. The error is the kind of what went wrong.
pub(super) async fn ask<C>(client: &Client<C, Full<Bytes>>, plan: &Plan) -> Result<Answer, String>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let mut request = Request::new(Full::new(plan.body.clone()));
    *request.method_mut() = plan.method.clone();
    *request.uri_mut() = plan.uri.clone();
    *request.headers_mut() = plan.headers.clone();
    let answer = client.request(request).await.map_err(|error| {
        let begin = if error.is_connect() {
            "no connection"
        } else {
            "no answer"
        };
        format!("{begin}: {}", root(&error))
    })?;
    let (head, body) = answer.into_parts();
    // Read to its end, or the connection could not be used again.
    let body = body
        .collect()
        .await
        .map_err(|error| format!("half an answer: {}", root(&error)))?
        .to_bytes();
    let by = plan.by.as_deref();
    Ok(Answer {
        status: head.status.as_u16(),
        by: by.map(|name| who(name, &head.headers, &body)),
    })
}

/// The value of the header `name`, else of the field `name` of the JSON object.
fn who(name: &str, headers: &HeaderMap, body: &[u8]) -> String {
    if let Some(value) = headers.get(name) {
        return String::from_utf8_lossy(value.as_bytes()).into_owned();
    }
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    match &body[name] {
        Value::Null => "(none)".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The innermost cause: the kind, without what differs from request to request.
fn root(error: &dyn Error) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_answered_is_in_a_header_or_in_the_body() {
        let mut headers = HeaderMap::new();
        let body = br#"{"version": "v1", "shard": 3}"#;
        assert_eq!(who("version", &headers, body), "v1");
        assert_eq!(who("shard", &headers, body), "3");
        assert_eq!(who("pod", &headers, body), "(none)");
        assert_eq!(who("pod", &headers, b"<html>"), "(none)");
        headers.insert("version", hyper::header::HeaderValue::from_static("v2"));
        assert_eq!(who("version", &headers, body), "v2");
    }
}
