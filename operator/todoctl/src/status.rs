//! `todoctl status`: environments and applications as a tree.

use clap::{Args, ValueEnum};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use serde_json::{Value, json};
use todo_operator_api::status::{ComponentStatus, EffectiveRelease, TodoAppStatus};
use todo_operator_api::{TodoApp, TodoEnvironment};
use todo_operator_core::status::{COMPONENTS_READY, DEGRADED, PROGRESSING, READY};

use crate::cluster::{Cluster, ClusterError};
use crate::error::{Error, Report};
use crate::paint::{Paint, quoted};
use crate::tree::Node;

/// Characters of a digest or fingerprint that tell one from another.
const SHORT: usize = 12;

/// Arguments of `todoctl status`.
#[derive(Args, Debug)]
pub struct Status {
    /// One TodoApp; all of the namespace by default
    name: Option<String>,
    /// Every namespace
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// What to print
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A tree for people
    #[default]
    Tree,
    /// One JSON document
    Json,
}

/// An environment and its applications; without one, applications whose environment is not known.
struct Stage {
    environment: Option<TodoEnvironment>,
    namespace: String,
    apps: Vec<TodoApp>,
}

/// Runs the command.
pub async fn run(command: &Status, cluster: &Cluster, paint: Paint) -> Result<Report, Error> {
    let stages = stages(command, cluster).await?;
    if command.output == Output::Json {
        let stages: Vec<Value> = stages.iter().map(as_json).collect();
        return Ok(Report::good(
            serde_json::to_string_pretty(&json!({"environments": stages}))? + "\n",
        ));
    }
    if stages.is_empty() {
        let place = if command.all_namespaces {
            "the cluster".to_owned()
        } else {
            format!("namespace {}", cluster.namespace)
        };
        eprintln!("no TodoApp in {place}");
    }
    Ok(Report::good(
        stages
            .iter()
            .map(|stage| draw(stage, paint).draw())
            .collect::<String>(),
    ))
}

async fn stages(command: &Status, cluster: &Cluster) -> Result<Vec<Stage>, ClusterError> {
    let namespace = (!command.all_namespaces).then_some(cluster.namespace.as_str());
    let mut apps = cluster.apps(namespace).await?;
    if let Some(name) = &command.name {
        apps.retain(|app| app.name_any() == *name);
        if apps.is_empty() {
            let place = namespace.map_or_else(
                || "any namespace".to_owned(),
                |namespace| format!("namespace {namespace}"),
            );
            return Err(ClusterError::NotFound {
                what: format!("TodoApp {name} in {place}"),
                hint: if command.all_namespaces {
                    String::new()
                } else {
                    ": -A looks everywhere".to_owned()
                },
            });
        }
    }
    let environments = cluster.visible_environments(namespace).await?;
    let mut stages: Vec<Stage> = environments
        .into_iter()
        .map(|environment| Stage {
            namespace: environment.spec.namespace.clone(),
            environment: Some(environment),
            apps: Vec::new(),
        })
        .collect();
    for app in apps {
        let namespace = app.namespace().unwrap_or_default();
        match stages.iter_mut().find(|stage| stage.namespace == namespace) {
            Some(stage) => stage.apps.push(app),
            None => stages.push(Stage {
                environment: None,
                namespace,
                apps: vec![app],
            }),
        }
    }
    if command.name.is_some() {
        stages.retain(|stage| !stage.apps.is_empty());
    }
    Ok(stages)
}

fn as_json(stage: &Stage) -> Value {
    let apps: Vec<Value> = stage
        .apps
        .iter()
        .map(|app| {
            json!({
                "name": app.metadata.name,
                "namespace": app.metadata.namespace,
                "generation": app.metadata.generation,
                "status": app.status,
            })
        })
        .collect();
    let environment = stage.environment.as_ref();
    json!({
        "name": environment.and_then(|environment| environment.metadata.name.clone()),
        "stage": environment.map(|environment| &environment.spec.stage),
        "namespace": stage.namespace,
        "status": environment.and_then(|environment| environment.status.as_ref()),
        "apps": apps,
    })
}

fn draw(stage: &Stage, paint: Paint) -> Node {
    let mut children: Vec<Node> = stage.apps.iter().map(|app| draw_app(app, paint)).collect();
    let Some(environment) = &stage.environment else {
        let title = format!(
            "{} {}",
            paint.strong(&stage.namespace),
            paint.bad("(no environment that you may see)")
        );
        return Node::with(title, children);
    };
    let status = environment.status.clone().unwrap_or_default();
    let ready = condition(&status.conditions, READY);
    let title = format!(
        "{} {} stage {}, namespace {}",
        mark(ready, environment.metadata.generation, paint),
        paint.strong(&environment.name_any()),
        environment.spec.stage,
        stage.namespace
    );
    children.extend(unwell(&status.conditions, paint));
    Node::with(title, children)
}

fn draw_app(app: &TodoApp, paint: Paint) -> Node {
    let status = app.status.clone().unwrap_or_default();
    let ready = condition(&status.conditions, READY);
    let mut title = format!(
        "{} {}",
        mark(ready, app.metadata.generation, paint),
        paint.strong(&app.name_any())
    );
    let reason = match ready {
        None => "the operator has not seen it yet",
        Some(_) if status.observed_generation != app.metadata.generation => {
            "the operator has not seen this spec yet"
        }
        Some(ready) => &ready.reason,
    };
    title.push_str(&format!(" {reason}"));
    if let Some(ready) = &status.ready {
        title.push_str(&format!(" {ready}"));
    }
    title.push_str(&format!(
        ", {}",
        release(app, status.effective_release.as_ref(), paint)
    ));
    let mut children: Vec<Node> = status
        .components
        .iter()
        .map(|(name, component)| draw_component(name, component, paint))
        .collect();
    let databases = status.databases.iter();
    children.extend(databases.map(|(name, database)| {
        resource(
            &name.replace('/', " "),
            database.ready,
            database.message.as_deref(),
            paint,
        )
    }));
    children.extend(status.topics.iter().map(|(name, topic)| {
        let partitions = topic
            .partitions
            .map(|n| format!(" {n} partitions"))
            .unwrap_or_default();
        let label = format!(
            "topic {name}{} {}",
            partitions,
            paint.faint(&topic.physical_name)
        );
        resource(&label, topic.ready, topic.message.as_deref(), paint)
    }));
    // A component speaks for itself above.
    let conditions = unwell(&status.conditions, paint)
        .into_iter()
        .filter(|node| status.components.is_empty() || !node.text.contains(COMPONENTS_READY));
    children.extend(conditions);
    Node::with(title, children)
}

/// What is wanted, and what serves where that is something else.
fn release(app: &TodoApp, effective: Option<&EffectiveRelease>, paint: Paint) -> String {
    let wanted = app
        .spec
        .release
        .version
        .clone()
        .unwrap_or_else(|| "release without a version".to_owned());
    let Some(effective) = effective else {
        return format!("{wanted} {}", paint.faint("nothing serves yet"));
    };
    let serving = effective
        .version
        .clone()
        .unwrap_or_else(|| short(&effective.fingerprint));
    match effective.reason.as_str() {
        "Spec" => wanted,
        "RollingOut" => format!("{wanted} {}", paint.busy("is rolling out")),
        reason => format!(
            "{wanted} wanted, {}",
            paint.bad(&format!("{serving} serves: {reason}"))
        ),
    }
}

fn draw_component(name: &str, component: &ComponentStatus, paint: Paint) -> Node {
    let state = match component.state.as_str() {
        "Healthy" => paint.good("✓"),
        "Degraded" | "Missing" => paint.bad("✗"),
        _ => paint.busy("…"),
    };
    let mut text = format!("{state} {} {}", paint.strong(name), component.state);
    if let Some(ready) = component.ready {
        let desired = component
            .desired
            .map_or_else(|| "?".to_owned(), |desired| desired.to_string());
        text.push_str(&format!(" {ready}/{desired}"));
    }
    if let Some(step) = &component.step {
        text.push_str(&paint.busy(&format!(" step {step}")));
    }
    if let Some(weight) = component.weight {
        text.push_str(&paint.busy(&format!(" {weight}%")));
    }
    if let Some(image) = &component.image {
        text.push_str(&format!(" {}", paint.faint(&short_image(image))));
    }
    Node::with(
        text,
        component
            .message
            .as_deref()
            .map(|message| Node::leaf(quoted(message)))
            .into_iter()
            .collect(),
    )
}

fn resource(label: &str, ready: bool, message: Option<&str>, paint: Paint) -> Node {
    let state = if ready {
        paint.good("✓")
    } else {
        paint.busy("…")
    };
    let message = message.map(|message| Node::leaf(quoted(message)));
    Node::with(format!("{state} {label}"), message.into_iter().collect())
}

/// Conditions that say something that nobody hopes for, the sum left out.
fn unwell(conditions: &[Condition], paint: Paint) -> Vec<Node> {
    conditions
        .iter()
        .filter(|condition| match condition.type_.as_str() {
            READY | PROGRESSING => false,
            DEGRADED => condition.status == "True",
            _ => condition.status != "True",
        })
        .map(|condition| {
            let text = format!(
                "{} {}={} {}",
                paint.bad("!"),
                condition.type_,
                condition.status,
                condition.reason
            );
            let message =
                (!condition.message.is_empty()).then(|| Node::leaf(quoted(&condition.message)));
            Node::with(text, message.into_iter().collect())
        })
        .collect()
}

fn mark(ready: Option<&Condition>, generation: Option<i64>, paint: Paint) -> String {
    match ready {
        Some(ready) if ready.status == "True" && ready.observed_generation == generation => {
            paint.good("✓")
        }
        Some(ready) if ready.status == "False" && ready.observed_generation == generation => {
            paint.bad("✗")
        }
        _ => paint.busy("…"),
    }
}

/// A condition by its type.
pub fn condition<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// Whether an application is ready, by a status that speaks of its present spec.
pub fn is_ready(app: &TodoApp) -> bool {
    let none = TodoAppStatus::default();
    let status = app.status.as_ref().unwrap_or(&none);
    condition(&status.conditions, READY).is_some_and(|ready| {
        ready.status == "True" && ready.observed_generation == app.metadata.generation
    })
}

/// The last part of an image's name, with its tag or the beginning of its digest.
fn short_image(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    match last.split_once("@sha256:") {
        Some((name, digest)) => format!("{name}@{}", short(digest)),
        None => last.to_owned(),
    }
}

fn short(digest: &str) -> String {
    digest.chars().take(SHORT).collect()
}

#[cfg(test)]
mod tests;
