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
use crate::database::{Database, Place};
use crate::faults::{Faults, Switches};
use crate::identity::Identity;
use todo_kit::admin::{self, Admin, CannotListen};
use todo_kit::arguments::duration;
use todo_kit::lifecycle::{Lifecycle, Readiness};
use todo_kit::metrics::Metrics;
use todo_kit::observe::Observer;
use todo_kit::serve as server;

/// Time between two looks at a database that is not there yet.
const RETRY: Duration = Duration::from_secs(1);

/// What a process with a database waits for before it is ready.
const AWAITED: &str = "its database";

/// How long an end may take.
#[derive(Args, Clone, Copy, Debug)]
#[command(next_help_heading = "End")]
struct Patience {
    /// Time after SIGTERM in which new requests are still answered, unready, until nobody sends any.
    #[arg(long, env = "DEMO_SHUTDOWN_DELAY", value_name = "DURATION", default_value = "3s", value_parser = duration)]
    shutdown_delay: Duration,
    /// Time that requests in work have to end after that.
    #[arg(long, env = "DEMO_DRAIN", value_name = "DURATION", default_value = "20s", value_parser = duration)]
    drain: Duration,
}

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
    /// It ended otherwise than told.
    #[error(transparent)]
    Server(#[from] server::ServeError),
}

/// Where entries are.
#[derive(Clone, Debug)]
pub(crate) enum Entries {
    /// Nowhere: the component has no database.
    Nowhere,
    /// In a database of its own.
    Here(Database),
    /// With another service.
    There(Box<Upstream>),
}

/// What the endpoints answer from.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) identity: Arc<Identity>,
    pub(crate) greeting: Option<Arc<str>>,
    pub(crate) entries: Entries,
    pub(crate) token: Option<Token>,
    pub(crate) faults: Arc<Faults>,
}

/// The endpoints of the component's own port.
pub(crate) fn router(service: Service) -> Router {
    let entries = match &service.entries {
        Entries::Nowhere => Router::new(),
        Entries::Here(database) => guarded(
            entries::route().with_state(database.clone()),
            service.token.as_ref(),
        ),
        Entries::There(upstream) => forward::route().with_state(upstream.as_ref().clone()),
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
        Some(authority) => {
            let upstream = Upstream::new(&authority, options.token.clone())?;
            Entries::There(Box::new(upstream))
        }
        None => Database::open(&options.database, &options.identity)
            .map_or(Entries::Nowhere, Entries::Here),
    };
    let (readiness, metrics) = (Readiness::new(lifecycle.clone()), Metrics::default());
    let service = Service {
        identity: Arc::new(options.identity),
        greeting: given(options.greeting).map(Arc::from),
        entries,
        token: options.token,
        faults: Arc::new(Faults::new(options.switches)),
    };
    service.faults.hold_back(&readiness);
    if matches!(service.entries, Entries::Here(_)) {
        readiness.waits_for(AWAITED, "");
    }
    let listener = admin::listen(options.listen, "requests", "DEMO_LISTEN").await?;
    admin::start(
        options.admin_listen,
        "DEMO_ADMIN_LISTEN",
        Admin {
            readiness: readiness.clone(),
            metrics: metrics.clone(),
        },
    )
    .await?;
    service.faults.arm();
    if let Entries::Here(database) = &service.entries {
        tokio::spawn(await_database(database.clone(), readiness));
    }
    tracing::info!(listen = %options.listen, version = service.identity.version, "serving");
    let observer = Observer {
        metrics,
        lifecycle: lifecycle.clone(),
    };
    let drain = options.patience.drain;
    let ending = async {
        lifecycle.end(stop, options.patience.shutdown_delay).await;
        std::future::pending().await
    };
    tokio::select! {
        served = server::serve(listener, router(service), observer, drain) => Ok(served?),
        ended = ending => ended,
    }
}

/// Ready once the database could be read. Not asked again: if it fails later, it fails for every pod, and no pod would be
/// a better address.
async fn await_database(database: Database, readiness: Readiness) {
    while let Err(error) = database.check().await {
        tracing::warn!("not ready: {error}");
        readiness.waits_for(AWAITED, error.to_string());
        tokio::time::sleep(RETRY).await;
    }
    readiness.has(AWAITED);
}

#[cfg(test)]
pub(crate) mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::{Request, StatusCode};
    use tower::ServiceExt as _;

    use super::*;

    /// Asks for a path.
    pub(crate) async fn get(router: Router, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let answer = router.oneshot(request).await.unwrap();
        let status = answer.status();
        let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

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
        }
    }
}
