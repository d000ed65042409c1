//! Sends requests when they are due.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::TokioExecutor;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::client::ask;
use super::outcome::Outcome;
use super::plan::Plan;

/// What became of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When it was due, from the beginning of the load.
    pub due: Duration,
    /// From then to the answer, or to when none was waited for any more.
    pub latency: Duration,
    /// The answer's status code; none without an answer.
    pub status: Option<u16>,
    /// Who answered, if the plan asks.
    pub by: Option<String>,
}

/// Sends the requests of `plan` until its end or until `stop`, whichever is first, and waits for the answers to what was
/// sent. Connections are used again.
pub async fn generate(plan: &Plan, stop: impl Future<Output = ()>) -> Outcome {
    generate_watched(plan, stop, |_| {}).await
}

/// The same, and tells of each request when its answer is there. `watch` is called between requests and must be quick.
pub async fn generate_watched(
    plan: &Plan,
    stop: impl Future<Output = ()>,
    watch: impl Fn(Seen) + Send + Sync + 'static,
) -> Outcome {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    generate_over(connector, plan, stop, watch).await
}

#[allow(
    clippy::cast_precision_loss,
    reason = "exact for the first 2^53 requests"
)]
pub(super) async fn generate_over<C>(
    connector: C,
    plan: &Plan,
    stop: impl Future<Output = ()>,
    watch: impl Fn(Seen) + Send + Sync + 'static,
) -> Outcome
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let client: Client<C, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let outcome = Arc::new(Mutex::new(Outcome::new(plan.rate)));
    let places = Arc::new(Semaphore::new(plan.most_unanswered));
    let (shared, watch) = (Arc::new(plan.clone()), Arc::new(watch));
    let begun = Instant::now();
    let mut requests = JoinSet::new();
    tokio::pin!(stop);
    for number in 0.. {
        let Some(since) = plan.due(number) else {
            break;
        };
        let due = begun + since;
        tokio::select! {
            biased;
            () = &mut stop => break,
            () = sleep_until(due) => {}
        }
        lock(&outcome).due += 1;
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            let most = plan.most_unanswered;
            lock(&outcome).error(format!("not sent: {most} requests without an answer"));
            watch(Seen {
                due: since,
                latency: Duration::ZERO,
                status: None,
                by: None,
            });
            continue;
        };
        let (client, plan, outcome) = (client.clone(), Arc::clone(&shared), Arc::clone(&outcome));
        let watch = Arc::clone(&watch);
        requests.spawn(async move {
            lock(&outcome).sent(due.elapsed());
            let answer = timeout_at(due + plan.timeout, ask(&client, &plan)).await;
            // From when it should have been sent: what it had to wait for before that is the server's doing too.
            let latency = due.elapsed();
            let (status, by) = match &answer {
                Ok(Ok(answer)) => (Some(answer.status), answer.by.clone()),
                _ => (None, None),
            };
            watch(Seen {
                due: since,
                latency,
                status,
                by,
            });
            let mut outcome = lock(&outcome);
            match answer {
                Ok(Ok(answer)) => outcome.answered(answer, latency),
                Ok(Err(kind)) => outcome.error(kind),
                Err(_) => outcome.unanswered(latency),
            }
            drop(place);
        });
        // What has ended is let go of.
        while requests.try_join_next().is_some() {}
    }
    while requests.join_next().await.is_some() {}
    let mut outcome = lock(&outcome).clone();
    // The time until the request after the last would have been due belongs to the last.
    let sending = Duration::from_secs_f64(outcome.due as f64 / plan.rate);
    outcome.took = begun.elapsed().max(sending);
    outcome
}

fn lock(outcome: &Mutex<Outcome>) -> MutexGuard<'_, Outcome> {
    // What is guarded is complete after every statement.
    outcome.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "generate_tests.rs"]
mod tests;
