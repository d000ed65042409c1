//! The simulated API server beside the real one: the same random requests, the same answers.
//!
//! `FIDELITY_OPERATIONS` is how many requests are sent, `FIDELITY_SEED` the one sequence that is to be run,
//! `FIDELITY_KIND` a part of the paths of the kinds that are to be looked at, `FIDELITY_REPLAY` a file with a sequence
//! as it was printed, and `FIDELITY_PAUSE` the time between two requests of a sequence in milliseconds: more than a
//! second shows what becomes of times.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

#[path = "fidelity/compare.rs"]
mod compare;
#[path = "fidelity/kinds.rs"]
mod kinds;
#[path = "schemas/random.rs"]
#[allow(dead_code, reason = "shared with the test of schemas")]
mod random;
#[path = "fidelity/requests.rs"]
mod requests;
#[path = "fidelity/side.rs"]
mod side;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Client, CustomResourceExt as _};
use localcluster::{Cluster, Config};
use serde_json::Value;
use todo_operator_api::{TodoApp, TodoEnvironment, TodoIntent, TodoRelease};
use todo_operator_sim::apiserver::server::ApiServer;
use todo_operator_sim::catalog::{self, catalog};
use todo_operator_sim::wire::{self, Perfect};

use compare::{Mask, differences};
use kinds::Kind;
use requests::{Request, beginning, sequence};
use side::Side;

/// Requests in a sequence.
const LENGTH: usize = 120;
/// Sequences at a time.
const AT_ONCE: usize = 16;
/// Differences that are shrunk and printed.
const SHOWN: usize = 24;
/// How often a sequence with a difference is run to make it shorter.
const SHRINKS: usize = 40;

/// Both servers.
struct Servers {
    real: Client,
    runs: AtomicUsize,
    operations: AtomicUsize,
    refused: AtomicUsize,
    pause: Duration,
}

/// Where the two servers answered differently.
struct Difference {
    at: usize,
    lines: Vec<String>,
}

impl Servers {
    /// Sends a sequence to both, up to the first difference.
    async fn run(&self, requests: &[Request]) -> Option<Difference> {
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("f{run}");
        let catalog = catalog();
        // Both servers write the second in which a request was sent, but where that ends meanwhile.
        let sent = Arc::new(AtomicI64::new(0));
        let clock = Arc::clone(&sent);
        let now = move || Timestamp::from_millisecond(clock.load(Ordering::Relaxed)).unwrap();
        let server = ApiServer::new(catalog.resources, catalog.rules, now, 1);
        let simulation = wire::client(Arc::new(server), Arc::new(Perfect));
        let mut sides = [
            (Side::new(simulation, &namespace), Mask::default()),
            (Side::new(self.real.clone(), &namespace), Mask::default()),
        ];
        for (at, request) in requests.iter().enumerate() {
            self.operations.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(self.pause).await;
            sent.store(Timestamp::now().as_millisecond(), Ordering::Relaxed);
            let [(simulation, simulation_mask), (real, real_mask)] = &mut sides;
            let (right, answer) = real.send(request).await;
            if is_refused_by_go(right, &answer) {
                self.refused.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let real = real_mask.mask(&answer);
            let (left, answer) = simulation.send(request).await;
            let mut lines = differences(&simulation_mask.mask(&answer), &real);
            if left != right {
                lines.insert(0, format!("simulated {left}, real {right}"));
            }
            if !lines.is_empty() {
                return Some(Difference { at, lines });
            }
        }
        None
    }

    /// Drops requests from a sequence with a difference for as long as there is one.
    async fn shrink(
        &self,
        mut requests: Vec<Request>,
        mut difference: Difference,
    ) -> (Vec<Request>, Difference) {
        requests.truncate(difference.at + 1);
        let kept = beginning().len();
        let mut runs = 0;
        let mut chunk = requests.len() / 2;
        while chunk > 0 && runs < SHRINKS {
            let mut end = requests.len() - 1;
            while end > kept && runs < SHRINKS {
                let begin = end.saturating_sub(chunk).max(kept);
                let mut fewer = requests.clone();
                fewer.drain(begin..end);
                runs += 1;
                if let Some(still) = self.run(&fewer).await {
                    requests = fewer;
                    requests.truncate(still.at + 1);
                    difference = still;
                }
                end = begin.min(requests.len() - 1);
            }
            chunk /= 2;
        }
        (requests, difference)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn same_answers_as_the_api_server() {
    catalog::load().unwrap();
    let cluster = Cluster::start(Config::control_plane().peers(catalog::PEERS))
        .await
        .unwrap();
    let real = cluster.client().unwrap();
    install_own(&real).await;
    let servers = Servers {
        real,
        runs: AtomicUsize::new(0),
        operations: AtomicUsize::new(0),
        refused: AtomicUsize::new(0),
        pause: Duration::from_millis(number("FIDELITY_PAUSE").unwrap_or(0)),
    };
    if let Ok(file) = std::env::var("FIDELITY_REPLAY") {
        replay(&servers, &file).await;
        return;
    }
    let kinds = Kind::all();
    let only = std::env::var("FIDELITY_KIND").unwrap_or_default();
    let kinds: Vec<&Kind> = kinds
        .iter()
        .filter(|kind| kind.path.contains(&only))
        .collect();
    let wanted = number("FIDELITY_OPERATIONS").unwrap_or(100_000);
    let seeds = match number("FIDELITY_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..u64::try_from(usize::try_from(wanted).unwrap().div_ceil(LENGTH)).unwrap() + 1,
    };
    let begun = Instant::now();
    let found: Vec<(u64, Vec<Request>, Difference)> = futures::stream::iter(seeds)
        .map(|seed| {
            let (servers, kinds) = (&servers, &kinds);
            async move {
                let requests = sequence(kinds, seed, LENGTH);
                let difference = servers.run(&requests).await?;
                // One that does not come again came of a second that ended between the two servers.
                match servers.run(&requests).await {
                    Some(again) if again.at == difference.at => Some((seed, requests, difference)),
                    _ => {
                        println!(
                            "not seen again: seed {seed}, {}",
                            difference.lines.join("; ")
                        );
                        None
                    }
                }
            }
        })
        .buffer_unordered(if servers.pause.is_zero() {
            AT_ONCE
        } else {
            4 * AT_ONCE
        })
        .filter_map(async |found| found)
        .collect()
        .await;
    let operations = servers.operations.load(Ordering::Relaxed);
    let refused = servers.refused.load(Ordering::Relaxed);
    let took = begun.elapsed();
    let count = found.len();
    // Of differences of one sort, one is enough.
    let sorts: BTreeMap<String, _> = found
        .into_iter()
        .map(|found| (sort_of(&found.1, &found.2), found))
        .collect();
    let shown = futures::stream::iter(sorts.into_values().take(SHOWN))
        .map(async |(seed, requests, difference)| {
            (seed, servers.shrink(requests, difference).await)
        })
        .buffer_unordered(AT_ONCE);
    shown
        .for_each(async |(seed, (requests, difference))| {
            println!("\nseed {seed}, after the beginning:");
            for request in requests
                .iter()
                .skip(beginning().len().max(requests.len().saturating_sub(30)))
            {
                println!("{}", serde_json::to_string(request).unwrap());
            }
            println!("{}", difference.lines.join("\n"));
        })
        .await;
    println!("fidelity_ops {operations}");
    println!("of which refused by the real server alone: {refused}");
    println!("fidelity_differences {count}");
    println!(
        "took {took:?}, {:.0} a second",
        operations as f64 / took.as_secs_f64()
    );
    assert_eq!(count, 0);
    cluster.stop().unwrap();
}

/// Whether the real server refuses an object of one of Kubernetes' own kinds for what it says. The simulation takes
/// such objects: it checks only what never changes. A refused request changes nothing, so that the sequence goes on.
fn is_refused_by_go(code: u16, answer: &Value) -> bool {
    let group = answer["details"]["group"].as_str().unwrap_or_default();
    let is_own =
        !group.contains('.') || group.ends_with(".k8s.io") && group != "gateway.networking.k8s.io";
    let causes = answer["details"]["causes"].as_array().into_iter().flatten();
    let mut messages = causes.filter_map(|cause| cause["message"].as_str());
    let is_modelled = |message: &str| {
        message.contains("field is immutable")
            || message.contains("must be specified for an update")
            || message.contains("no new finalizers")
    };
    code == 422 && is_own && !messages.all(is_modelled)
}

/// What tells a difference from others.
fn sort_of(requests: &[Request], difference: &Difference) -> String {
    let request = &requests[difference.at];
    let path: Vec<&str> = request.path.split('/').collect();
    let line: String = difference.lines[0]
        .chars()
        .filter(|c| !c.is_ascii_digit())
        .take(60)
        .collect();
    format!(
        "{} {} {line}",
        request.method,
        path.get(6).or(path.get(4)).unwrap_or(&"")
    )
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable)
        .ok()
        .map(|text| text.parse().unwrap())
}

async fn replay(servers: &Servers, file: &str) {
    let text = std::fs::read_to_string(file).unwrap();
    let mut requests = beginning();
    requests.extend(
        text.lines()
            .map(|line| serde_json::from_str::<Request>(line).unwrap()),
    );
    if let Some(difference) = servers.run(&requests).await {
        panic!(
            "request {}:\n{}",
            difference.at + 1,
            difference.lines.join("\n")
        );
    }
}

/// Installs our own kinds.
async fn install_own(client: &Client) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for crd in [
        TodoApp::crd(),
        TodoEnvironment::crd(),
        TodoRelease::crd(),
        TodoIntent::crd(),
    ] {
        let name = crd.metadata.name.clone().unwrap();
        api.patch(
            &name,
            &PatchParams::apply("test").force(),
            &Patch::Apply(&crd),
        )
        .await
        .unwrap();
        let established = await_condition(api.clone(), &name, conditions::is_crd_established());
        tokio::time::timeout(Duration::from_secs(60), established)
            .await
            .unwrap()
            .unwrap();
    }
}
