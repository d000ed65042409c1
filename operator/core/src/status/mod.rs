//! What is said about an application: conditions, components, and what serves.
//!
//! Computed from what was observed after the writes, never from what was meant, so that nothing is reported that is not
//! so. A pure function: the same observation gives the same status, and a status that is the same is not written.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use todo_operator_api::TodoApp;
use todo_operator_api::status::{
    EffectiveRelease, Rejection, ResourceStatus, TodoAppStatus, TopicStatus,
};

use crate::canonical;
use crate::cause::{Cause, Health};
use crate::child::{Child, ChildKey};
use crate::inputs::PodInputs;
use crate::kind::Kind;
use crate::plan::{self, Observed, Origin, Plan, carry};
use crate::release::{self, Decision};
use crate::validate::{Problem, ValidApp};
use crate::wave::Wave;

pub mod components;
pub mod reasons;
#[cfg(test)]
mod tests;

/// Longest message of a condition, in characters; Kubernetes takes 32,768, a person far less.
const MESSAGE_MAX: usize = 1_024;

/// What a status is computed from.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// The application.
    pub app: &'a ValidApp<'a>,
    /// Pod inputs that the spec asks for.
    pub wanted: &'a BTreeMap<String, PodInputs>,
    /// What was planned.
    pub plan: &'a Plan,
    /// What was decided about the release.
    pub decision: &'a Decision,
    /// What is there now, after the writes.
    pub observed: &'a Observed<'a>,
    /// Every rejection on record.
    pub rejected: &'a [Rejection],
    /// Writes that failed: which, and the server's words.
    pub failed: &'a [(ChildKey, String)],
    /// The status as it was.
    pub previous: &'a TodoAppStatus,
    /// Now.
    pub now: Timestamp,
}

/// A status, and when time alone may change it.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The status.
    pub status: TodoAppStatus,
    /// Look again after this time, where something depends on time alone.
    pub again_in: Option<SignedDuration>,
}

/// The status of an application whose spec is valid.
pub fn status(outcome: &Outcome<'_>) -> Verdict {
    let app = outcome.app;
    let spec = &app.app.spec;
    let fingerprint = canonical::fingerprint(&spec.release);
    let components = components::all(outcome);
    let total = components.len();
    let ready = components
        .values()
        .filter(|c| c.state == components::HEALTHY)
        .count();
    let reports = reports(outcome, &components);
    let verdict = first_trouble(&reports);
    let mut status = TodoAppStatus {
        observed_generation: app.app.metadata.generation,
        environment: app.environment.metadata.name.clone(),
        version: spec.release.version.clone(),
        effective_release: effective_release(outcome, &fingerprint),
        fingerprint: Some(fingerprint),
        ready: Some(format!("{ready}/{total}")),
        components,
        databases: databases(outcome),
        topics: topics(outcome),
        rejected: outcome.rejected.to_vec(),
        attempts: app
            .attempts
            .iter()
            .map(|(name, n)| (name.clone(), *n))
            .collect(),
        conditions: Vec::new(),
    };
    let mut conditions = Conditions::new(app.app, outcome.previous, outcome.now);
    conditions.set(ACCEPTED, true, reasons::VALID, "the spec is valid");
    for report in &reports {
        match &report.trouble {
            None => conditions.set(report.condition, true, report.good, ""),
            Some(trouble) => conditions.set(
                report.condition,
                false,
                &trouble.cause.reason,
                &trouble.cause.message,
            ),
        }
    }
    let again_in = summarise(&mut conditions, verdict, app.ready_deadline);
    status.conditions = conditions.finish();
    let settling = outcome.plan.barrier.as_ref().is_some_and(|barrier| {
        barrier
            .waits_for
            .iter()
            .any(|(_, cause)| &*cause.reason == "Settling")
    });
    let settled_in = settling.then_some(crate::health::database::SETTLE_SECONDS);
    let now = outcome.observed.now;
    let reminder_in = outcome
        .observed
        .children
        .iter()
        .filter_map(|(key, live)| carry::reminder_in(key.kind, live, now));
    let again_in = settled_in
        .into_iter()
        .chain(reminder_in)
        .map(SignedDuration::from_secs)
        .chain(again_in)
        .min();
    Verdict { status, again_in }
}

/// The status of an application that cannot be rendered. What runs keeps running, and what was known of it stays.
pub fn invalid(
    app: &TodoApp,
    environment: Option<&str>,
    problems: &[Problem],
    now: Timestamp,
) -> TodoAppStatus {
    let previous = app.status.clone().unwrap_or_default();
    let reason = if problems
        .iter()
        .all(|problem| problem.field == "metadata.namespace")
    {
        reasons::NO_ENVIRONMENT
    } else {
        reasons::INVALID_SPEC
    };
    let message = problems
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ");
    let mut conditions = Conditions::new(app, &previous, now);
    conditions.set(ACCEPTED, false, reason, &message);
    conditions.set(READY, false, reason, &message);
    conditions.set(PROGRESSING, false, reason, "waits for a valid spec");
    conditions.set(DEGRADED, true, reason, &message);
    TodoAppStatus {
        observed_generation: app.metadata.generation,
        environment: environment
            .map(str::to_owned)
            .or(previous.environment.clone()),
        version: app.spec.release.version.clone(),
        fingerprint: Some(canonical::fingerprint(&app.spec.release)),
        effective_release: previous
            .effective_release
            .clone()
            .map(|effective| EffectiveRelease {
                reason: "Invalid".to_owned(),
                ..effective
            }),
        conditions: conditions.finish(),
        ..previous
    }
}

/// Condition: everything that the spec asks for is there and healthy, and the spec's release is what serves.
pub const READY: &str = "Ready";
/// Condition: not ready yet, and on the way.
pub const PROGRESSING: &str = "Progressing";
/// Condition: it will not come right by waiting, or has taken too long.
pub const DEGRADED: &str = "Degraded";
/// Condition: the spec is valid.
pub const ACCEPTED: &str = "Accepted";
/// Condition: every kind that is needed is served, and every write went through.
pub const APPLIED: &str = "Applied";
/// Condition: databases can be used.
pub const DATABASES_READY: &str = "DatabasesReady";
/// Condition: topics are as the spec asks.
pub const TOPICS_READY: &str = "TopicsReady";
/// Condition: migrations have succeeded.
pub const MIGRATED: &str = "Migrated";
/// Condition: the spec's release is the one that serves.
pub const RELEASED: &str = "Released";
/// Condition: every component is healthy.
pub const COMPONENTS_READY: &str = "ComponentsReady";
/// Condition: routes and scalers are accepted by who runs them.
pub const TRAFFIC_READY: &str = "TrafficReady";

/// What one concern says.
struct Report {
    condition: &'static str,
    /// Reason while all is well.
    good: &'static str,
    trouble: Option<Trouble>,
}

struct Trouble {
    cause: Cause,
    /// It cannot come right by waiting.
    degraded: bool,
}

impl Trouble {
    fn waiting(cause: Cause) -> Self {
        Self {
            cause,
            degraded: false,
        }
    }
}

/// Every concern, the one that explains most first.
fn reports(
    outcome: &Outcome<'_>,
    components: &BTreeMap<String, todo_operator_api::status::ComponentStatus>,
) -> Vec<Report> {
    let report = |condition, good, trouble| Report {
        condition,
        good,
        trouble,
    };
    let wave = |waves: &[Wave]| -> Vec<&Child> {
        outcome
            .plan
            .waves
            .iter()
            .filter(|(wave, _)| waves.contains(wave))
            .flat_map(|(_, children)| children)
            .collect()
    };
    vec![
        report(APPLIED, reasons::APPLIED, not_applied(outcome)),
        report(RELEASED, reasons::EFFECTIVE, not_released(outcome)),
        report(
            DATABASES_READY,
            reasons::READY,
            unready(
                outcome,
                &wave(&[Wave::Storage, Wave::Roles, Wave::Databases]),
                |key| key.kind != Kind::KafkaTopic,
            ),
        ),
        report(
            TOPICS_READY,
            reasons::READY,
            topics_unready(outcome, &wave(&[Wave::Storage])),
        ),
        report(
            MIGRATED,
            reasons::COMPLETE,
            unready(outcome, &wave(&[Wave::Migrations]), |_| true),
        ),
        report(
            COMPONENTS_READY,
            reasons::READY,
            components::trouble(components).map(|(cause, degraded)| Trouble { cause, degraded }),
        ),
        report(
            TRAFFIC_READY,
            reasons::READY,
            unready(outcome, &wave(&[Wave::Services, Wave::Traffic]), |_| true),
        ),
    ]
}

fn first_trouble(reports: &[Report]) -> Option<&Trouble> {
    let troubles = || reports.iter().filter_map(|report| report.trouble.as_ref());
    troubles()
        .find(|trouble| trouble.degraded)
        .or_else(|| troubles().next())
}

fn not_applied(outcome: &Outcome<'_>) -> Option<Trouble> {
    if let Some((key, message)) = outcome.failed.first() {
        let others = match outcome.failed.len() - 1 {
            0 => String::new(),
            n => format!(" (and {n} more)"),
        };
        let cause = Cause::new(reasons::APPLY_FAILED, format!("{key}: {message}{others}"));
        return Some(Trouble::waiting(cause));
    }
    let child = outcome
        .plan
        .waves
        .iter()
        .flat_map(|(_, children)| children)
        .find(|child| outcome.observed.missing.contains(&child.key.kind))?;
    let peer = child.key.kind.peer()?;
    let message = format!(
        "{} needs {}, which is not installed: {}",
        child.key, peer.name, peer.install
    );
    Some(Trouble::waiting(Cause::new(reasons::PEER_MISSING, message)))
}

/// A component whose last good version has to come up before its canary can begin.
fn stable_first(outcome: &Outcome<'_>) -> Option<Trouble> {
    let mut effective = outcome.plan.effective.iter();
    let is_open = outcome.plan.barrier.is_none();
    let (name, _) = effective.find(|(_, origin)| is_open && **origin == Origin::LastGood)?;
    let message = format!(
        "{name}: its last good version comes up first, so that the canary has something to be compared with"
    );
    Some(Trouble::waiting(Cause::new(reasons::STABLE_FIRST, message)))
}

fn not_released(outcome: &Outcome<'_>) -> Option<Trouble> {
    let Some(name) = outcome.decision.quarantined.iter().next() else {
        return stable_first(outcome);
    };
    let why = outcome
        .rejected
        .iter()
        .rev()
        .find(|rejection| rejection.component == *name)
        .map(|rejection| {
            let measurement = rejection.measurement.as_deref().unwrap_or("no message");
            format!("{}: {measurement}", rejection.reason)
        })
        .unwrap_or_default();
    let serving = outcome
        .observed
        .children
        .iter()
        .find_map(|_| release::last_good(outcome.observed.children))
        .and_then(|(_, good)| good.version.as_deref())
        .map(|version| format!(" {version}"))
        .unwrap_or_default();
    let message = format!("serving the last good release{serving}; {name} was rejected: {why}");
    Some(Trouble {
        cause: Cause::new(reasons::RELEASE_REJECTED, message),
        degraded: true,
    })
}

fn unready(
    outcome: &Outcome<'_>,
    children: &[&Child],
    counts: impl Fn(&ChildKey) -> bool,
) -> Option<Trouble> {
    let children: Vec<Child> = children
        .iter()
        .filter(|child| counts(&child.key))
        .map(|child| (*child).clone())
        .collect();
    let waits_for = plan::unready(&children, outcome.observed);
    worst(outcome, waits_for).or_else(|| {
        // Behind a closed barrier there is nothing to look at yet.
        let barrier = outcome.plan.barrier.as_ref()?;
        let behind = children.is_empty()
            && barrier
                .waits_for
                .iter()
                .any(|(key, _)| counts(key) && key.kind.wave() != barrier.after);
        behind.then(|| {
            Trouble::waiting(Cause::new(
                reasons::WAITING,
                "waits for what comes before it",
            ))
        })
    })
}

fn topics_unready(outcome: &Outcome<'_>, storage: &[&Child]) -> Option<Trouble> {
    let strimzi = unready(outcome, storage, |key| key.kind == Kind::KafkaTopic);
    strimzi.or_else(|| {
        worst(
            outcome,
            plan::unready_topics(&outcome.plan.topics, outcome.observed),
        )
    })
}

/// The cause that explains most: a degraded object before one that is on its way.
fn worst(outcome: &Outcome<'_>, waits_for: Vec<(ChildKey, Cause)>) -> Option<Trouble> {
    let degraded = |key: &ChildKey| {
        outcome
            .observed
            .children
            .get(key)
            .is_some_and(|live| matches!(live.health, Health::Degraded(_)))
    };
    let mut waits_for = waits_for.into_iter();
    let first = waits_for.next()?;
    let (key, cause) = if degraded(&first.0) {
        first
    } else {
        waits_for.find(|(key, _)| degraded(key)).unwrap_or(first)
    };
    Some(Trouble {
        degraded: degraded(&key),
        cause: Cause::new(&cause.reason, format!("{key}: {}", cause.message)),
    })
}

/// Sets `Ready`, `Progressing` and `Degraded`; returns when the deadline runs out.
fn summarise(
    conditions: &mut Conditions<'_>,
    trouble: Option<&Trouble>,
    deadline_seconds: i64,
) -> Option<SignedDuration> {
    let Some(trouble) = trouble else {
        conditions.set(
            READY,
            true,
            reasons::READY,
            "everything that the spec asks for is there and healthy",
        );
        conditions.set(PROGRESSING, false, reasons::READY, "");
        conditions.set(DEGRADED, false, reasons::READY, "");
        return None;
    };
    let Cause { reason, message } = &trouble.cause;
    conditions.set(READY, false, reason, message);
    if trouble.degraded {
        conditions.set(PROGRESSING, false, reason, message);
        conditions.set(DEGRADED, true, reason, message);
        return None;
    }
    let deadline = SignedDuration::from_secs(deadline_seconds);
    let left = conditions.progressing_since().map_or(deadline, |since| {
        deadline.saturating_sub(conditions.now.duration_since(since))
    });
    if conditions.timed_out() || !left.is_positive() {
        let message = format!("not ready within {deadline_seconds} s: {message}");
        conditions.set(PROGRESSING, false, reasons::DEADLINE_EXCEEDED, &message);
        conditions.set(DEGRADED, true, reasons::DEADLINE_EXCEEDED, &message);
        return None;
    }
    conditions.set(PROGRESSING, true, reason, message);
    conditions.set(DEGRADED, false, reason, "");
    Some(left)
}

fn effective_release(outcome: &Outcome<'_>, fingerprint: &str) -> Option<EffectiveRelease> {
    let good = release::last_good(outcome.observed.children);
    let goes_back = outcome
        .plan
        .effective
        .values()
        .any(|origin| *origin == Origin::LastGood)
        || outcome.decision.is_held_back()
        || (outcome.plan.barrier.is_some() && !outcome.decision.changed.is_empty());
    if goes_back {
        let (key, good) = good?;
        return Some(EffectiveRelease {
            fingerprint: good.fingerprint.to_string(),
            version: good.version.as_deref().map(str::to_owned),
            revision: Some(key.name.to_string()),
            reason: if outcome.decision.is_held_back() {
                "Rejected"
            } else if outcome.plan.barrier.is_some() {
                "Barrier"
            } else {
                reasons::STABLE_FIRST
            }
            .to_owned(),
        });
    }
    let proven = good.filter(|(_, good)| {
        *good.fingerprint == *fingerprint && outcome.decision.changed.is_empty()
    });
    Some(EffectiveRelease {
        fingerprint: fingerprint.to_owned(),
        version: outcome.app.app.spec.release.version.clone(),
        revision: proven.map(|(key, _)| key.name.to_string()),
        reason: if proven.is_some() {
            "Spec"
        } else {
            "RollingOut"
        }
        .to_owned(),
    })
}

fn databases(outcome: &Outcome<'_>) -> BTreeMap<String, ResourceStatus> {
    let children: Vec<Child> = outcome
        .plan
        .waves
        .iter()
        .filter(|(wave, _)| matches!(wave, Wave::Storage | Wave::Roles | Wave::Databases))
        .flat_map(|(_, children)| children)
        .filter(|child| child.key.kind != Kind::KafkaTopic)
        .cloned()
        .collect();
    let unready = plan::unready(&children, outcome.observed);
    children
        .iter()
        .filter(|child| matches!(child.key.kind, Kind::Cluster | Kind::Database))
        .map(|child| {
            let cause = unready
                .iter()
                .find(|(key, _)| *key == child.key)
                .map(|(_, cause)| cause);
            let status = ResourceStatus {
                ready: cause.is_none(),
                message: cause.map(|cause| cause.message.to_string()),
            };
            (
                format!("{}/{}", child.key.kind.name(), child.key.name),
                status,
            )
        })
        .collect()
}

fn topics(outcome: &Outcome<'_>) -> BTreeMap<String, TopicStatus> {
    let unready = plan::unready_topics(&outcome.plan.topics, outcome.observed);
    outcome
        .plan
        .topics
        .iter()
        .map(|topic| {
            let cause = unready
                .iter()
                .find(|(key, _)| *key.name == *topic.physical_name);
            let refused =
                cause.and_then(|(topic, _)| outcome.failed.iter().find(|(key, _)| key == topic));
            let live = outcome
                .observed
                .topics
                .ok()
                .and_then(|live| live.get(&topic.physical_name));
            let name = topic
                .physical_name
                .strip_prefix(outcome.app.namespace)
                .and_then(|name| name.strip_prefix('.'))
                .unwrap_or(&topic.physical_name);
            let status = TopicStatus {
                physical_name: topic.physical_name.clone(),
                partitions: live.map(|live| i64::from(live.partitions)),
                ready: cause.is_none(),
                message: refused
                    .map(|(_, message)| message.clone())
                    .or_else(|| cause.map(|(_, cause)| cause.message.to_string())),
            };
            (name.to_owned(), status)
        })
        .collect()
}

/// Conditions under construction: the time of the last transition is kept where the status is the same.
struct Conditions<'a> {
    generation: Option<i64>,
    previous: &'a TodoAppStatus,
    now: Timestamp,
    set: Vec<Condition>,
}

impl<'a> Conditions<'a> {
    fn new(app: &TodoApp, previous: &'a TodoAppStatus, now: Timestamp) -> Self {
        Self {
            generation: app.metadata.generation,
            previous,
            now,
            set: Vec::new(),
        }
    }

    fn before(&self, kind: &str) -> Option<&'a Condition> {
        self.previous
            .conditions
            .iter()
            .find(|condition| condition.type_ == kind)
    }

    /// Since when it has been on the way to this generation.
    fn progressing_since(&self) -> Option<Timestamp> {
        self.before(PROGRESSING)
            .filter(|condition| {
                condition.status == "True" && condition.observed_generation == self.generation
            })
            .map(|condition| condition.last_transition_time.0)
    }

    /// Whether the deadline for this generation had run out already.
    fn timed_out(&self) -> bool {
        self.before(DEGRADED).is_some_and(|condition| {
            condition.status == "True"
                && condition.reason == reasons::DEADLINE_EXCEEDED
                && condition.observed_generation == self.generation
        })
    }

    fn set(&mut self, kind: &str, status: bool, reason: &str, message: &str) {
        let status = if status { "True" } else { "False" };
        let before = self.before(kind);
        // The way to a new generation begins anew, although the condition was True before.
        let anew = kind == PROGRESSING
            && before.is_some_and(|before| before.observed_generation != self.generation);
        let last_transition_time = before
            .filter(|before| before.status == status && !anew)
            .map_or_else(
                || Time(self.now),
                |before| before.last_transition_time.clone(),
            );
        self.set.push(Condition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: message.chars().take(MESSAGE_MAX).collect(),
            observed_generation: self.generation,
            last_transition_time,
        });
    }

    /// The conditions, the three that sum up first.
    fn finish(mut self) -> Vec<Condition> {
        let rank = |condition: &Condition| match condition.type_.as_str() {
            READY => 0,
            PROGRESSING => 1,
            DEGRADED => 2,
            _ => 3,
        };
        self.set.sort_by_key(rank);
        self.set
    }
}
