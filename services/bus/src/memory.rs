//! Messages in the memory of one process: for a service that is tried alone, and for tests.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::future::join_all;
use tokio::sync::{Mutex as AsyncMutex, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    BusError, Delivery, EventBus, Handler, Mode, Outgoing, Subscription, Verdict, partition,
};

/// Most messages that are handled at once.
const BATCH: usize = 100;

/// Messages in memory. Clones are the same bus.
#[derive(Clone, Debug)]
pub struct MemoryBus(Arc<Inner>);

/// The number of messages that a group has handled in a partition.
type Offset = Arc<AsyncMutex<usize>>;

#[derive(Debug)]
struct Inner {
    partitions: u32,
    logs: Mutex<BTreeMap<(String, u32), Vec<Stored>>>,
    /// How far a group is in a partition. Whoever handles its next message holds the lock.
    offsets: Mutex<HashMap<(String, String, u32), Offset>>,
    /// Counts what was sent.
    sent: watch::Sender<u64>,
}

#[derive(Clone, Debug)]
struct Stored {
    key: String,
    text: String,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is guarded is complete after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryBus {
    /// A bus whose topics have that many partitions.
    #[must_use]
    pub fn new(partitions: u32) -> Self {
        Self(Arc::new(Inner {
            partitions,
            logs: Mutex::default(),
            offsets: Mutex::default(),
            sent: watch::Sender::new(0),
        }))
    }

    /// What lies in a partition: keys and messages.
    #[must_use]
    pub fn log(&self, topic: &str, partition: u32) -> Vec<(String, String)> {
        let logs = lock(&self.0.logs);
        let log = logs.get(&(topic.to_owned(), partition));
        log.into_iter()
            .flatten()
            .map(|stored| (stored.key.clone(), stored.text.clone()))
            .collect()
    }

    fn read(&self, topic: &str, partition: u32, from: usize) -> Vec<Delivery> {
        let logs = lock(&self.0.logs);
        let log = logs.get(&(topic.to_owned(), partition));
        let log = log.map(Vec::as_slice).unwrap_or_default();
        let rest = log.get(from..).unwrap_or_default().iter().take(BATCH);
        rest.map(|stored| Delivery::read(topic, Some(stored.key.clone()), stored.text.as_bytes()))
            .collect()
    }

    fn end(&self, topic: &str, partition: u32) -> usize {
        lock(&self.0.logs)
            .get(&(topic.to_owned(), partition))
            .map_or(0, Vec::len)
    }

    fn offset(&self, group: &str, topic: &str, partition: u32) -> Offset {
        let key = (group.to_owned(), topic.to_owned(), partition);
        Arc::clone(lock(&self.0.offsets).entry(key).or_default())
    }

    async fn consume(
        &self,
        topic: &str,
        partition: u32,
        offset: &AsyncMutex<usize>,
        handler: &dyn Handler,
        stop: &CancellationToken,
    ) {
        let mut sent = self.0.sent.subscribe();
        while !stop.is_cancelled() {
            sent.mark_unchanged();
            let mut next = offset.lock().await;
            let batch = self.read(topic, partition, *next);
            if batch.is_empty() {
                drop(next);
                tokio::select! {
                    _ = sent.changed() => {}
                    () = stop.cancelled() => {}
                }
                continue;
            }
            match handler.handle(&batch).await {
                Verdict::Done => *next += batch.len(),
                Verdict::Retry { done, after } => {
                    *next += done;
                    tokio::select! {
                        () = tokio::time::sleep(after) => {}
                        () = stop.cancelled() => {}
                    }
                }
            }
        }
    }
}

#[async_trait]
impl EventBus for MemoryBus {
    async fn publish_all(&self, messages: &[Outgoing]) -> Vec<Result<(), BusError>> {
        let store = |outgoing: &Outgoing| {
            if outgoing.key.is_empty() {
                return Err(BusError::NoKey {
                    topic: outgoing.topic.clone(),
                    hint: "give it one",
                });
            }
            let text = serde_json::to_string(&outgoing.message);
            let text = text.map_err(|error| BusError::Refused {
                transport: "the memory",
                topic: outgoing.topic.clone(),
                reason: error.to_string(),
            })?;
            let partition = partition::of(outgoing.key.as_bytes(), self.0.partitions);
            lock(&self.0.logs)
                .entry((outgoing.topic.clone(), partition))
                .or_default()
                .push(Stored {
                    key: outgoing.key.clone(),
                    text,
                });
            Ok(())
        };
        let results = messages.iter().map(store).collect();
        self.0.sent.send_modify(|sent| *sent += 1);
        results
    }

    async fn run(
        &self,
        subscription: Subscription,
        handler: Arc<dyn Handler>,
        stop: CancellationToken,
    ) -> Result<(), BusError> {
        let mut partitions = Vec::new();
        for topic in &subscription.topics {
            for partition in 0..self.0.partitions {
                let offset = match subscription.mode {
                    Mode::Shared => self.offset(&subscription.group, topic, partition),
                    Mode::Broadcast => Arc::new(AsyncMutex::new(self.end(topic, partition))),
                };
                partitions.push((topic, partition, offset));
            }
        }
        subscription.joined.yes();
        let consuming = partitions.iter().map(|(topic, partition, offset)| {
            self.consume(topic, *partition, offset, handler.as_ref(), &stop)
        });
        join_all(consuming).await;
        Ok(())
    }
}
