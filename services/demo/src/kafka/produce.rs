//! The role `produce`: load for workers, numbered so that `check` can tell what became of each message.

use std::fmt;
use std::time::Duration;

use clap::Args;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord};
use serde::Serialize;
use thiserror::Error;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::message::Numbered;
use super::{KafkaError, Place, Told};
use todo_kit::arguments::{duration, name};

use crate::arguments::rate;
use crate::identity::Identity;

/// Options of `demo produce`.
#[derive(Args, Debug)]
pub struct Options {
    #[command(flatten)]
    identity: Identity,
    /// The topic's name in Kafka.
    #[arg(long, env = "TOPIC_ORDERS", value_parser = name)]
    topic: String,
    /// Messages a second, over all keys.
    #[arg(long, value_name = "N", default_value = "10", value_parser = rate)]
    rate: f64,
    /// Number of keys, which take turns.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    keys: u16,
    /// What the keys begin with; the time, if it is not said. Numbers begin at 1 again, so no two runs may share it.
    #[arg(long, value_name = "NAME", value_parser = name)]
    run: Option<String>,
    /// Ends after so many messages.
    #[arg(long, value_name = "N")]
    messages: Option<u64>,
    /// Ends after this time.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    duration: Option<Duration>,
    #[command(flatten)]
    kafka: Place,
}

/// What was produced.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Produced {
    /// What the keys begin with.
    pub run: String,
    /// Number of keys.
    pub keys: u16,
    /// Messages that Kafka has acknowledged.
    pub messages: u64,
}

impl fmt::Display for Produced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

/// Why not everything was produced.
#[derive(Debug, Error)]
pub enum ProduceError {
    /// Kafka, or its client, refuses.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// What was sent was not acknowledged: later messages may be there, or not.
    #[error(
        "message {sequence} of key {key} to topic {topic} was not acknowledged: {source}; nothing was sent after it was known"
    )]
    Unacknowledged {
        /// The topic.
        topic: String,
        /// The message.
        key: String,
        /// The message.
        sequence: u64,
        /// What Kafka says.
        source: Box<ClientError>,
    },
}

/// Message number `index`, counted from 0: its key and its number there.
fn numbered(run: &str, keys: u16, index: u64) -> (String, Numbered) {
    let keys = u64::from(keys);
    let sequence = index / keys + 1;
    (format!("{run}-{}", index % keys), Numbered { sequence })
}

/// Produces until the end that the options name, or until `stop`.
///
/// # Errors
/// If a message is not acknowledged.
pub async fn run(
    options: &Options,
    stop: impl Future<Output = ()>,
) -> Result<Produced, ProduceError> {
    let failed = |source| options.kafka.failed("be produced to")(source);
    let producer: FutureProducer<Told> = options
        .kafka
        .producer(&options.identity)?
        .create_with_context(Told)
        .map_err(failed)?;
    let run = match &options.run {
        Some(run) => run.clone(),
        None => Timestamp::now().as_second().to_string(),
    };
    let mut ticks = interval(Duration::from_secs_f64(1.0 / options.rate));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let end = options.duration.map(|duration| Instant::now() + duration);
    let over = async {
        match end {
            Some(end) => tokio::time::sleep_until(end).await,
            None => std::future::pending().await,
        }
    };
    let mut deliveries = FuturesUnordered::new();
    let (mut sent, mut acknowledged) = (0, 0);
    tokio::pin!(stop, over);
    while options.messages.is_none_or(|messages| sent < messages) {
        tokio::select! {
            biased;
            () = &mut stop => break,
            () = &mut over => break,
            Some(delivery) = deliveries.next() => {
                let () = delivery?;
                acknowledged += 1;
            }
            _ = ticks.tick() => {
                let (key, message) = numbered(&run, options.keys, sent);
                let content = serde_json::json!(message).to_string();
                let record = FutureRecord::to(&options.topic).key(&key).payload(&content);
                match producer.send_result(record) {
                    Ok(delivery) => {
                        sent += 1;
                        deliveries.push(acknowledgement(delivery, options.topic.clone(), key, message.sequence));
                    }
                    // Sent with the next tick: deliveries make room.
                    Err((ClientError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {}
                    Err((source, _)) => return Err(failed(source).into()),
                }
            }
        }
    }
    while let Some(delivery) = deliveries.next().await {
        let () = delivery?;
        acknowledged += 1;
    }
    Ok(Produced {
        run,
        keys: options.keys,
        messages: acknowledged,
    })
}

async fn acknowledgement(
    delivery: DeliveryFuture,
    topic: String,
    key: String,
    sequence: u64,
) -> Result<(), ProduceError> {
    let source = match delivery.await {
        Ok(Ok(_)) => return Ok(()),
        Ok(Err((source, _))) => source,
        Err(_) => ClientError::Canceled,
    };
    Err(ProduceError::Unacknowledged {
        topic,
        key,
        sequence,
        source: Box::new(source),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_take_turns_and_numbers_have_no_gaps() {
        let first: Vec<_> = (0..5)
            .map(|index| numbered("r", 2, index))
            .map(|(key, message)| format!("{key}:{}", message.sequence))
            .collect();
        assert_eq!(first, ["r-0:1", "r-1:1", "r-0:2", "r-1:2", "r-0:3"]);
    }
}
