//! `todoctl diff`: what applying manifests would change.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};
use similar::TextDiff;
use todo_operator_api::{TodoApp, TodoEnvironment};
use todo_operator_core::child::{Child, ChildKey};
use todo_operator_core::kind::Kind;
use todo_operator_core::live::Detail;
use todo_operator_core::names::LABEL_ENVIRONMENT;
use todo_operator_core::plan::{self, Observed, Write};
use todo_operator_core::projection;
use todo_operator_core::release;
use todo_operator_core::render::pod_inputs;
use todo_operator_core::validate::{Holders, ValidApp};
use todo_operator_core::wave::Wave;
use todo_operator_core::{canonical, environment};

use crate::cluster::{Cluster, Objects};
use crate::error::{Error, Report};
use crate::manifest::{self, Findings, Manifest};
use crate::paint::Paint;
use crate::render::name;
use crate::wanted::{self, Rendered, is_named};

/// Kinds that an environment owns.
const OF_ENVIRONMENT: [Kind; 3] = [Kind::ResourceQuota, Kind::LimitRange, Kind::NetworkPolicy];

/// Arguments of `todoctl diff`.
#[derive(Args, Debug)]
pub struct Diff {
    /// Files, directories of files, kustomize directories, or - for standard input
    #[arg(required = true)]
    paths: Vec<PathBuf>,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Change {
    /// It would be made.
    New(String),
    /// Fields of it would change: a unified diff.
    Changed(String),
    /// It would be deleted, and when.
    Removed(String, &'static str),
    /// Something to know.
    Note(String),
}

/// Runs the command.
pub async fn run(command: &Diff, cluster: &Cluster, paint: Paint) -> Result<Report, Error> {
    let mut manifests = manifest::load(&command.paths)?;
    for app in &mut manifests.apps {
        app.object
            .metadata
            .namespace
            .get_or_insert_with(|| cluster.namespace.clone());
    }
    if manifests.apps.is_empty() && manifests.environments.is_empty() {
        return Err(manifest::nothing("TodoApp or TodoEnvironment", &command.paths).into());
    }
    let mut changes = Vec::new();
    if !manifests.environments.is_empty() {
        let mut there = cluster.visible_environments(None).await?;
        let is_given = |name: &str| manifests.environments.iter().any(|it| is_named(it, name));
        there.retain(|it| !is_given(it.metadata.name.as_deref().unwrap_or_default()));
        let given = manifests.environments.iter().map(|it| &it.object);
        let all: Vec<&TodoEnvironment> = given.chain(&there).collect();
        for manifest in &manifests.environments {
            Findings::refuse(wanted::check_environment(manifest, &all))?;
            changes.extend(environment_changes(&manifest.object, cluster).await?);
        }
    }
    for manifest in &mut manifests.apps {
        changes.extend(app_changes(manifest, &manifests.environments, cluster).await?);
    }
    let differs = changes
        .iter()
        .any(|change| !matches!(change, Change::Note(_)));
    let text = changes
        .iter()
        .map(|change| show(change, paint))
        .collect::<String>();
    if !differs {
        eprintln!("no difference");
        return Ok(Report::good(text));
    }
    Ok(Report::bad(text))
}

async fn environment_changes(
    environment: &TodoEnvironment,
    cluster: &Cluster,
) -> Result<Vec<Change>, Error> {
    let mut environment = environment.clone();
    let name = environment.metadata.name.clone().unwrap_or_default();
    let live = cluster.environment(&name).await?;
    environment.metadata.uid = live.and_then(|live| live.metadata.uid);
    let children = environment::render(&environment);
    let mut changes = Vec::new();
    for child in &children {
        changes.extend(match cluster.get(&child.key).await? {
            None => Some(Change::New(crate::render::name(&child.key))),
            Some(body) => changed(child, &body, None)?,
        });
    }
    let label = format!("{LABEL_ENVIRONMENT}={name}");
    let owned = cluster
        .labelled(&OF_ENVIRONMENT, &environment.spec.namespace, &label)
        .await?;
    let wanted: BTreeSet<&ChildKey> = children.iter().map(|child| &child.key).collect();
    let orphans = owned.children.iter().filter(|(key, live)| {
        !wanted.contains(key)
            && live.owner.is_some()
            && live.owner.as_deref() == environment.metadata.uid.as_deref()
    });
    changes.extend(orphans.map(|(key, _)| Change::Removed(crate::render::name(key), "")));
    Ok(changes)
}

async fn app_changes(
    manifest: &mut Manifest<TodoApp>,
    given: &[Manifest<TodoEnvironment>],
    cluster: &Cluster,
) -> Result<Vec<Change>, Error> {
    let namespace = manifest
        .object
        .metadata
        .namespace
        .clone()
        .unwrap_or_default();
    let app_name = manifest.object.metadata.name.clone().unwrap_or_default();
    let live = cluster.app(&namespace, &app_name).await?;
    if let Some(live) = &live {
        // What the API server gives to an object, and what rendering goes by: owner references, attempts.
        manifest.object.metadata.uid.clone_from(&live.metadata.uid);
        manifest.object.status.clone_from(&live.status);
    }
    let given = given.iter().map(|manifest| &manifest.object);
    let given: Vec<&TodoEnvironment> = given
        .filter(|given| given.spec.namespace == namespace)
        .collect();
    let there = if given.is_empty() {
        cluster.environments(Some(&namespace)).await?
    } else {
        Vec::new()
    };
    let environments: Vec<&TodoEnvironment> = given.into_iter().chain(&there).collect();
    let nobody = Holders::new();
    let valid = match wanted::check_app(manifest, live.as_ref(), &environments, &nobody) {
        Ok(valid) => valid,
        Err(findings) => {
            Findings::refuse(findings)?;
            return Ok(Vec::new());
        }
    };

    let topics_namespace = valid
        .environment
        .spec
        .messaging
        .as_ref()
        .and_then(|messaging| messaging.strimzi.as_ref())
        .map(|strimzi| strimzi.namespace.as_str());
    let mut objects = cluster
        .objects(&namespace, &app_name, topics_namespace)
        .await?;
    let inputs = pod_inputs(&valid);
    let mut rendered = wanted::render(&valid, &inputs);
    leave_out_migrations_that_ran(&mut rendered, &objects);
    for child in &rendered.children {
        // Something of this name may be there that is not ours yet.
        if !objects.children.contains_key(&child.key)
            && !objects.missing.contains(&child.key.kind)
            && let Some(body) = cluster.get(&child.key).await?
        {
            objects.insert(child.key.kind, body);
        }
    }
    let mut changes = notes(&valid, &rendered, &objects);
    changes.extend(topic_changes(&rendered, live.as_ref()));
    changes.extend(child_changes(&valid, &rendered, &objects)?);
    Ok(changes)
}

/// The operator does not run a migration again that the last good release has run, when its Job has been cleaned away.
fn leave_out_migrations_that_ran(rendered: &mut Rendered, objects: &Objects) {
    let Some((_, good)) = release::last_good(&objects.children) else {
        return;
    };
    let ran: BTreeSet<&str> = good
        .components
        .iter()
        .filter_map(|component| component.migration.as_deref())
        .collect();
    rendered
        .children
        .retain(|child| child.key.kind != Kind::Job || !ran.contains(&*child.key.name));
}

fn notes(valid: &ValidApp<'_>, rendered: &Rendered, objects: &Objects) -> Vec<Change> {
    let mut notes = Vec::new();
    let rejected = valid
        .app
        .status
        .as_ref()
        .map(|status| status.rejected.as_slice())
        .unwrap_or_default();
    let decision = release::decide(
        valid,
        &pod_inputs(valid),
        &objects.children,
        rejected,
        Timestamp::now(),
    );
    if decision.is_held_back() {
        let names: Vec<&str> = decision.quarantined.iter().map(String::as_str).collect();
        notes.push(format!(
            "the last good release would go on serving: this content of {} was rejected; todoctl retry {} tries it again",
            names.join(", "),
            valid.name
        ));
    }
    let peers: BTreeSet<_> = rendered
        .children
        .iter()
        .filter(|child| objects.missing.contains(&child.key.kind))
        .filter_map(|child| child.key.kind.peer())
        .collect();
    notes.extend(
        peers
            .iter()
            .map(|peer| format!("{} is not installed: {}", peer.name, peer.install)),
    );
    notes.extend(objects.not_read());
    notes.into_iter().map(Change::Note).collect()
}

/// Topics in Kafka cannot be asked from here: they are compared with what the operator last saw.
fn topic_changes(rendered: &Rendered, live: Option<&TodoApp>) -> Vec<Change> {
    let seen: BTreeMap<&str, Option<i64>> = live
        .and_then(|live| live.status.as_ref())
        .into_iter()
        .flat_map(|status| status.topics.values())
        .map(|topic| (topic.physical_name.as_str(), topic.partitions))
        .collect();
    let topics = rendered.topics.iter().filter_map(|topic| {
        let label = format!("topic {}", topic.physical_name);
        match seen.get(topic.physical_name.as_str()) {
            None => Some(Change::New(label)),
            Some(Some(partitions)) if *partitions != i64::from(topic.partitions) => {
                let (before, after) = (
                    json!({"partitions": partitions}),
                    json!({"partitions": topic.partitions}),
                );
                unified(&label, &before, &after).ok().map(Change::Changed)
            }
            Some(_) => None,
        }
    });
    topics.collect()
}

fn child_changes(
    valid: &ValidApp<'_>,
    rendered: &Rendered,
    objects: &Objects,
) -> Result<Vec<Change>, Error> {
    let none = BTreeMap::new();
    let observed = Observed {
        children: &objects.children,
        last_good: None,
        topics: Ok(&none),
        missing: &objects.missing,
        now: Timestamp::now().as_second(),
    };
    let mut changes = Vec::new();
    for Write { child, .. } in plan::writes(valid, &rendered.children, &observed) {
        let live = objects.children.get(&child.key).map(AsRef::as_ref);
        match (objects.bodies.get(&child.key), live) {
            (Some(body), Some(live)) => changes.extend(changed(&child, body, Some(&live.detail))?),
            _ => changes.push(Change::New(name(&child.key))),
        }
    }
    if valid.uid.is_empty() {
        return Ok(changes);
    }
    let inputs = pod_inputs(valid);
    let mut plan = plan::plan(valid, &inputs, &release::Decision::default(), &observed);
    // What goes in the end, whatever waits for what now.
    plan.barrier = None;
    plan.waves = vec![(Wave::Policy, rendered.children.clone())];
    let orphans = plan::orphans(valid, &plan, &observed);
    let now: BTreeSet<&ChildKey> = orphans.iter().map(|orphan| &orphan.key).collect();
    changes.extend(now.iter().map(|key| Change::Removed(name(key), "")));
    let later = objects.children.iter().filter(|(key, live)| {
        matches!(key.kind, Kind::Deployment | Kind::Rollout)
            && live.owner.as_deref() == Some(valid.uid)
            && !now.contains(key)
            && !rendered.children.iter().any(|child| child.key == **key)
    });
    changes
        .extend(later.map(|(key, _)| Change::Removed(name(key), "once its successor is healthy")));
    Ok(changes)
}

/// How the fields that are ours would change in a live object; `None` where they would not.
fn changed(child: &Child, live: &Value, detail: Option<&Detail>) -> Result<Option<Change>, Error> {
    let kind = child.key.kind;
    let mut before = projection::project(kind, live);
    let mut after = projection::neutral(kind, &child.body);
    if let Some(Detail::Workload(workload)) = detail {
        let asked = child.body.pointer("/spec/replicas").and_then(Value::as_i64);
        // The projection leaves them out, because an autoscaler may own them.
        if let (Some(has), Some(asked)) = (workload.replicas, asked)
            && has != asked
        {
            set_replicas(&mut before, has);
            set_replicas(&mut after, asked);
        }
    }
    if canonical::digest(&before) == canonical::digest(&after) {
        return Ok(None);
    }
    Ok(Some(Change::Changed(unified(
        &name(&child.key),
        &before,
        &after,
    )?)))
}

fn set_replicas(body: &mut Value, replicas: i64) {
    if let Some(spec) = body.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("replicas".to_owned(), json!(replicas));
    }
}

fn unified(label: &str, before: &Value, after: &Value) -> Result<String, Error> {
    let text = |value: &Value| match value {
        Value::Null => Ok(String::new()),
        value => serde_yaml::to_string(value),
    };
    let (before, after) = (text(before)?, text(after)?);
    let difference = TextDiff::from_lines(&before, &after);
    let difference = difference
        .unified_diff()
        .context_radius(3)
        .header(&format!("{label} (live)"), &format!("{label} (wanted)"))
        .to_string();
    Ok(difference)
}

fn show(change: &Change, paint: Paint) -> String {
    match change {
        Change::New(what) => format!("{}\n", paint.good(&format!("new: {what}"))),
        Change::Removed(what, "") => format!("{}\n", paint.bad(&format!("removed: {what}"))),
        Change::Removed(what, when) => {
            format!("{}\n", paint.bad(&format!("removed: {what} ({when})")))
        }
        Change::Note(what) => format!("{}\n", paint.busy(&format!("note: {what}"))),
        Change::Changed(difference) => {
            let mut text = String::new();
            for line in difference.lines() {
                let line = match line.as_bytes() {
                    [b'-', b'-', b'-', ..] | [b'+', b'+', b'+', ..] => paint.strong(line),
                    [b'-', ..] => paint.bad(line),
                    [b'+', ..] => paint.good(line),
                    [b'@', ..] => paint.place(line),
                    _ => line.to_owned(),
                };
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{line}");
            }
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_shown_as_people_know_it() {
        let before = json!({"spec": {"replicas": 1, "template": {"image": "a:1"}}});
        let after = json!({"spec": {"replicas": 2, "template": {"image": "a:1"}}});
        let change = Change::Changed(unified("Deployment t/a", &before, &after).unwrap());
        insta::assert_snapshot!(show(&change, Paint::plain()), @r"
        --- Deployment t/a (live)
        +++ Deployment t/a (wanted)
        @@ -1,4 +1,4 @@
         spec:
        -  replicas: 1
        +  replicas: 2
           template:
             image: a:1
        ");
    }

    #[test]
    fn what_nobody_of_us_has_written_is_all_new_fields() {
        let difference = unified("Service t/a", &Value::Null, &json!({"spec": {"a": 1}})).unwrap();
        assert!(difference.contains("+spec:\n+  a: 1\n"), "{difference}");
        assert!(!difference.contains("-null"), "{difference}");
    }
}
