//! What proves that a request for entries comes from a component that may ask for them: a token that both sides get from the
//! same Secret.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use thiserror::Error;

const SCHEME: &str = "Bearer ";

/// The token. It is never shown.
#[derive(Clone)]
pub struct Token(Arc<str>);

/// A text that cannot be a token.
#[derive(Clone, Copy, Debug, Error)]
#[error("a token is one or more visible ASCII characters; look into the Secret that it comes from")]
pub struct NoToken;

impl FromStr for Token {
    type Err = NoToken;

    fn from_str(text: &str) -> Result<Self, NoToken> {
        // A line break at the end comes from an editor. An empty text must not be taken for "no token is needed".
        let text = text.trim_end_matches(['\r', '\n']);
        let is_visible = |byte: u8| byte.is_ascii_graphic();
        if text.is_empty() || !text.bytes().all(is_visible) {
            return Err(NoToken);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    /// Puts it where [`require`] looks for it.
    pub(super) fn attach(&self, headers: &mut HeaderMap) {
        // Visible ASCII is always a header's value.
        if let Ok(mut value) = HeaderValue::from_str(&format!("{SCHEME}{}", self.0)) {
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
    }

    fn is_in(&self, headers: &HeaderMap) -> bool {
        let value = headers
            .get(header::AUTHORIZATION)
            .map(HeaderValue::as_bytes);
        let given = value.and_then(|value| value.strip_prefix(SCHEME.as_bytes()));
        given.is_some_and(|given| is_same(given, self.0.as_bytes()))
    }
}

/// Takes as long however much of it is right, so that nobody can guess it byte by byte.
fn is_same(given: &[u8], own: &[u8]) -> bool {
    let differences = given.iter().zip(own).map(|(a, b)| a ^ b);
    given.len() == own.len() && differences.fold(0, |all, one| all | one) == 0
}

#[derive(Debug, Error)]
#[error(
    "entries are for components that have this one's token: it comes from a Secret, as DEMO_TOKEN"
)]
struct Refused;

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
        let body = Json(json!({"error": self.to_string()}));
        (StatusCode::UNAUTHORIZED, challenge, body).into_response()
    }
}

/// Lets nobody through who does not have the token.
pub(super) async fn require(
    State(token): State<Token>,
    request: Request,
    next: Next,
) -> Result<Response, impl IntoResponse> {
    if token.is_in(request.headers()) {
        Ok(next.run(request).await)
    } else {
        Err(Refused)
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use tower::ServiceExt as _;

    use super::*;

    #[test]
    fn an_empty_secret_is_refused_and_a_line_break_is_none_of_it() {
        for wrong in ["", "\n", "two words", "tést"] {
            assert!(wrong.parse::<Token>().is_err(), "{wrong:?}");
        }
        let token: Token = "s3cret\n".parse().unwrap();
        assert_eq!(&*token.0, "s3cret");
        assert_eq!(format!("{token:?}"), "Token(…)");
    }

    #[tokio::test]
    async fn only_who_has_the_token_gets_through() {
        let token: Token = "s3cret".parse().unwrap();
        let guarded = from_fn_with_state(token.clone(), require);
        let router = Router::new()
            .route("/", get(|| async { "in" }))
            .layer(guarded);
        let status = async |authorization: Option<&str>| {
            let mut request = Request::get("/").body(Body::empty()).unwrap();
            if let Some(value) = authorization {
                let value = HeaderValue::from_str(value).unwrap();
                request.headers_mut().insert(header::AUTHORIZATION, value);
            }
            router.clone().oneshot(request).await.unwrap().status()
        };
        for wrong in ["Bearer s3cre", "Bearer s3crets", "Bearer S3cret", "s3cret"] {
            assert_eq!(
                status(Some(wrong)).await,
                StatusCode::UNAUTHORIZED,
                "{wrong}"
            );
        }
        assert_eq!(status(None).await, StatusCode::UNAUTHORIZED);
        let mut headers = HeaderMap::new();
        token.attach(&mut headers);
        let attached = headers[header::AUTHORIZATION].to_str().unwrap();
        assert_eq!(status(Some(attached)).await, StatusCode::OK);
    }
}
