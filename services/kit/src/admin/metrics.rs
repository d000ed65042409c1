//! `/metrics`, in the OpenMetrics text format.

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

use super::Admin;

pub(super) fn route() -> Router<Admin> {
    Router::new().route("/metrics", get(metrics))
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, OPEN_METRICS)], admin.metrics.text())
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use crate::admin::router;
    use crate::admin::tests::{get, waiting};

    #[tokio::test]
    async fn there_is_an_answer_before_anything_was_counted() {
        let (status, text) = get(router(waiting()), "/metrics").await;
        assert_eq!(status, StatusCode::OK);
        assert!(
            text.contains("http_request_duration_seconds_count 0"),
            "{text}"
        );
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}
