//! What goes around every request, HTTP and gRPC alike: its trace, its measurement, and the hint to an ending process's
//! clients.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Version, header};
use axum::middleware::Next;
use axum::response::Response;
use tokio::time::Instant;
use tracing::Instrument as _;
use tracing::field::Empty;

use crate::lifecycle::{Lifecycle, Phase};
use crate::metrics::Metrics;
use crate::telemetry::propagation::{go_on, of_headers};

/// Who observes.
#[derive(Clone, Debug)]
pub struct Observer {
    /// Where answers are counted.
    pub metrics: Metrics,
    /// Says whether the process is ending.
    pub lifecycle: Lifecycle,
}

/// A middleware that observes each request.
pub async fn observe(State(observer): State<Observer>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let span = tracing::info_span!(
        "request",
        otel.name = %format_args!("{} {}", request.method(), request.uri().path()),
        otel.kind = "server",
        trace_id = Empty,
        code = Empty,
    );
    go_on(&span, of_headers(request.headers()));
    let version = request.version();
    let mut answer = next.run(request).instrument(span.clone()).await;
    let code = code(&answer);
    span.record("code", code);
    observer
        .metrics
        .request(code, begun.elapsed().as_secs_f64());
    // HTTP/2 has a frame for it, which the server sends when it stops.
    if version < Version::HTTP_2 && observer.lifecycle.phase() != Phase::Serving {
        let close = HeaderValue::from_static("close");
        answer.headers_mut().insert(header::CONNECTION, close);
    }
    answer
}

/// The status code; for gRPC the one that HTTP would have.
fn code(answer: &Response) -> u16 {
    grpc_status(answer.headers()).map_or(answer.status().as_u16(), equivalent)
}

/// An error of gRPC is in the headers, because nothing follows them.
fn grpc_status(headers: &HeaderMap) -> Option<u16> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

const fn equivalent(status: u16) -> u16 {
    match status {
        0 => 200,
        // Cancelled
        1 => 499,
        // Invalid argument, failed precondition, out of range
        3 | 9 | 11 => 400,
        // Deadline exceeded
        4 => 504,
        // Not found
        5 => 404,
        // Already exists, aborted
        6 | 10 => 409,
        // Permission denied
        7 => 403,
        // Resource exhausted
        8 => 429,
        // Unimplemented
        12 => 501,
        // Unavailable
        14 => 503,
        // Unauthenticated
        16 => 401,
        _ => 500,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::Router;
    use axum::body::Body;
    use axum::http::StatusCode;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use tower::ServiceExt as _;

    use super::*;

    fn observer() -> Observer {
        Observer {
            metrics: Metrics::default(),
            lifecycle: Lifecycle::default(),
        }
    }

    async fn ask(observer: &Observer, path: &str, version: Version) -> Response {
        let slow = || async { tokio::time::sleep(Duration::from_millis(200)).await };
        let missing = || async { ([("grpc-status", "5")], "") };
        let router = Router::new()
            .route("/slow", get(slow))
            .route("/grpc", get(missing))
            .layer(from_fn_with_state(observer.clone(), observe));
        let request = Request::get(path).version(version);
        let request = request.body(Body::empty()).unwrap();
        router.oneshot(request).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn answers_are_counted_by_code_and_measured() {
        let observer = observer();
        for path in ["/slow", "/nowhere", "/grpc"] {
            ask(&observer, path, Version::HTTP_11).await;
        }
        let text = observer.metrics.text();
        for series in [
            "http_requests_total{code=\"200\"} 1",
            "http_requests_total{code=\"404\"} 2",
            "http_request_duration_seconds_count 3",
            "http_request_duration_seconds_sum 0.2",
        ] {
            assert!(text.contains(series), "{series} is not in\n{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_ending_process_still_answers_and_sends_its_clients_away() {
        let observer = observer();
        let serving = ask(&observer, "/slow", Version::HTTP_11).await;
        assert!(!serving.headers().contains_key(header::CONNECTION));
        observer.lifecycle.end(async {}, Duration::ZERO).await;
        let ending = ask(&observer, "/slow", Version::HTTP_11).await;
        assert_eq!(ending.status(), StatusCode::OK);
        assert_eq!(ending.headers()[header::CONNECTION], "close");
        // Forbidden in HTTP/2.
        let ending = ask(&observer, "/slow", Version::HTTP_2).await;
        assert!(!ending.headers().contains_key(header::CONNECTION));
    }

    #[test]
    fn every_status_of_grpc_is_counted_as_what_it_is() {
        let errors_of_ours = [2, 13, 15, 12, 14, 4];
        let errors_of_theirs = [1, 3, 5, 6, 7, 8, 9, 10, 11, 16];
        assert!(
            errors_of_ours
                .into_iter()
                .all(|status| equivalent(status) >= 500)
        );
        assert!(
            errors_of_theirs
                .into_iter()
                .all(|status| (400..500).contains(&equivalent(status)))
        );
        assert_eq!(equivalent(0), 200);
    }
}
