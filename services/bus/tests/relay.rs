//! The relay against a real PostgreSQL: what it does when it dies, when there are two, and when nobody takes messages.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panic"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use localcluster::standalone::{Postgres, Shared};
use serde_json::json;
use sqlx::Row as _;
use sqlx::postgres::PgConnectOptions;
use todo_bus::memory::MemoryBus;
use todo_bus::relay::{MIGRATION, OutboxTable, Relay, Wake};
use todo_bus::{BusError, EventBus, Handler, Outgoing, Subscription};
use todo_contracts::{Counter, Envelope};
use todo_kit::database::Database;
use todo_kit::database::migrate::{Migrations, Rights};
use todo_kit::metrics::Metrics;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const TOPIC: &str = "relayed";
const LOCK: i64 = 7;
const PARTITIONS: u32 = 3;
/// How long anything may take before a test fails. Far more than it takes.
const DEADLINE: Duration = Duration::from_secs(60);

fn message(key: &str, n: u64) -> Outgoing {
    let wire = json!({
        "specversion": "1.0", "id": Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{key}/{n}").as_bytes()),
        "source": "/todo/test", "type": "todo.test.numbered.v1", "subject": key, "data": {"n": n},
    });
    let message: Envelope = serde_json::from_value(wire).unwrap();
    Outgoing {
        topic: TOPIC.to_owned(),
        key: key.to_owned(),
        message: Envelope {
            aggregateversion: Some(Counter(n)),
            ..message
        },
    }
}

fn keys(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("key-{n}")).collect()
}

static SERVER: Shared<Postgres> = Shared::new();

/// A database with an outbox.
struct Store {
    _server: Arc<Postgres>,
    database: Database,
    wake: Wake,
}

impl Store {
    async fn start(name: &str) -> Self {
        let server = SERVER.get(Postgres::start).await.unwrap();
        server.create_database(name).unwrap();
        let options = PgConnectOptions::new()
            .host("127.0.0.1")
            .port(server.port())
            .database(name)
            .username(&format!("{name}_owner"));
        let database = Database::with(options, 8);
        let migrations = Migrations::new(Rights::Write, [MIGRATION]);
        migrations.run(&database).await.unwrap();
        Self {
            _server: server,
            database,
            wake: Wake::default(),
        }
    }

    /// Writes messages `range` of each key, in one transaction.
    async fn write(&self, keys: &[String], range: std::ops::Range<u64>) {
        let messages: Vec<_> = range
            .flat_map(|n| keys.iter().map(move |key| message(key, n)))
            .collect();
        self.write_all(&messages).await;
    }

    async fn write_all(&self, messages: &[Outgoing]) {
        let mut transaction = self.database.pool().begin().await.unwrap();
        OutboxTable::write(&mut transaction, messages)
            .await
            .unwrap();
        transaction.commit().await.unwrap();
        self.wake.now();
    }

    async fn number(&self, sql: &'static str) -> i64 {
        let row = sqlx::query(sql).fetch_one(self.database.pool()).await;
        row.unwrap().try_get(0).unwrap()
    }

    async fn waiting(&self) -> i64 {
        self.number("SELECT count(*) FROM outbox").await
    }

    /// Ends the connection of whoever has the lock, as a failover does.
    async fn cut_off_the_active_one(&self) {
        const CUT: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks JOIN pg_database ON oid = database
                           WHERE locktype = 'advisory' AND granted AND datname = current_database()";
        assert_eq!(self.number(CUT).await, 1, "one relay has the lock");
    }

    fn relay(&self, bus: &Arc<Gate>) -> Running {
        let relay = Relay::new(
            self.database.clone(),
            Arc::clone(bus) as Arc<dyn EventBus>,
            OutboxTable,
            self.wake.clone(),
            LOCK,
            &Metrics::default(),
        );
        let stop = CancellationToken::new();
        let task = tokio::spawn(relay.run(stop.clone()));
        Running { task, stop }
    }
}

struct Running {
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl Running {
    async fn stop(self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(DEADLINE, self.task).await;
        ended.expect("it does not end").unwrap();
    }
}

/// A transport that keeps acknowledgements back when it is told to, and refuses messages of a key.
struct Gate {
    bus: MemoryBus,
    /// An acknowledgement for each.
    open: Semaphore,
    /// Messages and their bytes in each call so far.
    calls: Mutex<Vec<(usize, usize)>>,
    is_held: AtomicBool,
    refused: Mutex<BTreeSet<String>>,
}

impl Gate {
    fn over(bus: &MemoryBus) -> Arc<Self> {
        Arc::new(Self {
            bus: bus.clone(),
            open: Semaphore::new(0),
            calls: Mutex::default(),
            is_held: AtomicBool::new(false),
            refused: Mutex::default(),
        })
    }

    /// One that acknowledges nothing, although it takes everything.
    fn held(bus: &MemoryBus) -> Arc<Self> {
        let gate = Self::over(bus);
        gate.is_held.store(true, Ordering::SeqCst);
        gate
    }

    fn calls(&self) -> usize {
        self.calls.lock().unwrap().len()
    }

    /// Most messages in a call, and most bytes.
    fn most(&self) -> (usize, usize) {
        let calls = self.calls.lock().unwrap();
        let (messages, bytes) = calls.iter().copied().unzip::<_, _, Vec<_>, Vec<_>>();
        (
            messages.into_iter().max().unwrap_or_default(),
            bytes.into_iter().max().unwrap_or_default(),
        )
    }
}

#[async_trait]
impl EventBus for Gate {
    async fn publish_all(&self, messages: &[Outgoing]) -> Vec<Result<(), BusError>> {
        let refused = self.refused.lock().unwrap().clone();
        let mut results = Vec::new();
        for one in messages {
            results.push(match refused.contains(&one.key) {
                true => Err(BusError::Refused {
                    transport: "the gate",
                    topic: one.topic.clone(),
                    reason: "it is too large".to_owned(),
                }),
                false => self
                    .bus
                    .publish_all(std::slice::from_ref(one))
                    .await
                    .remove(0),
            });
        }
        let bytes = messages.iter().map(bytes).sum();
        self.calls.lock().unwrap().push((messages.len(), bytes));
        if self.is_held.load(Ordering::SeqCst) {
            self.open.acquire().await.unwrap().forget();
        }
        results
    }

    async fn run(
        &self,
        _: Subscription,
        _: Arc<dyn Handler>,
        _: CancellationToken,
    ) -> Result<(), BusError> {
        Ok(())
    }
}

/// The length of a message on the wire.
fn bytes(outgoing: &Outgoing) -> usize {
    serde_json::to_vec(&outgoing.message).unwrap().len()
}

/// The numbers of each key, in the order in which they were sent.
fn sent(bus: &MemoryBus) -> BTreeMap<String, Vec<u64>> {
    let mut all: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for partition in 0..PARTITIONS {
        for (key, text) in bus.log(TOPIC, partition) {
            let message: Envelope = serde_json::from_str(&text).unwrap();
            let n = message.data["n"].as_u64().unwrap();
            all.entry(key).or_default().push(n);
        }
    }
    all
}

/// Each number of each key is there, and the first times of all are in order.
fn assert_in_order(bus: &MemoryBus, keys: &[String], count: u64) {
    let sent = sent(bus);
    assert!(sent.keys().eq(keys), "{:?}", sent.keys());
    for (key, numbers) in sent {
        let mut seen = BTreeSet::new();
        let first: Vec<_> = numbers.iter().filter(|n| seen.insert(**n)).collect();
        assert!(
            first.iter().copied().copied().eq(0..count),
            "{key}: {numbers:?}"
        );
    }
}

async fn until<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_dies_before_it_marks_leaves_nothing_unsent() {
    let (store, bus, keys) = (
        Store::start("dies").await,
        MemoryBus::new(PARTITIONS),
        keys(5),
    );
    store.write(&keys, 0..20).await;
    let mut undone = store.database.pool().begin().await.unwrap();
    let never = message("never", 0);
    OutboxTable::write(&mut undone, &[never]).await.unwrap();
    undone.rollback().await.unwrap();
    let held = Gate::held(&bus);
    let dying = store.relay(&held);
    until("it has sent", async || (held.calls() == 1).then_some(())).await;
    assert_eq!(
        store.waiting().await,
        100,
        "marked before it was acknowledged"
    );
    dying.task.abort();
    assert!(dying.task.await.unwrap_err().is_cancelled());
    store.write(&keys, 20..30).await;
    let next = store.relay(&Gate::over(&bus));
    until("all is marked", async || {
        (store.waiting().await == 0).then_some(())
    })
    .await;
    next.stop().await;
    assert_in_order(&bus, &keys, 30);
    // What was not marked is sent again, and what comes after it once.
    assert!(sent(&bus).values().all(|numbers| numbers.len() == 20 + 30));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_relay_of_two_is_active_and_the_other_takes_over() {
    let (store, bus, keys) = (
        Store::start("two").await,
        MemoryBus::new(PARTITIONS),
        keys(5),
    );
    let gates = [Gate::over(&bus), Gate::over(&bus)];
    let relays = gates.each_ref().map(|gate| store.relay(gate));
    for n in 0..40 {
        store.write(&keys, n..n + 1).await;
    }
    until("all is marked", async || {
        (store.waiting().await == 0).then_some(())
    })
    .await;
    let calls = gates.each_ref().map(|gate| gate.calls());
    assert!(calls.contains(&0), "both sent: {calls:?}");
    assert!(sent(&bus).values().all(|numbers| numbers.len() == 40));
    // The active one loses its lock while it waits for an acknowledgement, and does not notice.
    let active = usize::from(calls[0] == 0);
    gates[active].is_held.store(true, Ordering::SeqCst);
    store.write(&keys, 40..50).await;
    let held = async || (gates[active].calls() > calls[active]).then_some(());
    until("the active one is at work", held).await;
    store.cut_off_the_active_one().await;
    store.write(&keys, 50..60).await;
    until("the other one has done its work", async || {
        (store.waiting().await == 0).then_some(())
    })
    .await;
    assert!(gates[1 - active].calls() > 0);
    // It comes back to itself.
    store.write(&keys, 60..70).await;
    gates[active].is_held.store(false, Ordering::SeqCst);
    gates[active].open.add_permits(1);
    until("all is marked", async || {
        (store.waiting().await == 0).then_some(())
    })
    .await;
    for relay in relays {
        relay.stop().await;
    }
    assert_in_order(&bus, &keys, 70);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_refused_keeps_its_key_alone_from_going_on() {
    let (store, bus) = (Store::start("refused").await, MemoryBus::new(PARTITIONS));
    let (refused, others) = (["refused".to_owned()], keys(3));
    let gate = Gate::over(&bus);
    gate.refused.lock().unwrap().insert(refused[0].clone());
    // More than are read at once.
    store.write(&refused, 0..1_100).await;
    store.write(&others, 0..20).await;
    let relay = store.relay(&gate);
    until("the others are sent", async || {
        (store.waiting().await == 1_100).then_some(())
    })
    .await;
    assert_in_order(&bus, &others, 20);
    gate.refused.lock().unwrap().clear();
    until("all is marked", async || {
        (store.waiting().await == 0).then_some(())
    })
    .await;
    relay.stop().await;
    for (key, numbers) in sent(&bus) {
        let count = if key == refused[0] { 1_100 } else { 20 };
        assert!(numbers.into_iter().eq(0..count), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_takes_stays_in_the_database() {
    let (store, bus, keys) = (
        Store::start("held").await,
        MemoryBus::new(PARTITIONS),
        keys(10),
    );
    let gate = Gate::held(&bus);
    let relay = store.relay(&gate);
    for n in 0..10 {
        store.write(&keys, n * 50..(n + 1) * 50).await;
    }
    until("it is at work", async || (gate.calls() == 1).then_some(())).await;
    let ahead = i64::try_from(gate.most().0).unwrap();
    assert!(ahead <= 1_000, "{ahead} at once");
    assert_eq!(store.waiting().await, 5_000);
    // One acknowledgement, one more batch.
    gate.open.add_permits(1);
    until("it goes on", async || (gate.calls() == 2).then_some(())).await;
    assert_eq!(store.waiting().await, 5_000 - ahead);
    assert!(gate.most().0 <= 1_000);
    gate.is_held.store(false, Ordering::SeqCst);
    gate.open.add_permits(1);
    until("all is marked", async || {
        (store.waiting().await == 0).then_some(())
    })
    .await;
    relay.stop().await;
    assert_in_order(&bus, &keys, 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_messages_are_sent_a_few_at_once_and_a_huge_one_too() {
    const LIMIT: usize = 4 * 1024 * 1024;
    const LARGE: usize = 256 * 1024;
    let (store, bus) = (Store::start("large").await, MemoryBus::new(PARTITIONS));
    // What would become small by compression is large all the same.
    let sized = |n: u64, size: usize| {
        let mut message = message("large", n);
        message.message.data["text"] = "x".repeat(size).into();
        message
    };
    let large: Vec<_> = (0..24).map(|n| sized(n, LARGE)).collect();
    store.write_all(&large).await;
    let gate = Gate::over(&bus);
    let relay = store.relay(&gate);
    until("all is marked", async || {
        (store.waiting().await == 0).then_some(())
    })
    .await;
    let (messages, most) = gate.most();
    assert!(messages > 1, "each is sent alone");
    assert!(most <= LIMIT + bytes(&large[0]), "{most} bytes at once");
    store.write_all(&[sized(24, LIMIT + LARGE)]).await;
    until("the huge one is marked", async || {
        (store.waiting().await == 0).then_some(())
    })
    .await;
    relay.stop().await;
    assert_in_order(&bus, &["large".to_owned()], 25);
}
