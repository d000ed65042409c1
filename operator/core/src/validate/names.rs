//! Names: their form, and their length once something is added to them.

use todo_operator_api::data::Topology;

use super::{NOT_SET, Problems, Scope, syntax};
use crate::names;

/// Longest `<app>-<component>`. What is added to it still fits: `-migrate-<hash8>` a Job's 63 characters, `-canary` a
/// Service's, a CronJob's own run numbers its 52.
const LONGEST_COMPONENT: usize = 45;
/// Longest name of a CloudNativePG cluster.
const LONGEST_CLUSTER: usize = 50;
/// Longest name of a topic or consumer group in Kafka.
const LONGEST_TOPIC: usize = 249;
/// Longest name of a topic or database in the spec.
const LONGEST_TOPIC_ITEM: usize = 128;
const LONGEST_DATABASE_ITEM: usize = 40;
/// Longest image key.
const LONGEST_IMAGE_KEY: usize = 63;

const NAME_RULE: &str = "lower-case letters, digits and '-', beginning with a letter";

pub(super) fn check(scope: &Scope<'_, '_>, problems: &mut Problems) {
    if scope.name.is_empty() {
        problems.add("metadata.name", NOT_SET, "an application has a name");
    } else if !syntax::is_name(scope.name) {
        problems.add(
            "metadata.name",
            scope.name,
            format!("{NAME_RULE}: it becomes the name of Services"),
        );
    }
    components(scope, problems);
    databases(scope, problems);
    topics(scope, problems);
}

fn components(scope: &Scope<'_, '_>, problems: &mut Problems) {
    for (name, component) in &scope.app.spec.components {
        let path = format!("spec.components.{name}");
        if !syntax::is_name(name) {
            problems.add(&path, name, format!("a component's name is {NAME_RULE}"));
        }
        let full = names::component(scope.name, name);
        if full.len() > LONGEST_COMPONENT {
            problems.add(
                &path,
                format!("{full} ({} characters)", full.len()),
                format!("<app>-<component> has at most {LONGEST_COMPONENT} characters: shorten one of the names"),
            );
        }
        if let Some(key) = component
            .image
            .as_ref()
            .filter(|key| key.is_empty() || key.len() > LONGEST_IMAGE_KEY)
        {
            problems.add(
                format!("{path}.image"),
                key,
                format!("an image key has 1 to {LONGEST_IMAGE_KEY} characters"),
            );
        }
        for stage in component
            .environments
            .iter()
            .filter(|stage| !syntax::is_name(stage))
        {
            problems.add(
                format!("{path}.environments"),
                stage,
                format!("a stage is {NAME_RULE}, as spec.stage of a TodoEnvironment"),
            );
        }
        let stages = component.environments.iter().map(String::as_str);
        syntax::once(problems, &format!("{path}.environments"), stages);
    }
}

fn databases(scope: &Scope<'_, '_>, problems: &mut Problems) {
    let Some(databases) = &scope.app.spec.databases else {
        return;
    };
    for name in databases.items.keys() {
        let path = format!("spec.databases.items.{name}");
        if !syntax::is_name(name) || name.len() > LONGEST_DATABASE_ITEM {
            problems.add(
                &path,
                name,
                format!("a database's name is {NAME_RULE}, at most {LONGEST_DATABASE_ITEM}"),
            );
        }
        let sql = names::sql_name(name);
        if matches!(sql.as_str(), "postgres" | "template0" | "template1" | "pg")
            || sql.starts_with("pg_")
        {
            problems.add(&path, name, "PostgreSQL keeps postgres, template0, template1 and names that begin with pg_ (so would a role here) for itself");
        }
        if databases.topology == Topology::Dedicated {
            cluster(
                problems,
                &path,
                &names::dedicated_cluster(scope.name, name),
                "<app>-<database>",
            );
        }
    }
    if databases.topology == Topology::Shared && !databases.items.is_empty() {
        cluster(
            problems,
            "spec.databases",
            &names::shared_cluster(scope.name),
            "<app>-db",
        );
    }
}

fn cluster(problems: &mut Problems, path: &str, name: &str, pattern: &str) {
    if name.len() > LONGEST_CLUSTER {
        problems.add(
            path,
            format!("{name} ({} characters)", name.len()),
            format!("the PostgreSQL cluster {pattern} has at most {LONGEST_CLUSTER} characters: shorten one of the names"),
        );
    }
}

fn topics(scope: &Scope<'_, '_>, problems: &mut Problems) {
    for topic in scope
        .app
        .spec
        .messaging
        .iter()
        .flat_map(|messaging| messaging.topics.keys())
    {
        let path = format!("spec.messaging.topics.{topic}");
        let in_alphabet = topic
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let bounded = !topic.is_empty() && !topic.starts_with('-') && !topic.ends_with('-');
        if !in_alphabet || !bounded || topic.len() > LONGEST_TOPIC_ITEM {
            problems.add(&path, topic, format!("a topic's name is lower-case letters, digits and '-', at most {LONGEST_TOPIC_ITEM}"));
        }
        kafka(
            problems,
            &path,
            &names::physical_topic(scope.namespace, topic),
        );
    }
    for (name, component) in &scope.running {
        if !component.consumes.is_empty() {
            let path = format!("spec.components.{name}");
            kafka(
                problems,
                &path,
                &names::dead_letter_topic(scope.namespace, name),
            );
        }
    }
}

/// A name in Kafka. (A consumer group is shorter than its dead-letter topic.)
fn kafka(problems: &mut Problems, path: &str, name: &str) {
    if name.len() > LONGEST_TOPIC {
        problems.add(
            path,
            format!("{name} ({} characters)", name.len()),
            format!("<namespace>.<name> has at most {LONGEST_TOPIC} characters in Kafka: shorten one of the names"),
        );
    }
}
