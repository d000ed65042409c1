//! Effects in a database: once, and in order, whatever is killed meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::{PgConnection, Row as _};
use todo_bus::consumer::{Consumer, Failure, MIGRATION, Subscriber, list_parked, retry_parked};
use todo_bus::{BusError, EventBus};
use todo_contracts::Envelope;
use todo_kit::database::Database;
use todo_kit::database::migrate::Step;
use todo_kit::metrics::Metrics;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cases::{AHEAD, Storm};
use crate::databases::Databases;
use crate::messages::{by_key, keys, messages, number};
use crate::rig::{DEADLINE, Rig, subscription, until};

const EFFECTS: Step = Step {
    version: 100,
    name: "effects",
    // No unique key: an effect that happens twice is to be seen.
    sql: "CREATE TABLE effects (position bigint GENERATED ALWAYS AS IDENTITY, key text, n bigint)",
};

/// The numbers of each key in the order in which their effects were committed.
async fn effects(database: &Database) -> Vec<(String, u64)> {
    let rows = sqlx::query("SELECT key, n FROM effects ORDER BY position")
        .fetch_all(database.pool())
        .await
        .unwrap();
    let read = |row: &sqlx::postgres::PgRow| {
        let n: i64 = row.try_get("n").unwrap();
        (row.try_get("key").unwrap(), u64::try_from(n).unwrap())
    };
    rows.iter().map(read).collect()
}

async fn happened(database: &Database) -> usize {
    let row = sqlx::query("SELECT count(*) FROM effects").fetch_one(database.pool());
    let count: i64 = row.await.unwrap().try_get(0).unwrap();
    usize::try_from(count).unwrap()
}

/// Whether parked messages are to be tried again.
async fn has_due(database: &Database) -> bool {
    let sql = "SELECT EXISTS (SELECT FROM parked WHERE retry_at IS NOT NULL)";
    let row = sqlx::query(sql).fetch_one(database.pool()).await.unwrap();
    row.try_get(0).unwrap()
}

/// Writes a row for each message. Some it cannot handle, until it is mended.
#[derive(Clone, Default)]
struct Effects {
    bad: BTreeSet<(String, u64)>,
    is_mended: Arc<AtomicBool>,
    /// Messages tried so far.
    tried: Arc<AtomicUsize>,
}

#[async_trait]
impl Subscriber for Effects {
    async fn apply(
        &self,
        transaction: &mut PgConnection,
        _: &str,
        message: &Envelope,
    ) -> Result<(), Failure> {
        self.tried.fetch_add(1, Ordering::Relaxed);
        let (key, n) = number(message);
        sqlx::query("INSERT INTO effects (key, n) VALUES ($1, $2)")
            .bind(&key)
            .bind(i64::try_from(n).unwrap())
            .execute(transaction)
            .await?;
        // After the effect: what is rolled back must not be seen.
        if self.bad.contains(&(key, n)) && !self.is_mended.load(Ordering::Relaxed) {
            return Err(Failure::Malformed("it is bad".to_owned()));
        }
        Ok(())
    }
}

struct Running {
    bus: Arc<dyn EventBus>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), BusError>>,
    metrics: Metrics,
}

async fn start(
    bus: Arc<dyn EventBus>,
    group: &str,
    topic: &str,
    database: &Database,
    effects: Effects,
) -> Running {
    let (metrics, stop) = (Metrics::default(), CancellationToken::new());
    let consumer = Consumer::new(
        group,
        database.clone(),
        Arc::clone(&bus),
        effects,
        metrics.clone(),
    );
    let subscription = subscription(group, &[topic]);
    let joined = subscription.joined.clone();
    let task = tokio::spawn(consumer.run(subscription, stop.clone()));
    tokio::time::timeout(DEADLINE, joined.wait())
        .await
        .expect("it never gets messages");
    Running {
        bus,
        stop,
        task,
        metrics,
    }
}

impl Running {
    async fn stop(self) -> Arc<dyn EventBus> {
        self.stop.cancel();
        let ended = tokio::time::timeout(DEADLINE, self.task).await;
        ended.expect("it does not end").unwrap().unwrap();
        self.bus
    }
}

pub async fn effects_happen_once_and_in_order(
    rig: Arc<dyn Rig>,
    databases: Databases,
    storm: Storm,
) {
    const AT_ONCE: u64 = 5;
    let (topic, group) = &rig.names("killed");
    rig.topic(topic).await;
    let tables = [MIGRATION, EFFECTS];
    let database = databases.make(rig.as_ref(), "effects", tables).await;
    let keys = keys(8);
    let bus = rig.bus(group).await;
    let subscriber = Effects::default();
    let running = start(bus, group, topic, &database, subscriber.clone()).await;
    let publishing = {
        let (bus, keys, numbers) = (Arc::clone(&running.bus), keys.clone(), storm.numbers());
        let topic = topic.clone();
        tokio::spawn(async move {
            let mut count = 0;
            for n in numbers {
                while keys.len() * count > subscriber.tried.load(Ordering::Relaxed) + AHEAD {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                let sent = messages(&topic, &keys, n * AT_ONCE..(n + 1) * AT_ONCE);
                // Whoever has no acknowledgement sends again, as a relay does.
                while bus.publish_all(&sent).await.iter().any(Result::is_err) {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                // An acknowledgement was lost on the way.
                let _ = bus.publish_all(&sent[20..]).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
                count += usize::try_from(AT_ONCE).unwrap();
            }
            count
        })
    };
    until("some are handled", async || {
        (happened(&database).await >= 150).then_some(())
    })
    .await;
    storm.may_begin().await;
    let count = publishing.await.unwrap();
    let all = keys.len() * count;
    until("all are handled", async || {
        (happened(&database).await >= all).then_some(())
    })
    .await;
    for (key, numbers) in by_key(effects(&database).await) {
        assert!(numbers.into_iter().eq(0..count as u64), "{key}");
    }
    rig.gone(running.stop().await).await;
    assert_eq!(happened(&database).await, all, "something happened twice");
}

pub async fn a_bad_message_stops_its_subject_alone_and_goes_on_where_it_stopped(
    rig: Arc<dyn Rig>,
    databases: Databases,
) {
    const COUNT: u64 = 12;
    let (topic, group) = &rig.names("bad");
    rig.topic(topic).await;
    rig.topic(&format!("{group}.dlq")).await;
    let tables = [MIGRATION, EFFECTS];
    let database = databases.make(rig.as_ref(), "bad", tables).await;
    let keys = keys(8);
    let subscriber = Effects {
        bad: [(keys[3].clone(), 4)].into(),
        ..Effects::default()
    };
    let bus = rig.bus(group).await;
    let running = start(bus, group, topic, &database, subscriber.clone()).await;
    for result in running
        .bus
        .publish_all(&messages(topic, &keys, 0..COUNT))
        .await
    {
        result.unwrap();
    }
    let others = (keys.len() - 1) * usize::try_from(COUNT).unwrap() + 4;
    until("others go on", async || {
        (happened(&database).await >= others).then_some(())
    })
    .await;
    let parked = until("the bad one is parked, and those behind it", async || {
        let parked = list_parked(&database).await.unwrap();
        (parked.len() == 8).then_some(parked)
    })
    .await;
    assert!(parked[0].reason.contains("it is bad"), "{:?}", parked[0]);
    assert!(parked[1].reason.contains("waits behind"), "{:?}", parked[1]);
    assert!(parked.iter().all(|one| one.sequence_key == keys[3]));
    assert_eq!(happened(&database).await, others);
    until("it is told", async || {
        let text = running.metrics.text();
        let waiting = format!("parked_messages{{consumer=\"{group}\"}} 8");
        (text.contains(&waiting) && text.contains("result=\"parked\"} 8")).then_some(())
    })
    .await;
    let copies = rig.keys_in(&format!("{group}.dlq")).await;
    assert!(
        copies.keys().eq([&keys[3]]),
        "operators have a copy of the bad one: {copies:?}"
    );

    // In vain, as long as it is not mended.
    assert_eq!(retry_parked(&database, group, &keys[3]).await.unwrap(), 8);
    until("it was tried", async || {
        (!has_due(&database).await).then_some(())
    })
    .await;
    assert_eq!(list_parked(&database).await.unwrap(), parked);
    // More of them come while those are tried.
    subscriber.is_mended.store(true, Ordering::Relaxed);
    let more = messages(topic, &keys, COUNT..2 * COUNT);
    let (retried, sent) = tokio::join!(
        retry_parked(&database, group, &keys[3]),
        running.bus.publish_all(&more)
    );
    retried.unwrap();
    sent.into_iter().for_each(Result::unwrap);
    let all = keys.len() * usize::try_from(2 * COUNT).unwrap();
    until("nothing is parked any more", async || {
        let effects = happened(&database).await;
        let parked = list_parked(&database).await.unwrap();
        (effects >= all && parked.is_empty()).then_some(())
    })
    .await;
    for (key, numbers) in by_key(effects(&database).await) {
        assert_eq!(numbers, (0..2 * COUNT).collect::<Vec<_>>(), "{key}");
    }
    rig.gone(running.stop().await).await;
}
