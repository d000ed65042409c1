//! Against servers in this process. Most speak HTTP through memory, so that time can be played: nothing here waits.

use std::future::{pending, ready};
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use hyper::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::sync::mpsc;

use super::*;

/// A connection through memory.
struct Pipe(DuplexStream);

impl Connection for Pipe {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::pin::Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// The server's end of the connections.
struct Accept(mpsc::UnboundedReceiver<DuplexStream>);

impl axum::serve::Listener for Accept {
    type Io = DuplexStream;
    type Addr = ();

    async fn accept(&mut self) -> (DuplexStream, ()) {
        match self.0.recv().await {
            Some(stream) => (stream, ()),
            None => pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Sends a load to a server in memory; also gives the number of connections.
async fn load(server: Router, plan: &Plan) -> (Outcome, usize) {
    load_until(server, plan, pending()).await
}

async fn load_until(
    server: Router,
    plan: &Plan,
    stop: impl Future<Output = ()>,
) -> (Outcome, usize) {
    let (connect, accept) = mpsc::unbounded_channel();
    tokio::spawn(async move { axum::serve(Accept(accept), server).await });
    let opened = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&opened);
    let connector = tower::service_fn(move |_: Uri| {
        let (client, server) = duplex(64 * 1024);
        count.fetch_add(1, Ordering::Relaxed);
        let sent = connect.send(server).map_err(std::io::Error::other);
        ready(sent.map(|()| TokioIo::new(Pipe(client))))
    });
    let outcome = generate_over(connector, plan, stop, |_| {}).await;
    (outcome, opened.load(Ordering::Relaxed))
}

fn plan(rate: f64, seconds: u64) -> Plan {
    Plan::get("http://server/", rate, Duration::from_secs(seconds)).unwrap()
}

/// A server that answers at once, except that nothing is answered between `from` and `to`.
fn stalling(from: Duration, to: Duration) -> Router {
    let begun = Instant::now();
    let handler = move || async move {
        if (from..to).contains(&begun.elapsed()) {
            sleep_until(begun + to).await;
        }
        "ok"
    };
    Router::new().route("/", get(handler))
}

#[tokio::test(start_paused = true)]
async fn a_stall_shows_in_every_request_that_was_due_during_it() {
    let stall = stalling(Duration::from_secs(4), Duration::from_secs(6));
    let (outcome, _) = load(stall, &plan(100.0, 10)).await;
    assert_eq!(outcome.all.answers(), 1_000);
    assert_eq!(outcome.failed(), 0);
    // 100 requests a second were due: of those in the first second of the stall each waited for more than one, and so on.
    // A millisecond is what the clock of the runtime is exact to.
    let slower = |millis| outcome.all.slower_than(Duration::from_millis(millis));
    assert_eq!(slower(1_005), 100);
    assert_eq!(slower(505), 150);
    assert_eq!(slower(5), 200);
    let close = |time: Duration, seconds: f64| (time.as_secs_f64() - seconds).abs() < 0.02;
    assert!(close(outcome.all.latency(0.90), 1.0), "{outcome:?}");
    assert!(close(outcome.all.latency(0.99), 1.9), "{outcome:?}");
    assert!(close(outcome.all.latency(1.0), 2.0), "{outcome:?}");
    assert!(outcome.all.latency(0.79) < Duration::from_millis(5));
}

#[tokio::test(start_paused = true)]
async fn connections_are_used_again_and_the_rate_is_kept() {
    let server = Router::new().route("/", get(async || "ok"));
    let (outcome, connections) = load(server, &plan(50.0, 20)).await;
    assert_eq!(outcome.due, 1_000);
    assert_eq!(outcome.reached(), 50.0);
    assert_eq!(connections, 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_asked_at_the_same_rate_and_shown_as_it_is() {
    let server = Router::new().route("/", get(async || pending::<()>().await));
    let mut plan = plan(10.0, 10);
    plan.timeout = Duration::from_secs(3);
    plan.most_unanswered = 20;
    let (outcome, connections) = load(server, &plan).await;
    assert_eq!((outcome.due, outcome.all.answers()), (100, 0));
    assert_eq!(outcome.failed(), 100);
    let late = outcome.errors["no answer in time"];
    assert_eq!(
        outcome.errors["not sent: 20 requests without an answer"],
        100 - late
    );
    assert_eq!(outcome.all.slower_than(Duration::from_millis(2_900)), late);
    assert!(connections >= 20);
}

#[tokio::test(start_paused = true)]
async fn a_load_can_be_stopped_and_counts_what_was_sent() {
    let server = Router::new().route("/", get(async || "ok"));
    let stop = tokio::time::sleep(Duration::from_millis(1_999));
    let (outcome, _) = load_until(server, &plan(100.0, 60), stop).await;
    assert_eq!((outcome.due, outcome.all.answers()), (200, 200));
}

#[tokio::test]
async fn answers_over_real_connections_are_told_apart_by_code_and_answerer() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let number = Arc::new(AtomicUsize::new(0));
    let handler = move |headers: axum::http::HeaderMap, body: String| async move {
        assert_eq!(headers["host"], "demo.test.localhost");
        assert_eq!(body, "x");
        match number.fetch_add(1, Ordering::Relaxed) % 4 {
            0 => (StatusCode::OK, r#"{"version": "v2"}"#),
            1 => (StatusCode::INTERNAL_SERVER_ERROR, r#"{"version": "v1"}"#),
            _ => (StatusCode::OK, r#"{"version": "v1"}"#),
        }
    };
    let server = Router::new().route("/", post(handler));
    tokio::spawn(async move { axum::serve(listener, server).await });
    let duration = Duration::from_millis(100);
    let mut plan = Plan::get(&format!("http://{address}/"), 1_000.0, duration).unwrap();
    plan.method = hyper::Method::POST;
    plan.body = Bytes::from_static(b"x");
    plan.by = Some("version".to_owned());
    plan.headers
        .insert("host", "demo.test.localhost".parse().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&seen);
    let watch = move |one| note.lock().unwrap().push(one);
    let outcome = generate_watched(&plan, pending(), watch).await;
    assert_eq!(outcome.failed(), 0, "{outcome:?}");
    let seen = seen.lock().unwrap();
    let of = |status, by: &str| {
        let is = |one: &&Seen| one.status == Some(status) && one.by.as_deref() == Some(by);
        seen.iter().filter(is).count()
    };
    assert_eq!((of(200, "v1"), of(500, "v1"), of(200, "v2")), (50, 25, 25));
    assert!(seen.iter().any(|one| one.due == Duration::from_millis(99)));
    assert_eq!(outcome.all.codes()[&200], 75);
    assert_eq!(outcome.by["v2"].answers(), 25);
    assert_eq!(outcome.by["v1"].codes()[&500], 25);
}

#[tokio::test]
async fn nobody_there_is_an_error_with_a_name() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let duration = Duration::from_millis(50);
    let plan = Plan::get(&format!("http://{address}/"), 100.0, duration).unwrap();
    let outcome = generate(&plan, pending()).await;
    assert_eq!((outcome.all.answers(), outcome.failed()), (0, 5));
    let kinds: Vec<_> = outcome.errors.keys().collect();
    assert!(kinds[0].starts_with("no connection: "), "{kinds:?}");
}
