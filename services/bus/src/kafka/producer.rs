//! Sending: nothing is lost, doubled or put out of order on the way.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use futures::future::join_all;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord};
use todo_contracts::envelope::CONTENT_TYPE;

use super::{TRANSPORT, Told, misconfigured};
use crate::{BusError, Outgoing};

/// Time between two tries to put a message into a full queue.
const ROOM: Duration = Duration::from_millis(5);

pub(super) struct Producer(FutureProducer<Told>);

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Producer")
    }
}

/// What became of one message so far.
enum Sent {
    OnItsWay(DeliveryFuture),
    Failed(BusError),
}

impl Producer {
    pub(super) fn new(client: &ClientConfig) -> Result<Self, BusError> {
        let mut config = client.clone();
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("compression.type", "zstd")
            // The partition in which other clients put the same key.
            .set("partitioner", "fnv1a_random")
            // What waits for brokers that do not answer must fit into a small container; the default is 1 GiB. Whoever
            // sends more waits.
            .set("queue.buffering.max.kbytes", "16384")
            .set("linger.ms", "1")
            // A message that was given up could be sent again behind a later one of its key. So none is.
            .set("message.timeout.ms", "0");
        let producer = config.create_with_context(Told);
        producer
            .map(Self)
            .map_err(|error| misconfigured(error.to_string()))
    }

    pub(super) async fn publish_all(&self, messages: &[Outgoing]) -> Vec<Result<(), BusError>> {
        let mut sent = Vec::with_capacity(messages.len());
        let mut failed = HashSet::new();
        for outgoing in messages {
            let place = (outgoing.topic.as_str(), outgoing.key.as_str());
            if failed.contains(&place) {
                let topic = outgoing.topic.clone();
                sent.push(Sent::Failed(BusError::Behind { topic }));
                continue;
            }
            let one = self.send(outgoing).await;
            if matches!(one, Sent::Failed(_)) {
                failed.insert(place);
            }
            sent.push(one);
        }
        let results = sent
            .into_iter()
            .zip(messages)
            .map(|(sent, outgoing)| async {
                match sent {
                    Sent::Failed(error) => Err(error),
                    Sent::OnItsWay(delivery) => match delivery.await {
                        Ok(Ok(_)) => Ok(()),
                        Ok(Err((error, _))) => Err(not_taken(outgoing, &error)),
                        Err(_) => Err(not_taken(outgoing, &KafkaError::Canceled)),
                    },
                }
            });
        join_all(results).await
    }

    /// Puts a message into the queue as soon as there is room.
    async fn send(&self, outgoing: &Outgoing) -> Sent {
        let Outgoing {
            topic,
            key,
            message,
        } = outgoing;
        if key.is_empty() {
            return Sent::Failed(BusError::NoKey {
                topic: topic.clone(),
                hint: "give it one",
            });
        }
        let text = match serde_json::to_string(message) {
            Ok(text) => text,
            Err(error) => {
                return Sent::Failed(BusError::Refused {
                    transport: TRANSPORT,
                    topic: topic.clone(),
                    reason: error.to_string(),
                });
            }
        };
        loop {
            let headers = OwnedHeaders::new().insert(Header {
                key: "content-type",
                value: Some(CONTENT_TYPE),
            });
            let record = FutureRecord::to(topic)
                .key(key)
                .payload(&text)
                .headers(headers);
            match self.0.send_result(record) {
                Ok(delivery) => return Sent::OnItsWay(delivery),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    tokio::time::sleep(ROOM).await;
                }
                Err((error, _)) => return Sent::Failed(not_taken(outgoing, &error)),
            }
        }
    }
}

fn not_taken(outgoing: &Outgoing, error: &KafkaError) -> BusError {
    use RDKafkaErrorCode as Code;
    let is_refused = error.rdkafka_error_code().is_some_and(|code| {
        matches!(
            code,
            Code::MessageSizeTooLarge
                | Code::UnknownTopic
                | Code::UnknownTopicOrPartition
                | Code::InvalidTopic
                | Code::TopicAuthorizationFailed
                | Code::InvalidRecord
                | Code::PolicyViolation
        )
    });
    if is_refused {
        return BusError::Refused {
            transport: TRANSPORT,
            topic: outgoing.topic.clone(),
            reason: error.to_string(),
        };
    }
    BusError::Unavailable {
        transport: TRANSPORT,
        action: "take a message",
        reason: error.to_string(),
    }
}
