//! `/readyz`: whether requests may be sent here; if not, why.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Admin;
use crate::lifecycle::NotReady;

pub(super) fn route() -> Router<Admin> {
    Router::new().route("/readyz", get(readyz))
}

impl IntoResponse for NotReady {
    fn into_response(self) -> Response {
        (StatusCode::SERVICE_UNAVAILABLE, format!("{self}\n")).into_response()
    }
}

async fn readyz(State(admin): State<Admin>) -> Result<&'static str, NotReady> {
    admin.readiness.check().map(|()| "ok\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::router;
    use crate::admin::tests::{get, waiting};

    #[tokio::test]
    async fn it_says_what_it_waits_for_until_that_is_there() {
        let admin = waiting();
        let (status, text) = get(router(admin.clone()), "/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(text, "it waits for its database\n");
        admin.readiness.has("its database");
        assert_eq!(get(router(admin), "/readyz").await.0, StatusCode::OK);
    }
}
