//! The role `worker`: takes messages of a topic as a member of a group, in order for each key and at least once.
//!
//! A message counts as done when its processing has succeeded and, where records are kept, Kafka has acknowledged the
//! record. Only then is its offset stored, and only stored offsets are committed. A message that fails is tried again
//! before anything behind it is looked at; after [`ATTEMPTS`] the process ends, so that whoever gets the partition next
//! begins with that same message.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;
use futures::StreamExt as _;
use futures::stream::FuturesOrdered;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{
    BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance, StreamConsumer,
};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::{Message as _, OwnedMessage};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord};
use rdkafka::statistics::ConsumerGroup;
use rdkafka::{ClientContext, Statistics};
use thiserror::Error;

use super::message::{self, Numbered, Record};
use super::{KafkaError, Place, Told};
use crate::faults::{Faults, Switches};
use crate::identity::Identity;
use todo_kit::admin::{self, Admin, CannotListen};
use todo_kit::arguments::{duration, name};
use todo_kit::lifecycle::{Lifecycle, Phase, Readiness};
use todo_kit::metrics::{Metrics, Outcome as Counted};

/// Times that a message is tried before the process gives up.
pub const ATTEMPTS: u32 = 10;
/// Time between two attempts.
const BACKOFF: Duration = Duration::from_secs(1);
/// Time after which a message is slow.
const SLOW: Duration = Duration::from_millis(100);
/// Time with a coordinator after which a member without partitions is one that gets none.
const WITHOUT_PARTITIONS_MILLIS: i64 = 5_000;
/// What a worker waits for before it is ready.
const AWAITED: &str = "its group to take it in";
/// Most records that Kafka has not acknowledged yet.
const UNACKNOWLEDGED: usize = 1_000;
/// Time for the last commit and for leaving the group.
const FAREWELL: Duration = Duration::from_secs(10);

/// Options of `demo worker`.
#[derive(Args, Debug)]
pub struct Options {
    #[command(flatten)]
    identity: Identity,
    /// The consumer group.
    #[arg(long, env = "KAFKA_GROUP_ID", value_name = "NAME", value_parser = name)]
    group: String,
    /// Name in Kafka of the topic to consume.
    #[arg(long, env = "TOPIC_ORDERS", value_parser = name)]
    topic: String,
    /// Name in Kafka of the topic to record in what was processed, for `demo check`. Nothing is recorded without it.
    #[arg(long, env = "TOPIC_PROCESSED", value_name = "TOPIC")]
    records: Option<String>,
    /// Say in the log what would be recorded, and record nothing.
    #[arg(long, env = "LOG_ONLY", value_parser = BoolishValueParser::new())]
    log_only: bool,
    /// Time that each message takes.
    #[arg(long, env = "DEMO_PROCESSING_TIME", value_name = "DURATION", default_value = "0s", value_parser = duration)]
    processing_time: Duration,
    /// Address of probes and metrics.
    #[arg(
        long,
        env = "DEMO_ADMIN_LISTEN",
        value_name = "ADDRESS",
        default_value = "0.0.0.0:9090"
    )]
    admin_listen: SocketAddr,
    /// Time that records have to be acknowledged after SIGTERM.
    #[arg(long, env = "DEMO_DRAIN", value_name = "DURATION", default_value = "20s", value_parser = duration)]
    drain: Duration,
    #[command(flatten)]
    kafka: Place,
    #[command(flatten)]
    switches: Switches,
}

/// Why a worker ended.
#[derive(Debug, Error)]
pub enum WorkerError {
    /// The admin port is taken.
    #[error(transparent)]
    Listen(#[from] CannotListen),
    /// Kafka, or its client, refuses.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// A message fails again and again.
    #[error(
        "message {offset} of partition {partition} of topic {topic} failed {ATTEMPTS} times and is left to whoever takes \
         the partition next; if no version can process it, move the group's offset past it"
    )]
    GaveUp {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The message.
        offset: i64,
    },
    /// The last commit, or leaving the group, hangs.
    #[error(
        "Kafka did not confirm the last commit within {FAREWELL:?}; what was not committed is processed again"
    )]
    NoFarewell,
}

/// Consumes until told to stop.
///
/// # Errors
/// If it cannot start, or a message cannot be processed.
pub async fn run(options: Options, stop: impl Future<Output = ()>) -> Result<(), WorkerError> {
    let lifecycle = Lifecycle::default();
    let faults = Faults::new(options.switches.clone());
    let readiness = Readiness::new(lifecycle.clone());
    readiness.waits_for(AWAITED, "");
    faults.hold_back(&readiness);
    let metrics = Metrics::default();
    let admin = Admin {
        readiness: readiness.clone(),
        metrics: metrics.clone(),
    };
    admin::start(options.admin_listen, "DEMO_ADMIN_LISTEN", admin).await?;
    let member = Member {
        topic: options.topic.clone(),
        metrics: metrics.clone(),
        readiness,
        assigned: Mutex::default(),
    };
    let consumer = subscribe(&options, member)?;
    let worker = Worker {
        producer: options
            .kafka
            .producer(&options.identity)?
            .create_with_context(Told)
            .map_err(options.kafka.failed("take records"))?,
        faults,
        metrics,
        lifecycle: lifecycle.clone(),
        options,
    };
    worker.faults.arm();
    tracing::info!(
        topic = worker.options.topic,
        group = worker.options.group,
        "consuming"
    );
    // Nobody sends anything to a worker, so there is nothing to wait for between unready and stopped.
    let consumed = tokio::select! {
        consumed = worker.consume(&consumer) => consumed,
        consumed = async {
            lifecycle.end(stop, Duration::ZERO).await;
            std::future::pending().await
        } => consumed,
    };
    // Blocks, and is needed after a failure too: others wait for the partitions.
    let farewell = tokio::task::spawn_blocking(move || {
        let committed = consumer.commit_consumer_state(CommitMode::Sync);
        drop(consumer);
        committed
    });
    let committed = tokio::time::timeout(FAREWELL, farewell).await;
    consumed?;
    match committed {
        // Nothing was new.
        Ok(Ok(Ok(()) | Err(ClientError::ConsumerCommit(RDKafkaErrorCode::NoOffset)))) => {}
        Ok(Ok(Err(source))) => {
            return Err(worker.options.kafka.failed("take the last commit")(source).into());
        }
        Ok(Err(_)) | Err(_) => return Err(WorkerError::NoFarewell),
    }
    tracing::info!("everything that was processed is committed, and the group is left");
    Ok(())
}

fn subscribe(options: &Options, member: Member) -> Result<StreamConsumer<Member>, WorkerError> {
    let mut config = options.kafka.client(&options.identity)?;
    config
        .set("group.id", &options.group)
        // Needs Kafka 4; members come and go without a stop for all.
        .set("group.protocol", "consumer")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.offset.store", "false")
        .set("auto.commit.interval.ms", "1000")
        // What is fetched ahead must fit into a small container; the default is 64 MiB.
        .set("queued.max.messages.kbytes", "4096")
        .set("statistics.interval.ms", "1000");
    let consumer: StreamConsumer<Member> = config
        .create_with_context(member)
        .map_err(options.kafka.failed("be consumed from"))?;
    consumer
        .subscribe(&[&options.topic])
        .map_err(options.kafka.failed("be subscribed to"))?;
    Ok(consumer)
}

/// How one message went.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// It is processed.
    Done,
    /// The process is to end; the message is as if never taken.
    Abandoned,
    /// All attempts failed.
    GaveUp,
}

struct Worker {
    options: Options,
    producer: FutureProducer<Told>,
    faults: Faults,
    metrics: Metrics,
    lifecycle: Lifecycle,
}

/// A processed message, whose record may be on its way.
struct Recorded {
    partition: i32,
    offset: i64,
    result: Result<(), ClientError>,
}

impl Worker {
    async fn consume(&self, consumer: &StreamConsumer<Member>) -> Result<(), WorkerError> {
        let (mut records, mut early) = (FuturesOrdered::new(), VecDeque::new());
        let ended = loop {
            let message = tokio::select! {
                biased;
                () = self.lifecycle.reached(Phase::Draining) => break Ok(()),
                Some(recorded) = records.next() => {
                    self.store(consumer, recorded)?;
                    continue;
                }
                message = next(&mut early, consumer), if records.len() < UNACKNOWLEDGED => message,
            };
            let message = match message {
                Ok(message) => message,
                Err(error) if is_final(&error) => {
                    break Err(self.options.kafka.failed("be consumed from")(error).into());
                }
                Err(error) => {
                    tracing::warn!(%error, "no message; librdkafka tries again");
                    continue;
                }
            };
            match self.process_as_member(consumer, &message, &mut early).await {
                Outcome::Done => {
                    let delivery = self.record(&message)?;
                    // In the order of the messages, also what is not recorded: an offset stands for all below it.
                    records.push_back(recorded(delivery, message.partition(), message.offset()));
                }
                Outcome::Abandoned => break Ok(()),
                Outcome::GaveUp => {
                    break Err(WorkerError::GaveUp {
                        topic: self.options.topic.clone(),
                        partition: message.partition(),
                        offset: message.offset(),
                    });
                }
            }
        };
        let rest = async {
            while let Some(recorded) = records.next().await {
                self.store(consumer, recorded)?;
            }
            Ok(())
        };
        // Those that are not acknowledged in time are processed again by somebody.
        let drained = tokio::time::timeout(self.options.drain, rest).await;
        ended.and(drained.unwrap_or(Ok(())))
    }

    /// Processes a message and stays a member of the group meanwhile, however long it takes: hands partitions over and tells
    /// of its lag, for which the consumer must be asked for messages. So that none come, their partitions are paused; those
    /// that come all the same, from partitions that are new, are `early`.
    async fn process_as_member(
        &self,
        consumer: &StreamConsumer<Member>,
        message: &OwnedMessage,
        early: &mut VecDeque<OwnedMessage>,
    ) -> Outcome {
        let process = self.process(message);
        tokio::pin!(process);
        tokio::select! {
            biased;
            outcome = &mut process => return outcome,
            () = tokio::time::sleep(SLOW) => {}
        }
        pause(consumer);
        let outcome = loop {
            tokio::select! {
                biased;
                outcome = &mut process => break outcome,
                message = consumer.recv() => match message {
                    Ok(message) => {
                        early.push_back(message.detach());
                        pause(consumer);
                    }
                    Err(error) => tracing::warn!(%error, "librdkafka tries again"),
                },
            }
        };
        if let Err(error) = consumer.assignment().and_then(|all| consumer.resume(&all)) {
            tracing::warn!(%error, "cannot go on with some partitions");
        }
        outcome
    }

    async fn process(&self, message: &OwnedMessage) -> Outcome {
        if let Err(error) = message::read::<Numbered>(message) {
            tracing::warn!(partition = message.partition(), offset = message.offset(), %error, "a message is passed over");
            self.metrics.message(&self.options.topic, Counted::Parked);
            return Outcome::Done;
        }
        let (topic, time) = (&self.options.topic, self.options.processing_time);
        attempt(&self.faults, &self.metrics, &self.lifecycle, topic, time).await
    }

    /// Sends the record of a message, if records are kept and it is one that can be recorded.
    fn record(&self, message: &OwnedMessage) -> Result<Option<DeliveryFuture>, WorkerError> {
        let records = self
            .options
            .records
            .as_deref()
            .filter(|topic| !topic.is_empty());
        let (Some(topic), Ok((key, Numbered { sequence }))) = (records, message::read(message))
        else {
            return Ok(None);
        };
        let record = Record {
            sequence,
            pod: self.options.identity.pod.clone(),
            version: self.options.identity.version.clone(),
            partition: message.partition(),
            offset: message.offset(),
        };
        let content = serde_json::json!(record).to_string();
        if self.options.log_only {
            tracing::info!(key, record = content, "not recorded, as LOG_ONLY is set");
            return Ok(None);
        }
        let record = FutureRecord::to(topic).key(key).payload(&content);
        let sent = self.producer.send_result(record);
        sent.map(Some)
            .map_err(|(source, _)| self.not_recorded(source))
    }

    fn store(
        &self,
        consumer: &StreamConsumer<Member>,
        recorded: Recorded,
    ) -> Result<(), WorkerError> {
        recorded
            .result
            .map_err(|source| self.not_recorded(source))?;
        self.stored(consumer, recorded.partition, recorded.offset);
        Ok(())
    }

    fn stored(&self, consumer: &StreamConsumer<Member>, partition: i32, offset: i64) {
        if let Err(error) = consumer.store_offset(&self.options.topic, partition, offset) {
            // The partition has gone to somebody else meanwhile, who processes the message again.
            tracing::info!(partition, offset, %error, "processed, but not ours to commit any more");
        }
    }

    fn not_recorded(&self, source: ClientError) -> WorkerError {
        self.options.kafka.failed("take a record")(source).into()
    }
}

/// The next message: one that came early, else one that Kafka sends.
async fn next(
    early: &mut VecDeque<OwnedMessage>,
    consumer: &StreamConsumer<Member>,
) -> Result<OwnedMessage, ClientError> {
    match early.pop_front() {
        Some(message) => Ok(message),
        None => consumer.recv().await.map(|message| message.detach()),
    }
}

fn pause(consumer: &StreamConsumer<Member>) {
    if let Err(error) = consumer.assignment().and_then(|all| consumer.pause(&all)) {
        tracing::warn!(%error, "some partitions cannot wait");
    }
}

async fn recorded(delivery: Option<DeliveryFuture>, partition: i32, offset: i64) -> Recorded {
    let result = match delivery {
        None => Ok(()),
        Some(delivery) => match delivery.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err((error, _))) => Err(error),
            Err(_) => Err(ClientError::Canceled),
        },
    };
    Recorded {
        partition,
        offset,
        result,
    }
}

/// Tries a message until it is done.
async fn attempt(
    faults: &Faults,
    metrics: &Metrics,
    lifecycle: &Lifecycle,
    topic: &str,
    time: Duration,
) -> Outcome {
    let attempts = async {
        for attempt in 1..=ATTEMPTS {
            if !time.is_zero() {
                tokio::time::sleep(time).await;
            }
            if !faults.strike().await {
                metrics.message(topic, Counted::Ok);
                return Outcome::Done;
            }
            metrics.message(topic, Counted::Error);
            tracing::warn!(
                attempt,
                "a message failed because DEMO_ERROR_PERCENT says so"
            );
            if attempt < ATTEMPTS {
                tokio::time::sleep(BACKOFF).await;
            }
        }
        Outcome::GaveUp
    };
    tokio::select! {
        biased;
        () = lifecycle.reached(Phase::Draining) => Outcome::Abandoned,
        outcome = attempts => outcome,
    }
}

/// Whether the group has taken this process in. A member that gets no partition, because there are as many others, hears of
/// no assignment, and librdkafka counts it as about to join for ever: that the coordinator has been there for a while must
/// do for it.
fn is_taken_in(group: &ConsumerGroup) -> bool {
    let has_none = group.join_state == "init" && group.stateage >= WITHOUT_PARTITIONS_MILLIS;
    group.state == "up" && (group.join_state == "steady" || has_none)
}

fn is_final(error: &ClientError) -> bool {
    let code = error.rdkafka_error_code();
    matches!(
        code,
        Some(
            RDKafkaErrorCode::Fatal
                | RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::UnsupportedVersion
        )
    )
}

/// The process as a member of its group.
struct Member {
    topic: String,
    metrics: Metrics,
    readiness: Readiness,
    assigned: Mutex<BTreeSet<i32>>,
}

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        Told.log(level, facility, message);
    }

    fn error(&self, error: ClientError, reason: &str) {
        Told.error(error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        if statistics.cgrp.as_ref().is_some_and(is_taken_in) {
            self.readiness.has(AWAITED);
        }
        let assigned = self.assigned.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(topic) = statistics.topics.get(&self.topic) else {
            return;
        };
        for (partition, state) in &topic.partitions {
            if assigned.contains(partition) && state.hi_offset >= 0 {
                let lag = state.hi_offset - state.committed_offset.max(state.lo_offset).max(0);
                self.metrics.lag(&self.topic, *partition, Some(lag.max(0)));
            }
        }
    }
}

impl ConsumerContext for Member {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let mut assigned = self.assigned.lock().unwrap_or_else(PoisonError::into_inner);
        let numbers = |partitions: &rdkafka::TopicPartitionList| -> Vec<i32> {
            let elements = partitions.elements();
            elements.iter().map(|element| element.partition()).collect()
        };
        match rebalance {
            Rebalance::Assign(partitions) => assigned.extend(numbers(partitions)),
            Rebalance::Revoke(partitions) => {
                for partition in numbers(partitions) {
                    assigned.remove(&partition);
                    // What another member has to take is no lag of this one.
                    self.metrics.lag(&self.topic, partition, None);
                }
            }
            Rebalance::Error(error) => {
                tracing::warn!(%error, "the group cannot share out its partitions")
            }
        }
        tracing::info!(partitions = ?*assigned, "partitions");
    }

    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if matches!(rebalance, Rebalance::Assign(_)) {
            self.readiness.has(AWAITED);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    async fn try_with(percent: f64, lifecycle: &Lifecycle) -> (Outcome, Metrics) {
        let faults = Faults::new(Switches {
            error_percent: percent,
            ..Switches::default()
        });
        let metrics = Metrics::default();
        let time = Duration::from_millis(300);
        let outcome = attempt(&faults, &metrics, lifecycle, "orders", time).await;
        (outcome, metrics)
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_takes_its_time_once() {
        let begun = Instant::now();
        let (outcome, metrics) = try_with(0.0, &Lifecycle::default()).await;
        assert_eq!(outcome, Outcome::Done);
        assert_eq!(begun.elapsed(), Duration::from_millis(300));
        let text = metrics.text();
        assert!(text.contains("result=\"ok\"} 1"), "{text}");
        assert!(!text.contains("error"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_always_fails_is_given_up() {
        let begun = Instant::now();
        let (outcome, metrics) = try_with(100.0, &Lifecycle::default()).await;
        assert_eq!(outcome, Outcome::GaveUp);
        // Ten times its time, and nine pauses.
        assert_eq!(begun.elapsed(), Duration::from_secs(12));
        let text = metrics.text();
        assert!(text.contains("result=\"error\"} 10"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_process_does_not_wait_for_a_slow_message() {
        let lifecycle = Lifecycle::default();
        let ending = lifecycle.clone();
        tokio::spawn(async move {
            let soon = tokio::time::sleep(Duration::from_millis(100));
            ending.end(soon, Duration::ZERO).await;
        });
        let (outcome, metrics) = try_with(0.0, &lifecycle).await;
        assert_eq!(outcome, Outcome::Abandoned);
        assert!(!metrics.text().contains("result="));
    }

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
    fn what_only_a_change_can_mend_ends_the_worker() {
        let error = |code| ClientError::MessageConsumption(code);
        assert!(is_final(&error(RDKafkaErrorCode::GroupAuthorizationFailed)));
        assert!(!is_final(&error(RDKafkaErrorCode::BrokerTransportFailure)));
        // A topic that the operator is about to make.
        assert!(!is_final(&error(RDKafkaErrorCode::UnknownTopicOrPartition)));
    }
}
