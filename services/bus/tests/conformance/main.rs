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
use crate::dapr::DaprRig;
use crate::databases::Databases;
use crate::kafka::KafkaRig;
use crate::rig::Rig;

/// All that holds in peace, at the same time, with `cases` of single transports; then all that holds in a storm.
async fn conform(rigs: &[Arc<dyn Rig>], databases: Databases, mut cases: Cases) {
    for rig in rigs {
        in_peace(&mut cases, rig, &databases);
    }
    cases.run().await;

    let (mut cases, storm) = (Cases::default(), Storm::over(2 * rigs.len()));
    for rig in rigs {
        in_a_storm(&mut cases, rig, &databases, &storm);
    }
    let raging = storm.rage(async || {
        for rig in rigs {
            rig.interrupt().await;
        }
        databases.interrupt().await;
    });
    tokio::join!(cases.run(), raging);
}

fn in_peace(cases: &mut Cases, rig: &Arc<dyn Rig>, databases: &Databases) {
    let (name, rig) = (rig.as_ref(), || Arc::clone(rig));
    cases.add(
        name,
        suite::messages_arrive_as_they_were_in_the_order_of_their_keys(rig()),
    );
    cases.add(
        name,
        suite::a_key_is_in_one_partition_whatever_carries_it(rig()),
    );
    cases.add(
        name,
        suite::what_is_to_come_again_comes_before_what_is_behind_it(rig()),
    );
    // The very first, and one in the middle.
    for n in [0, 2] {
        let case = suite::what_is_not_done_when_a_member_goes_is_there_for_the_next(rig(), n);
        cases.add(name, case);
    }
    cases.add(
        name,
        suite::members_share_and_one_that_leaves_hands_over(rig()),
    );
    cases.add(name, suite::each_group_gets_everything(rig()));
    let databases = databases.clone();
    let case =
        once::a_bad_message_stops_its_subject_alone_and_goes_on_where_it_stopped(rig(), databases);
    cases.add(name, case);
}

fn in_a_storm(cases: &mut Cases, rig: &Arc<dyn Rig>, databases: &Databases, storm: &Storm) {
    let (name, rig) = (rig.as_ref(), || Arc::clone(rig));
    let case = once::effects_happen_once_and_in_order(rig(), databases.clone(), storm.clone());
    cases.add(name, case);
    let case = relayed::what_is_written_is_sent_in_order(rig(), databases.clone(), storm.clone());
    cases.add(name, case);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_conforms() {
    let rig: Arc<dyn Rig> = Arc::new(memory::MemoryRig::default());
    conform(&[rig], Databases::start().await, Cases::default()).await;
}

/// Together, because a sidecar is in front of a broker, and that is a lot to start.
#[tokio::test(flavor = "multi_thread")]
async fn kafka_and_dapr_conform() {
    let databases = tokio::spawn(Databases::start());
    let kafka = Arc::new(KafkaRig::start().await);
    let dapr = Arc::new(DaprRig::before(Arc::clone(&kafka)));
    let mut cases = Cases::default();
    let rig = || Arc::clone(&kafka);
    cases.add(
        &*kafka,
        kafka::members_that_listen_get_what_is_sent_from_then_on(rig()),
    );
    cases.add(&*kafka, kafka::a_user_proves_itself_over_tls(rig()));
    let rig = Arc::clone(&dapr);
    let case = dapr::a_message_for_a_route_that_is_gone_comes_when_the_sidecar_asks_again(rig);
    cases.add(&*dapr, case);
    conform(&[kafka, dapr], databases.await.unwrap(), cases).await;
}
