//! From what was read to the causes, as a tree whose leaves quote an object.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use todo_operator_api::TodoApp;
use todo_operator_api::status::{ComponentStatus, Rejection, TodoAppStatus};
use todo_operator_core::child::ChildKey;
use todo_operator_core::health::{Cause, Health};
use todo_operator_core::kind::Kind;
use todo_operator_core::live::{Detail, Live};
use todo_operator_core::names;
use todo_operator_core::status::components::HEALTHY;
use todo_operator_core::status::{
    ACCEPTED, APPLIED, COMPONENTS_READY, DATABASES_READY, MIGRATED, READY, RELEASED, TOPICS_READY,
    TRAFFIC_READY, reasons,
};

use crate::cluster::Objects;
use crate::paint::{Paint, quoted};
use crate::status::condition;
use crate::tree::Node;

/// Kinds whose health is part of the way from outside, or of scaling.
const TRAFFIC: [Kind; 6] = [
    Kind::HttpRoute,
    Kind::IngressRoute,
    Kind::TraefikService,
    Kind::ScaledObject,
    Kind::HorizontalPodAutoscaler,
    Kind::PodDisruptionBudget,
];
/// Kinds of workloads.
const WORKLOADS: [Kind; 3] = [Kind::Rollout, Kind::Deployment, Kind::CronJob];

/// Everything that can explain how an application is.
pub struct Facts<'a> {
    app: &'a TodoApp,
    name: &'a str,
    namespace: &'a str,
    status: TodoAppStatus,
    objects: Objects,
}

impl<'a> Facts<'a> {
    /// The facts about `app`.
    pub fn new(app: &'a TodoApp, objects: Objects) -> Self {
        Self {
            app,
            name: app.metadata.name.as_deref().unwrap_or_default(),
            namespace: app.metadata.namespace.as_deref().unwrap_or_default(),
            status: app.status.clone().unwrap_or_default(),
            objects,
        }
    }

    /// Why the application is not ready, what explains most first.
    pub fn causes(&self, paint: Paint) -> Vec<Node> {
        if self.app.metadata.deletion_timestamp.is_some() {
            let finalizers = self
                .app
                .metadata
                .finalizers
                .clone()
                .unwrap_or_default()
                .join(", ");
            return vec![Node::leaf(format!(
                "it is being deleted; finalizers that remain: {finalizers}"
            ))];
        }
        let generation = self.app.metadata.generation;
        if self.status.observed_generation != generation {
            return vec![unseen(generation, self.status.observed_generation)];
        }
        if let Some(accepted) = self.unwell(ACCEPTED) {
            return vec![self.not_accepted(accepted)];
        }
        let concerns = [
            APPLIED,
            RELEASED,
            DATABASES_READY,
            TOPICS_READY,
            MIGRATED,
            COMPONENTS_READY,
            TRAFFIC_READY,
        ];
        let mut unwell: Vec<&Condition> = concerns
            .iter()
            .filter_map(|concern| self.unwell(concern))
            .collect();
        // The sum has the reason of what explains most.
        let main = condition(&self.status.conditions, READY).map(|ready| ready.reason.clone());
        unwell.sort_by_key(|condition| main.as_ref() != Some(&condition.reason));
        let is_waiting = |condition: &&Condition| condition.reason == reasons::WAITING;
        if !unwell.iter().all(is_waiting) {
            // What only waits for another concern explains nothing.
            unwell.retain(|condition| !is_waiting(condition));
        }
        let barriers = unwell.iter().any(|condition| {
            [DATABASES_READY, TOPICS_READY, MIGRATED].contains(&condition.type_.as_str())
        });
        unwell
            .into_iter()
            .flat_map(|condition| self.concern(condition, barriers, paint))
            .collect()
    }

    /// What keeps later waves waiting: databases, topics, migrations.
    pub fn barriers(&self, paint: Paint) -> Vec<Node> {
        let concerns = [DATABASES_READY, TOPICS_READY, MIGRATED]
            .iter()
            .filter_map(|concern| self.unwell(concern));
        let closed = concerns.filter(|condition| condition.reason != reasons::WAITING);
        closed
            .flat_map(|condition| self.concern(condition, true, paint))
            .collect()
    }

    /// What could not be looked at.
    pub fn hidden(&self) -> Option<Node> {
        self.objects
            .not_read()
            .map(|said| Node::leaf(quoted(&said)))
    }

    fn unwell(&self, concern: &str) -> Option<&Condition> {
        condition(&self.status.conditions, concern).filter(|condition| condition.status != "True")
    }

    fn not_accepted(&self, accepted: &Condition) -> Node {
        if accepted.reason == reasons::NO_ENVIRONMENT {
            let text = format!(
                "no TodoEnvironment, or more than one, has namespace {}",
                self.namespace
            );
            return Node::with(text, vec![Node::leaf(quoted(&accepted.message))]);
        }
        let said = quoted(&accepted.message);
        let problems = said
            .split("; spec.")
            .enumerate()
            .map(|(position, problem)| {
                let prefix = if position == 0 { "" } else { "spec." };
                Node::leaf(format!("{prefix}{problem}"))
            });
        Node::with(
            "its spec is invalid; what ran keeps running",
            problems.collect(),
        )
    }

    fn concern(&self, condition: &Condition, has_barrier: bool, paint: Paint) -> Vec<Node> {
        let found = match condition.type_.as_str() {
            RELEASED => return vec![self.rejected(condition, paint)],
            DATABASES_READY => {
                self.unready(&[Kind::Cluster, Kind::DatabaseRole, Kind::Database], paint)
            }
            TOPICS_READY => self.topics(paint),
            MIGRATED => self.unready(&[Kind::Job], paint),
            COMPONENTS_READY => return self.components(has_barrier, paint),
            TRAFFIC_READY => self.unready(&TRAFFIC, paint),
            _ => Vec::new(),
        };
        if found.is_empty() {
            vec![quote(condition)]
        } else {
            found
        }
    }

    /// The release that was rejected: by what measurement, or by which migration.
    fn rejected(&self, condition: &Condition, paint: Paint) -> Node {
        let newest: BTreeMap<&str, &Rejection> = self
            .status
            .rejected
            .iter()
            .map(|rejection| (rejection.component.as_str(), rejection))
            .collect();
        let asked_for = newest
            .into_values()
            .filter(|rejection| self.asks_for(rejection));
        let children: Vec<Node> = asked_for
            .map(|rejection| {
                let text = format!(
                    "component {}, image {}, was rejected: {}",
                    paint.strong(&rejection.component),
                    rejection.image,
                    paint.bad(&rejection.reason)
                );
                let evidence = self.evidence(rejection, paint);
                let recorded = || {
                    rejection
                        .measurement
                        .as_deref()
                        .map(|said| Node::leaf(quoted(said)))
                };
                Node::with(text, evidence.or_else(recorded).into_iter().collect())
            })
            .collect();
        if children.is_empty() {
            return quote(condition);
        }
        let wanted = self
            .app
            .spec
            .release
            .version
            .as_deref()
            .unwrap_or("what the spec asks for");
        let serving = self
            .status
            .effective_release
            .as_ref()
            .and_then(|effective| effective.version.as_deref());
        let serving = serving.unwrap_or("the last good release");
        Node::with(
            format!("{wanted} was rejected, and {serving} serves"),
            children,
        )
    }

    fn asks_for(&self, rejection: &Rejection) -> bool {
        let Some(component) = self.app.spec.components.get(&rejection.component) else {
            return false;
        };
        let key = component.image.as_ref().unwrap_or(&rejection.component);
        let mut images = self.app.spec.release.images.iter();
        images.any(|image| image.component == *key && image.image == rejection.image)
    }

    /// The object that shows why something was rejected, where it is still there.
    fn evidence(&self, rejection: &Rejection, paint: Paint) -> Option<Node> {
        let of_component = |(key, live): &(&ChildKey, &Live)| {
            live.component.as_deref() == Some(&rejection.component)
                && &*key.namespace == self.namespace
        };
        let job = self
            .objects
            .of_kind(Kind::Job)
            .filter(of_component)
            .find(|(_, live)| matches!(live.health, Health::Degraded(_)));
        if rejection.reason == todo_operator_core::release::REASON_MIGRATION_FAILED {
            return job.map(|(key, live)| self.object(key, live, paint));
        }
        let rollout = names::component(self.name, &rejection.component);
        let runs = self.analyses(&rollout, paint);
        (!runs.is_empty()).then(|| {
            Node::with(
                format!("Rollout {}: its analysis failed", paint.strong(&rollout)),
                runs,
            )
        })
    }

    /// The failed analyses of a Rollout, the newest alone.
    fn analyses(&self, rollout: &str, paint: Paint) -> Vec<Node> {
        let failed = self
            .objects
            .of_kind(Kind::AnalysisRun)
            .filter_map(|(key, live)| match &live.detail {
                Detail::Analysis {
                    rollout: judged,
                    failure: Some(failure),
                    ..
                } if **judged == *rollout => Some((live.version(), key, failure)),
                _ => None,
            });
        let newest = failed.max_by_key(|(version, ..)| *version);
        newest
            .map(|(_, key, failure)| {
                Node::leaf(format!(
                    "{}: {}",
                    paint.strong(&key.to_string()),
                    quoted(failure)
                ))
            })
            .into_iter()
            .collect()
    }

    fn topics(&self, paint: Paint) -> Vec<Node> {
        let strimzi = self.unready(&[Kind::KafkaTopic], paint);
        if !strimzi.is_empty() {
            return strimzi;
        }
        let unready = self.status.topics.values().filter(|topic| !topic.ready);
        let mut said: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for topic in unready {
            let message = quoted(topic.message.as_deref().unwrap_or("not ready"));
            said.entry(message).or_default().push(&topic.physical_name);
        }
        // Kafka that cannot be reached is one cause, however many topics there are.
        said.into_iter()
            .map(|(message, topics)| Node::leaf(format!("topic {}: {message}", topics.join(", "))))
            .collect()
    }

    /// Objects of these kinds that are not ready.
    fn unready(&self, kinds: &[Kind], paint: Paint) -> Vec<Node> {
        let objects = kinds.iter().flat_map(|kind| self.objects.of_kind(*kind));
        objects
            .filter(|(_, live)| !live.health.is_ready())
            .map(|(key, live)| self.object(key, live, paint))
            .collect()
    }

    fn components(&self, has_barrier: bool, paint: Paint) -> Vec<Node> {
        let unwell = self
            .status
            .components
            .iter()
            .filter(|(_, component)| component.state != HEALTHY);
        unwell
            // Behind a closed barrier, what has not been made yet explains nothing.
            .filter(|(name, _)| !has_barrier || self.workload(name).is_some())
            .map(|(name, component)| self.component(name, component, paint))
            .collect()
    }

    fn workload(&self, component: &str) -> Option<(&ChildKey, &Live)> {
        let name = names::component(self.name, component);
        let mut found = WORKLOADS
            .iter()
            .filter_map(|kind| self.objects.find(*kind, self.namespace, &name))
            .peekable();
        // While a Deployment gives way to a Rollout both are there; the one that is not ready explains more.
        let first = found.peek().copied();
        found.find(|(_, live)| !live.health.is_ready()).or(first)
    }

    /// A component that is not healthy.
    pub fn component(&self, name: &str, status: &ComponentStatus, paint: Paint) -> Node {
        let text = format!(
            "component {} is {}",
            paint.strong(name),
            paint.bad(&status.state)
        );
        let workload = self
            .workload(name)
            .filter(|(_, live)| !live.health.is_ready());
        let child = match (workload, &status.message) {
            (Some((key, live)), _) => Some(self.object(key, live, paint)),
            (None, Some(message)) => Some(Node::leaf(quoted(message))),
            (None, None) => None,
        };
        Node::with(text, child.into_iter().collect())
    }

    /// An object that is not ready: what it says, and what below it explains that.
    fn object(&self, key: &ChildKey, live: &Live, paint: Paint) -> Node {
        let mut text = paint.strong(&key.to_string());
        match (live.health.cause(), &live.detail) {
            (Some(Cause { reason, message }), _) => {
                text.push_str(&format!(": {}: {}", paint.bad(reason), quoted(message)));
            }
            (None, Detail::Workload(workload)) => {
                let wanted = workload.replicas.unwrap_or_default();
                text.push_str(&format!(": {} of {wanted} available", workload.available));
            }
            (None, _) => {}
        }
        let mut children = self.below(&live.uid, paint);
        if key.kind == Kind::Rollout {
            children.extend(self.analyses(&key.name, paint));
        }
        Node::with(text, children)
    }

    /// What the object with this UID owns and is not well: ReplicaSets and pods.
    fn below(&self, owner: &str, paint: Paint) -> Vec<Node> {
        let owned = |live: &Live| !owner.is_empty() && live.owner.as_deref() == Some(owner);
        let mut nodes: Vec<Node> = self
            .objects
            .of_kind(Kind::ReplicaSet)
            .filter(|(_, live)| owned(live))
            .filter_map(|(key, live)| {
                let node = self.object(key, live, paint);
                (!live.health.is_ready() || !node.children.is_empty()).then_some(node)
            })
            .collect();
        nodes.extend(self.pods(owned, paint));
        nodes
    }

    /// Pods that are not well, one of each trouble, the worst first.
    fn pods(&self, counts: impl Fn(&Live) -> bool, paint: Paint) -> Vec<Node> {
        let mut troubles: Vec<(bool, &Cause, Option<String>, Vec<&ChildKey>)> = Vec::new();
        for (key, live) in self
            .objects
            .of_kind(Kind::Pod)
            .filter(|(_, live)| counts(live))
        {
            let Some(cause) = live.health.cause() else {
                continue;
            };
            let mount = self.failed_mount(key);
            let known = troubles.iter_mut().find(|(_, other, other_mount, _)| {
                other.reason == cause.reason && (mount.is_some() == other_mount.is_some())
            });
            match known {
                Some((.., pods)) => pods.push(key),
                None => troubles.push((
                    !matches!(live.health, Health::Degraded(_)),
                    cause,
                    mount,
                    vec![key],
                )),
            }
        }
        troubles.sort_by_key(|(is_mild, _, mount, _)| *is_mild && mount.is_none());
        troubles
            .into_iter()
            .map(|(_, cause, mount, pods)| {
                let others = match pods.len() {
                    0 | 1 => String::new(),
                    n => format!(" (and {} more)", n - 1),
                };
                let name = pods.first().map(ToString::to_string).unwrap_or_default();
                let text = format!(
                    "{}{others}: {}: {}",
                    paint.strong(&name),
                    paint.bad(&cause.reason),
                    quoted(&cause.message)
                );
                Node::with(text, mount.map(Node::leaf).into_iter().collect())
            })
            .collect()
    }

    /// The newest Event about a volume that cannot be mounted.
    fn failed_mount(&self, pod: &ChildKey) -> Option<String> {
        let events =
            self.objects
                .of_kind(Kind::Event)
                .filter_map(|(key, live)| match &live.detail {
                    Detail::Event {
                        about,
                        reason,
                        message,
                        seen,
                    } if *about == pod.name
                        && key.namespace == pod.namespace
                        && &**reason == "FailedMount" =>
                    {
                        Some((*seen, message))
                    }
                    _ => None,
                });
        let newest = events.max_by_key(|(seen, _)| *seen)?;
        Some(format!("Event FailedMount: {}", quoted(newest.1)))
    }
}

/// The operator has not looked at the spec.
pub fn unseen(generation: Option<i64>, seen: Option<i64>) -> Node {
    let wanted = generation.unwrap_or_default();
    let seen = match seen {
        Some(seen) => format!("it has seen generation {seen}"),
        None => "it has seen none".to_owned(),
    };
    Node::leaf(format!(
        "the operator has not looked at this spec (generation {wanted}) yet; {seen}. Is it running? kubectl get pods -n todo-operator"
    ))
}

/// A condition that nothing explains further.
pub fn quote(condition: &Condition) -> Node {
    let said = quoted(&condition.message);
    Node::leaf(format!(
        "{} is {}: {}: {said}",
        condition.type_, condition.status, condition.reason
    ))
}

#[cfg(test)]
mod tests;
