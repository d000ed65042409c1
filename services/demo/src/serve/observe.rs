//! What goes around every request: who answered, and the faults.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::Service;

/// Header that says which version answered, also with an error.
pub const VERSION: HeaderName = HeaderName::from_static("x-demo-version");
/// Header that says which pod answered.
pub const POD: HeaderName = HeaderName::from_static("x-demo-pod");

pub(super) async fn observe(
    State(service): State<Service>,
    request: Request,
    next: Next,
) -> Response {
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
    let identity = &service.identity;
    let headers = answer.headers_mut();
    for (name, text) in [(VERSION, &identity.version), (POD, &identity.pod)] {
        if let Ok(value) = HeaderValue::from_str(text) {
            // Whoever is asked through this process answers for itself.
            headers.entry(name).or_insert(value);
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::Body;
    use tokio::time::Instant;
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
    async fn a_share_of_the_answers_are_errors_and_all_are_late() {
        let service = service(Switches {
            error_percent: 50.0,
            latency: Duration::from_millis(200),
            ..Switches::default()
        });
        let begun = Instant::now();
        let codes = [
            ask(&service, "/nowhere").await.status(),
            ask(&service, "/").await.status(),
            ask(&service, "/").await.status(),
        ];
        assert_eq!(codes.map(|code| code.as_u16()), [404, 500, 200]);
        assert_eq!(begun.elapsed(), Duration::from_millis(600));
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
    }
}
