//! The role `check`: reads what was produced and what workers recorded, and compares.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clap::Args;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use thiserror::Error;
use tokio::task::JoinError;

use super::ledger::{Ledger, Report};
use super::message::{self, Numbered};
use super::{KafkaError, Place, Told};
use crate::identity::Identity;
use todo_kit::arguments::{duration, name};

/// Time for one answer of the brokers.
const ANSWER: Duration = Duration::from_secs(20);
/// How long a silence must be before it is asked whether there is more.
const SILENCE: Duration = Duration::from_millis(200);
/// Messages after which that is asked without a silence.
const OFTEN: u32 = 5_000;

/// Options of `demo check`.
#[derive(Args, Debug)]
pub struct Options {
    #[command(flatten)]
    identity: Identity,
    /// Name in Kafka of the topic that workers consume.
    #[arg(long, env = "TOPIC_ORDERS", value_parser = name)]
    topic: String,
    /// Name in Kafka of the topic that workers record in.
    #[arg(long, env = "TOPIC_PROCESSED", value_parser = name)]
    records: String,
    /// Look at one run of `produce` alone.
    #[arg(long, value_name = "NAME", value_parser = name)]
    run: Option<String>,
    /// Time that workers have to catch up before what is missing counts as lost.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    wait: Duration,
    #[command(flatten)]
    kafka: Place,
}

/// Why there is no report.
#[derive(Debug, Error)]
pub enum CheckError {
    /// Kafka, or its client, refuses.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// A topic is not there.
    #[error("topic {0} is not there: declare it in the TodoApp, or name another")]
    NoTopic(String),
    /// The brokers send nothing more, although there is more.
    #[error("Kafka has sent nothing for {0:?}, although the topics hold more; look at its brokers")]
    Silent(Duration),
    /// The thread that reads has ended.
    #[error("the reader ended: {0}")]
    Ended(#[from] JoinError),
}

/// Compares.
///
/// # Errors
/// If a topic cannot be read.
pub async fn run(options: Options) -> Result<Report, CheckError> {
    tokio::task::spawn_blocking(move || read(&options)).await?
}

/// Partition to offset.
type Ends = BTreeMap<i32, i64>;

struct Reader<'a> {
    options: &'a Options,
    consumer: BaseConsumer<Told>,
}

fn read(options: &Options) -> Result<Report, CheckError> {
    let mut config = options.kafka.client(&options.identity)?;
    // A group of its own, which librdkafka wants even where partitions are assigned by hand: a check takes no messages
    // from workers, and commits nothing.
    config
        .set("group.id", format!("{}.check", options.topic))
        .set("enable.auto.commit", "false");
    let consumer: BaseConsumer<Told> = config
        .create_with_context(Told)
        .map_err(options.kafka.failed("be read"))?;
    let reader = Reader { options, consumer };
    reader.read()
}

impl Reader<'_> {
    fn read(&self) -> Result<Report, CheckError> {
        let Options {
            topic,
            records,
            run,
            wait,
            ..
        } = self.options;
        let (mut produced, mut recorded) = (self.begin(topic)?, self.begin(records)?);
        let mut assignment = TopicPartitionList::new();
        for (topic, positions) in [(topic, &produced), (records, &recorded)] {
            for partition in positions.keys() {
                let added = assignment.add_partition_offset(topic, *partition, Offset::Beginning);
                added.map_err(self.failed(topic))?;
            }
        }
        self.consumer
            .assign(&assignment)
            .map_err(self.failed(topic))?;
        // What is produced later is judged by a later check.
        let ends = self.ends(topic, &produced)?;
        let deadline = Instant::now() + *wait;
        let (mut ledger, mut read) = (Ledger::default(), 0_u32);
        let (mut heard, mut records_end) = (Instant::now(), None);
        let is_ours = |key: &str| {
            run.as_ref()
                .is_none_or(|run| key.rsplit_once('-').is_some_and(|(of, _)| of == run))
        };
        loop {
            let polled = self.consumer.poll(SILENCE);
            let is_silent = polled.is_none();
            if let Some(message) = polled {
                let message = message.map_err(self.failed(topic))?;
                (read, heard) = (read.wrapping_add(1), Instant::now());
                let is_record = message.topic() == records;
                let positions = if is_record {
                    &mut recorded
                } else {
                    &mut produced
                };
                let next = message.offset() + 1;
                positions.insert(message.partition(), next);
                let is_wanted = is_record || ends.get(&message.partition()) >= Some(&next);
                match message::read::<Numbered>(&message) {
                    Ok((key, Numbered { sequence })) if is_wanted && is_ours(key) => {
                        if is_record {
                            ledger.processed(key, sequence);
                        } else {
                            ledger.produced(key, sequence);
                        }
                    }
                    // Later, or another run's, or another program's.
                    Ok(_) | Err(_) => {}
                }
            }
            if is_silent && heard.elapsed() >= ANSWER {
                return Err(CheckError::Silent(ANSWER));
            }
            // Judged are all messages, and all records that are there when these are complete, or late: disorder may be
            // among the last of them.
            if is_silent || read.is_multiple_of(OFTEN) {
                let is_due = ledger.is_complete() || Instant::now() >= deadline;
                if records_end.is_none() && is_due && reaches(&produced, &ends) {
                    records_end = Some(self.ends(records, &recorded)?);
                }
                if records_end
                    .as_ref()
                    .is_some_and(|end| reaches(&recorded, end))
                {
                    return Ok(ledger.report());
                }
                if records_end.is_none() && reaches(&produced, &ends) {
                    // What is waited for now is the workers' to send.
                    heard = Instant::now();
                }
            }
        }
    }

    /// The partitions of a topic, each at the first message that it holds.
    fn begin(&self, topic: &str) -> Result<Ends, CheckError> {
        let metadata = self.consumer.fetch_metadata(Some(topic), ANSWER);
        let metadata = metadata.map_err(self.failed(topic))?;
        let partitions = metadata.topics().iter().find(|found| found.name() == topic);
        let partitions = partitions.map_or(&[][..], |topic| topic.partitions());
        if partitions.is_empty() {
            return Err(CheckError::NoTopic(topic.to_owned()));
        }
        partitions
            .iter()
            .map(|partition| {
                let (low, _) = self.watermarks(topic, partition.id())?;
                Ok((partition.id(), low))
            })
            .collect()
    }

    /// Where the partitions end now.
    fn ends(&self, topic: &str, partitions: &Ends) -> Result<Ends, CheckError> {
        partitions
            .keys()
            .map(|partition| Ok((*partition, self.watermarks(topic, *partition)?.1)))
            .collect()
    }

    fn watermarks(&self, topic: &str, partition: i32) -> Result<(i64, i64), KafkaError> {
        self.consumer
            .fetch_watermarks(topic, partition, ANSWER)
            .map_err(self.failed(topic))
    }

    fn failed(&self, topic: &str) -> impl FnOnce(rdkafka::error::KafkaError) -> KafkaError + use<> {
        self.options.kafka.failed(&format!("read topic {topic}"))
    }
}

fn reaches(positions: &Ends, ends: &Ends) -> bool {
    ends.iter()
        .all(|(partition, end)| positions.get(partition) >= Some(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_read_when_every_partition_is() {
        let ends = Ends::from([(0, 5), (1, 0)]);
        assert!(reaches(&Ends::from([(0, 5), (1, 0)]), &ends));
        assert!(reaches(&Ends::from([(0, 6), (1, 0)]), &ends));
        assert!(!reaches(&Ends::from([(0, 4), (1, 0)]), &ends));
        assert!(!reaches(&Ends::from([(1, 0)]), &ends));
    }
}
