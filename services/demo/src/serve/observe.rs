//! What goes around every request: its measurement, who answered, the faults, and the hint to an ending process's clients.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use tokio::time::Instant;

use super::Service;
use crate::lifecycle::Phase;
use crate::metrics::Answered;

/// Header that says which version answered, also with an error.
pub const VERSION: HeaderName = HeaderName::from_static("x-demo-version");
/// Header that says which pod answered.
pub const POD: HeaderName = HeaderName::from_static("x-demo-pod");

pub(super) async fn observe(
    State(service): State<Service>,
    request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let mut answer = if service.faults.strike().await {
        let identity = &service.identity;
        let body = json!({
            "error": "it fails because DEMO_ERROR_PERCENT says so",
            "component": identity.component, "version": identity.version, "pod": identity.pod,
        });
        (StatusCode::INTERNAL_SERVER_ERROR, Json(body)).into_response()
    } else {
        next.run(request).await
    };
    let code = answer.status().as_u16();
    service
        .metrics
        .requests
        .get_or_create(&Answered { code })
        .inc();
    service
        .metrics
        .request_seconds
        .observe(begun.elapsed().as_secs_f64());
    let identity = &service.identity;
    let headers = answer.headers_mut();
    for (name, text) in [(VERSION, &identity.version), (POD, &identity.pod)] {
        if let Ok(value) = HeaderValue::from_str(text) {
            // Whoever is asked through this process answers for itself.
            headers.entry(name).or_insert(value);
        }
    }
    if service.lifecycle.phase() != Phase::Serving {
        // The client asks elsewhere next time, before this connection is closed under its request.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::Body;
    use tower::ServiceExt as _;

    use super::*;
    use crate::faults::Switches;
    use crate::serve::router;
    use crate::serve::tests::service;

    async fn ask(service: &Service, path: &str) -> Response {
        let request = Request::get(path).body(Body::empty()).unwrap();
        router(service.clone()).oneshot(request).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn answers_are_counted_by_code_and_measured() {
        let service = service(Switches {
            error_percent: 50.0,
            latency: Duration::from_millis(200),
            ..Switches::default()
        });
        let codes = [
            ask(&service, "/nowhere").await.status(),
            ask(&service, "/").await.status(),
            ask(&service, "/").await.status(),
        ];
        assert_eq!(codes.map(|code| code.as_u16()), [404, 500, 200]);
        let text = service.metrics.text();
        for series in [
            "http_requests_total{code=\"200\"} 1",
            "http_requests_total{code=\"404\"} 1",
            "http_requests_total{code=\"500\"} 1",
            "http_request_duration_seconds_count 3",
            "http_request_duration_seconds_sum 0.6",
        ] {
            assert!(text.contains(series), "{series} is not in\n{text}");
        }
    }

    #[tokio::test]
    async fn every_answer_says_who_gave_it_errors_too() {
        let service = service(Switches {
            error_percent: 100.0,
            ..Switches::default()
        });
        let answer = ask(&service, "/").await;
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(answer.headers()[VERSION], "v7");
        assert_eq!(answer.headers()[POD], "demo-web-1");
        assert!(!answer.headers().contains_key(header::CONNECTION));
    }

    #[tokio::test(start_paused = true)]
    async fn an_ending_process_still_answers_and_sends_its_clients_away() {
        let service = service(Switches::default());
        service.lifecycle.end(async {}, Duration::ZERO).await;
        let answer = ask(&service, "/").await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()[header::CONNECTION], "close");
    }
}
