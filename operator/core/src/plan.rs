//! What to write, in which order, and what to delete.

use std::collections::{BTreeMap, BTreeSet};

use crate::cause::Cause;
use crate::child::{Child, ChildKey};
use crate::health::database;
use crate::inputs::PodInputs;
use crate::kind::Kind;
use crate::live::{Children, Detail, Live};
use crate::mutants::Mutant;
use crate::release::{self, Decision, RevisionData};
use crate::render;
use crate::topics::{self, LiveTopic, WantedTopic};
use crate::validate::ValidApp;
use crate::wave::Wave;

pub mod carry;
#[cfg(test)]
pub(crate) mod tests;

/// What was observed, beside the TodoApp and its environment.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// Live objects of the app.
    pub children: &'a Children,
    /// Body of the last good revision, where something must go back to it.
    pub last_good: Option<&'a RevisionData>,
    /// Topics in Kafka, or why they are not known.
    pub topics: Result<&'a BTreeMap<String, LiveTopic>, &'a str>,
    /// Kinds that the API server does not serve.
    pub missing: &'a BTreeSet<Kind>,
    /// Seconds since the epoch.
    pub now: i64,
}

/// A barrier that is closed: what is behind it keeps the content that it had.
#[derive(Clone, Debug, PartialEq)]
pub struct Barrier {
    /// The wave that it stands behind.
    pub after: Wave,
    /// What it waits for: the objects, and why each is not ready.
    pub waits_for: Vec<(ChildKey, Cause)>,
}

/// Where the pods of a component come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The spec.
    Spec,
    /// The last good release.
    LastGood,
}

/// What to write, in which order, and what to delete.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Children by wave, in order; those behind a closed barrier as they were last good.
    pub waves: Vec<(Wave, Vec<Child>)>,
    /// Topics to make through Kafka's admin API.
    pub topics: Vec<WantedTopic>,
    /// The first barrier that is closed.
    pub barrier: Option<Barrier>,
    /// Where each component's pods come from; one without pods is absent.
    pub effective: BTreeMap<String, Origin>,
    /// Names that orphan deletion must leave alone, beside what `waves` hold.
    protected: BTreeSet<ChildKey>,
}

/// Plans an application.
pub fn plan(
    app: &ValidApp<'_>,
    wanted: &BTreeMap<String, PodInputs>,
    decision: &Decision,
    observed: &Observed<'_>,
) -> Plan {
    let wanted_topics = render::topics(app);
    let good = release::last_good(observed.children).map(|(_, good)| good);
    // A migration that the last good release has run is not run again when its Job has been cleaned away.
    let migrations: Vec<Child> = if decision.is_held_back() {
        Vec::new()
    } else {
        render::migrations(app, wanted)
            .into_iter()
            .filter(|job| {
                let ran = good.is_some_and(|good| {
                    good.components
                        .iter()
                        .any(|c| c.migration.as_deref() == Some(&*job.key.name))
                });
                !ran || observed.children.contains_key(&job.key)
            })
            .collect()
    };

    let held = [
        (Wave::Storage, render::storage(app)),
        (Wave::Roles, render::roles(app)),
        (Wave::Databases, render::databases(app)),
        (Wave::Migrations, migrations),
    ];
    let barrier = first_closed(&held, &wanted_topics, observed);
    let mut effective_inputs = BTreeMap::new();
    let mut effective = BTreeMap::new();
    for (name, inputs) in wanted {
        let is_changed = decision.changed.contains(name);
        let goes_back = is_changed && (decision.is_held_back() || barrier.is_some());
        let stable_first = is_changed
            && lacks_stable(app, name, observed.children)
            && !Mutant::SkipsCanaryOfNewRollout.is_on();
        let last_good = observed
            .last_good
            .and_then(|good| good.components.get(name))
            .filter(|_| goes_back || stable_first);
        if let Some(inputs) = last_good {
            effective.insert(name.clone(), Origin::LastGood);
            effective_inputs.insert(name.clone(), inputs.clone());
        } else if !goes_back {
            effective.insert(name.clone(), Origin::Spec);
            effective_inputs.insert(name.clone(), inputs.clone());
        }
    }

    let both: Vec<(&str, &PodInputs)> = wanted
        .iter()
        .chain(&effective_inputs)
        .map(|(name, inputs)| (name.as_str(), inputs))
        .collect();
    let nothing_yet = barrier.is_some() && good.is_none();
    let mut waves = vec![(Wave::Policy, render::policy(app, &both))];
    let open = |wave: Wave| barrier.as_ref().is_none_or(|barrier| wave <= barrier.after);
    waves.extend(held.into_iter().filter(|(wave, _)| open(*wave)));
    if !nothing_yet {
        waves.push((Wave::Services, render::services(app)));
        waves.push((Wave::Workloads, render::workloads(app, &effective_inputs)));
        waves.push((Wave::Traffic, render::traffic(app)));
    }

    let mut protected = in_use(observed.children);
    for inputs in wanted.values() {
        if let Some(migration) = &inputs.migration {
            protected.insert(ChildKey::new(Kind::Job, app.namespace, &migration.job));
        }
    }
    Plan {
        waves,
        topics: wanted_topics,
        barrier,
        effective,
        protected,
    }
}

/// Whether a new version of the component would go out without a canary: Argo Rollouts skips the steps of a Rollout's
/// first version. So one that was deleted, or replaces a Deployment, first brings up what was last good.
fn lacks_stable(app: &ValidApp<'_>, component: &str, children: &Children) -> bool {
    let is_canary = |component| release::workload_kind(component) == Kind::Rollout;
    app.components.get(component).is_some_and(is_canary)
        && release::workload(app, component, children)
            .is_none_or(|(_, workload)| workload.stable_hash.is_none())
}

/// ConfigMaps, Jobs and revisions that something still names.
fn in_use(children: &Children) -> BTreeSet<ChildKey> {
    let mut used = BTreeSet::new();
    let mut numbers: Vec<i64> = release::revisions(children)
        .map(|(_, r)| r.number)
        .collect();
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    let oldest_kept = numbers
        .get(release::REVISIONS_KEPT - 1)
        .copied()
        .unwrap_or(i64::MIN);
    for (key, live) in children {
        let config_map = |name: &str| ChildKey::new(Kind::ConfigMap, &key.namespace, name);
        match &live.detail {
            Detail::ConfigMaps(names) => used.extend(names.iter().map(|name| config_map(name))),
            Detail::Workload(workload) => {
                used.extend(workload.config_maps.iter().map(|name| config_map(name)));
            }
            Detail::Revision(revision) if revision.number >= oldest_kept => {
                used.insert(key.clone());
                for component in &revision.components {
                    used.extend(component.config_map.as_deref().map(config_map));
                    // A Job tells whether a migration has run; the newest revision's stay for people to read.
                    if revision.number == numbers[0] {
                        used.extend(
                            component
                                .migration
                                .as_deref()
                                .map(|name| ChildKey::new(Kind::Job, &key.namespace, name)),
                        );
                    }
                }
            }
            _ => {}
        }
    }
    used
}

fn first_closed(
    waves: &[(Wave, Vec<Child>)],
    wanted_topics: &[WantedTopic],
    observed: &Observed<'_>,
) -> Option<Barrier> {
    waves.iter().find_map(|(wave, children)| {
        let mut waits_for = unready(children, observed);
        if *wave == Wave::Storage {
            waits_for.extend(unready_topics(wanted_topics, observed));
        }
        let passes = *wave == Wave::Migrations && Mutant::SkipsMigration.is_on();
        let is_closed = !waits_for.is_empty() && !passes;
        is_closed.then_some(Barrier {
            after: *wave,
            waits_for,
        })
    })
}

/// Children that are not ready, with the cause of each.
pub fn unready(wanted: &[Child], observed: &Observed<'_>) -> Vec<(ChildKey, Cause)> {
    wanted
        .iter()
        .filter_map(|child| {
            let cause = match observed.children.get(&child.key) {
                None => match child
                    .key
                    .kind
                    .peer()
                    .filter(|_| observed.missing.contains(&child.key.kind))
                {
                    Some(peer) => Cause::new(
                        "PeerMissing",
                        format!("{} is not installed: {}", peer.name, peer.install),
                    ),
                    None => Cause::new("Creating", format!("{} does not exist yet", child.key)),
                },
                Some(live)
                    if child.key.kind == Kind::Cluster
                        && live.health.is_ready()
                        && !database::settled(live, observed.now) =>
                {
                    // CloudNativePG's status names no generation: what it says right after our write may be old.
                    Cause::new(
                        "Settling",
                        format!(
                            "{} was just written: its status is trusted a moment later",
                            child.key
                        ),
                    )
                }
                Some(live) if child.key.kind == Kind::Job => {
                    release::job_trouble(observed.children, live)?
                }
                Some(live) => live.health.cause()?.clone(),
            };
            Some((child.key.clone(), cause))
        })
        .collect()
}

/// Topics that are not as wanted, with the cause of each. They stand under [`Kind::KafkaTopic`], by physical name.
pub fn unready_topics(wanted: &[WantedTopic], observed: &Observed<'_>) -> Vec<(ChildKey, Cause)> {
    let key = |topic: &WantedTopic| ChildKey::new(Kind::KafkaTopic, "", &topic.physical_name);
    match observed.topics {
        Err(reason) => wanted
            .iter()
            .map(|topic| (key(topic), Cause::new("KafkaUnreachable", reason)))
            .collect(),
        Ok(live) => wanted
            .iter()
            .filter(|topic| !topics::is_ready(topic, live))
            .map(|topic| {
                let cause = topics::plan(std::slice::from_ref(topic), live)
                    .into_iter()
                    .find_map(|action| match action {
                        topics::TopicAction::Refuse { problem, .. } => Some(problem),
                        _ => None,
                    })
                    .unwrap_or_else(|| {
                        Cause::new(
                            "Creating",
                            format!("topic {} is not as wanted yet", topic.physical_name),
                        )
                    });
                (key(topic), cause)
            })
            .collect(),
    }
}

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// The manifest to apply, with `metadata.resourceVersion` where somebody else writes to the object too and a stale
    /// view must not overwrite them.
    pub child: Child,
    /// Whether the object exists and is not as it should be although nothing was asked of it anew: drift.
    pub exists: bool,
}

/// What of a wave must be written, seen against what is live.
pub fn writes(app: &ValidApp<'_>, wave: &[Child], observed: &Observed<'_>) -> Vec<Write> {
    wave.iter()
        .filter(|child| !observed.missing.contains(&child.key.kind))
        .filter_map(|child| carry::write(app, child, observed.children, observed.now))
        .collect()
}

/// A deletion, with what must still be true.
#[derive(Clone, Debug, PartialEq)]
pub struct Deletion {
    /// Which object.
    pub key: ChildKey,
    /// UID that it must have.
    pub uid: Box<str>,
    /// resourceVersion that it must have.
    pub resource_version: Box<str>,
}

/// Live children of the app that are no longer wanted.
///
/// Ours by label *and* by owner; stateful ones, which nobody owns, only where `deletionPolicy` is `Delete`; nothing
/// that something still names; and nothing at all while a barrier is closed.
pub fn orphans(app: &ValidApp<'_>, plan: &Plan, observed: &Observed<'_>) -> Vec<Deletion> {
    if plan.barrier.is_some() || Mutant::LeavesOrphans.is_on() {
        // What is behind the barrier runs on, and so must the accounts and configuration that it needs.
        return Vec::new();
    }
    let wanted: BTreeSet<&ChildKey> = plan
        .waves
        .iter()
        .flat_map(|(_, children)| children.iter().map(|child| &child.key))
        .collect();
    let is_protected = |key: &ChildKey| {
        let is_left_out = key.kind == Kind::ConfigMap && Mutant::DeletesWhatIsInUse.is_on();
        plan.protected.contains(key) && !is_left_out
    };
    observed
        .children
        .iter()
        .filter(|(key, live)| {
            Kind::CHILDREN.contains(&key.kind)
                && !live.deleting
                && !wanted.contains(key)
                && !is_protected(key)
                && may_delete(app, key, live)
                && !waits_for_successor(app, key, observed)
        })
        .map(|(key, live)| deletion(key, live))
        .collect()
}

/// The deletion of one live object, as it was seen.
pub fn deletion(key: &ChildKey, live: &Live) -> Deletion {
    Deletion {
        key: key.clone(),
        uid: live.uid.clone(),
        resource_version: live.resource_version.clone(),
    }
}

fn may_delete(app: &ValidApp<'_>, key: &ChildKey, live: &Live) -> bool {
    use todo_operator_api::app::DeletionPolicy;
    if Mutant::DeletesByLabelAlone.is_on() && !key.kind.is_stateful() {
        return true;
    }
    if key.kind.is_stateful() {
        return app.app.spec.deletion_policy == DeletionPolicy::Delete;
    }
    live.owner.as_deref() == Some(app.uid)
}

/// A Deployment that gives way to a Rollout (or the other way round) stays until its successor is healthy.
fn waits_for_successor(app: &ValidApp<'_>, key: &ChildKey, observed: &Observed<'_>) -> bool {
    if !matches!(key.kind, Kind::Deployment | Kind::Rollout) {
        return false;
    }
    app.components.keys().any(|component| {
        crate::names::component(app.name, component) == *key.name
            && matches!(
                release::workload_kind(&app.components[component]),
                Kind::Deployment | Kind::Rollout
            )
            && !release::workload_live(app, component, observed.children)
                .is_some_and(|live| live.health.is_ready())
    })
}
