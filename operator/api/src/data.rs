//! Topics and databases.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::component::{Resources, SecretKey};
use crate::scalar::Quantity;

/// The application's topics. Where Kafka is and who makes the topics stands in `TodoEnvironment.spec.messaging`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Messaging {
    /// Secret in the application's namespace with the client's credential, mounted at `/etc/app/kafka`; by default the
    /// environment's. Made by people, External Secrets or Strimzi's access operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub client_secret: Option<String>,
    /// Topics by name; the name in Kafka is `<namespace>.<topic>`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    #[x_kube(validation = Rule::new("self.all(t, t.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') && size(t) <= 128)").message("a topic's name is lower case letters, digits and '-', at most 128"))]
    pub topics: BTreeMap<String, Topic>,
}

/// One topic.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(validation = Rule::new("!has(self.partitions) || !has(oldSelf.partitions) || self.partitions >= oldSelf.partitions").message("partitions never shrink: Kafka cannot, and the order of keys would break").field_path(".partitions"))]
#[x_kube(validation = Rule::new("!has(self.partitions) || !has(oldSelf.partitions) || self.partitions <= oldSelf.partitions || (has(self.allowPartitionGrowth) && self.allowPartitionGrowth)").message("more partitions move keys to other partitions and break their order: set allowPartitionGrowth: true if that is acceptable").field_path(".partitions"))]
#[serde(rename_all = "camelCase")]
pub struct Topic {
    /// Number of partitions; 6 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub partitions: Option<i32>,
    /// Copies of each partition; the environment's default, else 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10))]
    pub replicas: Option<i32>,
    /// Kafka's own settings, as `retention.ms: "604800000"`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub config: BTreeMap<String, String>,
    /// Says that it is acceptable that growing moves keys to other partitions.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_partition_growth: bool,
}

/// The application's databases.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(validation = Rule::new("!has(self.topology) || !has(oldSelf.topology) || self.topology == oldSelf.topology").message("topology cannot change: it would leave the data behind. Make a new database and move the data").field_path(".topology"))]
#[serde(rename_all = "camelCase")]
pub struct Databases {
    /// `Shared`: one cluster, a database and roles each. `Dedicated`: a cluster each. `External`: someone else's.
    #[serde(default)]
    pub topology: Topology,
    /// Databases by name.
    #[schemars(extend("maxProperties" = 32))]
    #[x_kube(validation = Rule::new("self.all(d, d.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$') && size(d) <= 40)").message("a database's name is lower case letters, digits and '-', at most 40"))]
    pub items: BTreeMap<String, Database>,
    /// What the PostgreSQL cluster is made of, for `Shared` and as the default of each `Dedicated`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<DatabaseCluster>,
}

/// Where databases live.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Topology {
    /// One CloudNativePG cluster for the application.
    #[default]
    Shared,
    /// One CloudNativePG cluster for each database.
    Dedicated,
    /// A server that exists already.
    External,
}

/// One database.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Database {
    /// Differences of a `Dedicated` cluster from `databases.cluster`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<DatabaseCluster>,
    /// Where an `External` database is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalDatabase>,
}

/// What a PostgreSQL cluster is made of.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(validation = Rule::new("!has(oldSelf.storage) || (has(self.storage) && !quantity(string(self.storage)).isLessThan(quantity(string(oldSelf.storage))))").message("storage never shrinks: leave it as it is, or make it larger").field_path(".storage"))]
#[x_kube(validation = Rule::new("!has(oldSelf.walStorage) || (has(self.walStorage) && !quantity(string(self.walStorage)).isLessThan(quantity(string(oldSelf.walStorage))))").message("walStorage never shrinks and never goes away: leave it as it is, or make it larger").field_path(".walStorage"))]
#[serde(rename_all = "camelCase")]
pub struct DatabaseCluster {
    /// Servers, one of them the primary; 1 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 20))]
    pub instances: Option<i32>,
    /// Image of PostgreSQL; CloudNativePG's default where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// Size of the data volume; 1Gi by default. It never shrinks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Quantity>,
    /// StorageClass; the cluster's default where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class: Option<String>,
    /// Size of a volume of its own for the write-ahead log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wal_storage: Option<Quantity>,
    /// PostgreSQL's own settings.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub parameters: BTreeMap<String, String>,
    /// Compute resources of a server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

/// A database on someone else's server.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ExternalDatabase {
    /// Host.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,
    /// Port; 5432 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// Name of the database; the item's name by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub database: Option<String>,
    /// libpq's `sslmode`; `verify-full` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssl_mode: Option<SslMode>,
    /// Secret with `ca.crt`, mounted for `verify-ca` and `verify-full`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub ca_secret: Option<String>,
    /// Login of the migrations.
    pub owner: ExternalRole,
    /// Login of the pods.
    pub app: ExternalRole,
    /// Addresses of the server, as CIDR, that the network policy allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub cidr: Option<String>,
}

/// A login on someone else's server.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ExternalRole {
    /// Name of the role.
    #[schemars(length(min = 1, max = 63))]
    pub user: String,
    /// Where its password stands.
    pub password: SecretKey,
}

/// libpq's `sslmode`.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    /// No TLS.
    Disable,
    /// TLS without a check of the server.
    Require,
    /// TLS, the certificate is checked.
    VerifyCa,
    /// TLS, certificate and host name are checked.
    VerifyFull,
}
