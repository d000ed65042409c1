//! The connection to PostgreSQL, and what is asked of it. Where the server is comes from libpq's variables, which the
//! driver reads by itself.

use std::time::Duration;

use clap::Args;
use serde::Serialize;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgPool, Row as _};
use thiserror::Error;

use crate::identity::Identity;

/// Time that a request waits for a connection.
const ACQUIRE: Duration = Duration::from_secs(5);
const CONNECTIONS: u32 = 8;

/// Where the database is.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Database")]
pub struct Place {
    /// Host of PostgreSQL. PGPORT, PGDATABASE, PGUSER, PGPASSWORD, PGSSLMODE, PGSSLCERT, PGSSLKEY and PGSSLROOTCERT are
    /// read as libpq reads them.
    #[arg(long, env = "PGHOST", value_name = "HOST")]
    pub database_host: Option<String>,
}

/// What is wrong between this process and its database.
#[derive(Debug, Error)]
pub enum DatabaseError {
    /// No database is configured.
    #[error("there is no database to work on: set PGHOST, as `database:` of the component does")]
    None,
    /// The database has not done what it was asked for.
    #[error("PostgreSQL at {place} cannot {action}: {source}")]
    Failed {
        /// Host, port and database.
        place: String,
        /// What was asked for.
        action: &'static str,
        /// What it says.
        source: sqlx::Error,
    },
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its number: later entries have greater ones.
    pub id: i64,
    /// What was written.
    pub text: String,
}

/// A database, connected to when it is first needed.
#[derive(Clone, Debug)]
pub struct Database {
    pool: PgPool,
    place: String,
    user: String,
}

impl Database {
    /// The database that is configured.
    ///
    /// # Errors
    /// If none is.
    pub fn open(place: &Place, identity: &Identity) -> Result<Self, DatabaseError> {
        let host = place.database_host.as_deref().unwrap_or_default();
        if host.is_empty() {
            return Err(DatabaseError::None);
        }
        let options = PgConnectOptions::new()
            .host(host)
            .application_name(&identity.pod);
        let place = format!(
            "{host}:{}/{}",
            options.get_port(),
            options.get_database().unwrap_or_default()
        );
        let user = options.get_username().to_owned();
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(ACQUIRE)
            .connect_lazy_with(options);
        Ok(Self { pool, place, user })
    }

    /// Who connects.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Its connections.
    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// The error of what was asked for.
    pub(crate) fn failed(
        &self,
        action: &'static str,
    ) -> impl FnOnce(sqlx::Error) -> DatabaseError + use<> {
        let place = self.place.clone();
        move |source| DatabaseError::Failed {
            place,
            action,
            source,
        }
    }

    /// Whether entries can be read: the database answers, and its migration has been done.
    ///
    /// # Errors
    /// If not.
    pub async fn check(&self) -> Result<(), DatabaseError> {
        sqlx::query("SELECT 1 FROM entries LIMIT 1")
            .execute(&self.pool)
            .await
            .map(drop)
            .map_err(self.failed("read the table `entries`"))
    }

    /// Writes an entry. When this returns it is as durable as the server makes what it has committed.
    ///
    /// # Errors
    /// If the server does not confirm it; it may have been written all the same.
    pub async fn write(&self, text: &str) -> Result<Entry, DatabaseError> {
        let row = sqlx::query("INSERT INTO entries (text) VALUES ($1) RETURNING id")
            .bind(text)
            .fetch_one(&self.pool)
            .await;
        row.and_then(|row| row.try_get("id"))
            .map(|id| Entry {
                id,
                text: text.to_owned(),
            })
            .map_err(self.failed("write an entry"))
    }

    /// The first `limit` entries after number `after`.
    ///
    /// # Errors
    /// If they cannot be read.
    pub async fn read(&self, after: i64, limit: u16) -> Result<Vec<Entry>, DatabaseError> {
        let rows = sqlx::query("SELECT id, text FROM entries WHERE id > $1 ORDER BY id LIMIT $2")
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await;
        let entry = |row: sqlx::postgres::PgRow| {
            Ok(Entry {
                id: row.try_get("id")?,
                text: row.try_get("text")?,
            })
        };
        rows.and_then(|rows| rows.into_iter().map(entry).collect())
            .map_err(self.failed("read entries"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_host_there_is_no_database() {
        let identity = Identity {
            component: "api".to_owned(),
            version: "1".to_owned(),
            pod: "p".to_owned(),
        };
        for host in [None, Some(String::new())] {
            let place = Place {
                database_host: host,
            };
            let error = Database::open(&place, &identity).unwrap_err();
            assert!(error.to_string().contains("set PGHOST"), "{error}");
        }
    }
}
