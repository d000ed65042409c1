//! The connection to PostgreSQL. Where the server is comes from libpq's variables, which the driver reads by itself.

pub mod migrate;

use std::time::Duration;

use clap::Args;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use thiserror::Error;

use crate::arguments::name;
use crate::identity::Identity;

/// Time that work waits for a connection.
const ACQUIRE: Duration = Duration::from_secs(5);

/// Where the database is.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Database")]
#[group(skip)]
pub struct Options {
    /// Host of PostgreSQL. PGPORT, PGDATABASE, PGUSER, PGPASSWORD, PGSSLMODE, PGSSLCERT, PGSSLKEY and PGSSLROOTCERT are
    /// read as libpq reads them.
    #[arg(long, env = "PGHOST", value_name = "HOST", value_parser = name)]
    pub database_host: String,
    /// Most connections at once.
    #[arg(
        long,
        env = "DATABASE_CONNECTIONS",
        value_name = "NUMBER",
        default_value_t = 16
    )]
    pub database_connections: u32,
}

/// What is wrong between this process and its database.
#[derive(Debug, Error)]
#[error("PostgreSQL at {place} cannot {action}: {source}")]
pub struct DatabaseError {
    place: String,
    action: &'static str,
    source: sqlx::Error,
}

/// A database, connected to when it is first needed.
#[derive(Clone, Debug)]
pub struct Database {
    pool: PgPool,
    options: PgConnectOptions,
    place: String,
}

impl Database {
    /// The database that is configured.
    #[must_use]
    pub fn open(options: &Options, identity: &Identity) -> Self {
        let connect = PgConnectOptions::new()
            .host(&options.database_host)
            .application_name(&identity.pod);
        Self::with(connect, options.database_connections)
    }

    /// A database at a place that is known otherwise.
    #[must_use]
    pub fn with(options: PgConnectOptions, connections: u32) -> Self {
        let place = format!(
            "{}:{}/{}",
            options.get_host(),
            options.get_port(),
            options.get_database().unwrap_or_default()
        );
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE)
            .connect_lazy_with(options.clone());
        Self {
            pool,
            options,
            place,
        }
    }

    /// Its connections.
    #[must_use]
    pub const fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// How it is connected to, for who needs a connection of his own.
    #[must_use]
    pub const fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// Who connects.
    #[must_use]
    pub fn user(&self) -> &str {
        self.options.get_username()
    }

    /// The error of what was asked for.
    pub fn failed(
        &self,
        action: &'static str,
    ) -> impl FnOnce(sqlx::Error) -> DatabaseError + use<> {
        let place = self.place.clone();
        move |source| DatabaseError {
            place,
            action,
            source,
        }
    }
}

/// Whether an error says that the server cannot be reached or has no room at the moment, and says nothing of what was
/// asked: the same will succeed later.
#[must_use]
pub fn is_transient(error: &sqlx::Error) -> bool {
    use sqlx::Error;
    match error {
        Error::Io(_)
        | Error::Tls(_)
        | Error::PoolTimedOut
        | Error::PoolClosed
        | Error::WorkerCrashed => true,
        Error::Database(error) => error.code().is_some_and(|code| {
            // Connection exceptions, rollbacks by conflict, insufficient resources, operator intervention, system errors,
            // and a server that was made read-only by a failover.
            ["08", "40", "53", "57", "58"]
                .iter()
                .any(|class| code.starts_with(class))
                || code == "25006"
        }),
        // A server that goes down in the middle of an answer.
        Error::Protocol(_) => true,
        _ => false,
    }
}
