//! The role `migrate`: makes the tables as the owner of the database, and lets the pods' login read and write rows.

use clap::Args;
use clap::builder::BoolishValueParser;
use sqlx::AssertSqlSafe;
use thiserror::Error;

use crate::database::{Database, DatabaseError, Place};
use crate::identity::Identity;

/// Whoever migrates holds this lock: two at once would stumble over each other's tables. The number means nothing.
const LOCK: i64 = 0x746f_646f_6465_6d6f;
const TABLE: &str = "CREATE TABLE IF NOT EXISTS entries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    text text NOT NULL,
    written timestamptz NOT NULL DEFAULT now()
)";

/// Options of `demo migrate`.
#[derive(Args, Debug)]
pub struct Options {
    #[command(flatten)]
    identity: Identity,
    #[command(flatten)]
    database: Place,
    /// Role that reads and writes rows. Without it: PGUSER with `_app` in the place of `_owner`; nobody but PGUSER, if
    /// that does not end so.
    #[arg(long, env = "DEMO_APP_ROLE", value_name = "ROLE")]
    app_role: Option<String>,
    /// Fail. A migration runs again only for another image or other arguments, so a release that changes its
    /// configuration alone does not fail by this.
    #[arg(long, env = "DEMO_MIGRATION_FAILS", value_parser = BoolishValueParser::new())]
    fail: bool,
}

/// Why a migration failed.
#[derive(Debug, Error)]
pub enum MigrationError {
    /// It was told to.
    #[error(
        "the migration fails because DEMO_MIGRATION_FAILS or --fail says so; nothing was changed"
    )]
    Asked,
    /// The database does not do it.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Makes what is missing.
///
/// # Errors
/// If that cannot be done; nothing has changed then.
pub async fn run(options: &Options) -> Result<(), MigrationError> {
    if options.fail {
        return Err(MigrationError::Asked);
    }
    let database = Database::open(&options.database, &options.identity)?;
    let app = match options.app_role.as_deref().filter(|role| !role.is_empty()) {
        Some(role) => Some(role.to_owned()),
        None => app_role(database.user()),
    };
    migrate(&database, app.as_deref()).await?;
    tracing::info!(owner = database.user(), app, "the tables are there");
    Ok(())
}

async fn migrate(database: &Database, app: Option<&str>) -> Result<(), DatabaseError> {
    let failed = |action| database.failed(action);
    let mut transaction = database
        .pool()
        .begin()
        .await
        .map_err(failed("begin the migration"))?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(LOCK)
        .execute(&mut *transaction)
        .await
        .map_err(failed("lock out other migrations"))?;
    sqlx::query(TABLE)
        .execute(&mut *transaction)
        .await
        .map_err(failed("create the table `entries`"))?;
    if let Some(app) = app {
        // A role's name cannot be a parameter. It is quoted, so it can be nothing but a name.
        let grant = format!("GRANT SELECT, INSERT ON entries TO {}", quoted(app));
        sqlx::query(AssertSqlSafe(grant))
            .execute(&mut *transaction)
            .await
            .map_err(failed("let the pods' role use the table `entries`"))?;
    }
    transaction
        .commit()
        .await
        .map_err(failed("commit the migration"))
}

/// The operator calls the two roles of a database `<database>_owner` and `<database>_app`.
fn app_role(owner: &str) -> Option<String> {
    let database = owner.strip_suffix("_owner")?;
    Some(format!("{database}_app"))
}

fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pods_role_is_named_after_the_owner() {
        assert_eq!(app_role("orders_owner").as_deref(), Some("orders_app"));
        assert_eq!(app_role("postgres"), None);
    }

    #[test]
    fn a_name_stays_a_name() {
        assert_eq!(quoted("a\"; DROP TABLE x"), "\"a\"\"; DROP TABLE x\"");
    }
}
