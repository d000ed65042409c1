//! A client whose requests a test can hold: as they are when the network, or the process itself, ends between two writes.

use axum::http::{Method, Request};
use kube::Client;
use kube::client::Body;

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is sent, and answered.
    Sent,
    /// It is never sent, nor answered.
    Lost,
    /// It is sent, and the answer never comes.
    Unanswered,
}

/// A client that asks for the fate of each request. `answered` is called once an unanswered one has been carried out.
pub fn client(
    inner: Client,
    fate: impl Fn(&Request<Body>) -> Fate + Clone + Send + Sync + 'static,
    carried_out: impl Fn() + Clone + Send + Sync + 'static,
) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let (inner, fate, carried_out) = (inner.clone(), fate(&request), carried_out.clone());
        async move {
            match fate {
                Fate::Sent => return inner.send(request).await,
                Fate::Lost => {}
                Fate::Unanswered => {
                    let _ = inner.send(request).await;
                    carried_out();
                }
            }
            std::future::pending().await
        }
    });
    Client::new(service, "default")
}

/// Whether a request asks to change anything.
pub fn is_write(request: &Request<Body>) -> bool {
    !matches!(*request.method(), Method::GET | Method::HEAD)
}
