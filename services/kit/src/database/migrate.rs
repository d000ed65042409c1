//! Migrations, which are in the program and run only when it is called with `migrate`.
//!
//! A program tolerates migrations that it does not know: a newer release has run before it, and only adds until nobody needs
//! the old form any more.

use std::time::Duration;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, Row as _, SqlStr};
use thiserror::Error;

use super::{Database, DatabaseError};
use crate::lifecycle::Readiness;

/// Time between two looks at a database that is not there yet.
const RETRY: Duration = Duration::from_secs(1);
const AWAITED: &str = "its database";
/// Whoever grants holds this lock: two at once would change the same rows of the catalogue. The number means nothing.
const GRANTING: i64 = 0x746f_646f_6b69_7400;

/// What the role of the pods may do with the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Read, add, change and remove rows.
    Write,
    /// Read and add rows.
    Append,
}

/// One migration: its number, what it does, and its SQL.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Its number. Later ones are greater.
    pub version: i64,
    /// What it does.
    pub name: &'static str,
    /// Its SQL, run in one transaction.
    pub sql: &'static str,
}

/// The migrations of a service.
#[derive(Clone, Debug)]
pub struct Migrations {
    steps: Vec<Step>,
    rights: Rights,
}

/// Why a migration failed.
#[derive(Debug, Error)]
pub enum MigrationError {
    /// A migration cannot be run.
    #[error("{place}: {source}")]
    Failed {
        /// Where.
        place: String,
        /// Why.
        source: sqlx::migrate::MigrateError,
    },
    /// The database does not answer, or refuses.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl Migrations {
    /// All these, in the order of their numbers.
    #[must_use]
    pub fn new(rights: Rights, steps: impl IntoIterator<Item = Step>) -> Self {
        let mut steps: Vec<_> = steps.into_iter().collect();
        steps.sort_by_key(|step| step.version);
        Self { steps, rights }
    }

    /// Runs those that were not run, as the owner of the tables, and lets the role of the pods use them. Two at once wait for
    /// each other.
    ///
    /// # Errors
    /// If one of them fails; those before it have been run then.
    pub async fn run(&self, database: &Database) -> Result<(), MigrationError> {
        let mut migrator = Migrator::with_migrations(self.steps.iter().map(migration).collect());
        migrator.set_ignore_missing(true);
        migrator
            .run(database.pool())
            .await
            .map_err(|source| MigrationError::Failed {
                place: database.place.clone(),
                source,
            })?;
        let app = app_role(database.user());
        if let Some(app) = &app {
            self.grant(database, app).await?;
        }
        tracing::info!(owner = database.user(), app, "the tables are there");
        Ok(())
    }

    async fn grant(&self, database: &Database, role: &str) -> Result<(), DatabaseError> {
        let rights = match self.rights {
            Rights::Write => "SELECT, INSERT, UPDATE, DELETE",
            Rights::Append => "SELECT, INSERT",
        };
        // A role's name cannot be a parameter. It is quoted, so it can be nothing but a name.
        let role = format!("\"{}\"", role.replace('"', "\"\""));
        // Statements that are sent together are one transaction.
        let grants = format!(
            "SELECT pg_advisory_xact_lock({GRANTING});
             GRANT USAGE ON SCHEMA public TO {role};
             GRANT {rights} ON ALL TABLES IN SCHEMA public TO {role};
             GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role};
             REVOKE INSERT, UPDATE, DELETE ON _sqlx_migrations FROM {role};"
        );
        sqlx::raw_sql(AssertSqlSafe(grants))
            .execute(database.pool())
            .await
            .map(drop)
            .map_err(database.failed("let the pods' role use the tables"))
    }

    /// Makes the process ready once the database has all these. Not asked again: if it fails later, it fails for every pod,
    /// and no pod would be a better address.
    pub async fn await_in(&self, database: &Database, readiness: &Readiness) {
        readiness.waits_for(AWAITED, "it was not asked yet");
        loop {
            let why = match self.missing(database).await {
                Ok(None) => break,
                Ok(Some(missing)) => format!("migration {missing} was not run; run `migrate`"),
                Err(error) => error.to_string(),
            };
            tracing::warn!("not ready: {why}");
            readiness.waits_for(AWAITED, why);
            tokio::time::sleep(RETRY).await;
        }
        readiness.has(AWAITED);
    }

    /// The first migration that this program needs and the database does not have.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn missing(&self, database: &Database) -> Result<Option<i64>, DatabaseError> {
        let failed = database.failed("say which migrations were run");
        let rows = sqlx::query("SELECT version FROM _sqlx_migrations WHERE success")
            .fetch_all(database.pool())
            .await;
        let rows = match rows {
            // Not even the table of migrations is there.
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42P01") => {
                Vec::new()
            }
            rows => rows.map_err(failed)?,
        };
        let run: Vec<i64> = rows.iter().filter_map(|row| row.try_get(0).ok()).collect();
        let versions = self.steps.iter().map(|step| step.version);
        Ok(versions.into_iter().find(|version| !run.contains(version)))
    }
}

fn migration(step: &Step) -> Migration {
    Migration::new(
        step.version,
        step.name.into(),
        MigrationType::Simple,
        SqlStr::from_static(step.sql),
        false,
    )
}

/// The operator calls the two roles of a database `<database>_owner` and `<database>_app`.
fn app_role(owner: &str) -> Option<String> {
    let database = owner.strip_suffix("_owner")?;
    Some(format!("{database}_app"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pods_role_is_named_after_the_owner() {
        assert_eq!(app_role("orders_owner").as_deref(), Some("orders_app"));
        assert_eq!(app_role("postgres"), None);
    }
}
