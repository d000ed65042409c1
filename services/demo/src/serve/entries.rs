//! `/entries`: kept in PostgreSQL. An answer 201 means that the entry is there to stay; any other answer to a `POST` leaves
//! open whether it is.

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use thiserror::Error;

use crate::database::{Database, DatabaseError, Entry};

const MAX_TEXT: usize = 10_000;
const MAX_PAGE: u16 = 10_000;

pub(super) fn route() -> Router<Database> {
    Router::new().route("/entries", get(read).post(write))
}

/// Why there is no answer.
#[derive(Debug, Error)]
enum EntriesError {
    #[error("send {{\"text\": \"…\"}} as application/json: {0}")]
    Body(#[from] JsonRejection),
    #[error("ask with ?after=ID&limit=N: {0}")]
    Query(#[from] QueryRejection),
    #[error("the text has {0} bytes, and may have {MAX_TEXT}")]
    TooLong(usize),
    #[error("the text contains a NUL character, which PostgreSQL cannot keep")]
    Nul,
    #[error("the limit is {0}, and may be {MAX_PAGE}")]
    TooMany(u16),
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl IntoResponse for EntriesError {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Body(rejection) => rejection.status(),
            Self::Query(rejection) => rejection.status(),
            Self::TooLong(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Nul | Self::TooMany(_) => StatusCode::BAD_REQUEST,
            Self::Database(error) => {
                tracing::warn!("{error}");
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        (status, Json(json!({"error": self.to_string()}))).into_response()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewEntry {
    text: String,
}

async fn write(
    State(database): State<Database>,
    body: Result<Json<NewEntry>, JsonRejection>,
) -> Result<(StatusCode, Json<Entry>), EntriesError> {
    let Json(NewEntry { text }) = body?;
    if text.len() > MAX_TEXT {
        return Err(EntriesError::TooLong(text.len()));
    }
    if text.contains('\0') {
        return Err(EntriesError::Nul);
    }
    let entry = database.write(&text).await?;
    Ok((StatusCode::CREATED, Json(entry)))
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Page {
    after: i64,
    limit: u16,
}

impl Default for Page {
    fn default() -> Self {
        Self {
            after: 0,
            limit: 1_000,
        }
    }
}

async fn read(
    State(database): State<Database>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<serde_json::Value>, EntriesError> {
    let Query(Page { after, limit }) = page?;
    if limit > MAX_PAGE {
        return Err(EntriesError::TooMany(limit));
    }
    let entries = database.read(after, limit).await?;
    Ok(Json(json!({"entries": entries})))
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt as _;

    use super::*;
    use crate::database::Place;
    use crate::faults::Switches;
    use crate::serve::tests::service;

    /// The answer of a service whose database is never asked: what is wrong is found before.
    async fn answer(request: Request<Body>) -> (StatusCode, String) {
        let place = Place {
            database_host: Some("nowhere.invalid".to_owned()),
        };
        let identity = service(Switches::default()).identity;
        let database = Database::open(&place, &identity).unwrap();
        let router = route().with_state(database);
        let answer = router.oneshot(request).await.unwrap();
        let status = answer.status();
        let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    fn post(body: impl Into<Body>) -> Request<Body> {
        Request::post("/entries")
            .header("content-type", "application/json")
            .body(body.into())
            .unwrap()
    }

    #[tokio::test]
    async fn what_cannot_be_kept_is_refused_with_the_reason() {
        let (status, text) = answer(post("{\"txt\": 1}")).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(text.contains("unknown field `txt`"), "{text}");
        let long = json!({"text": "x".repeat(MAX_TEXT + 1)}).to_string();
        let (status, text) = answer(post(long)).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
        assert!(text.contains("10001 bytes"), "{text}");
        let (status, _) = answer(post("{\"text\": \"\\u0000\"}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
    }

    #[tokio::test]
    async fn a_page_that_is_none_is_refused_with_the_reason() {
        let get = |query: &str| Request::get(format!("/entries?{query}")).body(Body::empty());
        let (status, text) = answer(get("limit=10001").unwrap()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(text.contains("may be 10000"), "{text}");
        let (status, text) = answer(get("after=x").unwrap()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(text.contains("?after=ID&limit=N"), "{text}");
    }
}
