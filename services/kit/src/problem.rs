//! Errors of HTTP, as RFC 9457 has them.

use std::borrow::Cow;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");
const BASE: &str = "https://todo-operator.dev/problems/";

/// What is wrong with one field of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// Where it is in the request's body, as a JSON pointer.
    pub pointer: String,
    /// What is wrong, and what would be right.
    pub detail: String,
}

/// An error, as it is answered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Problem {
    /// Identifies the kind of problem, and leads to its description.
    #[serde(rename = "type")]
    pub kind: Cow<'static, str>,
    /// What kind of problem it is.
    pub title: Cow<'static, str>,
    /// The status code.
    #[serde(serialize_with = "as_number")]
    pub status: StatusCode,
    /// What is wrong this time, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Fields that are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// What else belongs to this kind of problem.
    #[serde(flatten)]
    pub extensions: Map<String, Value>,
}

fn as_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl Problem {
    /// A problem of a kind of its own, which `slug` names in its address.
    #[must_use]
    pub fn new(status: StatusCode, slug: &str, title: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind: format!("{BASE}{slug}").into(),
            title: title.into(),
            status,
            detail: None,
            errors: Vec::new(),
            extensions: Map::new(),
        }
    }

    /// A problem of which the status code says everything.
    #[must_use]
    pub fn of(status: StatusCode) -> Self {
        Self {
            kind: "about:blank".into(),
            title: status.canonical_reason().unwrap_or("Error").into(),
            status,
            detail: None,
            errors: Vec::new(),
            extensions: Map::new(),
        }
    }

    /// Says what is wrong this time.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Says that a field is wrong.
    #[must_use]
    pub fn error(mut self, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        self.errors.push(FieldError {
            pointer: pointer.into(),
            detail: detail.into(),
        });
        self
    }

    /// Adds what else belongs to this kind of problem.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.extensions.insert(name.to_owned(), value.into());
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_string(&self).unwrap_or_default();
        (self.status, [(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response()
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn a_problem_is_answered_as_the_standard_says() {
        let problem = Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid",
            "Invalid request",
        )
        .detail("2 fields are wrong")
        .error("/title", "it is empty")
        .error("/due/zone", "Mars/Olympus is no time zone")
        .with("limit", 500);
        let answer = problem.into_response();
        assert_eq!(answer.status(), 422);
        assert_eq!(
            answer.headers()[header::CONTENT_TYPE],
            "application/problem+json"
        );
        let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let expected = json!({
            "type": "https://todo-operator.dev/problems/invalid",
            "title": "Invalid request",
            "status": 422,
            "detail": "2 fields are wrong",
            "errors": [
                {"pointer": "/title", "detail": "it is empty"},
                {"pointer": "/due/zone", "detail": "Mars/Olympus is no time zone"},
            ],
            "limit": 500,
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn a_problem_without_a_kind_is_what_its_status_says() {
        let problem = serde_json::to_value(Problem::of(StatusCode::NOT_FOUND)).unwrap();
        assert_eq!(
            problem,
            json!({"type": "about:blank", "title": "Not Found", "status": 404})
        );
    }
}
