//! `/entries` of a component that calls the one with the database: requests are passed on, answers come back as they are.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::uri::{Authority, PathAndQuery, Scheme};
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::json;
use thiserror::Error;

use super::token::Token;

/// Headers about one connection, which mean nothing on another.
const HOP_BY_HOP: [HeaderName; 5] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
    header::HOST,
];

pub(super) fn route() -> Router<Upstream> {
    Router::new().route("/entries", get(forward).post(forward))
}

/// The address of the other service is none.
#[derive(Debug, Error)]
#[error(
    "SERVICE_API is {0:?}, which is no host:port; the operator sets it for each component in `calls`"
)]
pub struct NoAuthority(String);

/// The other service.
#[derive(Clone, Debug)]
pub struct Upstream {
    authority: Authority,
    token: Option<Token>,
    client: Client<HttpConnector, Body>,
}

impl Upstream {
    /// The service at `host:port`, which wants this token.
    ///
    /// # Errors
    /// If that is no such address.
    pub fn new(authority: &str, token: Option<Token>) -> Result<Self, NoAuthority> {
        let wrong = |_| NoAuthority(authority.to_owned());
        Ok(Self {
            authority: authority.parse().map_err(wrong)?,
            token,
            client: Client::builder(TokioExecutor::new()).build_http(),
        })
    }
}

#[derive(Debug, Error)]
enum ForwardError {
    #[error("{0} does not answer: {1}")]
    Unanswered(Authority, hyper_util::client::legacy::Error),
    #[error("the address of the request cannot be passed on: {0}")]
    Address(axum::http::uri::InvalidUriParts),
}

impl IntoResponse for ForwardError {
    fn into_response(self) -> Response {
        tracing::warn!("{self}");
        let body = Json(json!({"error": self.to_string()}));
        (StatusCode::BAD_GATEWAY, body).into_response()
    }
}

async fn forward(
    State(upstream): State<Upstream>,
    request: Request,
) -> Result<Response, ForwardError> {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().cloned();
    let mut uri = axum::http::uri::Parts::default();
    uri.scheme = Some(Scheme::HTTP);
    uri.authority = Some(upstream.authority.clone());
    uri.path_and_query = Some(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    parts.uri = Uri::from_parts(uri).map_err(ForwardError::Address)?;
    drop_hop_by_hop(&mut parts.headers);
    if let Some(token) = &upstream.token {
        token.attach(&mut parts.headers);
    }
    let answer = upstream.client.request(Request::from_parts(parts, body));
    let mut answer = answer
        .await
        .map_err(|error| ForwardError::Unanswered(upstream.authority.clone(), error))?;
    drop_hop_by_hop(answer.headers_mut());
    Ok(answer.map(Body::new))
}

fn drop_hop_by_hop(headers: &mut HeaderMap) {
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use axum::routing::post;
    use tokio::net::TcpListener;
    use tower::ServiceExt as _;

    use super::*;

    async fn answer(authority: &str) -> (StatusCode, String) {
        let token = Some("s3cret".parse().unwrap());
        let router = route().with_state(Upstream::new(authority, token).unwrap());
        let request = Request::post("/entries?x=1").body(Body::from("a body"));
        let answer = router.oneshot(request.unwrap()).await.unwrap();
        let status = answer.status();
        let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn request_and_answer_are_passed_on() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let echo = |uri: Uri, headers: HeaderMap, body: String| async move {
            let token = headers[header::AUTHORIZATION].to_str().unwrap().to_owned();
            (StatusCode::CREATED, format!("{uri} with {body}, {token}"))
        };
        let api = Router::new().route("/entries", post(echo));
        tokio::spawn(async move { axum::serve(listener, api).await });
        let expected = "/entries?x=1 with a body, Bearer s3cret".to_owned();
        assert_eq!(answer(&address).await, (StatusCode::CREATED, expected));
    }

    #[tokio::test]
    async fn a_service_that_is_not_there_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let (status, text) = answer(&address).await;
        assert_eq!(status, StatusCode::BAD_GATEWAY);
        assert!(text.contains(&address), "{text}");
        assert!(Upstream::new("not an address", None).is_err());
    }
}
