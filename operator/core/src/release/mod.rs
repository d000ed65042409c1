//! Which release serves: the one that the spec asks for, or the last good one.
//!
//! The unit is the change set: the components whose pod inputs differ from what was last proven healthy. It goes out as
//! a whole and comes back as a whole, and a component outside of it is never touched.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::json;
use todo_operator_api::component::{ComponentKind, Strategy};
use todo_operator_api::release::Release;
use todo_operator_api::status::Rejection;

use crate::canonical;
use crate::cause::{Cause, Health};
use crate::child::{Child, ChildKey};
use crate::inputs::PodInputs;
use crate::kind::Kind;
use crate::live::{Children, Detail, Live, RevisionComponent, RevisionSummary, Workload, find};
use crate::mutants::Mutant;
use crate::names;
use crate::render::metadata;
use crate::validate::{ValidApp, ValidComponent};

#[cfg(test)]
mod tests;

/// Revisions that are kept.
pub const REVISIONS_KEPT: usize = 10;
/// Rejections that are kept.
pub const REJECTIONS_KEPT: usize = 50;
/// [`Rejection::reason`] of a migration that failed.
pub const REASON_MIGRATION_FAILED: &str = "MigrationFailed";

/// What a ControllerRevision holds: a release that was proven healthy, and what its pods were made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionData {
    /// The release.
    pub release: Release,
    /// Its fingerprint.
    pub fingerprint: String,
    /// Pod inputs by component.
    pub components: BTreeMap<String, PodInputs>,
}

impl RevisionData {
    /// Name of the ControllerRevision: `<app>-<hash12 of the content>`. Of all of it, because the API server lets nobody
    /// change what a revision holds: the same pod inputs may come back under another version.
    pub fn name(&self, app: &str) -> String {
        format!("{app}-{}", canonical::short(self, 12))
    }

    /// Whether `good` keeps the same already. A version is a name for people and alone makes no new revision.
    fn is_kept_by(&self, good: &RevisionSummary) -> bool {
        *good.fingerprint == *self.fingerprint
            && good.components.len() == self.components.len()
            && self.components.iter().all(|(name, inputs)| {
                let migration = inputs
                    .migration
                    .as_ref()
                    .map(|migration| migration.job.as_str());
                component(good, name).is_some_and(|kept| {
                    *kept.inputs == *inputs.hash() && kept.migration.as_deref() == migration
                })
            })
    }
}

/// The revision with the highest number: the last good one.
pub fn last_good(children: &Children) -> Option<(&ChildKey, &RevisionSummary)> {
    if Mutant::GoesBackTooFar.is_on() {
        return revisions(children).min_by_key(|(_, revision)| revision.number);
    }
    revisions(children).max_by_key(|(_, revision)| revision.number)
}

/// Every revision of the app.
pub fn revisions(children: &Children) -> impl Iterator<Item = (&ChildKey, &RevisionSummary)> {
    children
        .iter()
        .filter_map(|(key, live)| match &live.detail {
            Detail::Revision(summary) if key.kind == Kind::ControllerRevision && !live.deleting => {
                Some((key, summary.as_ref()))
            }
            _ => None,
        })
}

/// What was decided about the release.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// Components whose pod inputs differ from the last good ones.
    pub changed: BTreeSet<String>,
    /// What was rejected just now: to be recorded before anything goes back.
    pub rejections: Vec<Rejection>,
    /// Components of the change set that hold it back, because they were rejected (now or earlier).
    pub quarantined: BTreeSet<String>,
}

impl Decision {
    /// Whether the change set is held back and the last good release serves.
    pub fn is_held_back(&self) -> bool {
        !self.quarantined.is_empty()
    }
}

/// Decides whether the change set of `wanted` may go out.
///
/// With no last good release there is nothing to go back to, and nothing is held back.
pub fn decide(
    app: &ValidApp<'_>,
    wanted: &BTreeMap<String, PodInputs>,
    children: &Children,
    rejected: &[Rejection],
    now: jiff::Timestamp,
) -> Decision {
    let mut decision = Decision::default();
    let Some((_, good)) = last_good(children) else {
        decision.changed = wanted.keys().cloned().collect();
        return decision;
    };
    for (name, inputs) in wanted {
        let proven = component(good, name);
        let hash = inputs.hash();
        if proven.is_some_and(|proven| *proven.inputs == *hash) {
            continue;
        }
        decision.changed.insert(name.clone());
        if rejected
            .iter()
            .any(|rejection| matches(rejection, name, inputs, hash, proven))
        {
            decision.quarantined.insert(name.clone());
        }
    }
    if decision.is_held_back() {
        return decision;
    }
    for name in &decision.changed {
        let Some(inputs) = wanted.get(name) else {
            continue;
        };
        if let Some(cause) = failure(app, name, inputs, children) {
            decision.quarantined.insert(name.clone());
            decision.rejections.push(Rejection {
                component: name.clone(),
                image: inputs.image.clone(),
                config_hash: inputs.config_hash(),
                inputs_hash: inputs.hash().to_owned(),
                reason: cause.reason.to_string(),
                measurement: Some(cause.message.to_string()),
                time: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now),
            });
        }
    }
    decision
}

/// Whether `rejection` speaks of these pod inputs.
///
/// It does where they are the very ones. It also does where image and configuration are the rejected ones and those
/// were not proven before: changing a label must not let a bad image in again, while a bad environment variable with a
/// proven image must not condemn the image.
fn matches(
    rejection: &Rejection,
    name: &str,
    inputs: &PodInputs,
    hash: &str,
    proven: Option<&RevisionComponent>,
) -> bool {
    if rejection.component != name || Mutant::RetriesRejected.is_on() {
        return false;
    }
    if rejection.inputs_hash == hash {
        return true;
    }
    let release_was_proven = proven.is_some_and(|proven| {
        *proven.image == *rejection.image && *proven.config_hash == *rejection.config_hash
    });
    !release_was_proven
        && rejection.image == inputs.image
        && rejection.config_hash == inputs.config_hash()
}

/// Why these pod inputs have failed, where they have.
fn failure(
    app: &ValidApp<'_>,
    name: &str,
    inputs: &PodInputs,
    children: &Children,
) -> Option<Cause> {
    if let Some(migration) = &inputs.migration
        && let Some(job) = find(children, Kind::Job, app.namespace, &migration.job)
        && matches!(job.health, Health::Degraded(_))
        && let Some(cause) = job_trouble(children, job)
    {
        return Some(Cause::new(
            REASON_MIGRATION_FAILED,
            format!("Job {}: {}", migration.job, cause.message),
        ));
    }
    let (workload_name, workload) = workload(app, name, children)?;
    if workload.inputs.as_deref() != Some(inputs.hash()) {
        return None;
    }
    let cause = workload.rejected.as_deref()?;
    let measurement = failing_measurement(children, app.namespace, &workload_name, workload);
    Some(match measurement {
        Some(measurement) => Cause::new(&cause.reason, measurement),
        None => cause.clone(),
    })
}

/// What hinders a Job, with the words of the last of its pods that failed.
pub fn job_trouble(children: &Children, job: &Live) -> Option<Cause> {
    let cause = job.health.cause()?;
    let is_its = |live: &Live| live.owner.as_deref() == Some(&job.uid);
    let last = children
        .iter()
        .filter(|(key, live)| key.kind == Kind::Pod && is_its(live))
        .filter_map(|(_, live)| match &live.health {
            Health::Degraded(words) => Some((live.version(), &words.message)),
            _ => None,
        })
        .max_by_key(|(version, _)| *version);
    Some(match last {
        Some((_, words)) => Cause::new(&cause.reason, format!("{}; {words}", cause.message)),
        None => cause.clone(),
    })
}

/// The newest failing measurement of the version that a Rollout's spec asks for. (Analyses of earlier ones are kept too.)
pub fn failing_measurement(
    children: &Children,
    namespace: &str,
    rollout: &str,
    workload: &Workload,
) -> Option<String> {
    children
        .iter()
        .filter(|(key, _)| key.kind == Kind::AnalysisRun && *key.namespace == *namespace)
        .filter_map(|(_, live)| match &live.detail {
            Detail::Analysis {
                rollout: judged,
                hash,
                failure: Some(failure),
            } if **judged == *rollout && *hash == workload.current_hash => {
                Some((live.version(), failure))
            }
            _ => None,
        })
        .max_by_key(|(version, _)| *version)
        .map(|(_, failure)| failure.to_string())
}

/// The kind of a component's workload.
pub fn workload_kind(component: &ValidComponent<'_>) -> Kind {
    match (component.spec.kind, &component.spec.rollout) {
        (ComponentKind::CronJob, _) => Kind::CronJob,
        (_, Some(rollout)) if rollout.strategy == Strategy::Canary => Kind::Rollout,
        _ => Kind::Deployment,
    }
}

/// The live workload of a component: its Rollout or Deployment, whichever the spec asks for.
pub fn workload<'a>(
    app: &ValidApp<'_>,
    component: &str,
    children: &'a Children,
) -> Option<(String, &'a Workload)> {
    let live = workload_live(app, component, children)?;
    match &live.detail {
        Detail::Workload(workload) => Some((names::component(app.name, component), workload)),
        _ => None,
    }
}

/// As [`workload`], the whole record.
pub fn workload_live<'a>(
    app: &ValidApp<'_>,
    component: &str,
    children: &'a Children,
) -> Option<&'a Live> {
    let kind = workload_kind(app.components.get(component)?);
    find(
        children,
        kind,
        app.namespace,
        &names::component(app.name, component),
    )
    .map(AsRef::as_ref)
}

/// One component of a revision.
pub fn component<'a>(revision: &'a RevisionSummary, name: &str) -> Option<&'a RevisionComponent> {
    revision
        .components
        .iter()
        .find(|component| *component.name == *name)
}

/// The revision to write once every component of the spec is proven healthy with the wanted pod inputs; `None` while
/// one is not, or where it is the last good one already.
pub fn proven(
    app: &ValidApp<'_>,
    wanted: &BTreeMap<String, PodInputs>,
    children: &Children,
) -> Option<(RevisionData, i64)> {
    for (name, inputs) in wanted {
        let live = workload_live(app, name, children)?;
        let Detail::Workload(workload) = &live.detail else {
            return None;
        };
        if !live.health.is_ready() || workload.inputs.as_deref() != Some(inputs.hash()) {
            return None;
        }
    }
    let release = app.app.spec.release.clone();
    let data = RevisionData {
        fingerprint: canonical::fingerprint(&release),
        release,
        components: wanted.clone(),
    };
    match last_good(children) {
        Some((_, good)) if data.is_kept_by(good) => None,
        Some((_, good)) => Some((data, good.number + 1)),
        None => Some((data, 1)),
    }
}

/// The ControllerRevision that keeps a release; the highest `number` is the last good one.
pub fn revision(app: &ValidApp<'_>, data: &RevisionData, number: i64) -> Child {
    let name = data.name(app.name);
    let mut child = metadata::child(app, Kind::ControllerRevision, &name, None, json!({}));
    // Not through `content`, which leaves out what is empty: an empty configuration must be kept as one.
    child.body["data"] = json!(data);
    child.body["revision"] = json!(number);
    child
}

/// Appends rejections, keeping the newest [`REJECTIONS_KEPT`], one per component and pod inputs.
pub fn record(rejected: &[Rejection], new: &[Rejection]) -> Vec<Rejection> {
    let mut all: Vec<Rejection> = rejected
        .iter()
        .filter(|old| {
            !new.iter()
                .any(|new| new.component == old.component && new.inputs_hash == old.inputs_hash)
        })
        .chain(new)
        .cloned()
        .collect();
    let excess = all.len().saturating_sub(REJECTIONS_KEPT);
    all.drain(..excess);
    all
}
