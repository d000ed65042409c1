//! One partition: its messages are handled one after the other, beside those of other partitions.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use super::reader::Member;
use crate::{Delivery, Handler, Verdict};

/// Most messages that are handled at once.
const BATCH: usize = 200;
/// Bytes that wait in a partition above which no more are fetched for it.
const FULL: usize = 1024 * 1024;
/// Bytes that wait in a partition below which they are fetched again.
const ROOM: usize = FULL / 4;
/// What a message costs beside its content.
const OVERHEAD: usize = 256;

/// A message that waits.
struct Taken {
    delivery: Delivery,
    offset: i64,
    bytes: usize,
}

/// What waits in a partition.
#[derive(Default)]
struct Backlog {
    bytes: usize,
    is_paused: bool,
}

/// Where a worker's messages come from, and what is known of it.
struct Partition {
    consumer: Arc<BaseConsumer<Member>>,
    topic: String,
    number: i32,
    backlog: Mutex<Backlog>,
}

impl Partition {
    fn list(&self) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.topic, self.number);
        list
    }

    /// More waits. Whoever has enough gets no more for a while.
    fn add(&self, bytes: usize) {
        let mut backlog = self.backlog.lock().unwrap_or_else(PoisonError::into_inner);
        backlog.bytes += bytes;
        if backlog.bytes > FULL && !backlog.is_paused {
            backlog.is_paused = self.consumer.pause(&self.list()).is_ok();
        }
    }

    /// Less waits.
    fn remove(&self, bytes: usize) {
        let mut backlog = self.backlog.lock().unwrap_or_else(PoisonError::into_inner);
        backlog.bytes = backlog.bytes.saturating_sub(bytes);
        if backlog.bytes < ROOM && backlog.is_paused {
            // It fails if the partition is somebody else's by now, and then it does not matter.
            let _ = self.consumer.resume(&self.list());
            backlog.is_paused = false;
        }
    }

    /// Everything up to this message is done.
    fn done(&self, offset: i64) {
        if let Err(error) = self.consumer.store_offset(&self.topic, self.number, offset) {
            // The partition has gone to somebody else meanwhile, who gets the message again.
            tracing::info!(topic = self.topic, partition = self.number, offset, %error, "done, but not ours to commit any more");
        }
    }
}

/// The worker of a partition.
pub(super) struct Worker {
    queue: UnboundedSender<Taken>,
    partition: Arc<Partition>,
    stop: CancellationToken,
    abort: AbortHandle,
    /// Whose other end goes with the worker.
    ended: Receiver<()>,
}

impl Worker {
    pub(super) fn start(
        runtime: &Handle,
        consumer: Arc<BaseConsumer<Member>>,
        handler: Arc<dyn Handler>,
        topic: &str,
        number: i32,
    ) -> Self {
        let partition = Arc::new(Partition {
            consumer,
            topic: topic.to_owned(),
            number,
            backlog: Mutex::default(),
        });
        let (queue, taken) = unbounded_channel();
        let (end, ended) = sync_channel(1);
        let stop = CancellationToken::new();
        let work = work(Arc::clone(&partition), handler, taken, stop.clone(), end);
        Self {
            queue,
            partition,
            abort: runtime.spawn(work).abort_handle(),
            stop,
            ended,
        }
    }

    pub(super) fn push(&self, delivery: Delivery, offset: i64, length: usize) {
        let bytes = length + OVERHEAD;
        self.partition.add(bytes);
        let taken = Taken {
            delivery,
            offset,
            bytes,
        };
        // A worker that has ended has left everything to whoever takes the partition next.
        let _ = self.queue.send(taken);
    }

    /// Takes nothing more after what is at hand.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits for the end of what is at hand; gives it up at the deadline. Blocks.
    pub(super) fn end(self, deadline: Instant) {
        // What waits is either left alone, or cut off and rolled back.
        const CUT_OFF: Duration = Duration::from_secs(2);
        self.stop.cancel();
        let left = deadline.saturating_duration_since(Instant::now());
        if matches!(
            self.ended.recv_timeout(left),
            Err(std::sync::mpsc::RecvTimeoutError::Timeout)
        ) {
            tracing::warn!(
                topic = self.partition.topic,
                partition = self.partition.number,
                "a message takes too long and is cut off; whoever takes the partition next handles it again"
            );
            self.abort.abort();
            let _ = self.ended.recv_timeout(CUT_OFF);
        }
    }
}

async fn work(
    partition: Arc<Partition>,
    handler: Arc<dyn Handler>,
    mut queue: UnboundedReceiver<Taken>,
    stop: CancellationToken,
    _end: SyncSender<()>,
) {
    loop {
        let first = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            first = queue.recv() => first,
        };
        let Some(first) = first else { return };
        let mut offsets = vec![first.offset];
        let mut bytes = first.bytes;
        let mut batch = vec![first.delivery];
        while batch.len() < BATCH
            && let Ok(next) = queue.try_recv()
        {
            offsets.push(next.offset);
            bytes += next.bytes;
            batch.push(next.delivery);
        }
        let mut done = 0;
        while done < batch.len() {
            let wait = match handler.handle(&batch[done..]).await {
                Verdict::Done => {
                    done = batch.len();
                    Duration::ZERO
                }
                Verdict::Retry { done: more, after } => {
                    done += more;
                    after
                }
            };
            if let Some(offset) = done.checked_sub(1).and_then(|last| offsets.get(last)) {
                partition.done(*offset);
            }
            if done < batch.len() {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(wait) => {}
                }
            }
        }
        partition.remove(bytes);
    }
}
