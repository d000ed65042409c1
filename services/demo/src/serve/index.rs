//! `/`: who answers.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use super::Service;
use crate::identity::Identity;

pub(super) fn route() -> Router<Service> {
    Router::new().route("/", get(index))
}

#[derive(Serialize)]
struct Index<'a> {
    #[serde(flatten)]
    identity: &'a Identity,
    #[serde(skip_serializing_if = "Option::is_none")]
    greeting: Option<&'a str>,
}

async fn index(State(service): State<Service>) -> Json<serde_json::Value> {
    let index = Index {
        identity: &service.identity,
        greeting: service.greeting.as_deref(),
    };
    Json(serde_json::json!(index))
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use crate::faults::Switches;
    use crate::serve::router;
    use crate::serve::tests::{get, service};

    #[tokio::test]
    async fn it_says_component_version_and_pod() {
        let (status, text) = get(router(service(Switches::default())), "/").await;
        assert_eq!(status, StatusCode::OK);
        let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
        let expected = serde_json::json!({
            "component": "web", "version": "v7", "pod": "demo-web-1", "greeting": "hello",
        });
        assert_eq!(answer, expected);
    }
}
