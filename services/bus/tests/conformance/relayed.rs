//! Messages that a service has written into its database: sent, whatever is killed meanwhile.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Row as _;
use todo_bus::Outgoing;
use todo_bus::relay::{MIGRATION, OutboxTable, Relay, Wake};
use todo_kit::database::Database;
use todo_kit::metrics::Metrics;
use tokio_util::sync::CancellationToken;

use crate::cases::{AHEAD, Storm};
use crate::databases::Databases;
use crate::messages::{Recorder, first_times, keys, messages};
use crate::rig::{DEADLINE, Member, Rig, until};

const LOCK: i64 = 7;

pub async fn what_is_written_is_sent_in_order(
    rig: Arc<dyn Rig>,
    databases: Databases,
    storm: Storm,
) {
    let (topic, group) = &rig.names("relayed");
    rig.topic(topic).await;
    let database = databases.make(rig.as_ref(), "outbox", [MIGRATION]).await;
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
    let writing = {
        let (database, keys, numbers) = (database.clone(), keys.clone(), storm.numbers());
        let (recorder, topic) = (recorder.clone(), topic.clone());
        tokio::spawn(async move {
            let mut count = 0;
            for n in numbers {
                while keys.len() * count > recorder.count() + AHEAD {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                // Whoever does not know whether it is committed writes again.
                while let Err(error) = write(&database, &messages(&topic, &keys, n..n + 1)).await {
                    assert!(todo_kit::database::is_transient(&error), "{error}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                wake.now();
                tokio::time::sleep(Duration::from_millis(20)).await;
                count += 1;
            }
            count
        })
    };
    until("some are sent", async || {
        (recorder.count() >= 50).then_some(())
    })
    .await;
    storm.may_begin().await;
    let count = writing.await.unwrap();
    let all = keys.len() * count;
    until("all are handled", async || {
        // Some may come twice.
        (recorder.count() >= all && recorder.first_times() == all).then_some(())
    })
    .await;
    until("nothing waits", async || {
        let row = sqlx::query("SELECT count(*) FROM outbox").fetch_one(database.pool());
        let count: i64 = row.await.unwrap().try_get(0).unwrap();
        (count == 0).then_some(())
    })
    .await;
    for (key, numbers) in recorder.by_key() {
        let numbers = first_times(&numbers);
        assert!(numbers.into_iter().eq(0..count as u64), "{key}");
    }
    stop.cancel();
    let ended = tokio::time::timeout(DEADLINE, relaying).await;
    ended.expect("the relay does not end").unwrap();
    rig.gone(member.stop().await).await;
}

/// Writes messages in a transaction.
async fn write(database: &Database, messages: &[Outgoing]) -> Result<(), sqlx::Error> {
    let mut transaction = database.pool().begin().await?;
    OutboxTable::write(&mut transaction, messages).await?;
    transaction.commit().await
}
