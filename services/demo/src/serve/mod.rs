//! The role `serve`: HTTP on the component's port.

pub mod entries;
pub mod forward;
pub mod index;
pub mod observe;
pub mod token;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use clap::Args;
use thiserror::Error;

use self::forward::Upstream;
use self::token::Token;
use crate::admin::{self, Admin, CannotListen};
use crate::database::{Database, Place};
use crate::faults::{Faults, Switches};
use crate::identity::Identity;
use crate::lifecycle::{Lifecycle, Patience, Phase, Readiness};
use crate::metrics::Metrics;

/// Time between two looks at a database that is not there yet.
const RETRY: Duration = Duration::from_secs(1);

/// Options of `demo serve`.
#[derive(Args, Debug)]
pub struct Options {
    #[command(flatten)]
    identity: Identity,
    /// Address of the component's own port.
    #[arg(
        long,
        env = "DEMO_LISTEN",
        value_name = "ADDRESS",
        default_value = "0.0.0.0:8080"
    )]
    listen: SocketAddr,
    /// Address of probes and metrics.
    #[arg(
        long,
        env = "DEMO_ADMIN_LISTEN",
        value_name = "ADDRESS",
        default_value = "0.0.0.0:9090"
    )]
    admin_listen: SocketAddr,
    /// What `/` says besides.
    #[arg(long, env = "GREETING", value_name = "TEXT")]
    greeting: Option<String>,
    /// Who keeps the entries, as host:port: /entries is passed on to there.
    #[arg(long, env = "SERVICE_API", value_name = "AUTHORITY")]
    api: Option<String>,
    /// What entries are asked for with: whoever keeps them refuses others, whoever passes requests on adds it.
    #[arg(long, env = "DEMO_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<Token>,
    #[command(flatten)]
    database: Place,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    switches: Switches,
}

/// Why serving ended.
#[derive(Debug, Error)]
pub enum ServeError {
    /// A port is taken.
    #[error(transparent)]
    Listen(#[from] CannotListen),
    /// The address of the other service is none.
    #[error(transparent)]
    Upstream(#[from] forward::NoAuthority),
    /// Requests were cut off.
    #[error(
        "requests were still in work {0:?} after the last one was taken, and are cut off; give them more time by DEMO_DRAIN"
    )]
    CutOff(Duration),
    /// The server ended by itself.
    #[error("the server ended: {0}")]
    Server(#[from] std::io::Error),
}

/// Where entries are.
#[derive(Clone, Debug)]
pub(crate) enum Entries {
    /// Nowhere: the component has no database.
    Nowhere,
    /// In a database of its own.
    Here(Database),
    /// With another service.
    There(Upstream),
}

/// What the endpoints answer from.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) identity: Arc<Identity>,
    pub(crate) greeting: Option<Arc<str>>,
    pub(crate) entries: Entries,
    pub(crate) token: Option<Token>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) lifecycle: Lifecycle,
}

/// The endpoints of the component's own port.
pub(crate) fn router(service: Service) -> Router {
    let entries = match &service.entries {
        Entries::Nowhere => Router::new(),
        Entries::Here(database) => guarded(
            entries::route().with_state(database.clone()),
            service.token.as_ref(),
        ),
        Entries::There(upstream) => forward::route().with_state(upstream.clone()),
    };
    Router::new()
        .merge(index::route().with_state(service.clone()))
        .merge(entries)
        .layer(from_fn_with_state(service, observe::observe))
}

fn guarded(entries: Router, token: Option<&Token>) -> Router {
    match token {
        None => entries,
        Some(token) => entries.layer(from_fn_with_state(token.clone(), token::require)),
    }
}

/// Answers until told to stop.
///
/// # Errors
/// If it cannot start, or ends otherwise than told.
pub async fn run(options: Options, stop: impl Future<Output = ()>) -> Result<(), ServeError> {
    let lifecycle = Lifecycle::default();
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let entries = match given(options.api) {
        Some(authority) => Entries::There(Upstream::new(&authority, options.token.clone())?),
        None => Database::open(&options.database, &options.identity)
            .map_or(Entries::Nowhere, Entries::Here),
    };
    let awaited = matches!(entries, Entries::Here(_)).then_some("its database");
    let never = options.switches.never_ready;
    let readiness = Readiness::new(lifecycle.clone(), never, awaited);
    let metrics = Arc::new(Metrics::default());
    let service = Service {
        identity: Arc::new(options.identity),
        greeting: given(options.greeting).map(Arc::from),
        entries,
        token: options.token,
        faults: Arc::new(Faults::new(options.switches)),
        metrics: Arc::clone(&metrics),
        lifecycle: lifecycle.clone(),
    };
    let listener = admin::listen(options.listen, "requests", "DEMO_LISTEN").await?;
    admin::start(
        options.admin_listen,
        Admin {
            readiness: readiness.clone(),
            metrics,
        },
    )
    .await?;
    service.faults.arm();
    if let Entries::Here(database) = &service.entries {
        tokio::spawn(await_database(database.clone(), readiness));
    }
    tracing::info!(listen = %options.listen, version = service.identity.version, "serving");
    let stopping = lifecycle.clone();
    let server = axum::serve(listener, router(service))
        .with_graceful_shutdown(async move { stopping.reached(Phase::Stopping).await });
    let drained = async {
        lifecycle.end(stop, options.patience.shutdown_delay).await;
        tokio::time::sleep(options.patience.drain).await;
    };
    tokio::select! {
        ended = server => ended?,
        () = drained => return Err(ServeError::CutOff(options.patience.drain)),
    }
    tracing::info!("every request is answered");
    Ok(())
}

/// Ready once the database could be read. Not asked again: if it fails later, it fails for every pod, and no pod would be
/// a better address.
async fn await_database(database: Database, readiness: Readiness) {
    while let Err(error) = database.check().await {
        tracing::warn!("not ready: {error}");
        readiness.waits_for(Some(format!("its database: {error}")));
        tokio::time::sleep(RETRY).await;
    }
    readiness.waits_for(None);
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A service without a database.
    pub(crate) fn service(switches: Switches) -> Service {
        Service {
            identity: Arc::new(Identity {
                component: "web".to_owned(),
                version: "v7".to_owned(),
                pod: "demo-web-1".to_owned(),
            }),
            greeting: Some(Arc::from("hello")),
            entries: Entries::Nowhere,
            token: None,
            faults: Arc::new(Faults::new(switches)),
            metrics: Arc::default(),
            lifecycle: Lifecycle::default(),
        }
    }
}
