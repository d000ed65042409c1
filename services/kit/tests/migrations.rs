//! Migrations against a real PostgreSQL, with the roles that the operator makes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panic"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use localcluster::standalone::{Postgres, Shared};
use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;
use todo_kit::database::migrate::{Migrations, Rights, Step};
use todo_kit::database::{Database, is_transient};
use todo_kit::lifecycle::Readiness;

/// How long anything may take before a test fails. Far more than it takes.
const DEADLINE: Duration = Duration::from_secs(60);

static SERVER: Shared<Postgres> = Shared::new();

/// A server that others use too.
async fn server() -> Arc<Postgres> {
    SERVER.get(Postgres::start).await.unwrap()
}

const FIRST: Step = Step {
    version: 1,
    name: "notes",
    sql: "CREATE TABLE notes (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, text text NOT NULL)",
};
const SECOND: Step = Step {
    version: 2,
    name: "colours",
    sql: "ALTER TABLE notes ADD COLUMN colour text; CREATE TABLE colours (name text PRIMARY KEY)",
};
const BROKEN: Step = Step {
    version: 3,
    name: "broken",
    sql: "CREATE TABLE half (id int); ALTER TABLE nowhere ADD COLUMN x int",
};

fn database(server: &Postgres, name: &str, role: &str) -> Database {
    let options = PgConnectOptions::new()
        .host("127.0.0.1")
        .port(server.port())
        .database(name)
        .username(&format!("{name}_{role}"))
        .application_name("test");
    Database::with(options, 4)
}

fn write(steps: impl IntoIterator<Item = Step>) -> Migrations {
    Migrations::new(Rights::Write, steps)
}

async fn run(database: &Database, sql: &'static str) -> Result<(), sqlx::Error> {
    sqlx::query(sql).execute(database.pool()).await.map(drop)
}

#[tokio::test]
async fn releases_migrate_forward_and_older_ones_go_on() {
    let server = server().await;
    server.create_database("notes").unwrap();
    let (owner, app) = (
        database(&server, "notes", "owner"),
        database(&server, "notes", "app"),
    );
    let (old, new) = (write([FIRST]), write([FIRST, SECOND]));

    assert_eq!(old.missing(&app).await.unwrap(), Some(1));
    let both = tokio::join!(old.run(&owner), old.run(&owner));
    both.0.unwrap();
    both.1.unwrap();
    assert_eq!(old.missing(&app).await.unwrap(), None);
    assert_eq!(new.missing(&app).await.unwrap(), Some(2));

    let readiness = Readiness::default();
    let waiting = new.await_in(&app, &readiness);
    tokio::pin!(waiting);
    let said = async {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match readiness.check() {
                Err(why) if why.to_string().contains("migration 2 was not run") => break,
                why => assert!(Instant::now() < deadline, "{why:?}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = &mut waiting => panic!("ready without its tables"),
        () = said => {}
    }
    new.run(&owner).await.unwrap();
    waiting.await;
    readiness.check().unwrap();

    // An older release is deployed again: it finds a migration that it does not know.
    old.run(&owner).await.unwrap();
    assert_eq!(old.missing(&app).await.unwrap(), None);
    run(&app, "INSERT INTO notes (text) VALUES ('a')")
        .await
        .unwrap();
    run(&app, "INSERT INTO colours VALUES ('red')")
        .await
        .unwrap();

    let error = write([FIRST, SECOND, BROKEN])
        .run(&owner)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("nowhere"), "{error}");
    // Nothing of it was done.
    assert!(run(&owner, "SELECT FROM half").await.is_err());
}

#[tokio::test]
async fn pods_change_rows_and_nothing_else_and_see_no_other_database() {
    let server = server().await;
    for name in ["letters", "audit"] {
        server.create_database(name).unwrap();
    }
    let (owner, app) = (
        database(&server, "letters", "owner"),
        database(&server, "letters", "app"),
    );
    write([FIRST]).run(&owner).await.unwrap();
    for forbidden in [
        "CREATE TABLE mine (id int)",
        "DROP TABLE notes",
        "DELETE FROM _sqlx_migrations",
    ] {
        let error = run(&app, forbidden).await.unwrap_err();
        assert!(!is_transient(&error), "{error}");
        let error = error.into_database_error().unwrap();
        assert_eq!(
            error.code().as_deref(),
            Some("42501"),
            "{forbidden}: {error}"
        );
    }
    let error = write([FIRST]).run(&app).await.unwrap_err();
    assert!(error.to_string().contains("permission denied"), "{error}");

    let audit = database(&server, "audit", "owner");
    Migrations::new(Rights::Append, [FIRST])
        .run(&audit)
        .await
        .unwrap();
    let app = database(&server, "audit", "app");
    run(&app, "INSERT INTO notes (text) VALUES ('a')")
        .await
        .unwrap();
    assert!(run(&app, "DELETE FROM notes").await.is_err());

    let neighbour = PgConnectOptions::new()
        .host("127.0.0.1")
        .port(server.port())
        .database("letters")
        .username("audit_app");
    let error = run(&Database::with(neighbour, 1), "SELECT 1")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("pg_hba.conf rejects"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_down_is_a_transient_trouble_and_a_wrong_statement_is_none() {
    let mut server = Postgres::start().await.unwrap();
    server.create_database("notes").unwrap();
    let app = database(&server, "notes", "app");
    run(&app, "SELECT 1").await.unwrap();
    assert!(!is_transient(&run(&app, "SELECT 1/0").await.unwrap_err()));
    assert!(!is_transient(&run(&app, "SELEKT").await.unwrap_err()));
    server.kill().unwrap();
    let cut_off = run(&app, "SELECT 1").await.unwrap_err();
    let refused = app.options().connect().await.unwrap_err();
    for error in [cut_off, refused, sqlx::Error::PoolTimedOut] {
        assert!(is_transient(&error), "{error:?}");
    }
    server.restart().await.unwrap();
    run(&app, "SELECT 1").await.unwrap();
}
