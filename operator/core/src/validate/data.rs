//! Topics and databases.

use todo_operator_api::TodoApp;
use todo_operator_api::component::{Component, ComponentKind};
use todo_operator_api::data::{
    Database, DatabaseCluster, Databases, ExternalDatabase, Topic, Topology,
};
use todo_operator_api::environment::{EnvironmentMessaging, SecurityProtocol};

use super::{NOT_SET, Problems, Scope, component, release, syntax, variables};
use crate::names;

/// Partitions of a topic that names no number.
const DEFAULT_PARTITIONS: i32 = 6;

/// Most replicas that a Worker can keep busy: the partitions of the smallest topic that its consumer group shares out.
/// `None` where nothing bounds it.
pub(super) fn usable_replicas(app: &TodoApp, component: &Component) -> Option<i32> {
    if component.kind != ComponentKind::Worker {
        return None;
    }
    let topics = &app.spec.messaging.as_ref()?.topics;
    component
        .consumes
        .iter()
        .filter(|(_, consume)| !consume.broadcast)
        .filter_map(|(topic, _)| Some(partitions(topics.get(topic)?)))
        .min()
}

fn partitions(topic: &Topic) -> i32 {
    topic.partitions.unwrap_or(DEFAULT_PARTITIONS)
}

pub(super) fn check(scope: &Scope<'_, '_>, problems: &mut Problems) {
    uses(scope, problems);
    topics(scope, problems);
    if let Some(databases) = &scope.app.spec.databases {
        self::databases(scope, problems, databases);
    }
}

/// What components use is declared.
fn uses(scope: &Scope<'_, '_>, problems: &mut Problems) {
    let spec = &scope.app.spec;
    let declares_topic = |topic: &str| {
        spec.messaging
            .as_ref()
            .is_some_and(|m| m.topics.contains_key(topic))
    };
    let declares_database = |name: &str| {
        spec.databases
            .as_ref()
            .is_some_and(|d| d.items.contains_key(name))
    };
    for (name, component) in &spec.components {
        let path = format!("spec.components.{name}");
        syntax::once(
            problems,
            &format!("{path}.produces"),
            component.produces.iter().map(String::as_str),
        );
        for topic in component
            .produces
            .iter()
            .filter(|topic| !declares_topic(topic))
        {
            problems.add(
                format!("{path}.produces"),
                topic,
                "declare the topic in spec.messaging.topics",
            );
        }
        for topic in component
            .consumes
            .keys()
            .filter(|topic| !declares_topic(topic))
        {
            problems.add(
                format!("{path}.consumes.{topic}"),
                topic,
                "declare the topic in spec.messaging.topics",
            );
        }
        if let Some(database) = component
            .database
            .as_ref()
            .filter(|name| !declares_database(name))
        {
            problems.add(
                format!("{path}.database"),
                database,
                "declare the database in spec.databases.items",
            );
        }
    }
}

fn topics(scope: &Scope<'_, '_>, problems: &mut Problems) {
    let Some(messaging) = &scope.app.spec.messaging else {
        return;
    };
    syntax::object_name(
        problems,
        "spec.messaging.clientSecret",
        messaging.client_secret.as_deref(),
    );
    if !messaging.topics.is_empty() && scope.environment.is_some() {
        match scope.messaging() {
            None => problems.add(
                "spec.messaging.topics",
                messaging
                    .topics
                    .keys()
                    .cloned()
                    .collect::<Vec<_>>()
                    .join(", "),
                format!(
                    "environment {} has no messaging: set spec.messaging of that TodoEnvironment",
                    scope.environment_name()
                ),
            ),
            Some(kafka) => client_secret(problems, messaging.client_secret.as_deref(), kafka),
        }
    }
    for (name, topic) in &messaging.topics {
        self::topic(scope, problems, name, topic);
    }
}

/// With SASL nobody enters without a credential.
fn client_secret(problems: &mut Problems, own: Option<&str>, kafka: &EnvironmentMessaging) {
    if is_sasl(kafka.security_protocol) && own.is_none() && kafka.client_secret.is_none() {
        problems.add(
            "spec.messaging.clientSecret",
            NOT_SET,
            "Kafka asks for a name and a password here: name the Secret with `username` and `password`, here or in the environment",
        );
    }
}

fn topic(scope: &Scope<'_, '_>, problems: &mut Problems, name: &str, topic: &Topic) {
    let path = format!("spec.messaging.topics.{name}");
    syntax::range(
        problems,
        &format!("{path}.partitions"),
        topic.partitions,
        1..=10_000,
    );
    syntax::range(
        problems,
        &format!("{path}.replicas"),
        topic.replicas,
        1..=10,
    );
    for key in topic.config.keys() {
        let fits = !key.is_empty()
            && key
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-'));
        if !fits {
            problems.add(
                format!("{path}.config.{key}"),
                key,
                "Kafka's settings are lower-case words joined by dots, as retention.ms",
            );
        }
    }
    let insync = topic
        .config
        .get("min.insync.replicas")
        .and_then(|text| text.parse::<i32>().ok());
    if let (Some(insync), Some(replicas)) = (insync, topic.replicas)
        && insync > replicas
    {
        problems.add(
            format!("{path}.config.min.insync.replicas"),
            insync,
            format!("must not be above replicas, {replicas}: nothing could be written"),
        );
    }
    let (asked, live) = (
        partitions(topic),
        scope
            .surroundings
            .partitions
            .get(&names::physical_topic(scope.namespace, name)),
    );
    let Some(live) = live.copied() else { return };
    let field = format!("{path}.partitions");
    if asked < live {
        problems.add(
            field,
            asked,
            format!("the topic has {live} partitions and Kafka cannot take any away: set partitions: {live}, or move to a new topic"),
        );
    } else if asked > live && !topic.allow_partition_growth {
        problems.add(
            field,
            asked,
            format!(
                "the topic has {live} partitions; more of them move keys to other partitions and break their order: set \
                 allowPartitionGrowth: true if that is acceptable"
            ),
        );
    }
}

fn databases(scope: &Scope<'_, '_>, problems: &mut Problems, databases: &Databases) {
    let path = "spec.databases";
    if let Some(settings) = &databases.cluster {
        if databases.topology == Topology::External {
            problems.add(
                format!("{path}.cluster"),
                "set",
                "topology External makes no cluster: remove cluster",
            );
        }
        cluster(scope, problems, &format!("{path}.cluster"), settings);
    }
    for (name, database) in &databases.items {
        item(
            scope,
            problems,
            &format!("{path}.items.{name}"),
            databases.topology,
            database,
        );
    }
}

fn item(
    scope: &Scope<'_, '_>,
    problems: &mut Problems,
    path: &str,
    topology: Topology,
    database: &Database,
) {
    if let Some(settings) = &database.cluster {
        if topology != Topology::Dedicated {
            problems.add(
                format!("{path}.cluster"),
                "set",
                format!("only a database of topology Dedicated has a cluster of its own, and this is {topology:?}: remove it"),
            );
        }
        cluster(scope, problems, &format!("{path}.cluster"), settings);
    }
    match (topology, &database.external) {
        (Topology::External, None) => {
            problems.add(format!("{path}.external"), NOT_SET, "topology External needs to know where the database is: set external");
        }
        (Topology::External, Some(server)) => external(problems, &format!("{path}.external"), server),
        (_, None) => {}
        (_, Some(_)) => problems.add(
            format!("{path}.external"),
            "set",
            format!("only topology External has it, and this is {topology:?}: remove it, or set topology: External"),
        ),
    }
}

fn cluster(scope: &Scope<'_, '_>, problems: &mut Problems, path: &str, settings: &DatabaseCluster) {
    syntax::range(
        problems,
        &format!("{path}.instances"),
        settings.instances,
        1..=20,
    );
    if let Some(image) = &settings.image {
        release::reference(scope.policy(), problems, &format!("{path}.image"), image);
    }
    for (field, size) in [
        ("storage", &settings.storage),
        ("walStorage", &settings.wal_storage),
    ] {
        let Some(size) = size else { continue };
        let field = format!("{path}.{field}");
        syntax::quantity(problems, &field, size);
        if size.as_millis() == Some(0) {
            problems.add(field, size, "a volume has a size, as 10Gi");
        }
    }
    syntax::object_name(
        problems,
        &format!("{path}.storageClass"),
        settings.storage_class.as_deref(),
    );
    if let Some(resources) = &settings.resources {
        component::resources(problems, &format!("{path}.resources"), resources);
    }
}

fn external(problems: &mut Problems, path: &str, server: &ExternalDatabase) {
    let host = server.host.to_ascii_lowercase();
    if !syntax::is_domain(&host) && host.parse::<std::net::IpAddr>().is_err() {
        problems.add(
            format!("{path}.host"),
            &server.host,
            "a DNS name or an IP address",
        );
    }
    syntax::range(problems, &format!("{path}.port"), server.port, 1..=65_535);
    syntax::object_name(
        problems,
        &format!("{path}.caSecret"),
        server.ca_secret.as_deref(),
    );
    if let Some(cidr) = &server.cidr {
        syntax::cidr(problems, &format!("{path}.cidr"), cidr);
    }
    for (login, role) in [("owner", &server.owner), ("app", &server.app)] {
        let path = format!("{path}.{login}.password");
        variables::secret_key(problems, &path, &role.password.secret, &role.password.key);
    }
}

/// Whether Kafka asks for a name and a password.
pub(super) fn is_sasl(protocol: SecurityProtocol) -> bool {
    matches!(
        protocol,
        SecurityProtocol::SaslPlaintext | SecurityProtocol::SaslSsl
    )
}
