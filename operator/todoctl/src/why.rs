//! `todoctl why`: the chain of causes, down to the object that explains it, in that object's own words.

mod causes;

use clap::Args;
use kube::ResourceExt;
use todo_operator_api::status::{ComponentStatus, TodoAppStatus};
use todo_operator_api::{TodoApp, TodoEnvironment};
use todo_operator_core::kind::Kind;
use todo_operator_core::status::components::{HEALTHY, WAITING};
use todo_operator_core::status::{DEGRADED, READY, reasons};

use self::causes::Facts;
use crate::cluster::{Cluster, ClusterError};
use crate::error::{Error, Report};
use crate::paint::{Paint, quoted};
use crate::status::{condition, is_ready};
use crate::tree::Node;

/// Label of the pods of a CloudNativePG cluster.
const DATABASE_POD_LABEL: &str = "cnpg.io/cluster";

/// Arguments of `todoctl why`.
#[derive(Args, Debug)]
pub struct Why {
    /// A TodoApp, APP/COMPONENT, or a TodoEnvironment
    name: String,
}

/// Runs the command.
pub async fn run(command: &Why, cluster: &Cluster, paint: Paint) -> Result<Report, Error> {
    let namespace = cluster.namespace.as_str();
    if let Some((app, component)) = command.name.split_once('/') {
        let app = cluster
            .app(namespace, app)
            .await?
            .ok_or_else(|| not_found(app, namespace))?;
        return about_component(&app, component, cluster, paint).await;
    }
    if let Some(app) = cluster.app(namespace, &command.name).await? {
        return about_app(&app, cluster, paint).await;
    }
    match cluster.environment(&command.name).await? {
        Some(environment) => about_environment(&environment, cluster, paint).await,
        None => Err(not_found(&command.name, namespace).into()),
    }
}

fn not_found(name: &str, namespace: &str) -> ClusterError {
    ClusterError::NotFound {
        what: format!("TodoApp {name} in namespace {namespace}, and no TodoEnvironment {name}"),
        hint: ": give the namespace with -n, or see `todoctl status -A`".to_owned(),
    }
}

async fn about_app(app: &TodoApp, cluster: &Cluster, paint: Paint) -> Result<Report, Error> {
    let label = label(app);
    if is_ready(app) && app.metadata.deletion_timestamp.is_none() {
        let version = app
            .spec
            .release
            .version
            .as_deref()
            .map(|version| format!(", running {version}"))
            .unwrap_or_default();
        return Ok(Report::good(format!(
            "{} is ready{version}\n",
            paint.strong(&label)
        )));
    }
    Ok(Report::bad(app_tree(app, cluster, paint).await?.draw()))
}

/// `demo in todo-test is not ready`, and why.
async fn app_tree(app: &TodoApp, cluster: &Cluster, paint: Paint) -> Result<Node, ClusterError> {
    let facts = facts(app, cluster).await?;
    let status = app.status.clone().unwrap_or_default();
    let late = condition(&status.conditions, DEGRADED).is_some_and(|degraded| {
        degraded.status == "True" && degraded.reason == reasons::DEADLINE_EXCEEDED
    });
    let late = if late {
        ", and has not been for longer than its deadline allows"
    } else {
        ""
    };
    let title = format!(
        "{} is {}{late}",
        paint.strong(&label(app)),
        paint.bad("not ready")
    );
    let mut causes = facts.causes(paint);
    if causes.is_empty() {
        let said = condition(&status.conditions, READY).map(|ready| quoted(&ready.message));
        causes.extend(said.filter(|said| !said.is_empty()).map(Node::leaf));
    }
    causes.extend(facts.hidden());
    Ok(Node::with(title, causes))
}

async fn about_component(
    app: &TodoApp,
    component: &str,
    cluster: &Cluster,
    paint: Paint,
) -> Result<Report, Error> {
    if !app.spec.components.contains_key(component) {
        let known: Vec<&str> = app.spec.components.keys().map(String::as_str).collect();
        return Err(ClusterError::NotFound {
            what: format!("component {component} in {}", label(app)),
            hint: format!(": it has {}", known.join(", ")),
        }
        .into());
    }
    let label = format!("component {component} of {}", label(app));
    let none = TodoAppStatus::default();
    let status = app.status.as_ref().unwrap_or(&none);
    let is_current = status.observed_generation == app.metadata.generation;
    match status.components.get(component).filter(|_| is_current) {
        Some(ComponentStatus {
            state,
            ready,
            desired,
            ..
        }) if state == HEALTHY => {
            let replicas = ready
                .zip(*desired)
                .map(|(ready, desired)| format!(", {ready} of {desired} available"));
            Ok(Report::good(format!(
                "{} is healthy{}\n",
                paint.strong(&label),
                replicas.unwrap_or_default()
            )))
        }
        Some(component_status) => {
            let facts = facts(app, cluster).await?;
            let mut node = facts.component(component, component_status, paint);
            node.text = format!(
                "{} is {}",
                paint.strong(&label),
                paint.bad(&component_status.state)
            );
            if component_status.state == WAITING {
                node.children.extend(facts.barriers(paint));
            }
            node.children.extend(facts.hidden());
            Ok(Report::bad(node.draw()))
        }
        // Not known: the whole application is why.
        None if !is_ready(app) => Ok(Report::bad(app_tree(app, cluster, paint).await?.draw())),
        None => Ok(Report::good(format!(
            "{} does not run in this stage\n",
            paint.strong(&label)
        ))),
    }
}

async fn about_environment(
    environment: &TodoEnvironment,
    cluster: &Cluster,
    paint: Paint,
) -> Result<Report, Error> {
    let name = environment.name_any();
    let label = format!("environment {}", paint.strong(&name));
    let status = environment.status.clone().unwrap_or_default();
    let generation = environment.metadata.generation;
    let mut causes = Vec::new();
    match condition(&status.conditions, READY) {
        Some(ready) if ready.observed_generation != generation => {
            causes.push(causes::unseen(generation, ready.observed_generation))
        }
        None => causes.push(causes::unseen(generation, None)),
        Some(_) => {
            let unwell = status.conditions.iter().filter(|condition| {
                condition.status == "False"
                    && ![READY, DEGRADED, todo_operator_core::status::PROGRESSING]
                        .contains(&condition.type_.as_str())
            });
            causes.extend(unwell.map(causes::quote));
        }
    }
    let apps = cluster.apps(Some(&environment.spec.namespace)).await?;
    for app in apps.iter().filter(|app| !is_ready(app)) {
        causes.push(app_tree(app, cluster, paint).await?);
    }
    let ready = condition(&status.conditions, READY).filter(|ready| ready.status == "True");
    if causes.is_empty()
        && let Some(not_ready) =
            condition(&status.conditions, READY).filter(|ready| ready.status != "True")
    {
        causes.push(causes::quote(not_ready));
    }
    if causes.is_empty() && ready.is_some() {
        return Ok(Report::good(format!(
            "{label} is ready, with {} applications\n",
            apps.len()
        )));
    }
    Ok(Report::bad(
        Node::with(format!("{label} is {}", paint.bad("not ready")), causes).draw(),
    ))
}

/// `demo in todo-test`.
fn label(app: &TodoApp) -> String {
    format!(
        "{} in {}",
        app.name_any(),
        app.namespace().unwrap_or_default()
    )
}

/// Reads everything that can explain an application.
async fn facts<'a>(app: &'a TodoApp, cluster: &Cluster) -> Result<Facts<'a>, ClusterError> {
    let namespace = app.namespace().unwrap_or_default();
    let environments = cluster.visible_environments(Some(&namespace)).await?;
    let topics = environments
        .first()
        .and_then(|environment| environment.spec.messaging.as_ref()?.strimzi.as_ref())
        .map(|strimzi| strimzi.namespace.as_str());
    let mut objects = cluster.objects(&namespace, &app.name_any(), topics).await?;
    let unready: Vec<String> = objects
        .of_kind(Kind::Cluster)
        .filter(|(_, live)| !live.health.is_ready())
        .map(|(key, _)| key.name.to_string())
        .collect();
    for database in unready {
        // CloudNativePG's pods bear its labels, not ours.
        let pods = cluster
            .pods(&namespace, &format!("{DATABASE_POD_LABEL}={database}"))
            .await?;
        objects.children.extend(pods.children);
        objects.bodies.extend(pods.bodies);
    }
    Ok(Facts::new(app, objects))
}
