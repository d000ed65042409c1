//! Messages that a service has written into its database: sent, whatever is killed meanwhile.

use std::sync::Arc;

use localcluster::standalone::Postgres;
use sqlx::Row as _;
use sqlx::postgres::PgConnectOptions;
use todo_bus::relay::{MIGRATION, OutboxTable, Relay, Wake};
use todo_kit::database::Database;
use todo_kit::database::migrate::{Migrations, Rights};
use todo_kit::metrics::Metrics;
use tokio_util::sync::CancellationToken;

use crate::messages::{Recorder, first_times, keys, messages};
use crate::rig::{DEADLINE, Member, Rig, until};

const LOCK: i64 = 7;

pub async fn what_is_written_is_sent_in_order_when_the_carrier_is_killed(rig: &mut dyn Rig) {
    const COUNT: u64 = 100;
    let (topic, group) = ("relayed", "relayed.readers");
    rig.topic(topic).await;
    let mut server = Postgres::start().await.unwrap();
    server.create_database("outbox").unwrap();
    let options = PgConnectOptions::new()
        .host("127.0.0.1")
        .port(server.port())
        .database("outbox")
        .username("outbox_owner");
    let database = Database::with(options, 4);
    let migrations = Migrations::new(Rights::Write, [MIGRATION]);
    migrations.run(&database).await.unwrap();

    let (keys, recorder, wake) = (keys(8), Recorder::default(), Wake::default());
    let bus = rig.bus(group).await;
    let relay = Relay::new(
        database.clone(),
        Arc::clone(&bus),
        OutboxTable,
        wake.clone(),
        LOCK,
        &Metrics::default(),
    );
    let stop = CancellationToken::new();
    let relaying = tokio::spawn(relay.run(stop.clone()));
    let member = Member::start(bus, group, &[topic], Arc::new(recorder.clone())).await;
    let write = async |range: std::ops::Range<u64>| {
        for n in range {
            let mut transaction = database.pool().begin().await.unwrap();
            let written = messages(topic, &keys, n..n + 1);
            OutboxTable::write(&mut transaction, &written)
                .await
                .unwrap();
            transaction.commit().await.unwrap();
            wake.now();
        }
    };
    write(0..COUNT / 2).await;
    until("some are sent", async || {
        (recorder.count() >= 50).then_some(())
    })
    .await;
    let (_, ()) = tokio::join!(write(COUNT / 2..COUNT), rig.interrupt());
    until("all are handled", async || {
        let handled = recorder.by_key();
        let all = (0..COUNT).collect::<Vec<_>>();
        let is_complete = |numbers: &Vec<u64>| first_times(numbers).len() == all.len();
        (handled.len() == keys.len() && handled.values().all(is_complete)).then_some(())
    })
    .await;
    until("nothing waits", async || {
        let row = sqlx::query("SELECT count(*) FROM outbox").fetch_one(database.pool());
        let count: i64 = row.await.unwrap().try_get(0).unwrap();
        (count == 0).then_some(())
    })
    .await;
    for (key, numbers) in recorder.by_key() {
        let expected: Vec<_> = (0..COUNT).collect();
        assert_eq!(first_times(&numbers), expected, "{key}");
    }
    stop.cancel();
    let ended = tokio::time::timeout(DEADLINE, relaying).await;
    ended.expect("the relay does not end").unwrap();
    rig.gone(member.stop().await).await;
}
