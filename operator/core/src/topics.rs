//! Topics that the operator makes itself, through Kafka's admin API.

use std::collections::BTreeMap;

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
