//! Sends what a service has written into its own database: an event is in the log, and so is sent, or neither.
//!
//! One relay of a service is active at a time; the others wait for its lock. What is sent is marked after it is acknowledged, so
//! a relay that dies, or loses its lock, has some messages sent again, and none lost. Each relay sends in the order of the
//! positions, so a message comes for the first time only after those before it, whoever sends it.

mod outbox;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use prometheus_client::metrics::counter::Counter;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, Row as _};
use todo_kit::database::Database;
use todo_kit::metrics::Metrics;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use self::outbox::{MIGRATION, OutboxTable};

use crate::{EventBus, Outgoing};

/// What is sent at once: a relay's memory must fit into a small container, however much waits.
const BATCH: Limit = Limit {
    messages: 1_000,
    bytes: 4 * 1024 * 1024,
};
/// Time after which a relay looks without being woken: another process may have written.
const LOOK: Duration = Duration::from_millis(500);
/// Time between two tries of a relay that cannot work, or waits for another.
const PAUSE: Duration = Duration::from_secs(1);
/// Time for which the messages of a key are left alone after one was not taken.
const BLOCKED: Duration = Duration::from_secs(1);

/// A message that is not sent yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Pending {
    /// Its position. Those of a key are sent in the order of their positions.
    pub position: i64,
    /// The message.
    pub outgoing: Outgoing,
}

/// How much is read from an outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Most messages.
    pub messages: i64,
    /// Bytes behind which there are no more. A single message may be larger.
    pub bytes: i64,
}

/// Where messages wait to be sent.
#[async_trait]
pub trait Outbox: Send + Sync + 'static {
    /// The first of those that are not sent yet, without those of some keys; one at least, if there is any.
    async fn pending(
        &self,
        connection: &mut PgConnection,
        limit: Limit,
        without_keys: &[String],
    ) -> Result<Vec<Pending>, sqlx::Error>;

    /// Marks messages as sent.
    async fn sent(
        &self,
        connection: &mut PgConnection,
        positions: &[i64],
    ) -> Result<(), sqlx::Error>;
}

/// Wakes a relay in the same process. Clones wake the same one.
#[derive(Clone, Debug, Default)]
pub struct Wake(Arc<Notify>);

impl Wake {
    /// There is something to send.
    pub fn now(&self) {
        self.0.notify_one();
    }
}

/// Sends what waits.
pub struct Relay<O> {
    database: Database,
    bus: Arc<dyn EventBus>,
    outbox: O,
    wake: Wake,
    lock: i64,
    sent: Counter,
}

impl<O: Outbox> Relay<O> {
    /// A relay. All those of a service have the same lock, a number of which no other use is made in the database.
    pub fn new(
        database: Database,
        bus: Arc<dyn EventBus>,
        outbox: O,
        wake: Wake,
        lock: i64,
        metrics: &Metrics,
    ) -> Self {
        let sent = Counter::default();
        metrics.register(|registry| {
            registry.register("relayed", "Messages sent from the database", sent.clone());
        });
        Self {
            database,
            bus,
            outbox,
            wake,
            lock,
            sent,
        }
    }

    /// Sends until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let result = tokio::select! {
                result = self.relay() => result,
                () = stop.cancelled() => return,
            };
            if let Err(error) = result {
                tracing::warn!(%error, "nothing is sent; the relay connects again");
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Sends as long as the connection holds. The lock goes with it.
    async fn relay(&self) -> Result<(), sqlx::Error> {
        let mut connection = self.database.options().connect().await?;
        while !self.has_lock(&mut connection).await? {
            tokio::time::sleep(PAUSE).await;
        }
        tracing::info!("this relay is the active one");
        let mut blocked: HashMap<String, Instant> = HashMap::new();
        loop {
            let now = Instant::now();
            blocked.retain(|_, until| *until > now);
            let without: Vec<_> = blocked.keys().cloned().collect();
            let pending = self
                .outbox
                .pending(&mut connection, BATCH, &without)
                .await?;
            if pending.is_empty() {
                // Whether the connection, and so the lock, is still there shows at the next look.
                let _ = tokio::time::timeout(LOOK, self.wake.0.notified()).await;
                continue;
            }
            let (positions, outgoing): (Vec<_>, Vec<_>) = pending
                .into_iter()
                .map(|one| (one.position, one.outgoing))
                .unzip();
            let results = self.bus.publish_all(&outgoing).await;
            let (mut sent, mut failed) = (Vec::with_capacity(positions.len()), HashSet::new());
            for ((position, one), result) in positions.into_iter().zip(outgoing).zip(results) {
                match result {
                    // Behind one that was not taken it is to be sent again.
                    Ok(()) if failed.contains(&one.key) => {}
                    Ok(()) => sent.push(position),
                    Err(error) => {
                        if !failed.contains(&one.key) {
                            tracing::error!(%error, position, key = one.key, "not sent");
                            failed.insert(one.key);
                        }
                    }
                }
            }
            self.outbox.sent(&mut connection, &sent).await?;
            self.sent.inc_by(sent.len() as u64);
            blocked.extend(failed.into_iter().map(|key| (key, now + BLOCKED)));
        }
    }

    async fn has_lock(&self, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
        connection.ping().await?;
        sqlx::query("SELECT pg_try_advisory_lock($1)")
            .bind(self.lock)
            .fetch_one(connection)
            .await?
            .try_get(0)
    }
}
