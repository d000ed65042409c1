//! PostgreSQL: clusters, roles and databases of CloudNativePG.
//!
//! Isolation needs no passwords: each role proves itself by a client certificate, and `pg_hba` names which role may
//! enter which database and refuses everything else.

use serde_json::{Value, json};
use todo_operator_api::app::DeletionPolicy;
use todo_operator_api::data::{Database, DatabaseCluster, ExternalDatabase, Topology};

use super::metadata::{bounded, child};
use super::pod::Login;
use super::quantity;
use crate::child::Child;
use crate::kind::Kind;
use crate::names;
use crate::validate::{ValidApp, ValidComponent};

/// PostgreSQL's port.
pub(super) const PORT: i32 = 5432;
/// Both logins of a database.
const LOGINS: [Login; 2] = [Login::Owner, Login::App];
/// Longest name of an object here: what is derived from it must still fit.
const MAX_NAME: usize = 63;

/// Where a database is.
pub(super) enum Place<'a> {
    /// In the CloudNativePG cluster of this name.
    Cluster(String),
    /// On someone else's server.
    External(&'a ExternalDatabase),
}

/// The database that a component uses, and where it is.
pub(super) fn used<'a>(
    app: &ValidApp<'a>,
    component: &ValidComponent<'_>,
) -> Option<(&'a str, Place<'a>)> {
    let databases = app.app.spec.databases.as_ref()?;
    let name = component.spec.database.as_deref()?;
    let (name, database) = databases.items.get_key_value(name)?;
    let place = match databases.topology {
        Topology::External => Place::External(database.external.as_ref()?),
        Topology::Shared => Place::Cluster(names::shared_cluster(app.name)),
        Topology::Dedicated => Place::Cluster(names::dedicated_cluster(app.name, name)),
    };
    Some((name, place))
}

/// PostgreSQL role of a login.
pub(super) fn role(database: &str, login: Login) -> String {
    match login {
        Login::Owner => names::owner_role(database),
        Login::App => names::app_role(database),
    }
}

/// Name of the DatabaseRole object of a login: `<cluster>-<database>-owner`, `<cluster>-<database>-app`.
pub(super) fn role_object(cluster: &str, database: &str, login: Login) -> String {
    let suffix = match login {
        Login::Owner => "-owner",
        Login::App => "-app",
    };
    object(cluster, database, suffix)
}

/// `<cluster>-<database><suffix>`, with a hash where another cluster's database could have the same name, or where it is
/// too long.
///
/// Clusters are named `<app>-db` or `<app>-<database>`: `demo-db` with database `x-x` reads like `demo-db-x` with `x`.
fn object(cluster: &str, database: &str, suffix: &str) -> String {
    let name = format!("{cluster}-{database}{suffix}");
    let ambiguous = database.match_indices('-').any(|(at, _)| {
        let (head, tail) = (&database[..at], &database[at + 1..]);
        [tail, "db"]
            .iter()
            .any(|end| head == *end || head.ends_with(&format!("-{end}")))
    });
    if ambiguous {
        let hash = crate::canonical::short(&(cluster, database, suffix), 8);
        return bounded(format!("{name}-{hash}"), MAX_NAME);
    }
    bounded(name, MAX_NAME)
}

/// A cluster with the databases in it.
struct Member<'a> {
    cluster: String,
    settings: Vec<&'a DatabaseCluster>,
    databases: Vec<&'a str>,
}

/// The clusters of an application; none where its databases are on someone else's server.
fn members<'a>(app: &ValidApp<'a>) -> Vec<Member<'a>> {
    let Some(databases) = app.app.spec.databases.as_ref() else {
        return Vec::new();
    };
    let dedicated = |(name, database): (&'a String, &'a Database)| Member {
        cluster: names::dedicated_cluster(app.name, name),
        settings: database.cluster.iter().chain(&databases.cluster).collect(),
        databases: vec![name],
    };
    match databases.topology {
        Topology::External => Vec::new(),
        Topology::Shared if databases.items.is_empty() => Vec::new(),
        Topology::Shared => vec![Member {
            cluster: names::shared_cluster(app.name),
            settings: databases.cluster.iter().collect(),
            databases: databases.items.keys().map(String::as_str).collect(),
        }],
        Topology::Dedicated => databases.items.iter().map(dedicated).collect(),
    }
}

/// Names of the application's clusters, each with its databases.
pub(super) fn cluster_names<'a>(app: &ValidApp<'a>) -> Vec<(String, Vec<&'a str>)> {
    members(app)
        .into_iter()
        .map(|member| (member.cluster, member.databases))
        .collect()
}

/// Servers and resources of each cluster, for sums against a quota.
pub(crate) fn servers<'a>(
    app: &ValidApp<'a>,
) -> Vec<(i64, Option<&'a todo_operator_api::component::Resources>)> {
    members(app)
        .iter()
        .map(|member| {
            let resources = member.setting(|settings| settings.resources.as_ref());
            (instances(app, member), resources)
        })
        .collect()
}

impl<'a> Member<'a> {
    /// The first that is set, the database's own before the application's.
    fn setting<T>(&self, field: impl Fn(&'a DatabaseCluster) -> Option<T>) -> Option<T> {
        self.settings.iter().find_map(|settings| field(settings))
    }
}

fn instances(app: &ValidApp<'_>, member: &Member<'_>) -> i64 {
    let defaults = app.environment.spec.defaults.as_ref();
    member
        .setting(|settings| settings.instances)
        .or_else(|| defaults?.database_instances)
        .unwrap_or(1)
        .into()
}

/// The clusters.
pub(super) fn clusters(app: &ValidApp<'_>) -> Vec<Child> {
    members(app)
        .iter()
        .map(|member| {
            let spec = cluster_spec(app, member);
            child(
                app,
                Kind::Cluster,
                &member.cluster,
                None,
                json!({"spec": spec}),
            )
        })
        .collect()
}

fn cluster_spec(app: &ValidApp<'_>, member: &Member<'_>) -> Value {
    let instances = instances(app, member);
    let replicated = instances > 1;
    let class = member.setting(|settings| settings.storage_class.as_deref());
    let volume = |size: String| json!({"size": size, "storageClass": class});
    let size = member
        .setting(|settings| settings.storage.as_ref())
        .map_or_else(|| "1Gi".to_owned(), quantity::canonical);
    let wal = member.setting(|settings| settings.wal_storage.as_ref());
    let parameters = member.setting(|s| Some(&s.parameters).filter(|p| !p.is_empty()));
    json!({
        "instances": instances,
        "imageName": member.setting(|settings| settings.image.as_deref()),
        "primaryUpdateStrategy": "unsupervised",
        "primaryUpdateMethod": replicated.then_some("switchover"),
        "storage": volume(size),
        "walStorage": wal.map(|size| volume(quantity::canonical(size))),
        "resources": quantity::resources(member.setting(|settings| settings.resources.as_ref())),
        // A database of no interest, so that nothing of ours is made by anything but a Database and its roles.
        "bootstrap": {"initdb": {"database": "app", "owner": "app", "dataChecksums": true}},
        "postgresql": {
            "parameters": parameters,
            "pg_hba": access(member),
            // What was acknowledged is on two servers, as long as there are two.
            "synchronous": replicated.then(|| json!({
                "method": "any", "number": 1, "dataDurability": "preferred",
            })),
        },
        "affinity": {
            "enablePodAntiAffinity": true,
            "podAntiAffinityType": "preferred",
            "topologyKey": "kubernetes.io/hostname",
        },
    })
}

/// Who may enter: each database's own roles by certificate, and nobody else. The rules that CloudNativePG needs for
/// itself stand before these.
fn access(member: &Member<'_>) -> Vec<String> {
    let allow = |database: &str, login| {
        let (name, role) = (names::sql_name(database), role(database, login));
        format!("hostssl {name} {role} all cert")
    };
    member
        .databases
        .iter()
        .flat_map(|database| LOGINS.map(|login| allow(database, login)))
        .chain(["host all all all reject".to_owned()])
        .collect()
}

/// The roles. A role's certificate lies in Secret `<object>-client-cert`.
pub(super) fn roles(app: &ValidApp<'_>) -> Vec<Child> {
    each_database(app, |cluster, database| {
        LOGINS
            .map(|login| {
                let spec = json!({
                    "name": role(database, login),
                    "cluster": {"name": cluster},
                    "login": true,
                    "disablePassword": true,
                    "clientCertificate": {"enabled": true},
                    "databaseRoleReclaimPolicy": reclaim(app),
                });
                let name = role_object(cluster, database, login);
                child(app, Kind::DatabaseRole, &name, None, json!({"spec": spec}))
            })
            .to_vec()
    })
}

/// The databases.
pub(super) fn databases(app: &ValidApp<'_>) -> Vec<Child> {
    each_database(app, |cluster, database| {
        let spec = json!({
            "name": names::sql_name(database),
            "owner": names::owner_role(database),
            "cluster": {"name": cluster},
            "databaseReclaimPolicy": reclaim(app),
        });
        let name = object(cluster, database, "");
        vec![child(
            app,
            Kind::Database,
            &name,
            None,
            json!({"spec": spec}),
        )]
    })
}

fn each_database(app: &ValidApp<'_>, render: impl Fn(&str, &str) -> Vec<Child>) -> Vec<Child> {
    members(app)
        .iter()
        .flat_map(|member| {
            let databases = member.databases.iter();
            databases
                .flat_map(|database| render(&member.cluster, database))
                .collect::<Vec<_>>()
        })
        .collect()
}

fn reclaim(app: &ValidApp<'_>) -> &'static str {
    match app.app.spec.deletion_policy {
        DeletionPolicy::Retain => "retain",
        DeletionPolicy::Delete => "delete",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_of_two_clusters_never_share_a_name() {
        assert_eq!(
            role_object("demo-db", "task-events", Login::Owner),
            "demo-db-task-events-owner"
        );
        let pairs = [("demo-db", "x-x"), ("demo-db-x", "x")];
        let [one, other] = pairs.map(|(cluster, database)| object(cluster, database, "-owner"));
        assert_ne!(one, other);
        let pairs = [("a-db", "db-z"), ("a-db-db", "z")];
        let [one, other] = pairs.map(|(cluster, database)| object(cluster, database, ""));
        assert_ne!(one, other);
        let long = "x".repeat(40);
        assert!(role_object(&long, &long, Login::App).len() <= MAX_NAME);
    }
}
