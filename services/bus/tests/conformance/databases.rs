//! A real PostgreSQL.

use std::sync::Arc;

use localcluster::standalone::Postgres;
use sqlx::postgres::PgConnectOptions;
use todo_kit::database::Database;
use todo_kit::database::migrate::{Migrations, Rights, Step};
use tokio::sync::Mutex;

use crate::rig::Rig;

/// A server, on which each case has a database. Clones are the same.
#[derive(Clone)]
pub struct Databases(Arc<Mutex<Postgres>>);

impl Databases {
    pub async fn start() -> Self {
        Self(Arc::new(Mutex::new(Postgres::start().await.unwrap())))
    }

    /// A new database with tables, for a case with a transport.
    pub async fn make(
        &self,
        rig: &dyn Rig,
        case: &str,
        tables: impl IntoIterator<Item = Step>,
    ) -> Database {
        let name = &format!("{}_{case}", rig.name());
        let server = self.0.lock().await;
        server.create_database(name).unwrap();
        let options = PgConnectOptions::new()
            .host("127.0.0.1")
            .port(server.port())
            .database(name)
            .username(&format!("{name}_owner"));
        let database = Database::with(options, 16);
        let migrations = Migrations::new(Rights::Write, tables);
        migrations.run(&database).await.unwrap();
        database
    }

    /// Kills the server, and brings it back.
    pub async fn interrupt(&self) {
        let mut server = self.0.lock().await;
        server.kill().unwrap();
        server.restart().await.unwrap();
    }
}
