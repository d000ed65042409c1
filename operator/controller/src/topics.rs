//! Topics as they were last seen in Kafka, so that not every reconcile asks.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use todo_operator_core::topics::{LiveTopic, TopicAction, WantedTopic, plan};

use crate::kafka::{KafkaAdmin, KafkaCluster, KafkaError};

/// Time after which topics are looked at anew: how long drift in Kafka can stand.
pub const REFRESH: SignedDuration = SignedDuration::from_secs(300);

/// Topics by name; those asked for that do not exist are absent.
pub type Topics = BTreeMap<String, LiveTopic>;

/// A cluster, and the names that were asked for.
type Question = (KafkaCluster, Vec<String>);

/// Topics as they were last seen.
#[derive(Debug, Default)]
pub struct TopicCache {
    seen: Mutex<HashMap<Question, (Timestamp, Topics)>>,
}

impl TopicCache {
    /// The topics of these names, at most [`REFRESH`] old.
    pub async fn describe(
        &self,
        kafka: &dyn KafkaAdmin,
        cluster: &KafkaCluster,
        names: &[String],
        now: Timestamp,
    ) -> Result<Topics, KafkaError> {
        let key = (cluster.clone(), names.to_vec());
        let known = {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.get(&key)
                .filter(|(at, _)| now.duration_since(*at) < REFRESH)
                .map(|(_, topics)| topics.clone())
        };
        if let Some(topics) = known {
            return Ok(topics);
        }
        let topics = kafka.describe(cluster, names).await?;
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, (now, topics.clone()));
        Ok(topics)
    }

    /// Forgets what was seen of these topics, whoever asked, because they were changed just now.
    pub fn forget(&self, cluster: &KafkaCluster, names: &[String]) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|(of, asked), _| {
            of != cluster || !asked.iter().any(|name| names.contains(name))
        });
    }
}

/// What making topics came to.
#[derive(Debug, Default)]
pub struct Made {
    /// Whether anything was done.
    pub changed: bool,
    /// Topics that Kafka refused to make so, each with its reason.
    pub refused: Vec<(String, KafkaError)>,
}

/// Whether something is still to be done that Kafka has not refused.
pub fn is_unsettled(wanted: &[WantedTopic], live: &Topics) -> bool {
    plan(wanted, live)
        .iter()
        .any(|action| !matches!(action, TopicAction::Refuse { .. }))
}

/// Makes topics as they are wanted. One that is refused holds back no other.
pub async fn converge(
    kafka: &dyn KafkaAdmin,
    cluster: &KafkaCluster,
    wanted: &[WantedTopic],
    live: &Topics,
) -> Result<Made, KafkaError> {
    let mut made = Made::default();
    for action in plan(wanted, live) {
        let (name, result) = match action {
            TopicAction::Create(topic) => {
                let result = kafka.create(cluster, &topic).await;
                (topic.physical_name, result.map(|()| "topic created"))
            }
            TopicAction::Grow { name, to } => {
                let result = kafka.grow(cluster, &name, to).await;
                (name, result.map(|()| "topic grown"))
            }
            TopicAction::Configure { name, config } => {
                let result = kafka.configure(cluster, &name, &config).await;
                (name, result.map(|()| "topic configured"))
            }
            TopicAction::Refuse { .. } => continue,
        };
        match result {
            Ok(done) => {
                tracing::info!(topic = name, "{done}");
                made.changed = true;
            }
            Err(error) if error.is_about_one_topic() => made.refused.push((name, error)),
            Err(error) => return Err(error),
        }
    }
    Ok(made)
}
