//! What is in PostgreSQL: databases and roles, for as long as their cluster lives.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::models::fields::{name, namespace, uid};

/// What was done in PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sql {
    /// A cluster was set up.
    Initialised,
    /// A role was made.
    CreatedRole(String),
    /// A role was dropped.
    DroppedRole(String),
    /// A database was made: its name and owner.
    CreatedDatabase(String, String),
    /// A database got another owner.
    AlteredDatabase(String, String),
    /// A database was dropped, with all that it held.
    DroppedDatabase(String),
    /// The cluster was deleted, with these databases in it.
    Lost(Vec<String>),
}

#[derive(Debug, Default)]
struct Server {
    /// `namespace/name` of its Cluster.
    name: String,
    /// Owners by database.
    databases: BTreeMap<String, String>,
    roles: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct State {
    /// By UID of the Cluster: one that is made anew under the same name has none of the old data.
    servers: BTreeMap<String, Server>,
    record: Vec<(String, Sql)>,
}

/// Every PostgreSQL server. Every clone is the same.
#[derive(Clone, Debug, Default)]
pub struct Postgres(Arc<Mutex<State>>);

impl Postgres {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything that was done, in order, with `namespace/name` of the Cluster.
    pub fn record(&self) -> Vec<(String, Sql)> {
        self.lock().record.clone()
    }

    /// What was lost: databases that were dropped, and clusters with databases in them that were deleted.
    pub fn losses(&self) -> Vec<String> {
        let state = self.lock();
        let losses = state.record.iter().filter_map(|(cluster, sql)| match sql {
            Sql::DroppedDatabase(database) => {
                Some(format!("database {database} of {cluster} was dropped"))
            }
            Sql::Lost(databases) if !databases.is_empty() => Some(format!(
                "{cluster} was deleted with {}",
                databases.join(", ")
            )),
            _ => None,
        });
        losses.collect()
    }

    /// The databases of a Cluster, by `namespace/name`, each with its owner.
    pub fn databases(&self, cluster: &str) -> BTreeMap<String, String> {
        let state = self.lock();
        let server = state.servers.values().find(|server| server.name == cluster);
        server
            .map(|server| server.databases.clone())
            .unwrap_or_default()
    }

    /// Begins the life of a Cluster's data.
    pub(super) fn initialise(&self, cluster: &Value) {
        let mut state = self.lock();
        if state.servers.contains_key(uid(cluster)) {
            return;
        }
        let server = Server {
            name: format!("{}/{}", namespace(cluster), name(cluster)),
            ..Server::default()
        };
        state.record.push((server.name.clone(), Sql::Initialised));
        state.servers.insert(uid(cluster).to_owned(), server);
    }

    /// Ends it.
    pub(super) fn lose(&self, uid: &str) {
        let mut state = self.lock();
        if let Some(server) = state.servers.remove(uid) {
            let databases = server.databases.into_keys().collect();
            state.record.push((server.name, Sql::Lost(databases)));
        }
    }

    /// Carries out a statement, where PostgreSQL does not refuse it.
    fn execute(
        &self,
        cluster: &Value,
        statement: impl FnOnce(&mut Server) -> Result<Option<Sql>, String>,
    ) -> Result<(), String> {
        let mut state = self.lock();
        let Some(server) = state.servers.get_mut(uid(cluster)) else {
            return Err("failed to connect: connection refused".to_owned());
        };
        if let Some(done) = statement(server)? {
            let name = server.name.clone();
            state.record.push((name, done));
        }
        Ok(())
    }

    pub(super) fn ensure_role(&self, cluster: &Value, role: &str) -> Result<(), String> {
        self.execute(cluster, |server| {
            let is_new = server.roles.insert(role.to_owned());
            Ok(is_new.then(|| Sql::CreatedRole(role.to_owned())))
        })
    }

    pub(super) fn drop_role(&self, cluster: &Value, role: &str) -> Result<(), String> {
        self.execute(cluster, |server| {
            if server.databases.values().any(|owner| owner == role) {
                return Err(format!(
                    "ERROR: role {role:?} cannot be dropped because some objects depend on it (SQLSTATE 2BP01)"
                ));
            }
            let is_gone = server.roles.remove(role);
            Ok(is_gone.then(|| Sql::DroppedRole(role.to_owned())))
        })
    }

    pub(super) fn ensure_database(
        &self,
        cluster: &Value,
        database: &str,
        owner: &str,
    ) -> Result<(), String> {
        self.execute(cluster, |server| {
            if server.databases.get(database).is_some_and(|known| known == owner) {
                return Ok(None);
            }
            if !server.roles.contains(owner) {
                return Err(format!(
                    "while creating database {database:?}: ERROR: role {owner:?} does not exist (SQLSTATE 42704)"
                ));
            }
            let known = server.databases.insert(database.to_owned(), owner.to_owned());
            let (database, owner) = (database.to_owned(), owner.to_owned());
            Ok(Some(match known {
                Some(_) => Sql::AlteredDatabase(database, owner),
                None => Sql::CreatedDatabase(database, owner),
            }))
        })
    }

    pub(super) fn drop_database(&self, cluster: &Value, database: &str) -> Result<(), String> {
        self.execute(cluster, |server| {
            let known = server.databases.remove(database);
            Ok(known.map(|_| Sql::DroppedDatabase(database.to_owned())))
        })
    }
}
