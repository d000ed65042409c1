//! What can go wrong between the operator and Kafka.

use std::fmt;
use std::time::Duration;

use rdkafka::types::RDKafkaErrorCode as Code;

/// Why Kafka could not be asked, or did not do what it was asked for. Names cluster and topic, never a secret.
#[derive(Debug, thiserror::Error)]
pub enum KafkaError {
    /// The spec does not say enough for a connection.
    #[error("cannot connect to Kafka at {cluster}: {reason}")]
    Settings {
        /// Its bootstrap servers.
        cluster: String,
        /// What is missing, and in which field.
        reason: String,
    },
    /// The credential that the spec names cannot be used as it is mounted.
    #[error("cannot use the credential '{credential}' for Kafka at {cluster}: {reason}")]
    Credential {
        /// Its bootstrap servers.
        cluster: String,
        /// Name of the credential.
        credential: String,
        /// What is wrong with its files.
        reason: String,
    },
    /// librdkafka makes no client of these settings.
    #[error("cannot make a client for Kafka at {cluster}: {reason}")]
    Client {
        /// Its bootstrap servers.
        cluster: String,
        /// As librdkafka says it.
        reason: String,
    },
    /// No broker answers.
    #[error(
        "cannot reach Kafka at {cluster}: {reason}; check the TodoEnvironment's bootstrapServers and securityProtocol, \
         and that the brokers run"
    )]
    Unreachable {
        /// Its bootstrap servers.
        cluster: String,
        /// The last cause that librdkafka saw.
        reason: String,
    },
    /// The brokers do not know who the operator is.
    #[error(
        "Kafka at {cluster} does not accept the operator's credential: {reason}; correct the Secret that is mounted for \
         adminCredential, it is read again at the next attempt"
    )]
    Authentication {
        /// Its bootstrap servers.
        cluster: String,
        /// As the broker says it.
        reason: String,
    },
    /// The brokers were reached, and the answer did not come in time.
    #[error("Kafka at {cluster} did not answer within {timeout:?} when asked to {action} {topic}")]
    TimedOut {
        /// Its bootstrap servers.
        cluster: String,
        /// The topic, or several.
        topic: String,
        /// What was asked for.
        action: Action,
        /// How long an answer may take.
        timeout: Duration,
    },
    /// Kafka answered with an error. The broker's own sentence is not here: rdkafka keeps its code and drops the text.
    #[error("Kafka at {cluster} refuses to {action} topic {topic}: \"{code}\"{}", advice(*.code, .detail))]
    Refused {
        /// Its bootstrap servers.
        cluster: String,
        /// The topic.
        topic: String,
        /// What was asked for.
        action: Action,
        /// Kafka's error code.
        code: Code,
        /// What in particular is refused, where that is known.
        detail: Option<String>,
    },
    /// A topic of that name is there, but another than was to be made.
    #[error(
        "topic {topic} at {cluster} was made by somebody else meanwhile, and not as it is wanted: {found}"
    )]
    Exists {
        /// Its bootstrap servers.
        cluster: String,
        /// The topic.
        topic: String,
        /// How it is.
        found: String,
    },
    /// Kafka took a change without an error, and does not show it.
    #[error(
        "Kafka at {cluster} has not taken over the settings of topic {topic}: {differing} still differ after {timeout:?}; \
         check that the operator's credential may AlterConfigs and DescribeConfigs on it, and that no \
         alter.config.policy of the brokers is against it"
    )]
    NotTakenOver {
        /// Its bootstrap servers.
        cluster: String,
        /// The topic.
        topic: String,
        /// Names of the settings, comma-separated.
        differing: String,
        /// How long was waited.
        timeout: Duration,
    },
    /// The settings of a topic that is there cannot be seen.
    #[error(
        "Kafka at {cluster} does not show the settings of topic {topic}: it was deleted just now, or the operator's \
         credential may not DescribeConfigs on it"
    )]
    Unreadable {
        /// Its bootstrap servers.
        cluster: String,
        /// The topic.
        topic: String,
    },
}

/// What Kafka was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Look at topics.
    Describe,
    /// Make a topic.
    Create,
    /// Add partitions.
    Grow,
    /// Change settings.
    Configure,
    /// Delete a topic.
    Delete,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Describe => "describe",
            Self::Create => "create",
            Self::Grow => "add partitions to",
            Self::Configure => "configure",
            Self::Delete => "delete",
        })
    }
}

impl KafkaError {
    /// Whether it is about one topic alone, so that the others are worth trying.
    pub fn is_about_one_topic(&self) -> bool {
        matches!(
            self,
            Self::Refused { .. } | Self::Exists { .. } | Self::NotTakenOver { .. }
        )
    }

    /// Whether the same request can succeed later without a change of the spec, of the topic or of permissions.
    ///
    /// What lies in a credential's files may change at any time and nothing tells of it, so that counts as well.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Settings { .. } => false,
            Self::Refused { code, .. } => !is_final(*code),
            Self::Credential { .. }
            | Self::Client { .. }
            | Self::Unreachable { .. }
            | Self::Authentication { .. }
            | Self::TimedOut { .. }
            | Self::Exists { .. }
            | Self::NotTakenOver { .. }
            | Self::Unreadable { .. } => true,
        }
    }
}

fn is_final(code: Code) -> bool {
    matches!(
        code,
        Code::InvalidConfig
            | Code::InvalidPartitions
            | Code::InvalidReplicaAssignment
            | Code::InvalidReplicationFactor
            | Code::InvalidRequest
            | Code::InvalidTopic
            | Code::PolicyViolation
            | Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::UnsupportedVersion
    )
}

fn advice(code: Code, detail: &Option<String>) -> String {
    let advice = match code {
        Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed => Some(
            "allow the operator's credential to Create, Describe, DescribeConfigs, Alter, AlterConfigs and Delete it",
        ),
        Code::InvalidReplicationFactor => {
            Some("ask for at most as many replicas as there are brokers")
        }
        Code::InvalidConfig => Some("correct the topic's config"),
        Code::PolicyViolation => {
            Some("a policy of the brokers is against it; their log says which rule")
        }
        _ => None,
    };
    [detail.as_deref(), advice]
        .into_iter()
        .flatten()
        .map(|part| format!("; {part}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: Code) -> KafkaError {
        KafkaError::Refused {
            cluster: "kafka:9092".to_owned(),
            topic: "test.task-events".to_owned(),
            action: Action::Create,
            code,
            detail: Some("3 replicas, 1 broker".to_owned()),
        }
    }

    #[test]
    fn what_only_a_change_can_mend_is_not_retried() {
        for code in [
            Code::InvalidConfig,
            Code::InvalidReplicationFactor,
            Code::PolicyViolation,
            Code::TopicAuthorizationFailed,
        ] {
            assert!(!refused(code).is_retryable(), "{code:?}");
        }
        for code in [
            Code::NotController,
            Code::RequestTimedOut,
            Code::LeaderNotAvailable,
        ] {
            assert!(refused(code).is_retryable(), "{code:?}");
        }
    }

    #[test]
    fn a_refusal_says_what_where_why_and_what_to_do() {
        assert_eq!(
            refused(Code::InvalidReplicationFactor).to_string(),
            "Kafka at kafka:9092 refuses to create topic test.task-events: \
             \"InvalidReplicationFactor (Broker: Invalid replication factor)\"; 3 replicas, 1 broker; ask for at most as many replicas as there are brokers"
        );
    }
}
