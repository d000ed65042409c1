//! Kafka in memory: what the operator's admin client and Strimzi's topic operator both act on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use todo_operator_controller::kafka::{Action, KafkaAdmin, KafkaCluster, KafkaError};
use todo_operator_core::topics::{LiveTopic, WantedTopic};

/// How long the operator waits for an answer that does not come.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What was done to a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// It was made.
    Created(LiveTopic),
    /// It got more partitions: from, to.
    Grown(i32, i32),
    /// Its settings were replaced: from, to.
    Configured(BTreeMap<String, String>, BTreeMap<String, String>),
    /// Somebody asked to take partitions away, which was refused: from, to.
    ShrinkRefused(i32, i32),
    /// It was deleted, with all that it held.
    Deleted,
}

/// How Kafka fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outage {
    /// It does not.
    #[default]
    None,
    /// No broker answers.
    Unreachable,
    /// The answer to a change does not come, and the change is made all the same.
    LostAnswers,
}

#[derive(Debug, Default)]
struct State {
    topics: BTreeMap<String, LiveTopic>,
    record: Vec<(String, Done)>,
    outage: Outage,
    refused: BTreeSet<String>,
}

/// Kafka.
#[derive(Debug, Default)]
pub struct Kafka(Mutex<State>);

impl Kafka {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The topics that there are.
    pub fn topics(&self) -> Value {
        let state = self.lock();
        let topics = state.topics.iter().map(|(name, topic)| {
            let (partitions, replicas, config) = (topic.partitions, topic.replicas, &topic.config);
            let topic = json!({"partitions": partitions, "replicas": replicas, "config": config});
            (name.clone(), topic)
        });
        Value::Object(topics.collect())
    }

    /// What was lost, or was to be: topics that were deleted, and partitions that were to be taken away.
    pub fn losses(&self) -> Vec<String> {
        let state = self.lock();
        let losses = state.record.iter().filter_map(|(topic, done)| match done {
            Done::Deleted => Some(format!("topic {topic} was deleted")),
            Done::ShrinkRefused(from, to) => Some(format!(
                "topic {topic} was to shrink from {from} partitions to {to}"
            )),
            _ => None,
        });
        losses.collect()
    }

    /// Everything that was done, in order, with the topic that it was done to.
    pub fn record(&self) -> Vec<(String, Done)> {
        self.lock().record.clone()
    }

    /// Lets it fail from now on, or not.
    pub fn set_outage(&self, outage: Outage) {
        self.lock().outage = outage;
    }

    /// Lets it refuse every change of a topic, as its policy would.
    pub fn refuse(&self, topic: &str) {
        self.lock().refused.insert(topic.to_owned());
    }

    /// Lets it refuse nothing any more.
    pub fn refuse_nothing(&self) {
        self.lock().refused.clear();
    }

    /// Puts a topic there that somebody else made.
    pub fn put(&self, topic: &str, live: LiveTopic) {
        self.lock().topics.insert(topic.to_owned(), live);
    }

    /// Makes a topic as Strimzi's topic operator does; else the reason and message of its condition
    /// (`BatchingTopicController.java`).
    pub(super) fn reconcile(
        &self,
        topic: &str,
        wanted: LiveTopic,
    ) -> Result<(), (&'static str, String)> {
        let mut state = self.lock();
        if state.outage == Outage::Unreachable || state.refused.contains(topic) {
            return Err(("KafkaError", "no broker answers".to_owned()));
        }
        let Some(live) = state.topics.get(topic).cloned() else {
            state.do_to(topic, Done::Created(wanted));
            return Ok(());
        };
        if live.config != wanted.config {
            state.do_to(topic, Done::Configured(live.config, wanted.config));
        }
        if wanted.partitions < live.partitions {
            return Err((
                "NotSupported",
                "Decreasing partitions not supported".to_owned(),
            ));
        }
        if wanted.partitions > live.partitions {
            state.do_to(topic, Done::Grown(live.partitions, wanted.partitions));
        }
        if wanted.replicas != live.replicas {
            let message = "Replication factor change not supported, but required for partitions";
            return Err(("NotSupported", message.to_owned()));
        }
        Ok(())
    }

    /// Deletes a topic.
    pub(super) fn take_away(&self, topic: &str) {
        let mut state = self.lock();
        if state.topics.contains_key(topic) {
            state.do_to(topic, Done::Deleted);
        }
    }

    /// Asks for a change of a topic.
    fn ask(
        &self,
        cluster: &KafkaCluster,
        topic: &str,
        action: Action,
        change: impl FnOnce(Option<&LiveTopic>) -> Result<Option<Done>, KafkaError>,
    ) -> Result<(), KafkaError> {
        let mut state = self.lock();
        state.reach(cluster)?;
        if state.refused.contains(topic) {
            return Err(KafkaError::NotTakenOver {
                cluster: cluster.to_string(),
                topic: topic.to_owned(),
                differing: "everything".to_owned(),
                timeout: TIMEOUT,
            });
        }
        if let Some(done) = change(state.topics.get(topic))? {
            state.do_to(topic, done);
        }
        if state.outage == Outage::LostAnswers {
            return Err(KafkaError::TimedOut {
                cluster: cluster.to_string(),
                topic: topic.to_owned(),
                action,
                timeout: TIMEOUT,
            });
        }
        Ok(())
    }
}

impl State {
    fn reach(&self, cluster: &KafkaCluster) -> Result<(), KafkaError> {
        if self.outage != Outage::Unreachable {
            return Ok(());
        }
        Err(KafkaError::Unreachable {
            cluster: cluster.to_string(),
            reason: "simulated outage".to_owned(),
        })
    }

    fn do_to(&mut self, name: &str, done: Done) {
        match &done {
            Done::Created(topic) => {
                self.topics.insert(name.to_owned(), topic.clone());
            }
            Done::Deleted => {
                self.topics.remove(name);
            }
            Done::ShrinkRefused(..) => {}
            Done::Grown(_, to) => {
                if let Some(topic) = self.topics.get_mut(name) {
                    topic.partitions = *to;
                }
            }
            Done::Configured(_, to) => {
                if let Some(topic) = self.topics.get_mut(name) {
                    topic.config = to.clone();
                }
            }
        }
        self.record.push((name.to_owned(), done));
    }
}

fn unknown(cluster: &KafkaCluster, topic: &str) -> KafkaError {
    KafkaError::Unreadable {
        cluster: cluster.to_string(),
        topic: topic.to_owned(),
    }
}

fn exists(cluster: &KafkaCluster, topic: &str, live: &LiveTopic) -> KafkaError {
    KafkaError::Exists {
        cluster: cluster.to_string(),
        topic: topic.to_owned(),
        found: format!("{} partitions", live.partitions),
    }
}

impl KafkaAdmin for Kafka {
    fn describe<'a>(
        &'a self,
        cluster: &'a KafkaCluster,
        topics: &'a [String],
    ) -> BoxFuture<'a, Result<BTreeMap<String, LiveTopic>, KafkaError>> {
        async move {
            let state = self.lock();
            state.reach(cluster)?;
            let known = topics
                .iter()
                .filter_map(|name| state.topics.get_key_value(name));
            Ok(known
                .map(|(name, topic)| (name.clone(), topic.clone()))
                .collect())
        }
        .boxed()
    }

    fn create<'a>(
        &'a self,
        cluster: &'a KafkaCluster,
        topic: &'a WantedTopic,
    ) -> BoxFuture<'a, Result<(), KafkaError>> {
        let wanted = LiveTopic {
            partitions: topic.partitions,
            replicas: topic.replicas,
            config: topic.config.clone(),
        };
        let name = &topic.physical_name;
        async move {
            self.ask(cluster, name, Action::Create, |live| match live {
                None => Ok(Some(Done::Created(wanted))),
                Some(live) if *live == wanted => Ok(None),
                Some(live) => Err(exists(cluster, name, live)),
            })
        }
        .boxed()
    }

    fn grow<'a>(
        &'a self,
        cluster: &'a KafkaCluster,
        topic: &'a str,
        partitions: i32,
    ) -> BoxFuture<'a, Result<(), KafkaError>> {
        async move {
            let live = self.lock().topics.get(topic).cloned();
            if let Some(live) = live.filter(|live| live.partitions > partitions) {
                // Kafka has no such thing; that it was asked for is what a scenario must hear of.
                let asked = Done::ShrinkRefused(live.partitions, partitions);
                self.lock().record.push((topic.to_owned(), asked));
                return Err(exists(cluster, topic, &live));
            }
            self.ask(cluster, topic, Action::Grow, |live| match live {
                None => Err(unknown(cluster, topic)),
                Some(live) if live.partitions == partitions => Ok(None),
                Some(live) => Ok(Some(Done::Grown(live.partitions, partitions))),
            })
        }
        .boxed()
    }

    fn configure<'a>(
        &'a self,
        cluster: &'a KafkaCluster,
        topic: &'a str,
        config: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<(), KafkaError>> {
        async move {
            self.ask(cluster, topic, Action::Configure, |live| match live {
                None => Err(unknown(cluster, topic)),
                Some(live) if live.config == *config => Ok(None),
                Some(live) => Ok(Some(Done::Configured(live.config.clone(), config.clone()))),
            })
        }
        .boxed()
    }

    fn delete<'a>(
        &'a self,
        cluster: &'a KafkaCluster,
        topic: &'a str,
    ) -> BoxFuture<'a, Result<(), KafkaError>> {
        async move {
            self.ask(cluster, topic, Action::Delete, |live| {
                Ok(live.map(|_| Done::Deleted))
            })
        }
        .boxed()
    }
}
