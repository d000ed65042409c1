//! Topics that the operator makes itself, through Kafka's admin API.

use std::collections::BTreeMap;

use todo_operator_api::TodoApp;

use crate::cause::Cause;
use crate::names;

/// Reason of a topic that has more partitions than the spec asks for.
pub const REASON_PARTITION_DECREASE: &str = "PartitionDecrease";
/// Reason of a topic that must grow although nobody said that this is acceptable.
pub const REASON_PARTITION_GROWTH: &str = "PartitionGrowthNotAllowed";
/// Reason of a topic that has another number of replicas than the spec asks for.
pub const REASON_REPLICATION_CHANGE: &str = "ReplicationChange";

/// Names in Kafka of every topic that an application may have: those that it declares, and the dead letters of what
/// consumes, whatever stage it is in.
pub fn physical_names(app: &TodoApp) -> Vec<String> {
    let namespace = app.metadata.namespace.as_deref().unwrap_or_default();
    let Some(messaging) = &app.spec.messaging else {
        return Vec::new();
    };
    let declared = messaging
        .topics
        .keys()
        .map(|topic| names::physical_topic(namespace, topic));
    let consumers = app
        .spec
        .components
        .iter()
        .filter(|(_, component)| !component.consumes.is_empty());
    declared
        .chain(consumers.map(|(name, _)| names::dead_letter_topic(namespace, name)))
        .collect()
}

/// A topic as it is in Kafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveTopic {
    /// Number of partitions.
    pub partitions: i32,
    /// Copies of each partition.
    pub replicas: i32,
    /// Settings that are set for this topic; inherited ones are not here.
    pub config: BTreeMap<String, String>,
}

/// A topic as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedTopic {
    /// Name in Kafka.
    pub physical_name: String,
    /// Number of partitions.
    pub partitions: i32,
    /// Copies of each partition, for creation.
    pub replicas: i32,
    /// All settings that differ from the broker's.
    pub config: BTreeMap<String, String>,
    /// Whether more partitions are acceptable although they break key order.
    pub allow_growth: bool,
}

/// One step from the topics that Kafka has to those that are wanted.
///
/// There is no step that deletes a topic or takes anything from one: a topic holds data.
#[derive(Clone, Debug, PartialEq)]
pub enum TopicAction {
    /// Make the topic.
    Create(WantedTopic),
    /// Give it more partitions.
    Grow {
        /// Name in Kafka.
        name: String,
        /// Number of partitions afterwards.
        to: i32,
    },
    /// Set its settings to exactly these: what is not among them falls back to the broker's value.
    Configure {
        /// Name in Kafka.
        name: String,
        /// Every setting of the topic.
        config: BTreeMap<String, String>,
    },
    /// Leave a difference as it is, because removing it would harm the data or is not possible.
    Refuse {
        /// Name in Kafka.
        name: String,
        /// What differs, and what a person can do.
        problem: Cause,
    },
}

/// The steps from `live` to `wanted`, in the order of `wanted`. A topic that is as wanted needs none.
///
/// A refused difference does not hold back the others: a topic that cannot shrink still gets its settings.
pub fn plan(wanted: &[WantedTopic], live: &BTreeMap<String, LiveTopic>) -> Vec<TopicAction> {
    wanted
        .iter()
        .flat_map(|topic| match live.get(&topic.physical_name) {
            None => vec![TopicAction::Create(topic.clone())],
            Some(live) => [
                partitions(topic, live),
                replication(topic, live),
                configuration(topic, live),
            ]
            .into_iter()
            .flatten()
            .collect(),
        })
        .collect()
}

/// Whether Kafka has the topic exactly as it is wanted.
pub fn is_ready(wanted: &WantedTopic, live: &BTreeMap<String, LiveTopic>) -> bool {
    plan(std::slice::from_ref(wanted), live).is_empty()
}

fn partitions(wanted: &WantedTopic, live: &LiveTopic) -> Option<TopicAction> {
    let (name, asked, has) = (&wanted.physical_name, wanted.partitions, live.partitions);
    if asked == has {
        return None;
    }
    if asked > has && wanted.allow_growth {
        return Some(TopicAction::Grow {
            name: name.clone(),
            to: asked,
        });
    }
    let problem = if asked > has {
        Cause::new(
            REASON_PARTITION_GROWTH,
            format!(
                "topic {name} has {has} partitions and {asked} are asked for: growing moves keys to other partitions \
                 and breaks their order; set allowPartitionGrowth: true if that is acceptable"
            ),
        )
    } else {
        Cause::new(
            REASON_PARTITION_DECREASE,
            format!(
                "topic {name} has {has} partitions and {asked} are asked for: Kafka cannot take partitions away; set \
                 partitions: {has}, or move to a new topic"
            ),
        )
    };
    Some(refuse(name, problem))
}

fn replication(wanted: &WantedTopic, live: &LiveTopic) -> Option<TopicAction> {
    let (name, asked, has) = (&wanted.physical_name, wanted.replicas, live.replicas);
    (asked != has).then(|| {
        refuse(
            name,
            Cause::new(
                REASON_REPLICATION_CHANGE,
                format!(
                    "each partition of topic {name} has {has} replicas and {asked} are asked for: that moves data \
                     between brokers, which is the Kafka administrator's to do (kafka-reassign-partitions.sh); until \
                     then set replicas: {has}"
                ),
            ),
        )
    })
}

fn configuration(wanted: &WantedTopic, live: &LiveTopic) -> Option<TopicAction> {
    (wanted.config != live.config).then(|| TopicAction::Configure {
        name: wanted.physical_name.clone(),
        config: wanted.config.clone(),
    })
}

fn refuse(name: &str, problem: Cause) -> TopicAction {
    TopicAction::Refuse {
        name: name.to_owned(),
        problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "todo-test.task-events";

    fn config(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn wanted() -> WantedTopic {
        WantedTopic {
            physical_name: NAME.into(),
            partitions: 6,
            replicas: 3,
            config: config(&[("retention.ms", "604800000")]),
            allow_growth: false,
        }
    }

    /// Kafka's view of [`wanted`], changed by `change`.
    fn live(change: impl FnOnce(&mut LiveTopic)) -> BTreeMap<String, LiveTopic> {
        let wanted = wanted();
        let mut topic = LiveTopic {
            partitions: wanted.partitions,
            replicas: wanted.replicas,
            config: wanted.config,
        };
        change(&mut topic);
        BTreeMap::from([(NAME.to_owned(), topic)])
    }

    /// The reason and message of the only action, which refuses.
    fn refusal(actions: &[TopicAction]) -> (&str, &str) {
        match actions {
            [TopicAction::Refuse { name, problem }] => {
                assert_eq!(name, NAME);
                (&problem.reason, &problem.message)
            }
            other => panic!("one refusal was expected: {other:?}"),
        }
    }

    #[test]
    fn what_is_as_wanted_needs_nothing() {
        let live = live(|_| {});
        assert_eq!(plan(&[wanted()], &live), []);
        assert!(is_ready(&wanted(), &live));
    }

    #[test]
    fn what_is_missing_is_created() {
        let nothing = BTreeMap::new();
        assert_eq!(plan(&[wanted()], &nothing), [TopicAction::Create(wanted())]);
        assert!(!is_ready(&wanted(), &nothing));
    }

    #[test]
    fn what_nobody_wants_any_more_stays() {
        assert_eq!(plan(&[], &live(|_| {})), []);
    }

    #[test]
    fn it_grows_where_that_is_allowed() {
        let live = live(|topic| topic.partitions = 4);
        let asked = WantedTopic {
            allow_growth: true,
            ..wanted()
        };
        assert_eq!(
            plan(std::slice::from_ref(&asked), &live),
            [TopicAction::Grow {
                name: NAME.into(),
                to: 6
            }]
        );
        assert!(!is_ready(&asked, &live));
    }

    #[test]
    fn it_does_not_grow_unasked() {
        let live = live(|topic| topic.partitions = 4);
        let actions = plan(&[wanted()], &live);
        let (reason, message) = refusal(&actions);
        assert_eq!(reason, REASON_PARTITION_GROWTH);
        assert!(
            message.contains("has 4 partitions and 6 are asked for"),
            "{message}"
        );
        assert!(message.contains("allowPartitionGrowth: true"), "{message}");
        assert!(!is_ready(&wanted(), &live));
    }

    #[test]
    fn it_never_shrinks_even_where_growth_is_allowed() {
        let live = live(|topic| topic.partitions = 12);
        let asked = WantedTopic {
            allow_growth: true,
            ..wanted()
        };
        let actions = plan(&[asked], &live);
        let (reason, message) = refusal(&actions);
        assert_eq!(reason, REASON_PARTITION_DECREASE);
        assert!(message.contains("set partitions: 12"), "{message}");
    }

    #[test]
    fn replication_is_left_to_the_administrator() {
        let live = live(|topic| topic.replicas = 1);
        let actions = plan(&[wanted()], &live);
        let (reason, message) = refusal(&actions);
        assert_eq!(reason, REASON_REPLICATION_CHANGE);
        assert!(message.contains("set replicas: 1"), "{message}");
        assert!(!is_ready(&wanted(), &live));
    }

    #[test]
    fn the_settings_are_all_of_the_topics_settings() {
        let live = live(|topic| {
            topic.config = config(&[("retention.ms", "1000"), ("cleanup.policy", "compact")]);
        });
        assert_eq!(
            plan(&[wanted()], &live),
            [TopicAction::Configure {
                name: NAME.into(),
                config: config(&[("retention.ms", "604800000")]),
            }],
            "cleanup.policy falls back to the broker's value"
        );
        assert!(!is_ready(&wanted(), &live));
    }

    #[test]
    fn a_refusal_does_not_hold_back_the_settings() {
        let live = live(|topic| {
            topic.partitions = 12;
            topic.config.clear();
        });
        let actions = plan(&[wanted()], &live);
        assert!(
            matches!(
                actions.as_slice(),
                [TopicAction::Refuse { .. }, TopicAction::Configure { .. }]
            ),
            "{actions:?}"
        );
    }

    #[test]
    fn topics_are_planned_independently() {
        let other = WantedTopic {
            physical_name: "todo-test.other".into(),
            ..wanted()
        };
        let actions = plan(&[wanted(), other.clone()], &live(|_| {}));
        assert_eq!(actions, [TopicAction::Create(other)]);
    }
}
