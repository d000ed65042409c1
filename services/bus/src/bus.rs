//! What a transport does.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;
use todo_contracts::Envelope;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Sends messages, and has them handled.
#[async_trait]
pub trait EventBus: Send + Sync + 'static {
    /// Sends messages. Those of a key arrive in the order in which they stand here, and behind those of earlier calls that
    /// have returned. One result for each: a message whose result is an error may have arrived all the same.
    async fn publish_all(&self, messages: &[Outgoing]) -> Vec<Result<(), BusError>>;

    /// Sends a message, and returns when it is kept safe.
    async fn publish(&self, topic: &str, key: &str, message: &Envelope) -> Result<(), BusError> {
        let message = Outgoing {
            topic: topic.to_owned(),
            key: key.to_owned(),
            message: message.clone(),
        };
        let results = self.publish_all(&[message]).await;
        results.into_iter().next().unwrap_or(Ok(()))
    }

    /// Has messages handled until `stop`; then ends what is in work, remembers what is done, and leaves the group.
    async fn run(
        &self,
        subscription: Subscription,
        handler: Arc<dyn Handler>,
        stop: CancellationToken,
    ) -> Result<(), BusError>;
}

/// A message to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Outgoing {
    /// The topic, by its name on the wire.
    pub topic: String,
    /// Messages of the same key stay in order. Not empty.
    pub key: String,
    /// The message.
    pub message: Envelope,
}

/// What is to be received, and how.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// The group: each message is handled by one of its members.
    pub group: String,
    /// The topics, by their names on the wire.
    pub topics: Vec<String>,
    /// Who gets what.
    pub mode: Mode,
    /// Tells when messages begin to arrive.
    pub joined: Joined,
}

/// Who gets what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Members of the group share the messages. A new group begins with the first.
    Shared,
    /// Each member gets all of them, beginning now. Nothing is remembered.
    Broadcast,
}

/// Tells whether a member gets messages, or has been told that there are none for it.
#[derive(Clone, Debug)]
pub struct Joined(watch::Sender<bool>);

impl Default for Joined {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Joined {
    /// It does.
    pub(crate) fn yes(&self) {
        self.0
            .send_if_modified(|joined| !std::mem::replace(joined, true));
    }

    /// Waits until it does.
    pub async fn wait(&self) {
        // The sender is ours, so it is there as long as this waits.
        let _ = self.0.subscribe().wait_for(|joined| *joined).await;
    }
}

/// A message that has arrived.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// The topic, by its name on the wire.
    pub topic: String,
    /// Its key, where the transport tells it.
    pub key: Option<String>,
    /// The message, or what is wrong with it.
    pub message: Result<Envelope, Unreadable>,
}

/// A message that is no envelope.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("it is no CloudEvents 1.0 event in JSON: {reason}")]
pub struct Unreadable {
    /// What is wrong with it.
    pub reason: String,
    /// The message as it came, as far as it is text.
    pub text: String,
}

impl Delivery {
    /// What has arrived as bytes.
    pub(crate) fn read(topic: &str, key: Option<String>, bytes: &[u8]) -> Self {
        let message = serde_json::from_slice::<Envelope>(bytes).map_err(|error| Unreadable {
            reason: error.to_string(),
            text: String::from_utf8_lossy(bytes).into_owned(),
        });
        Self {
            topic: topic.to_owned(),
            key,
            message: message.map(|message| Envelope {
                // Brokers that speak of traces themselves put an empty one where there was none.
                traceparent: message.traceparent.filter(|text| !text.is_empty()),
                ..message
            }),
        }
    }
}

/// Handles messages.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Handles messages of one partition, in their order; at least one. If the future is dropped, they come again.
    async fn handle(&self, batch: &[Delivery]) -> Verdict;
}

/// What becomes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All of it is done.
    Done,
    /// The first so many are done. The others are to come again, before anything behind them, after a while.
    Retry {
        /// How many.
        done: usize,
        /// How long to wait.
        after: Duration,
    },
}

/// Why messages are not sent or received.
#[derive(Debug, Error)]
pub enum BusError {
    /// A message without a key would stand in no order.
    #[error("a message for {topic} has no key; {hint}")]
    NoKey {
        /// Where to.
        topic: String,
        /// What makes the key.
        hint: &'static str,
    },
    /// It will not be taken however often it is tried.
    #[error("{transport} refuses a message for {topic}: {reason}")]
    Refused {
        /// By whom.
        transport: &'static str,
        /// Where to.
        topic: String,
        /// Why.
        reason: String,
    },
    /// One before it, with the same key, was not taken.
    #[error("a message for {topic} waits for one of the same key that was not taken")]
    Behind {
        /// Where to.
        topic: String,
    },
    /// Nobody is there who could take it.
    #[error("{transport} cannot {action}: {reason}; this is tried again")]
    Unavailable {
        /// Who is not there.
        transport: &'static str,
        /// What was asked for.
        action: &'static str,
        /// Why.
        reason: String,
    },
    /// It is configured in a way that cannot work.
    #[error("{transport}: {reason}")]
    Misconfigured {
        /// What.
        transport: &'static str,
        /// How, and what to do about it.
        reason: String,
    },
    /// The last of it was not confirmed.
    #[error(
        "{transport} did not confirm within {after:?} what was done last, or that the group is left; it is handled again by others"
    )]
    NoFarewell {
        /// By whom.
        transport: &'static str,
        /// How long it was waited for.
        after: Duration,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_envelope_is_kept_as_it_came() {
        let delivery = Delivery::read("t", None, b"{\"specversion\": \"1.0\"}");
        let unreadable = delivery.message.unwrap_err();
        assert!(unreadable.reason.contains("missing field"), "{unreadable}");
        assert_eq!(unreadable.text, "{\"specversion\": \"1.0\"}");
    }

    #[tokio::test]
    async fn who_waits_later_is_told_too() {
        let joined = Joined::default();
        joined.clone().yes();
        joined.wait().await;
    }
}
