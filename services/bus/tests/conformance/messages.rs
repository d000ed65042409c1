//! Numbered messages, and who takes note of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use todo_bus::{Delivery, Handler, Outgoing, Verdict};
use todo_contracts::{Actor, Counter, Envelope};
use uuid::Uuid;

/// Message number `n` of a key. Some have a trace, some have not.
pub fn message(topic: &str, key: &str, n: u64) -> Outgoing {
    let trace = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{:016x}-01", n + 1);
    Outgoing {
        topic: topic.to_owned(),
        key: key.to_owned(),
        message: Envelope {
            specversion: todo_contracts::envelope::SpecVersion::V1,
            id: Uuid::new_v5(
                &Uuid::NAMESPACE_OID,
                format!("{topic}/{key}/{n}").as_bytes(),
            ),
            source: "/todo/test".to_owned(),
            kind: "todo.test.numbered.v1".to_owned(),
            subject: Some(key.to_owned()),
            time: Some("2026-11-21T09:00:00.123456789Z".parse().unwrap()),
            datacontenttype: Envelope::json(),
            workspaceid: None,
            workspaceseq: Some(Counter(u64::MAX - n)),
            aggregateversion: Some(Counter(n)),
            correlationid: None,
            causationid: None,
            actorid: Some(Actor::Service("test".to_owned())),
            traceparent: n.is_multiple_of(2).then_some(trace),
            data: json!({"n": n, "text": "früh, 水 <&> \" \\ \u{1f345}", "big": 9_007_199_254_740_993_u64, "fraction": 0.1}),
        },
    }
}

/// Messages `range` of each key, the keys in turn.
pub fn messages(topic: &str, keys: &[String], range: std::ops::Range<u64>) -> Vec<Outgoing> {
    range
        .flat_map(|n| keys.iter().map(move |key| message(topic, key, n)))
        .collect()
}

pub fn keys(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("key-{n}:é&=")).collect()
}

/// What a message says of itself.
pub fn number(message: &Envelope) -> (String, u64) {
    let n = message.data["n"].as_u64().unwrap();
    (message.subject.clone().unwrap(), n)
}

/// Takes note of every message, and lets some come again. Clones share what they note.
#[derive(Clone, Default)]
pub struct Recorder {
    record: Arc<Mutex<Record>>,
    /// How many this one has handled, and its siblings have not.
    own: Arc<AtomicUsize>,
    slow: Duration,
}

#[derive(Default)]
struct Record {
    seen: Vec<Envelope>,
    /// How often a message is still to come again.
    again: BTreeMap<(String, u64), u32>,
}

impl Recorder {
    /// One that takes its time for each message, and handles one at a time.
    pub fn slow(slow: Duration) -> Self {
        let recorder = Self::default();
        Self { slow, ..recorder }
    }

    /// Another one that notes into the same record.
    pub fn sibling(&self) -> Self {
        Self {
            own: Arc::default(),
            ..self.clone()
        }
    }

    /// Lets a message come again.
    pub fn again(&self, key: &str, n: u64, times: u32) {
        let mut record = self.record.lock().unwrap();
        record.again.insert((key.to_owned(), n), times);
    }

    /// Lets nothing come again any more.
    pub fn mend(&self) {
        self.record.lock().unwrap().again.clear();
    }

    /// Everything that was handled, in order.
    pub fn seen(&self) -> Vec<Envelope> {
        self.record.lock().unwrap().seen.clone()
    }

    /// How many were handled, by all that share the record.
    pub fn count(&self) -> usize {
        self.record.lock().unwrap().seen.len()
    }

    /// How many different ones were handled.
    pub fn first_times(&self) -> usize {
        let record = self.record.lock().unwrap();
        let ids: BTreeSet<_> = record.seen.iter().map(|message| message.id).collect();
        ids.len()
    }

    /// How many this one has handled.
    pub fn own_count(&self) -> usize {
        self.own.load(Ordering::Relaxed)
    }

    /// The numbers of each key, in the order in which they were handled.
    pub fn by_key(&self) -> BTreeMap<String, Vec<u64>> {
        by_key(self.seen().iter().map(number))
    }
}

pub fn by_key(numbers: impl IntoIterator<Item = (String, u64)>) -> BTreeMap<String, Vec<u64>> {
    let mut all: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (key, n) in numbers {
        all.entry(key).or_default().push(n);
    }
    all
}

/// The same numbers, each the first time only.
pub fn first_times(numbers: &[u64]) -> Vec<u64> {
    let mut seen = BTreeSet::new();
    numbers
        .iter()
        .copied()
        .filter(|n| seen.insert(*n))
        .collect()
}

#[async_trait]
impl Handler for Recorder {
    async fn handle(&self, batch: &[Delivery]) -> Verdict {
        for (done, delivery) in batch.iter().enumerate() {
            if !self.slow.is_zero() {
                if done > 0 {
                    let after = Duration::ZERO;
                    return Verdict::Retry { done, after };
                }
                tokio::time::sleep(self.slow).await;
            }
            let message = delivery.message.as_ref().unwrap();
            assert_eq!(delivery.key, message.subject, "the key is not told");
            self.own.fetch_add(1, Ordering::Relaxed);
            let mut record = self.record.lock().unwrap();
            record.seen.push(message.clone());
            if let Some(times) = record.again.get_mut(&number(message))
                && *times > 0
            {
                *times -= 1;
                let after = Duration::from_millis(50);
                return Verdict::Retry { done, after };
            }
        }
        Verdict::Done
    }
}
