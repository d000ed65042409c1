//! `todoctl render`: what would be created, without a cluster.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use todo_operator_api::{TodoApp, TodoEnvironment};
use todo_operator_core::child::ChildKey;
use todo_operator_core::environment;
use todo_operator_core::render::pod_inputs;

use crate::error::{Error, Report};
use crate::manifest::{self, Findings, Manifest, ManifestError, Manifests};
use crate::wanted::{self, Rendered, is_named};

/// Arguments of `todoctl render`.
#[derive(Args, Debug)]
pub struct Render {
    /// Files, directories of files, kustomize directories, or - for standard input
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Render for this TodoEnvironment alone; applications without a namespace get its namespace
    #[arg(long, short, value_name = "NAME")]
    environment: Option<String>,
    /// What to print
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Output {
    /// One YAML document for each object; topics as comments
    #[default]
    Yaml,
    /// A List; topics beside its items
    Json,
    /// Names alone
    Names,
}

/// Runs the command.
pub fn run(command: &Render) -> Result<Report, Error> {
    let mut manifests = manifest::load(&command.paths)?;
    if let Some(name) = &command.environment
        && !manifests.environments.iter().any(|it| is_named(it, name))
    {
        return Err(manifest::nothing(&format!("TodoEnvironment {name}"), &command.paths).into());
    }
    let (rendered, warnings) = render(&mut manifests, command.environment.as_deref())?;
    if rendered.children.is_empty() {
        return Err(manifest::nothing("TodoApp or TodoEnvironment", &command.paths).into());
    }
    for warning in warnings {
        eprintln!("{warning}");
    }
    let text = match command.output {
        Output::Yaml => yaml(&rendered)?,
        Output::Json => json(&rendered)?,
        Output::Names => names(&rendered),
    };
    Ok(Report::good(text))
}

/// Everything that the manifests ask for, and warnings.
fn render(
    manifests: &mut Manifests,
    environment: Option<&str>,
) -> Result<(Rendered, Vec<String>), ManifestError> {
    let all: Vec<TodoEnvironment> = manifests
        .environments
        .iter()
        .map(|manifest| manifest.object.clone())
        .collect();
    let all: Vec<&TodoEnvironment> = all.iter().collect();
    let mut findings = wanted::select(manifests, environment);
    let environments: Vec<&TodoEnvironment> = manifests
        .environments
        .iter()
        .map(|manifest| &manifest.object)
        .collect();
    let mut rendered = Rendered {
        children: Vec::new(),
        topics: Vec::new(),
    };
    let mut warnings = Vec::new();
    for manifest in &manifests.environments {
        findings.extend(wanted::check_environment(manifest, &all));
        rendered
            .children
            .extend(environment::render(&manifest.object));
    }
    let placed: Vec<(&Manifest<TodoApp>, Vec<&TodoEnvironment>)> = manifests
        .apps
        .iter()
        .filter_map(|app| {
            let namespace = app.object.metadata.namespace.as_ref()?;
            let own = environments
                .iter()
                .copied()
                .filter(|environment| environment.spec.namespace == *namespace);
            Some((app, own.collect()))
        })
        .collect();
    let holders = wanted::holders(
        placed
            .iter()
            .map(|(app, own)| (&app.object, own.first().copied())),
    );
    for (app, own) in &placed {
        match wanted::check_app(app, None, own, &holders) {
            Err(found) => findings.extend(found),
            Ok(valid) => {
                let Rendered { children, topics } = wanted::render(&valid, &pod_inputs(&valid));
                rendered.children.extend(children);
                rendered.topics.extend(topics);
                warnings.extend(wanted::warning(&valid));
            }
        }
    }
    Findings::refuse(findings)?;
    Ok((rendered, warnings))
}

fn yaml(rendered: &Rendered) -> Result<String, Error> {
    let mut text = String::new();
    for topic in &rendered.topics {
        text.push_str(&format!(
            "# {}, through Kafka's admin API: ",
            topic.physical_name
        ));
        text.push_str(&format!(
            "{} partitions, {} replicas",
            topic.partitions, topic.replicas
        ));
        for (name, value) in &topic.config {
            text.push_str(&format!(", {name}={value}"));
        }
        text.push('\n');
    }
    for child in &rendered.children {
        text.push_str("---\n");
        text.push_str(&serde_yaml::to_string(&child.body)?);
    }
    Ok(text)
}

fn json(rendered: &Rendered) -> Result<String, Error> {
    let items: Vec<&Value> = rendered.children.iter().map(|child| &child.body).collect();
    let topics: Vec<Value> = rendered
        .topics
        .iter()
        .map(|topic| {
            json!({
                "name": topic.physical_name,
                "partitions": topic.partitions,
                "replicas": topic.replicas,
                "config": topic.config,
            })
        })
        .collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items, "topics": topics});
    Ok(serde_json::to_string_pretty(&list)? + "\n")
}

fn names(rendered: &Rendered) -> String {
    let topics = rendered
        .topics
        .iter()
        .map(|topic| format!("topic {}\n", topic.physical_name));
    let children = rendered
        .children
        .iter()
        .map(|child| format!("{}\n", name(&child.key)));
    topics.chain(children).collect()
}

/// `Kind namespace/name`, or `Kind name` where it stands in no namespace.
pub fn name(key: &ChildKey) -> String {
    if key.namespace.is_empty() {
        key.to_string()
    } else {
        format!("{} {}/{}", key.kind.name(), key.namespace, key.name)
    }
}
