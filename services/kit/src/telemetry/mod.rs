//! Logs as JSON lines, and traces by OTLP.

mod b3;
pub mod propagation;

use clap::Args;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use thiserror::Error;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

/// What is told, and where to.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Telemetry")]
#[group(skip)]
pub struct Options {
    /// What is logged: a level, and levels of single modules, as in `info,sqlx=debug`.
    #[arg(long, global = true, env = "LOG", value_name = "FILTER", default_value = "info", value_parser = filter)]
    pub log: Targets,
    /// Address of who takes traces by OTLP (gRPC). Without it none are sent; those of callers are passed on all the same.
    #[arg(
        long,
        global = true,
        env = "OTEL_EXPORTER_OTLP_ENDPOINT",
        value_name = "URL"
    )]
    pub otlp_endpoint: Option<String>,
    /// Name of the service in traces.
    #[arg(
        long,
        global = true,
        env = "OTEL_SERVICE_NAME",
        value_name = "NAME",
        default_value = "todo"
    )]
    pub service_name: String,
    /// Share of the traces that begin here and are sent, from 0 to 1. What a caller has begun follows the caller.
    #[arg(long, global = true, env = "OTEL_TRACES_SAMPLER_ARG", value_name = "SHARE", default_value = "1", value_parser = share)]
    pub trace_share: f64,
}

fn filter(text: &str) -> Result<Targets, String> {
    const HINT: &str = "write a level (off, error, warn, info, debug, trace), or module=level, separated by commas";
    // A word that is no level would be taken for a module of which everything is to be logged.
    let mut words = text.split(',').map(str::trim);
    if let Some(word) =
        words.find(|word| !word.contains('=') && word.parse::<LevelFilter>().is_err())
    {
        return Err(format!("{word:?} is no level; {HINT}"));
    }
    text.parse().map_err(|error| format!("{error}; {HINT}"))
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("it is no number from 0 to 1".to_owned()),
    }
}

/// Why nothing can be told.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// The exporter cannot be made.
    #[error("traces cannot be sent to {endpoint}: {source}; correct OTEL_EXPORTER_OTLP_ENDPOINT")]
    Exporter {
        /// Where to.
        endpoint: String,
        /// Why.
        source: ExporterBuildError,
    },
    /// Somebody else tells already.
    #[error("logs are already written by somebody else in this process: {0}")]
    Taken(#[from] TryInitError),
}

/// Telemetry that is on. What was not sent yet goes with [`Telemetry::end`].
#[derive(Debug)]
pub struct Telemetry(SdkTracerProvider);

/// Begins to log and to trace. Within a runtime: that is where traces are sent from.
///
/// # Errors
/// If the address of who takes traces is none.
pub fn start(options: &Options) -> Result<Telemetry, TelemetryError> {
    let provider = provider(options)?;
    let tracer = provider.tracer("todo-kit");
    let json = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false);
    tracing_subscriber::registry()
        .with(options.log.clone())
        .with(json)
        .with(tracing_opentelemetry::layer().with_tracer(tracer))
        .try_init()?;
    Ok(Telemetry(provider))
}

fn provider(options: &Options) -> Result<SdkTracerProvider, TelemetryError> {
    let resource = Resource::builder().with_service_name(options.service_name.clone());
    let builder = SdkTracerProvider::builder().with_resource(resource.build());
    let endpoint = options.otlp_endpoint.as_deref().unwrap_or_default().trim();
    if endpoint.is_empty() {
        let off = Sampler::ParentBased(Box::new(Sampler::AlwaysOff));
        return Ok(builder.with_sampler(off).build());
    }
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .build()
        .map_err(|source| TelemetryError::Exporter {
            endpoint: endpoint.to_owned(),
            source,
        })?;
    let share = Sampler::TraceIdRatioBased(options.trace_share);
    Ok(builder
        .with_batch_exporter(exporter)
        .with_sampler(Sampler::ParentBased(Box::new(share)))
        .build())
}

impl Telemetry {
    /// Sends what was not sent yet. Blocks, for some seconds if nobody takes it.
    pub fn end(self) {
        if let Err(error) = self.0.shutdown() {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}

/// An error and its causes, where they say more than it does.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_and_shares_are_read() {
        assert!(filter("info,sqlx=debug").is_ok());
        assert!(filter("loud").unwrap_err().contains("error, warn, info"));
        assert!(filter("info,sqlx").is_err());
        assert_eq!(share("0.25"), Ok(0.25));
        assert!(share("2").is_err() && share("NaN").is_err());
    }

    #[test]
    fn a_chain_says_each_cause_once() {
        #[derive(Debug, Error)]
        #[error("cannot read: {source}")]
        struct Outer {
            source: Inner,
        }
        #[derive(Debug, Error)]
        #[error("no file")]
        struct Inner {
            #[source]
            cause: std::io::Error,
        }
        let cause = std::io::Error::other("gone");
        let error = Outer {
            source: Inner { cause },
        };
        assert_eq!(chain(&error), "cannot read: no file: gone");
    }
}
