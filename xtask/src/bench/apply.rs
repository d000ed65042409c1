//! `apply`: how fast children are written, against a bare load of the same objects, and how soon one application has its own.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use kube::Client;
use kube::api::{Api, PostParams};
use todo_operator_api::TodoApp;
use todo_operator_core::child::Child;

use super::audit::{AuditLog, Request};
use super::operator::PATIENCE;
use super::report::{Goal, Report, percentile};
use super::stage::{Beside, Stage};
use super::{Args, cpu, fixture, load};
use crate::progress::heading;

/// Requests at once of the bare load, of which the fastest is taken.
const WORKERS: [usize; 4] = [8, 16, 32, 64];
/// Bare load and operator take turns this often: other work on the machine then meets both.
const ROUNDS: usize = 3;
/// Applications that are applied one by one.
const SINGLE_APPS: usize = 100;
const WRITES: &str = "todo_operator_writes_total";
const RECONCILES: &str = "todo_operator_reconciles_total";
/// No request of the operator for so long is the end of a round.
const QUIET: Duration = Duration::from_secs(2);

/// What one of the two did.
struct Turn {
    /// Children per second.
    rate: f64,
    /// Milliseconds of CPU for each child that etcd and the API server used.
    server_cpu: f64,
    /// The client's.
    client_cpu: f64,
}

impl Turn {
    fn new(children: usize, took: Duration, server_seconds: f64, client_seconds: f64) -> Self {
        let children = children as f64;
        Self {
            rate: children / took.as_secs_f64(),
            server_cpu: server_seconds * 1_000.0 / children,
            client_cpu: client_seconds * 1_000.0 / children,
        }
    }
}

impl std::fmt::Display for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:.0}/s with {:.2} ms of CPU for each (server {:.2}, client {:.2})",
            self.rate,
            self.server_cpu + self.client_cpu,
            self.server_cpu,
            self.client_cpu
        )
    }
}

/// One turn of each.
struct Round {
    bare: Turn,
    operator: Turn,
    requests: f64,
    reconciles: f64,
    /// Seconds from the last child until the last status.
    told: f64,
}

/// Measures.
pub async fn run(args: &Args, root: &Path, executable: &Path) -> Result<Report> {
    let beside = if args.controllers {
        Beside::ControllerManager
    } else {
        Beside::Nothing
    };
    let apps = usize::from(args.apps);
    let stage = Stage::set(root, executable, beside, apps + SINGLE_APPS).await?;
    settle_environments(&stage).await?;
    let client = stage.operators_client().await?;
    let workers = best_workers(&stage, &client, apps).await?;
    let mut rounds = Vec::new();
    for number in 1..=ROUNDS {
        heading(&format!(
            "Round {number} of {ROUNDS}: {} children",
            apps * fixture::CHILDREN
        ));
        let round = round(&stage, &client, apps, workers).await?;
        eprintln!("  bare load {}", round.bare);
        eprintln!("  operator  {}", round.operator);
        rounds.push(round);
    }
    heading(&format!("{SINGLE_APPS} applications, one by one"));
    let delays = single_apps(&stage).await?;
    let median =
        |of: &dyn Fn(&Round) -> f64| percentile(&rounds.iter().map(of).collect::<Vec<_>>(), 0.5);
    Ok(Report::default()
        .figure(
            "ratio",
            median(&|round| round.operator.rate / round.bare.rate),
            Goal::AtLeast(0.8),
        )
        .figure(
            "children_per_s",
            median(&|round| round.operator.rate),
            Goal::None,
        )
        .figure(
            "bare_children_per_s",
            median(&|round| round.bare.rate),
            Goal::None,
        )
        .figure("bare_workers", workers as f64, Goal::None)
        .figure(
            "server_cpu_ms_per_child",
            median(&|round| round.operator.server_cpu),
            Goal::None,
        )
        .figure(
            "bare_server_cpu_ms_per_child",
            median(&|round| round.bare.server_cpu),
            Goal::None,
        )
        .figure(
            "operator_cpu_ms_per_child",
            median(&|round| round.operator.client_cpu),
            Goal::None,
        )
        .figure(
            "bare_client_cpu_ms_per_child",
            median(&|round| round.bare.client_cpu),
            Goal::None,
        )
        .figure(
            "requests_per_child",
            median(&|round| round.requests),
            Goal::AtMost(1.2),
        )
        .figure(
            "reconciles_per_app",
            median(&|round| round.reconciles),
            Goal::None,
        )
        .figure("statuses_after_s", median(&|round| round.told), Goal::None)
        .figure("p50_ms", percentile(&delays, 0.5), Goal::AtMost(250.0))
        .figure("p99_ms", percentile(&delays, 0.99), Goal::AtMost(250.0)))
}

/// Lets the operator do what it does only once: the environments' own children.
async fn settle_environments(stage: &Stage) -> Result<()> {
    let mut audit = stage.audit()?;
    let mut operator = stage.operator()?;
    operator
        .until_metric("todo_operator_leader", "", 1.0)
        .await?;
    until_quiet(&mut audit, &mut Vec::new()).await?;
    operator.stop()
}

/// How many requests at once make the bare load fastest, tried with some of the applications.
async fn best_workers(stage: &Stage, client: &Client, apps: usize) -> Result<usize> {
    heading("Looking for the fastest bare load");
    let apps = stage.create_apps(0..apps.min(100)).await?;
    let children = Arc::new(stage.children(&apps)?);
    let (mut best, mut fastest) = (WORKERS[0], 0.0);
    for workers in WORKERS {
        let Turn { rate, .. } = bare(stage, client, &children, workers).await?;
        eprintln!("  {workers} at once: {rate:.0} children/s");
        if rate > fastest {
            (best, fastest) = (workers, rate);
        }
    }
    stage.delete_apps().await?;
    Ok(best)
}

/// The bare load's turn; leaves no child behind.
async fn bare(
    stage: &Stage,
    client: &Client,
    children: &Arc<Vec<Child>>,
    workers: usize,
) -> Result<Turn> {
    let ours = i32::try_from(std::process::id())?;
    let (server, client_before) = (stage.cpu_seconds()?, cpu::seconds(ours)?);
    let took = load::apply(client, children, workers).await?;
    let server = stage.cpu_seconds()? - server;
    let turn = Turn::new(
        children.len(),
        took,
        server,
        cpu::seconds(ours)? - client_before,
    );
    stage.delete_children().await?;
    Ok(turn)
}

async fn round(stage: &Stage, client: &Client, apps: usize, workers: usize) -> Result<Round> {
    // New ones each time: their status is empty, as after the first `kubectl apply`.
    let apps = stage.create_apps(0..apps).await?;
    let children = Arc::new(stage.children(&apps)?);
    let bare = bare(stage, client, &children, workers).await?;
    let mut audit = stage.audit()?;
    let server = stage.cpu_seconds()?;
    let mut operator = stage.operator()?;
    // From the start of the process: its lists and its Lease are part of the price.
    let took = operator
        .until_metric(WRITES, "", children.len() as f64)
        .await?;
    let server = stage.cpu_seconds()? - server;
    let operators = operator.cpu_seconds()?;
    let mut requests = Vec::new();
    until_quiet(&mut audit, &mut requests).await?;
    let reconciles = operator.metric(RECONCILES, "kind=\"TodoApp\"").await;
    operator.stop()?;
    stage.delete_children().await?;
    stage.delete_apps().await?;
    Ok(Round {
        bare,
        operator: Turn::new(children.len(), took, server, operators),
        requests: requests.len() as f64 / children.len() as f64,
        reconciles: reconciles / apps.len() as f64,
        told: told_after(&requests),
    })
}

/// Seconds from the API server's answer to the last child's write until its answer to the last status's.
fn told_after(requests: &[Request]) -> f64 {
    let last = |of_status: bool| {
        let writes = requests.iter().filter(|request| {
            let resource = request.resource();
            request.is_successful_write()
                && (resource == "todoapps/status") == of_status
                && resource != "leases"
        });
        writes.map(Request::answered).max().unwrap_or_default()
    };
    (last(true) - last(false)) as f64 / 1e6
}

/// Collects the operator's requests until there are no more.
async fn until_quiet(audit: &mut AuditLog, requests: &mut Vec<Request>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        tokio::time::sleep(QUIET).await;
        let before = requests.len();
        requests.extend(audit.read()?.into_iter().filter(Request::is_operators));
        if requests.len() == before {
            return Ok(());
        }
        if Instant::now() >= deadline {
            bail!(
                "the operator still sends requests after {} s",
                PATIENCE.as_secs()
            );
        }
    }
}

/// For each application, the milliseconds from the API server's answer to its creation until its answer to the last
/// child's write, both by the API server's own clock.
async fn single_apps(stage: &Stage) -> Result<Vec<f64>> {
    let mut operator = stage.operator()?;
    operator
        .until_metric("todo_operator_leader", "", 1.0)
        .await?;
    operator.until_quiet(QUIET).await?;
    let namespace = stage.environment(0)?.spec.namespace.clone();
    let api: Api<TodoApp> = Api::namespaced(stage.client.clone(), &namespace);
    let mut delays = Vec::new();
    for number in 0..SINGLE_APPS {
        let name = format!("single-{number}");
        let mut audit = stage.audit()?;
        api.create(&PostParams::default(), &fixture::app(&namespace, &name)?)
            .await?;
        delays.push(delay(&mut audit, &name).await?);
        // Its status and what follows from it must not meet the next one.
        until_idle(&mut audit).await?;
    }
    operator.stop()?;
    Ok(delays)
}

async fn delay(audit: &mut AuditLog, name: &str) -> Result<f64> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let prefix = format!("{name}-");
    let (mut created, mut written) = (None, Vec::new());
    while Instant::now() < deadline {
        for request in audit.read()? {
            if request.verb == "create" && request.resource() == "todoapps" {
                created = Some(request.answered());
            } else if request.is_operators()
                && request.is_successful_write()
                && request.name().starts_with(&prefix)
            {
                written.push(request.answered());
            }
        }
        if let (Some(created), Some(last)) = (created, written.iter().max())
            && written.len() >= fixture::CHILDREN
        {
            return Ok((last - created) as f64 / 1_000.0);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bail!(
        "{name} has {} of {} children after 60 s",
        written.len(),
        fixture::CHILDREN
    )
}

async fn until_idle(audit: &mut AuditLog) -> Result<()> {
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        if !audit.read()?.iter().any(Request::is_operators) {
            return Ok(());
        }
    }
}
