//! Serving requests until told to stop, and the end of that.

use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use thiserror::Error;
use tokio::net::TcpListener;

use crate::lifecycle::{Lifecycle, Phase};
use crate::observe::{Observer, observe};

/// Why serving ended.
#[derive(Debug, Error)]
pub enum ServeError {
    /// Requests were cut off.
    #[error(
        "requests were still in work {0:?} after the last one was taken, and are cut off; give them more time to drain"
    )]
    CutOff(Duration),
    /// The server ended by itself.
    #[error("the server ended: {0}")]
    Server(#[from] std::io::Error),
}

/// Answers HTTP/1.1, and HTTP/2 of who begins with it (as gRPC does), until the process stops; those in work then have
/// `drain_timeout` to end.
///
/// # Errors
/// If it ends otherwise than told, or requests are cut off.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    observer: Observer,
    drain_timeout: Duration,
) -> Result<(), ServeError> {
    let lifecycle = observer.lifecycle.clone();
    let stopping = |lifecycle: Lifecycle| async move { lifecycle.reached(Phase::Stopping).await };
    let server = axum::serve(
        listener,
        router.layer(from_fn_with_state(observer, observe)),
    )
    .with_graceful_shutdown(stopping(lifecycle.clone()));
    let drained = async {
        stopping(lifecycle).await;
        tokio::time::sleep(drain_timeout).await;
    };
    tokio::select! {
        ended = server => ended?,
        () = drained => return Err(ServeError::CutOff(drain_timeout)),
    }
    tracing::info!("every request is answered");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tokio::sync::{Notify, oneshot};

    use super::*;
    use crate::metrics::Metrics;

    /// A server with a request in work, which ends when it is let.
    struct Working {
        lifecycle: Lifecycle,
        client: TcpStream,
        ended: oneshot::Receiver<Result<(), ServeError>>,
        may_end: Arc<Notify>,
    }

    async fn working(drain: Duration) -> Working {
        let (lifecycle, metrics) = (Lifecycle::default(), Metrics::default());
        let observer = Observer {
            metrics,
            lifecycle: lifecycle.clone(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (has_begun, may_end) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let slow = {
            let (has_begun, may_end) = (Arc::clone(&has_begun), Arc::clone(&may_end));
            async move || {
                has_begun.notify_one();
                may_end.notified().await;
                "done"
            }
        };
        let router = Router::new().route("/", get(slow));
        let (end, ended) = oneshot::channel();
        tokio::spawn(async move {
            let _ = end.send(serve(listener, router, observer, drain).await);
        });
        let mut client = TcpStream::connect(address).await.unwrap();
        client
            .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        has_begun.notified().await;
        Working {
            lifecycle,
            client,
            ended,
            may_end,
        }
    }

    #[tokio::test]
    async fn a_request_in_work_is_answered_after_the_stop() {
        let mut working = working(Duration::from_secs(60)).await;
        working.lifecycle.end(async {}, Duration::ZERO).await;
        working.may_end.notify_one();
        let mut answer = String::new();
        working.client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("done"), "{answer}");
        working.ended.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_request_that_takes_too_long_is_cut_off_and_that_is_said() {
        let working = working(Duration::ZERO).await;
        working.lifecycle.end(async {}, Duration::ZERO).await;
        let error = working.ended.await.unwrap().unwrap_err();
        assert!(error.to_string().contains("more time to drain"), "{error}");
    }
}
