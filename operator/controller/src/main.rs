//! `todo-operator`: runs [`todo_operator_controller`] against a cluster.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{Parser, ValueEnum};
use kube::Client;
use todo_operator_controller::kafka::RdKafkaAdmin;
use todo_operator_controller::metrics::Metrics;
use todo_operator_controller::outside::{SystemClock, random_jitter};
use todo_operator_controller::run::{Options, Outside, run};
use todo_operator_controller::server::{Probes, router};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Turns TodoApps and TodoEnvironments into everything that they need.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Address of /healthz, /readyz and /metrics.
    #[arg(long, env = "LISTEN", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// Form of the log.
    #[arg(long, env = "LOG_FORMAT", default_value = "json")]
    log_format: LogFormat,
    /// What is logged, as `info` or `todo_operator_controller=debug`.
    #[arg(long, env = "LOG_LEVEL", default_value = "info")]
    log_level: String,
    /// Namespace of the operator; its Lease stands there.
    #[arg(long, env = "POD_NAMESPACE", default_value = "todo-operator")]
    namespace: String,
    /// Directory with one directory for each Kafka administrator's credential.
    #[arg(
        long,
        env = "KAFKA_CREDENTIALS",
        default_value = "/etc/todo-operator/kafka"
    )]
    kafka_credentials: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Human,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(error) = start_log(&arguments) {
        eprintln!(
            "todo-operator: --log-level {:?}: {error}",
            arguments.log_level
        );
        return ExitCode::from(2);
    }
    match operate(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error, "the operator ends");
            ExitCode::FAILURE
        }
    }
}

fn start_log(arguments: &Arguments) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter: Targets = arguments.log_level.parse()?;
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    match arguments.log_format {
        LogFormat::Json => {
            let json = log.json().flatten_event(true).with_current_span(true);
            registry.with(json.with_span_list(false)).init();
        }
        LogFormat::Human => registry.with(log).init(),
    }
    Ok(())
}

async fn operate(arguments: Arguments) -> Result<(), String> {
    let client = Client::try_default()
        .await
        .map_err(|error| format!("no cluster to talk to: {error}"))?;
    let ready = Arc::new(AtomicBool::new(false));
    let metrics = Arc::new(Metrics::default());
    let listener = tokio::net::TcpListener::bind(arguments.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", arguments.listen))?;
    let probes = Probes {
        ready: Arc::clone(&ready),
        metrics: Arc::clone(&metrics),
    };
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router(probes)).await {
            tracing::error!(%error, "the server of probes and metrics ended");
        }
    });
    let outside = Outside {
        client,
        kafka: Arc::new(RdKafkaAdmin::new(arguments.kafka_credentials)),
        clock: Arc::new(SystemClock),
        jitter: random_jitter(),
    };
    let host = std::env::var("POD_NAME")
        .or_else(|_| std::env::var("HOSTNAME"))
        .unwrap_or_else(|_| "host".to_owned());
    let options = Options {
        namespace: arguments.namespace,
        identity: format!("{host}-{:08x}", rand::random::<u32>()),
        ready,
        metrics,
    };
    run(outside, options, stop_signal())
        .await
        .map_err(|lost| lost.to_string())
}

/// Resolves at SIGTERM or SIGINT.
async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        // Without handlers the signals end the process by themselves.
        _ => std::future::pending().await,
    }
}
