//! What holds whatever carries the messages: one suite against memory, a real Kafka, and a real sidecar of Dapr in front of
//! that Kafka. What carries them is killed in the middle.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panic"
)]

mod cases;
mod dapr;
mod databases;
mod kafka;
mod memory;
mod messages;
mod once;
mod relayed;
mod rig;
mod suite;

use std::sync::Arc;

use crate::cases::{Cases, Storm};
use crate::databases::Databases;
use crate::rig::Rig;

/// All that holds in peace, at the same time, with `cases` of the transport alone; then all that holds in a storm.
async fn conforms(rig: Arc<dyn Rig>, databases: Databases, mut cases: Cases) {
    let rig = || Arc::clone(&rig);
    cases.add(suite::messages_arrive_as_they_were_in_the_order_of_their_keys(rig()));
    cases.add(suite::a_key_is_in_one_partition_whatever_carries_it(rig()));
    cases.add(suite::what_is_to_come_again_comes_before_what_is_behind_it(
        rig(),
    ));
    // The very first, and one in the middle.
    for n in [0, 2] {
        cases.add(suite::what_is_not_done_when_a_member_goes_is_there_for_the_next(rig(), n));
    }
    cases.add(suite::members_share_and_one_that_leaves_hands_over(rig()));
    cases.add(suite::each_group_gets_everything(rig()));
    cases.add(
        once::a_bad_message_stops_its_subject_alone_and_goes_on_where_it_stopped(
            rig(),
            databases.clone(),
        ),
    );
    cases.run().await;

    let mut cases = Cases::default();
    let storm = Storm::over(2);
    cases.add(once::effects_happen_once_and_in_order(
        rig(),
        databases.clone(),
        storm.clone(),
    ));
    cases.add(relayed::what_is_written_is_sent_in_order(
        rig(),
        databases.clone(),
        storm.clone(),
    ));
    let raging = storm.rage(async || {
        rig().interrupt().await;
        databases.interrupt().await;
    });
    tokio::join!(cases.run(), raging);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_conforms() {
    let (rig, cases) = (memory::MemoryRig::default(), Cases::default());
    conforms(Arc::new(rig), Databases::start().await, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_conforms() {
    let databases = tokio::spawn(Databases::start());
    let rig = Arc::new(kafka::KafkaRig::start().await);
    let mut cases = Cases::default();
    let own = Arc::clone(&rig);
    cases.add(kafka::members_that_listen_get_what_is_sent_from_then_on(
        own,
    ));
    let own = Arc::clone(&rig);
    cases.add(kafka::a_user_proves_itself_over_tls(own));
    conforms(rig, databases.await.unwrap(), cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dapr_conforms() {
    let databases = tokio::spawn(Databases::start());
    let rig = Arc::new(dapr::DaprRig::start().await);
    let mut cases = Cases::default();
    let own = Arc::clone(&rig);
    cases.add(dapr::a_message_for_a_route_that_is_gone_comes_when_the_sidecar_asks_again(own));
    conforms(rig, databases.await.unwrap(), cases).await;
}
