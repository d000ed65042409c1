//! The thread that reads from Kafka. librdkafka wants to be asked without pause by one who may be kept waiting: for
//! messages, and at each change of who has which partition until what is at hand in those that go is done.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::statistics::ConsumerGroup;
use rdkafka::{Offset, Statistics, TopicPartitionList};
use todo_kit::metrics::Metrics;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::worker::Worker;
use super::{TRANSPORT, Told, is_final, misconfigured};
use crate::{BusError, Delivery, Handler, Joined, Mode, Subscription};

/// How long the thread waits for a message before it looks at other things.
const POLL: Duration = Duration::from_millis(50);
/// Time for the last commit and for leaving the group.
const FAREWELL: Duration = Duration::from_secs(10);
/// Time with a coordinator after which a member without partitions is one that gets none.
const WITHOUT_PARTITIONS_MILLIS: i64 = 5_000;

/// What is to be read, and by whom it is handled.
pub(super) struct Reader {
    pub(super) config: ClientConfig,
    pub(super) subscription: Subscription,
    pub(super) handler: Arc<dyn Handler>,
    pub(super) metrics: Metrics,
    pub(super) drain: Duration,
    pub(super) stop: CancellationToken,
}

/// Reads until told to stop.
pub(super) async fn run(reader: Reader) -> Result<(), BusError> {
    let (stop, patience) = (reader.stop.clone(), reader.drain + FAREWELL);
    let (end, ended) = oneshot::channel();
    let runtime = Handle::current();
    let thread = std::thread::Builder::new().name("kafka".to_owned());
    thread
        .spawn(move || drop(end.send(read(&reader, runtime))))
        .map_err(|error| misconfigured(format!("there is no thread for it: {error}")))?;
    let hangs = async {
        stop.cancelled().await;
        tokio::time::sleep(patience).await;
    };
    tokio::select! {
        result = ended => result.unwrap_or_else(|_| Err(misconfigured("its thread has panicked".to_owned()))),
        // The thread goes with the process.
        () = hangs => Err(BusError::NoFarewell { transport: TRANSPORT, after: patience }),
    }
}

fn read(reader: &Reader, runtime: Handle) -> Result<(), BusError> {
    let member = Member {
        workers: Mutex::default(),
        joined: reader.subscription.joined.clone(),
        metrics: reader.metrics.clone(),
        drain: reader.drain,
    };
    let consumer: BaseConsumer<Member> = reader
        .config
        .create_with_context(member)
        .map_err(|error| misconfigured(error.to_string()))?;
    let consumer = Arc::new(consumer);
    let topics: Vec<&str> = reader
        .subscription
        .topics
        .iter()
        .map(String::as_str)
        .collect();
    match reader.subscription.mode {
        Mode::Shared => consumer
            .subscribe(&topics)
            .map_err(|error| misconfigured(error.to_string()))?,
        Mode::Broadcast => take_all(&consumer, &topics, &reader.stop)?,
    }
    let mut result = Ok(());
    while !reader.stop.is_cancelled() {
        match consumer.poll(POLL) {
            None => {}
            Some(Ok(message)) => take(reader, &runtime, &consumer, &message),
            Some(Err(error)) => {
                if let Some(error) = hopeless(&error) {
                    result = Err(error);
                    break;
                }
                tracing::warn!(%error, "no message; librdkafka tries again");
            }
        }
    }
    finish(reader, consumer).and(result)
}

/// Gives a message to the worker of its partition.
fn take(
    reader: &Reader,
    runtime: &Handle,
    consumer: &Arc<BaseConsumer<Member>>,
    message: &BorrowedMessage<'_>,
) {
    let (topic, partition) = (message.topic(), message.partition());
    let key = message
        .key()
        .map(|key| String::from_utf8_lossy(key).into_owned());
    let payload = message.payload().unwrap_or_default();
    let delivery = Delivery::read(topic, key, payload);
    let mut workers = consumer.context().workers();
    let worker = workers
        .entry((topic.to_owned(), partition))
        .or_insert_with(|| {
            let handler = Arc::clone(&reader.handler);
            Worker::start(runtime, Arc::clone(consumer), handler, topic, partition)
        });
    worker.push(delivery, message.offset(), payload.len());
}

/// Takes all partitions of the topics, from their ends.
fn take_all(
    consumer: &BaseConsumer<Member>,
    topics: &[&str],
    stop: &CancellationToken,
) -> Result<(), BusError> {
    while !stop.is_cancelled() {
        match ends(consumer, topics) {
            Ok(list) => {
                consumer
                    .assign(&list)
                    .map_err(|error| misconfigured(error.to_string()))?;
                consumer.context().joined.yes();
                return Ok(());
            }
            Err(error) => {
                tracing::warn!(%error, ?topics, "partitions are not known yet");
                std::thread::sleep(Duration::from_millis(500));
            }
        }
    }
    Ok(())
}

/// The ends of all partitions at this moment: what is sent from now on is behind them.
fn ends(consumer: &BaseConsumer<Member>, topics: &[&str]) -> KafkaResult<TopicPartitionList> {
    const PATIENCE: Duration = Duration::from_secs(5);
    let mut list = TopicPartitionList::new();
    for topic in topics {
        let metadata = consumer.fetch_metadata(Some(topic), PATIENCE)?;
        let partitions = metadata
            .topics()
            .first()
            .map(|topic| topic.partitions())
            .filter(|partitions| !partitions.is_empty())
            .ok_or(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopic))?;
        for partition in partitions {
            let (_, end) = consumer.fetch_watermarks(topic, partition.id(), PATIENCE)?;
            list.add_partition_offset(topic, partition.id(), Offset::Offset(end))?;
        }
    }
    Ok(list)
}

/// An error after which there is no use in going on.
fn hopeless(error: &KafkaError) -> Option<BusError> {
    let code = error.rdkafka_error_code()?;
    let hint = match code {
        RDKafkaErrorCode::UnsupportedVersion | RDKafkaErrorCode::UnsupportedFeature => {
            "; a broker before Kafka 4 needs KAFKA_GROUP_PROTOCOL=classic"
        }
        RDKafkaErrorCode::Fatal => "",
        code if is_final(code) => "; the user of Kafka needs the right to read it",
        _ => return None,
    };
    Some(misconfigured(format!("{error}{hint}")))
}

/// Ends what is at hand, commits what is done, and leaves.
fn finish(reader: &Reader, consumer: Arc<BaseConsumer<Member>>) -> Result<(), BusError> {
    let deadline = Instant::now() + reader.drain;
    if let Err(error) = consumer.assignment().and_then(|all| consumer.pause(&all)) {
        tracing::warn!(%error, "messages go on to arrive, and are left to others");
    }
    consumer.context().end_all(deadline);
    if reader.subscription.mode == Mode::Broadcast {
        return Ok(());
    }
    let committed = match consumer.commit_consumer_state(CommitMode::Sync) {
        // Nothing was new.
        Ok(()) | Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => Ok(()),
        Err(error) => Err(BusError::Unavailable {
            transport: TRANSPORT,
            action: "take the last commit",
            reason: error.to_string(),
        }),
    };
    // Leaving is an exchange with the group, for which the consumer must be asked on.
    consumer.unsubscribe();
    let deadline = Instant::now() + FAREWELL / 2;
    while Instant::now() < deadline && consumer.assignment().is_ok_and(|all| all.count() > 0) {
        let _ = consumer.poll(POLL);
    }
    drop(consumer);
    tracing::info!(
        group = reader.subscription.group,
        "what was done is committed, and the group is left"
    );
    committed
}

/// The process as a member of its group.
pub(super) struct Member {
    workers: Mutex<HashMap<(String, i32), Worker>>,
    joined: Joined,
    metrics: Metrics,
    drain: Duration,
}

impl Member {
    fn workers(&self) -> MutexGuard<'_, HashMap<(String, i32), Worker>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end_all(&self, deadline: Instant) {
        let workers: Vec<_> = self.workers().drain().collect();
        for (_, worker) in &workers {
            worker.stop();
        }
        for ((topic, partition), worker) in workers {
            worker.end(deadline);
            self.metrics.lag(&topic, partition, None);
        }
    }

    fn end(&self, partitions: &TopicPartitionList) {
        let deadline = Instant::now() + self.drain;
        let elements = partitions.elements();
        let places = elements
            .iter()
            .map(|element| (element.topic().to_owned(), element.partition()));
        let mut ending = Vec::new();
        for place in places {
            // What another member has to take is no lag of this one.
            self.metrics.lag(&place.0, place.1, None);
            if let Some(worker) = self.workers().remove(&place) {
                worker.stop();
                ending.push(worker);
            }
        }
        for worker in ending {
            worker.end(deadline);
        }
    }
}

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        Told.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        Told.error(error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        if statistics.cgrp.as_ref().is_some_and(is_taken_in) {
            self.joined.yes();
        }
        for (topic, state) in &statistics.topics {
            for (number, partition) in &state.partitions {
                // A partition that somebody else has is not fetched.
                let is_ours = *number >= 0 && partition.fetch_state == "active";
                if is_ours && partition.hi_offset >= 0 {
                    let committed = partition.committed_offset.max(partition.lo_offset).max(0);
                    let lag = (partition.hi_offset - committed).max(0);
                    self.metrics.lag(topic, *number, Some(lag));
                }
            }
        }
    }
}

/// Whether the group has taken this process in. A member that gets no partition, because there are as many others, hears of
/// no assignment, and librdkafka counts it as about to join for ever: that the coordinator has been there for a while must
/// do for it.
fn is_taken_in(group: &ConsumerGroup) -> bool {
    let has_none = group.join_state == "init" && group.stateage >= WITHOUT_PARTITIONS_MILLIS;
    group.state == "up" && (group.join_state == "steady" || has_none)
}

impl ConsumerContext for Member {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        // What is done until here is committed as the partitions go; what is not, whoever takes them does.
        if let Rebalance::Revoke(partitions) = rebalance {
            self.end(partitions);
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(partitions) = rebalance {
            // Whether one that comes back was paused when it went is nothing that this one knows.
            let _ = consumer.resume(partitions);
            self.joined.yes();
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        match result {
            Ok(()) | Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => {}
            Err(error) => tracing::warn!(%error, "not committed; what was done may come again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_without_partitions_is_taken_in_when_its_coordinator_stays() {
        let group = |state: &str, join_state: &str, stateage| ConsumerGroup {
            state: state.to_owned(),
            join_state: join_state.to_owned(),
            stateage,
            ..ConsumerGroup::default()
        };
        assert!(is_taken_in(&group("up", "steady", 10)));
        assert!(is_taken_in(&group("up", "init", 5_000)));
        assert!(!is_taken_in(&group("up", "init", 4_999)));
        assert!(!is_taken_in(&group("wait-coord", "init", 60_000)));
    }

    #[test]
    fn what_only_a_change_can_mend_ends_the_reader() {
        let error = |code| KafkaError::MessageConsumption(code);
        let text = hopeless(&error(RDKafkaErrorCode::UnsupportedVersion))
            .unwrap()
            .to_string();
        assert!(text.contains("KAFKA_GROUP_PROTOCOL=classic"), "{text}");
        assert!(hopeless(&error(RDKafkaErrorCode::GroupAuthorizationFailed)).is_some());
        assert!(hopeless(&error(RDKafkaErrorCode::BrokerTransportFailure)).is_none());
        // A topic that the operator is about to make.
        assert!(hopeless(&error(RDKafkaErrorCode::UnknownTopicOrPartition)).is_none());
    }
}
