//! The admin port: probes and metrics, never routed to from outside.

mod livez;
mod metrics;
mod readyz;

use std::net::SocketAddr;

use axum::Router;
use thiserror::Error;
use tokio::net::TcpListener;

use crate::lifecycle::Readiness;
use crate::metrics::Metrics;

/// A port that cannot be served.
#[derive(Debug, Error)]
#[error(
    "cannot listen on {address} ({purpose}): {source}; another process has the port, or {variable} names a wrong address"
)]
pub struct CannotListen {
    address: SocketAddr,
    purpose: &'static str,
    variable: &'static str,
    source: std::io::Error,
}

/// Listens on an address that `variable` names.
///
/// # Errors
/// If the address cannot be had.
pub async fn listen(
    address: SocketAddr,
    purpose: &'static str,
    variable: &'static str,
) -> Result<TcpListener, CannotListen> {
    TcpListener::bind(address)
        .await
        .map_err(|source| CannotListen {
            address,
            purpose,
            variable,
            source,
        })
}

/// What the endpoints answer from.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Whether the process is ready.
    pub readiness: Readiness,
    /// Its metrics.
    pub metrics: Metrics,
}

/// The endpoints.
pub fn router(admin: Admin) -> Router {
    Router::new()
        .merge(livez::route())
        .merge(readyz::route())
        .merge(metrics::route())
        .with_state(admin)
}

/// Answers on the admin port, which `variable` names, until the process ends.
///
/// # Errors
/// If the address cannot be had.
pub async fn start(
    address: SocketAddr,
    variable: &'static str,
    admin: Admin,
) -> Result<(), CannotListen> {
    let listener = listen(address, "probes and metrics", variable).await?;
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router(admin)).await {
            tracing::error!(%error, "the server of probes and metrics ended");
        }
    });
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::{Request, StatusCode};
    use tower::ServiceExt as _;

    use super::*;

    /// A process that waits for its database.
    pub(crate) fn waiting() -> Admin {
        let admin = Admin {
            readiness: Readiness::default(),
            metrics: Metrics::default(),
        };
        admin.readiness.waits_for("its database", "");
        admin
    }

    /// Asks for a path.
    pub(crate) async fn get(router: Router, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let answer = router.oneshot(request).await.unwrap();
        let status = answer.status();
        let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }
}
