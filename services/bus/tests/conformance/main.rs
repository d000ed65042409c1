//! What holds whatever carries the messages: one suite against memory, a real Kafka, and a real sidecar of Dapr in front of
//! that Kafka. What carries them is killed in the middle.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panic"
)]

mod dapr;
mod kafka;
mod memory;
mod messages;
mod once;
mod relayed;
mod rig;
mod suite;

use crate::rig::Rig;

async fn all(rig: &mut dyn Rig) {
    suite::messages_arrive_as_they_were_in_the_order_of_their_keys(rig).await;
    suite::a_key_is_in_one_partition_whatever_carries_it(rig).await;
    suite::what_is_to_come_again_comes_before_what_is_behind_it(rig).await;
    suite::what_is_not_done_when_a_member_goes_is_there_for_the_next(rig).await;
    suite::members_share_and_one_that_leaves_hands_over(rig).await;
    suite::each_group_gets_everything(rig).await;
    once::effects_happen_once_and_in_order_when_the_carrier_is_killed(rig).await;
    once::a_bad_message_stops_its_subject_alone_and_goes_on_where_it_stopped(rig).await;
    relayed::what_is_written_is_sent_in_order_when_the_carrier_is_killed(rig).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_conforms() {
    all(&mut memory::MemoryRig::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_conforms() {
    let mut rig = kafka::KafkaRig::start().await;
    all(&mut rig).await;
    rig.members_that_listen_get_what_is_sent_from_then_on()
        .await;
    rig.a_user_proves_itself_over_tls().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dapr_conforms() {
    all(&mut dapr::DaprRig::start().await).await;
}
