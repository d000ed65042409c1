//! The requests that the operator makes, written down from a real run in `shapes.txt`: the simulation understands each,
//! and the comparison with the real server (`fidelity.rs`) makes each.
//!
//! `UPDATE_SHAPES=1` writes the file.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

#[path = "fidelity/kinds.rs"]
#[allow(dead_code, reason = "shared with the comparison")]
mod kinds;
#[path = "schemas/random.rs"]
#[allow(dead_code, reason = "shared with the test of schemas")]
mod random;
#[path = "fidelity/requests.rs"]
#[allow(dead_code, reason = "shared with the comparison")]
mod requests;
#[path = "shapes/shape.rs"]
mod shape;
#[path = "../../controller/tests/support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::{Request, header};
use kube::Client;
use kube::client::Body;
use localcluster::Cluster;
use todo_operator_sim::apiserver::call::Call;

use shape::{features, shape};
use support::{Operator, SteppedClock, apply, life, until};

/// Chance decides whether the same Event is told twice within six minutes.
const BY_CHANCE: &str = "merge events.k8s.io/v1 events";

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("shapes.txt")
}

/// The requests that were seen.
type Seen = Arc<Mutex<BTreeSet<String>>>;

/// A client that writes down the shapes of requests.
fn recording(inner: Client, seen: Seen) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let (inner, seen) = (inner.clone(), Arc::clone(&seen));
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await?;
            let content_type = parts.headers.get(header::CONTENT_TYPE);
            let content_type = content_type
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default();
            let path = parts.uri.path_and_query().unwrap().as_str();
            let understood = Call::parse(parts.method.as_str(), path, content_type, &body);
            assert!(
                understood.is_ok(),
                "{} {path} {content_type}: {understood:?}",
                parts.method
            );
            let query = parts.uri.query().unwrap_or_default();
            let line = shape(
                parts.method.as_str(),
                parts.uri.path(),
                query,
                content_type,
                &body,
            );
            seen.lock().unwrap().insert(line);
            inner
                .send(Request::from_parts(parts, Body::from(body)))
                .await
        }
    });
    Client::new(service, "default")
}

/// Every request of the file is one that the comparison makes.
#[test]
fn the_comparison_makes_every_request() {
    let kinds = kinds::Kind::all();
    let kinds: Vec<&kinds::Kind> = kinds.iter().collect();
    let mut made = BTreeSet::new();
    for seed in 1..400 {
        for request in requests::sequence(&kinds, seed, 120) {
            let queries = match request.method.as_str() {
                "LIST" => vec![
                    request.query.clone(),
                    format!("{}&continue=x", request.query),
                ],
                "WATCH" => vec![format!("{}&{}", requests::WATCH_QUERY, request.query)],
                _ => vec![request.query.clone()],
            };
            let method = if request.content_type.is_empty() {
                "GET"
            } else {
                &request.method
            };
            let body = request.body.to_string();
            for query in queries {
                let line = shape(
                    method,
                    &request.path,
                    &query,
                    &request.content_type,
                    body.as_bytes(),
                );
                made.extend(features(&line));
            }
        }
    }
    let recorded = std::fs::read_to_string(file()).unwrap();
    let wanted: BTreeSet<String> = recorded.lines().flat_map(features).collect();
    let missing: Vec<&String> = wanted.difference(&made).collect();
    assert_eq!(
        missing,
        Vec::<&String>::new(),
        "recorded, and never made by the comparison"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_makes_these_requests() {
    let cluster = support::cluster(life::cluster()).await;
    let client = cluster.client().unwrap();
    let seen = Seen::default();
    let operator = {
        let (config, seen) = (support::operator_config(&cluster).await, Arc::clone(&seen));
        // What waits for some seconds after a write does not wait.
        let clock = SteppedClock::default();
        clock.step(Duration::from_secs(3600));
        let connect = || recording(Client::try_from(config).unwrap(), seen);
        Operator::launch(connect, support::kafka(), Arc::new(clock))
    };
    operator.until_leading().await;
    live(&cluster, &client).await;
    operator.stop().await;

    let mut lines: BTreeSet<String> = seen.lock().unwrap().clone();
    lines.retain(|line| !line.starts_with(BY_CHANCE));
    let recorded: String = lines.iter().map(|line| format!("{line}\n")).collect();
    if std::env::var_os("UPDATE_SHAPES").is_some() {
        std::fs::write(file(), &recorded).unwrap();
        return;
    }
    let in_tree = std::fs::read_to_string(file()).unwrap_or_default();
    let in_tree: BTreeSet<String> = in_tree.lines().map(str::to_owned).collect();
    let changed: Vec<&String> = lines.symmetric_difference(&in_tree).collect();
    assert!(
        changed.is_empty(),
        "the operator's requests have changed; run this test with UPDATE_SHAPES=1 and commit the file: {changed:#?}"
    );
    cluster.stop().unwrap();
}

/// A life: made, released anew, put right, and gone.
async fn live(cluster: &Cluster, client: &Client) {
    let kafka = cluster.kafka_bootstrap().unwrap();
    apply(client, &support::namespace("kafka")).await;
    for variant in life::VARIANTS {
        let (name, ..) = variant;
        life::make_and_release(client, &kafka, variant).await;
        life::lose_service(client, name, "demo-api").await;
        life::retry(client, name).await;
        life::leave_components(client, name).await;
        life::drop_policies(client, name).await;
        gone(client, &support::apps(), name, "demo").await;
    }
}

async fn gone(client: &Client, resource: &kube::api::ApiResource, namespace: &str, name: &str) {
    support::api(client, resource, namespace)
        .delete(name, &Default::default())
        .await
        .unwrap();
    until(&format!("{namespace}/{name} is gone"), async || {
        support::object(client, resource, namespace, name)
            .await
            .is_none()
            .then_some(())
    })
    .await;
}
