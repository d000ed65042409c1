//! What manifests ask for: checked as the operator checks them, and rendered as it renders them.

use std::collections::BTreeMap;

use todo_operator_api::{TodoApp, TodoEnvironment};
use todo_operator_core::child::Child;
use todo_operator_core::environment;
use todo_operator_core::inputs::PodInputs;
use todo_operator_core::render;
use todo_operator_core::topics::WantedTopic;
use todo_operator_core::validate::{self, Holders, Problem, Surroundings, ValidApp};

use crate::manifest::{Finding, Manifest, Manifests, broken_rules};

/// The namespace that the operator is installed in: no environment can have it.
const OPERATOR_NAMESPACE: &str = "todo-operator";

/// Nobody asks Kafka here.
static UNKNOWN_PARTITIONS: BTreeMap<String, i32> = BTreeMap::new();

/// Everything that an application makes once nothing stands in its way.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// Children, in the order in which they are applied.
    pub children: Vec<Child>,
    /// Topics that the operator makes through Kafka's admin API.
    pub topics: Vec<WantedTopic>,
}

/// Renders an application as if nothing existed and every barrier were open.
pub fn render(app: &ValidApp<'_>, inputs: &BTreeMap<String, PodInputs>) -> Rendered {
    let named: Vec<(&str, &PodInputs)> = inputs
        .iter()
        .map(|(name, inputs)| (name.as_str(), inputs))
        .collect();
    let waves = [
        render::policy(app, &named),
        render::storage(app),
        render::roles(app),
        render::databases(app),
        render::migrations(app, inputs),
        render::services(app),
        render::workloads(app, inputs),
        render::traffic(app),
    ];
    Rendered {
        children: waves.into_iter().flatten().collect(),
        topics: render::topics(app),
    }
}

/// Gives the environment's namespace to applications that name none, and leaves out what belongs elsewhere.
///
/// Without `environment`, an application without a namespace belongs to the only environment there is.
pub fn select(manifests: &mut Manifests, environment: Option<&str>) -> Vec<Finding> {
    manifests
        .environments
        .retain(|candidate| environment.is_none_or(|wanted| is_named(candidate, wanted)));
    let namespace = match manifests.environments.as_slice() {
        [only] => Some(only.object.spec.namespace.clone()),
        _ => None,
    };
    let mut findings = Vec::new();
    for app in &mut manifests.apps {
        if app.object.metadata.namespace.is_some() {
            continue;
        }
        match &namespace {
            Some(namespace) => app.object.metadata.namespace = Some(namespace.clone()),
            None => findings.push(app.finding(
                "metadata",
                "it names no namespace, and no single environment gives it one: set metadata.namespace, or give --environment",
            )),
        }
    }
    if environment.is_some() {
        manifests
            .apps
            .retain(|app| app.object.metadata.namespace == namespace);
    }
    findings
}

/// Whether this is the environment `name`.
pub fn is_named(environment: &Manifest<TodoEnvironment>, name: &str) -> bool {
    environment.object.metadata.name.as_deref() == Some(name)
}

/// What is wrong with an environment. `all` are the environments that it must get along with.
///
/// A stage before it that is not among them may well exist: that is no finding.
pub fn check_environment(
    manifest: &Manifest<TodoEnvironment>,
    all: &[&TodoEnvironment],
) -> Vec<Finding> {
    let is_known = |name: &str| {
        all.iter()
            .any(|environment| environment.metadata.name.as_deref() == Some(name))
    };
    let mut environment = manifest.object.clone();
    if let Some(promotion) = &mut environment.spec.promotion {
        promotion.from = promotion.from.take().filter(|from| is_known(from));
    }
    match validate::environment(&environment, all, None, OPERATOR_NAMESPACE) {
        Err(problems) => problems
            .iter()
            .map(|problem| finding(manifest, problem))
            .collect(),
        Ok(()) => broken_rules(manifest, None),
    }
}

/// The application, ready to be rendered; else everything that is wrong with it.
///
/// `old` is what it replaces, where that is known; `holders` are what other applications have.
pub fn check_app<'a>(
    manifest: &'a Manifest<TodoApp>,
    old: Option<&TodoApp>,
    environments: &'a [&'a TodoEnvironment],
    holders: &'a Holders,
) -> Result<ValidApp<'a>, Vec<Finding>> {
    if environments.is_empty() {
        let namespace = manifest
            .object
            .metadata
            .namespace
            .as_deref()
            .unwrap_or_default();
        let message = format!("no TodoEnvironment has namespace {namespace}: give its file too");
        return Err(vec![manifest.finding("metadata.namespace", message)]);
    }
    let surroundings = Surroundings {
        environments,
        holders,
        partitions: &UNKNOWN_PARTITIONS,
    };
    match validate::validate(&manifest.object, &surroundings) {
        Err(problems) => Err(problems
            .iter()
            .map(|problem| finding(manifest, problem))
            .collect()),
        // The rules of the schema see less than validation does, and say the same with fewer words: they come second.
        Ok(valid) => match broken_rules(manifest, old) {
            broken if broken.is_empty() => Ok(valid),
            broken => Err(broken),
        },
    }
}

fn finding<T>(manifest: &Manifest<T>, problem: &Problem) -> Finding {
    manifest.finding(&problem.field, problem.to_string())
}

/// What the applications before each one claim: the first in order holds it.
pub fn holders<'a>(
    apps: impl IntoIterator<Item = (&'a TodoApp, Option<&'a TodoEnvironment>)>,
) -> Holders {
    let mut holders = Holders::new();
    for (app, environment) in apps {
        let Some(environment) = environment else {
            continue;
        };
        let meta = &app.metadata;
        let name = format!(
            "{}/{}",
            meta.namespace.as_deref().unwrap_or_default(),
            meta.name.as_deref().unwrap_or_default()
        );
        for claim in validate::claims(app, environment) {
            holders.entry(claim).or_insert_with(|| name.clone());
        }
    }
    holders
}

/// Where a canary would hang for lack of quota.
pub fn warning(app: &ValidApp<'_>) -> Option<String> {
    let problem = environment::canary_headroom(app, app.environment)?;
    let environment = app.environment.metadata.name.as_deref().unwrap_or_default();
    Some(format!("warning: TodoEnvironment {environment}: {problem}"))
}
