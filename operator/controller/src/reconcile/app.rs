//! One TodoApp: from what is observed to what is applied and said.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use kube::runtime::events::EventType;
use todo_operator_api::app::DeletionPolicy;
use todo_operator_api::environment::MessagingProvider;
use todo_operator_api::{TodoApp, TodoEnvironment};
use todo_operator_core::canonical::{self, Digest128};
use todo_operator_core::child::ChildKey;
use todo_operator_core::inputs::PodInputs;
use todo_operator_core::kind::Kind;
use todo_operator_core::live::{Children, Detail, Live};
use todo_operator_core::mutants::Mutant;
use todo_operator_core::plan::{self, Deletion, Observed, Plan, Write};
use todo_operator_core::release::{self, Decision, RevisionData};
use todo_operator_core::render;
use todo_operator_core::status::{Outcome, Verdict};
use todo_operator_core::topics::LiveTopic;
use todo_operator_core::validate::{self, Problem, Surroundings, ValidApp};
use todo_operator_core::wave::Wave;

use super::delete as deletion;
use super::{Error, app_key, is_deleting, retry, status};
use crate::apply::ApplyError;
use crate::context::Context;
use crate::index::AppKey;
use crate::kafka::{KafkaCluster, KafkaError};
use crate::kept::KeptApp;
use crate::metrics::{KindLabel, ReconcileLabels};
use crate::topics;

/// What Kafka says of the app's topics.
pub(super) struct TopicView {
    /// Where they are; `None` where the operator makes none.
    pub cluster: Option<KafkaCluster>,
    /// Names that were asked for.
    pub names: Vec<String>,
    /// What is there, or why it is not known.
    pub live: Result<BTreeMap<String, LiveTopic>, String>,
    /// Something was made just now that does not show yet.
    pub unsettled: bool,
}

/// What was gathered beside the children and the topics, which change under way.
struct Gathered {
    last_good: Option<RevisionData>,
    missing: BTreeSet<Kind>,
    now: i64,
}

impl Gathered {
    fn beside<'a>(&'a self, children: &'a Children, topics: &'a TopicView) -> Observed<'a> {
        Observed {
            children,
            last_good: self.last_good.as_ref(),
            topics: topics.live.as_ref().map_err(String::as_str),
            missing: &self.missing,
            now: self.now,
        }
    }
}

/// Reconciles one TodoApp.
pub async fn reconcile(stored: Arc<KeptApp>, context: Arc<Context>) -> Result<Action, Error> {
    let key = app_key(stored.as_ref());
    let app = newest(&stored, &context, &key).map_err(Error::Memory)?;
    let started = context.now();
    let environments = context.environments_in(&key.namespace);
    let environment = environments
        .first()
        .map(|environment| environment.name_any())
        .unwrap_or_default();
    let span = tracing::info_span!(
        "reconcile",
        app = %key.name,
        namespace = %key.namespace,
        environment,
        release = app.spec.release.version.as_deref().unwrap_or_default()
    );
    let result =
        tracing::Instrument::instrument(steps(&app, &context, &key, &environments), span).await;
    let elapsed = context.now().duration_since(started);
    context
        .metrics
        .reconcile_seconds
        .observe(elapsed.as_secs_f64());
    if result.is_ok() {
        context
            .metrics
            .reconciles
            .get_or_create(&ReconcileLabels {
                kind: "TodoApp",
                result: "ok",
            })
            .inc();
        context.memory.update(&key, |memory| memory.failures = 0);
    }
    result
}

/// The newest version that is known: the watch may lag behind our own last write of the status, and a rejection that is
/// recorded there must not be overlooked.
fn newest(
    stored: &KeptApp,
    context: &Context,
    key: &AppKey,
) -> Result<Arc<TodoApp>, serde_json::Error> {
    let number = |version: Option<String>| version.and_then(|version| version.parse::<u128>().ok());
    match context.memory.get(key).newest {
        Some(ours)
            if ours.uid() == stored.uid()
                && number(ours.resource_version()) > number(stored.resource_version()) =>
        {
            return Ok(ours);
        }
        // The watch has brought it.
        Some(_) => context.memory.update(key, |memory| memory.newest = None),
        None => {}
    }
    stored.parse().map(Arc::new)
}

async fn steps(
    app: &Arc<TodoApp>,
    context: &Context,
    key: &AppKey,
    environments: &[Arc<TodoEnvironment>],
) -> Result<Action, Error> {
    if is_deleting(app.as_ref()) {
        return deletion::finalize(app, context, key, environments.first().map(AsRef::as_ref))
            .await;
    }
    let app = &retry::carry_out(app, context, key, environments.first().map(AsRef::as_ref)).await?;
    let topics = look_at_topics(app, context, environments).await;
    let holders = context
        .claims
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .holders(key);
    let partitions = topics
        .live
        .iter()
        .flatten()
        .map(|(name, topic)| (name.clone(), topic.partitions))
        .collect();
    let surrounding: Vec<&TodoEnvironment> = environments.iter().map(AsRef::as_ref).collect();
    let surroundings = Surroundings {
        environments: &surrounding,
        holders: &holders,
        partitions: &partitions,
    };
    let validated = match refused_namespace(context, &surrounding) {
        Some(problem) => Err(vec![problem]),
        None => validate::validate(app, &surroundings),
    };
    match validated {
        Ok(valid) => converge(app, &valid, context, key, topics).await,
        Err(problems) => {
            say_invalid(app, context, key, &problems, surrounding.first().copied()).await
        }
    }
}

/// Why nothing may be made in the namespace, where its environment was refused for it. (Two environments of one namespace
/// are a problem of the application itself.)
fn refused_namespace(context: &Context, environments: &[&TodoEnvironment]) -> Option<Problem> {
    let [environment] = environments else {
        return None;
    };
    let problem = super::environment::problems(environment, context)
        .into_iter()
        .find(|problem| problem.field == "spec.namespace")?;
    let rule = format!(
        "TodoEnvironment {} is refused: {}",
        environment.name_any(),
        problem.rule
    );
    Some(Problem {
        field: "metadata.namespace".to_owned(),
        rule,
        ..problem
    })
}

async fn say_invalid(
    app: &Arc<TodoApp>,
    context: &Context,
    key: &AppKey,
    problems: &[Problem],
    environment: Option<&TodoEnvironment>,
) -> Result<Action, Error> {
    let name = environment.map(ResourceExt::name_any);
    let status = todo_operator_core::status::invalid(app, name.as_deref(), problems, context.now());
    status::write(app, status, context, key).await?;
    Ok(Action::await_change())
}

/// Asks Kafka for the app's topics, where the operator makes them itself.
async fn look_at_topics(
    app: &TodoApp,
    context: &Context,
    environments: &[Arc<TodoEnvironment>],
) -> TopicView {
    let none = TopicView {
        cluster: None,
        names: Vec::new(),
        live: Ok(BTreeMap::new()),
        unsettled: false,
    };
    let Some(messaging) = environments
        .first()
        .and_then(|environment| environment.spec.messaging.as_ref())
    else {
        return none;
    };
    let names = todo_operator_core::topics::physical_names(app);
    if messaging.provider != MessagingProvider::Direct || names.is_empty() {
        return none;
    }
    let cluster = KafkaCluster::from(messaging);
    let live = context
        .topics
        .describe(context.kafka.as_ref(), &cluster, &names, context.now())
        .await
        .map_err(|error| error.to_string());
    TopicView {
        cluster: Some(cluster),
        names,
        live,
        unsettled: false,
    }
}

async fn converge(
    app: &Arc<TodoApp>,
    valid: &ValidApp<'_>,
    context: &Context,
    key: &AppKey,
    mut topics: TopicView,
) -> Result<Action, Error> {
    deletion::keep_finalizer(app, context, key, needs_cleanup(valid)).await?;
    let wanted = render::pod_inputs(valid);
    let children = context.index.app(key);
    let previous = app.status.clone().unwrap_or_default();
    let decision = release::decide(valid, &wanted, &children, &previous.rejected, context.now());
    let rejected = release::record(&previous.rejected, &decision.rejections);
    let app = &if decision.rejections.is_empty() || Mutant::ForgetsRejection.is_on() {
        Arc::clone(app)
    } else {
        // On record before anything goes back: once the workload is on the last good release, nothing else says that
        // this one had failed.
        status::record_rejections(app, &rejected, &decision, context, key).await?
    };
    let last_good = last_good(valid, &wanted, &children, context).await?;
    let gathered = Gathered {
        last_good,
        missing: context.index.missing(),
        now: context.now().as_second(),
    };
    let plan = plan::plan(
        valid,
        &wanted,
        &decision,
        &gathered.beside(&children, &topics),
    );
    let digest = rendered(&plan, &children, gathered.now);
    let was_settled = context.memory.get(key).settled == Some(digest);
    let mut failures = Vec::new();
    let mut refused = Vec::new();
    let mut corrected = Vec::new();
    for (wave, wanted) in &plan.waves {
        if *wave == Wave::Storage {
            refused = make_topics(&plan, context, &mut topics).await;
        }
        let writes = plan::writes(valid, wanted, &gathered.beside(&children, &topics));
        let failed = apply_all(&writes, context).await;
        if was_settled {
            let keys = writes.iter().map(|write| &write.child.key);
            let applied = keys.filter(|key| failed.iter().all(|failure| failure.key() != *key));
            corrected.extend(applied.cloned());
        }
        failures.extend(failed);
    }
    // One observation for both: a release that is said to be Ready is on record as proven.
    let mut after = context.index.app(key);
    let mut is_proven_now = false;
    match write_revision(valid, &wanted, &after, context).await {
        Ok(revision) => {
            is_proven_now = revision.is_some();
            after.extend(revision);
        }
        Err(failure) => failures.push(failure),
    }
    let orphans = plan::orphans(valid, &plan, &gathered.beside(&children, &topics));
    failures.extend(delete_all(&orphans, context).await);

    let gathered = Gathered {
        missing: context.index.missing(),
        ..gathered
    };
    let observed = gathered.beside(&after, &topics);
    let failed: Vec<(ChildKey, String)> = failures
        .iter()
        .filter(|failure| !failure.is_missing_kind() && !failure.is_conflict())
        .map(|failure| (failure.key().clone(), failure.message()))
        .chain(refused.iter().map(|(topic, error)| {
            let key = ChildKey::new(Kind::KafkaTopic, "", topic);
            (key, error.to_string())
        }))
        .collect();
    let Verdict { status, again_in } = todo_operator_core::status::status(&Outcome {
        app: valid,
        wanted: &wanted,
        plan: &plan,
        decision: &on_record(release::decide(
            valid,
            &wanted,
            &after,
            &rejected,
            context.now(),
        )),
        observed: &observed,
        rejected: &rejected,
        failed: &failed,
        previous: &previous,
        now: context.now(),
    });
    // Failures are told at once.
    let quiet = failures.is_empty() && refused.is_empty();
    if !(quiet && context.backlog.postpone(key, context.now())) {
        status::write(app, status, context, key).await?;
    }
    tell_corrections(app, &corrected, context).await;
    context.memory.update(key, |memory| {
        memory.settled = failures.is_empty().then_some(digest)
    });
    // Where the watch has missed the kind too, it tells when it is back.
    let mut failures = failures.into_iter().filter(|failure| {
        !(failure.is_missing_kind() && gathered.missing.contains(&failure.key().kind))
    });
    if let Some(first) = failures.next()
        && !Mutant::SwallowsErrors.is_on()
        && !(Mutant::SwallowsConflicts.is_on() && first.is_conflict())
    {
        return Err(Error::Apply {
            first,
            count: 1 + failures.count(),
        });
    }
    if let Some((_, error)) = refused.into_iter().next() {
        return Err(Error::Kafka(error));
    }
    // What the release before it alone had use for can go now. The watch does not bring our own writes.
    let look_at_once = is_proven_now && !Mutant::WaitsForOwnWrite.is_on()
        || is_past_barrier(valid, &wanted, &decision, &plan, &observed);
    let again_in = if look_at_once {
        Some(jiff::SignedDuration::ZERO)
    } else {
        again_in
    };
    Ok(again(again_in, &topics))
}

/// Whether a barrier that held waves back has opened meanwhile, by what was written: nobody else tells of that.
fn is_past_barrier(
    app: &ValidApp<'_>,
    wanted: &BTreeMap<String, PodInputs>,
    decision: &Decision,
    plan: &Plan,
    observed: &Observed<'_>,
) -> bool {
    plan.barrier.as_ref().is_some_and(|barrier| {
        let now = plan::plan(app, wanted, decision, observed).barrier;
        now.is_none_or(|now| now.after > barrier.after)
    })
}

/// A decision without what has failed since the reconcile began: nothing is said of it, and nothing goes back, before the
/// next reconcile has it on record.
fn on_record(decision: Decision) -> Decision {
    if decision.rejections.is_empty() {
        return decision;
    }
    Decision {
        changed: decision.changed,
        ..Decision::default()
    }
}

/// When to look again although nothing changed: a deadline, or topics, which nobody watches.
fn again(deadline: Option<jiff::SignedDuration>, topics: &TopicView) -> Action {
    let deadline = deadline.and_then(|left| Duration::try_from(left).ok());
    let refresh = topics.cluster.as_ref().map(|_| match &topics.live {
        Ok(_) if topics.unsettled => Duration::from_secs(1),
        Ok(_) => topics::REFRESH.unsigned_abs(),
        Err(_) => Duration::from_secs(5),
    });
    match deadline.into_iter().chain(refresh).min() {
        // A moment later, so that the time has surely come.
        Some(wait) => Action::requeue(wait + Duration::from_millis(50)),
        None => Action::await_change(),
    }
}

/// Whether deleting the TodoApp leaves something that garbage collection cannot reach and that must go.
fn needs_cleanup(app: &ValidApp<'_>) -> bool {
    let spec = &app.app.spec;
    let has_topics = spec
        .messaging
        .as_ref()
        .is_some_and(|messaging| !messaging.topics.is_empty());
    let takes_data = spec.deletion_policy == DeletionPolicy::Delete || Mutant::DeletesData.is_on();
    takes_data && (has_topics || spec.databases.is_some()) && !Mutant::ForgetsFinalizer.is_on()
}

/// Hash of everything that is rendered, and of what changes in it by what others do: a canary under way, and a reminder of
/// one.
fn rendered(plan: &Plan, children: &Children, now: i64) -> Digest128 {
    // A Deployment that somebody has edited is under way too, and one that somebody has deleted is not there: that is drift.
    let rollouts = children.iter().filter(|(key, _)| key.kind == Kind::Rollout);
    let carried: Vec<_> = rollouts
        .filter_map(|(key, live)| match &live.detail {
            Detail::Workload(workload) => {
                // Somebody's edit makes another generation: that is drift, whichever generation the reminder names.
                let reminder = plan::carry::reminder(key.kind, live, now).map(|said| {
                    if workload.unobserved {
                        String::new()
                    } else {
                        said
                    }
                });
                Some((&key.name, workload.in_flight, reminder))
            }
            _ => None,
        })
        .collect();
    let bodies: Vec<&serde_json::Value> = plan
        .waves
        .iter()
        .flat_map(|(_, children)| children)
        .map(|child| &child.body)
        .collect();
    canonical::digest(&(bodies, carried))
}

/// The body of the last good revision, where some component must run from it.
async fn last_good(
    app: &ValidApp<'_>,
    wanted: &BTreeMap<String, PodInputs>,
    children: &Children,
    context: &Context,
) -> Result<Option<RevisionData>, Error> {
    let Some((key, good)) = release::last_good(children) else {
        return Ok(None);
    };
    let same = wanted.iter().all(|(name, inputs)| {
        release::component(good, name).is_some_and(|proven| *proven.inputs == *inputs.hash())
    });
    if same {
        return Ok(None);
    }
    let Some(mut object) = context.applier.get(key).await.map_err(Error::Read)? else {
        return Ok(None);
    };
    let revision = |reason: String| Error::Revision {
        name: format!("{}/{}", app.namespace, key.name),
        reason,
    };
    serde_json::from_value(object["data"].take())
        .map(Some)
        .map_err(|error| revision(error.to_string()))
}

/// Makes the topics that are not as they should be, and looks again. Returns those that Kafka refused.
async fn make_topics(
    plan: &Plan,
    context: &Context,
    topics: &mut TopicView,
) -> Vec<(String, KafkaError)> {
    let (Some(cluster), Ok(live)) = (&topics.cluster, &topics.live) else {
        return Vec::new();
    };
    let made = topics::converge(context.kafka.as_ref(), cluster, &plan.topics, live).await;
    let made = match made {
        Ok(made) if !made.changed && made.refused.is_empty() => return Vec::new(),
        Ok(made) => made,
        Err(error) => {
            context.topics.forget(cluster, &topics.names);
            topics.live = Err(error.to_string());
            return Vec::new();
        }
    };
    context.topics.forget(cluster, &topics.names);
    topics.live = context
        .topics
        .describe(
            context.kafka.as_ref(),
            cluster,
            &topics.names,
            context.now(),
        )
        .await
        .map_err(|error| error.to_string());
    // A broker may tell of what was made just now a moment later.
    topics.unsettled = topics
        .live
        .as_ref()
        .is_ok_and(|live| topics::is_unsettled(&plan.topics, live));
    if topics.unsettled {
        context.topics.forget(cluster, &topics.names);
    }
    made.refused
}

async fn apply_all(writes: &[Write], context: &Context) -> Vec<ApplyError> {
    let all = join_all(writes.iter().map(|write| apply(write, context))).await;
    all.into_iter().filter_map(Result::err).collect()
}

async fn apply(write: &Write, context: &Context) -> Result<(), ApplyError> {
    let kind = write.child.key.kind;
    let applied = context.applier.apply(write).await?;
    tracing::debug!(child = %write.child.key, "applied");
    context
        .metrics
        .writes
        .get_or_create(&KindLabel { kind: kind.name() })
        .inc();
    // At once, not when the watch brings it: the next decision must know.
    context.index.insert_applied(applied.into_record());
    Ok(())
}

async fn delete_all(orphans: &[Deletion], context: &Context) -> Vec<ApplyError> {
    let all = join_all(orphans.iter().map(|orphan| delete(orphan, context))).await;
    all.into_iter().filter_map(Result::err).collect()
}

async fn delete(orphan: &Deletion, context: &Context) -> Result<(), ApplyError> {
    context.applier.delete(orphan).await?;
    tracing::info!(child = %orphan.key, "deleted: it is no longer wanted");
    context
        .metrics
        .deletes
        .get_or_create(&KindLabel {
            kind: orphan.key.kind.name(),
        })
        .inc();
    Ok(())
}

/// Writes the ControllerRevision of a release that has just been proven; returns it.
async fn write_revision(
    app: &ValidApp<'_>,
    wanted: &BTreeMap<String, PodInputs>,
    children: &Children,
    context: &Context,
) -> Result<Option<(ChildKey, Arc<Live>)>, ApplyError> {
    let Some((data, number)) = release::proven(app, wanted, children) else {
        return Ok(None);
    };
    let child = release::revision(app, &data, number);
    let applied = context.applier.apply_child(&child).await?;
    let record = applied.into_record();
    let written = (record.key.clone(), Arc::new(record.live.clone()));
    context.index.insert_applied(record);
    let version = data.release.version.as_deref().unwrap_or(&data.fingerprint);
    tracing::info!(revision = %child.key.name, "release {version} is proven healthy");
    context
        .tell(
            app.app,
            EventType::Normal,
            "ReleaseProven",
            "Promote",
            &format!("release {version} is healthy in every component"),
        )
        .await;
    Ok(Some(written))
}

async fn tell_corrections(app: &TodoApp, corrected: &[ChildKey], context: &Context) {
    let distinct: BTreeSet<&ChildKey> = corrected.iter().collect();
    for key in distinct {
        context.tell_correction(app, key).await;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panic")]
mod tests {
    use super::*;

    #[test]
    fn topics_that_do_not_show_yet_are_looked_at_soon() {
        let mut topics = TopicView {
            cluster: Some(KafkaCluster::from(
                &serde_json::from_value(
                    serde_json::json!({"provider": "Direct", "bootstrapServers": "kafka:9092"}),
                )
                .unwrap(),
            )),
            names: vec!["orders".into()],
            live: Ok(BTreeMap::new()),
            unsettled: true,
        };
        let in_milliseconds = |wait: u64| Action::requeue(Duration::from_millis(wait + 50));
        assert_eq!(again(None, &topics), in_milliseconds(1_000));
        topics.unsettled = false;
        assert_eq!(again(None, &topics), in_milliseconds(300_000));
        topics.live = Err("no broker answers".into());
        assert_eq!(again(None, &topics), in_milliseconds(5_000));
    }
}
