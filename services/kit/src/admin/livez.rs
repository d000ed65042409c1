//! `/livez`: the process answers. The startup and the liveness probe.

use axum::Router;
use axum::routing::get;

use super::Admin;

pub(super) fn route() -> Router<Admin> {
    Router::new().route("/livez", get(livez))
}

async fn livez() -> &'static str {
    "ok\n"
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use crate::admin::router;
    use crate::admin::tests::{get, waiting};

    #[tokio::test]
    async fn a_process_that_is_not_ready_is_alive() {
        let answer = get(router(waiting()), "/livez").await;
        assert_eq!(answer, (StatusCode::OK, "ok\n".to_owned()));
    }
}
