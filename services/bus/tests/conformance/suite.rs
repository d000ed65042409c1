//! Order, keys, groups.

use std::sync::Arc;
use std::time::Duration;

use todo_bus::EventBus;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::messages::{Recorder, by_key, first_times, keys, message, messages, number};
use crate::rig::{Member, PARTITIONS, Rig, until};

pub async fn messages_arrive_as_they_were_in_the_order_of_their_keys(rig: Arc<dyn Rig>) {
    let (topic, group) = &rig.names("order");
    rig.topic(topic).await;
    let bus = rig.bus(group).await;
    let sent = messages(topic, &keys(9), 0..40);
    // Before anybody listens, and after.
    for result in bus.publish_all(&sent[..100]).await {
        result.unwrap();
    }
    let recorder = Recorder::default();
    let member = Member::start(bus, group, &[topic], Arc::new(recorder.clone())).await;
    for result in member.bus.publish_all(&sent[100..]).await {
        result.unwrap();
    }
    until("all are handled", async || {
        (recorder.count() >= sent.len()).then_some(())
    })
    .await;
    let mut arrived = recorder.seen();
    for (key, numbers) in recorder.by_key() {
        assert_eq!(first_times(&numbers), (0..40).collect::<Vec<_>>(), "{key}");
    }
    let mut expected: Vec<_> = sent.into_iter().map(|outgoing| outgoing.message).collect();
    arrived.sort_by_key(|message| message.id);
    arrived.dedup();
    expected.sort_by_key(|message| message.id);
    for (arrived, expected) in arrived.iter().zip(&expected) {
        assert_eq!(arrived, expected);
    }
    assert_eq!(arrived.len(), expected.len());
    let mut keyless = message(topic, "", 0);
    keyless.key = String::new();
    let error = member
        .bus
        .publish_all(&[keyless])
        .await
        .remove(0)
        .unwrap_err();
    assert!(error.to_string().contains("no key"), "{error}");
    rig.gone(member.stop().await).await;
}

pub async fn a_key_is_in_one_partition_whatever_carries_it(rig: Arc<dyn Rig>) {
    let (topic, group) = &rig.names("keys");
    rig.topic(topic).await;
    let bus = rig.bus(group).await;
    let keys = keys(12);
    for result in bus.publish_all(&messages(topic, &keys, 0..3)).await {
        result.unwrap();
    }
    let expected = keys.into_iter().map(|key| {
        let partition = todo_bus::partition::of(key.as_bytes(), PARTITIONS);
        (key, [partition].into())
    });
    assert_eq!(rig.keys_in(topic).await, expected.collect());
    rig.gone(bus).await;
}

pub async fn what_is_to_come_again_comes_before_what_is_behind_it(rig: Arc<dyn Rig>) {
    let (topic, group) = &rig.names("again");
    rig.topic(topic).await;
    let bus = rig.bus(group).await;
    let keys = keys(6);
    let recorder = Recorder::default();
    recorder.again(&keys[0], 2, 3);
    let member = Member::start(bus, group, &[topic], Arc::new(recorder.clone())).await;
    for result in member.bus.publish_all(&messages(topic, &keys, 0..6)).await {
        result.unwrap();
    }
    until("all are handled", async || {
        (recorder.count() >= 6 * 6 + 3).then_some(())
    })
    .await;
    for (key, numbers) in recorder.by_key() {
        let expected: &[u64] = match key == keys[0] {
            true => &[0, 1, 2, 2, 2, 2, 3, 4, 5],
            false => &[0, 1, 2, 3, 4, 5],
        };
        assert_eq!(numbers, expected, "{key}");
    }
    rig.gone(member.stop().await).await;
}

/// A member goes while number `n` of every key is refused.
pub async fn what_is_not_done_when_a_member_goes_is_there_for_the_next(rig: Arc<dyn Rig>, n: u64) {
    let (topic, group) = &rig.names(&format!("undone-{n}"));
    rig.topic(topic).await;
    let keys = keys(6);
    let bus = rig.bus(group).await;
    for result in bus.publish_all(&messages(topic, &keys, 0..6)).await {
        result.unwrap();
    }
    let recorder = Recorder::default();
    for key in &keys {
        recorder.again(key, n, u32::MAX);
    }
    let member = Member::start(bus, group, &[topic], Arc::new(recorder.clone())).await;
    let refused = until("one is refused twice", async || {
        let handled = recorder.by_key().into_iter();
        let mut twice = handled.filter(|(_, numbers)| numbers.ends_with(&[n, n]));
        twice.next().map(|(key, _)| key)
    })
    .await;
    rig.gone(member.stop().await).await;
    let before = recorder.count();
    recorder.mend();
    let bus = rig.bus(group).await;
    let next = Member::start(bus, group, &[topic], Arc::new(recorder.clone())).await;
    until("all are handled by the next", async || {
        let again = by_key(recorder.seen()[before..].iter().map(number));
        let has_all = again.get(&refused)?.contains(&5);
        (has_all && recorder.first_times() == 6 * 6).then_some(())
    })
    .await;
    rig.gone(next.stop().await).await;
    let again = by_key(recorder.seen()[before..].iter().map(number));
    let expected: Vec<_> = (n..6).collect();
    assert!(first_times(&again[&refused]).ends_with(&expected));
    for (key, numbers) in recorder.by_key() {
        assert_eq!(first_times(&numbers), (0..6).collect::<Vec<_>>(), "{key}");
        let others = numbers.iter().filter(|other| **other != n).count();
        if rig.hands_over_cleanly() {
            assert_eq!(others, 5, "{key}: what was done was not committed");
        }
    }
}

pub async fn members_share_and_one_that_leaves_hands_over(rig: Arc<dyn Rig>) {
    let (topic, group) = &rig.names("shared");
    rig.topic(topic).await;
    let keys = keys(12);
    let first = Recorder::slow(Duration::from_millis(10));
    let second = first.sibling();
    let bus = rig.bus(group).await;
    let sending = Backlog::start(
        rig.bus(&format!("{group}-senders")).await,
        topic,
        &keys,
        &first,
    );
    let leaving = Member::start(bus, group, &[topic], Arc::new(first.clone())).await;
    // One comes while the other has a lot before it, and then that one goes.
    until("one works", async || {
        (first.own_count() >= 40).then_some(())
    })
    .await;
    let bus = rig.bus(group).await;
    let staying = Member::start(bus, group, &[topic], Arc::new(second.clone())).await;
    let both = async || (second.own_count() >= 20).then_some(());
    until("both work", both).await;
    rig.gone(leaving.stop().await).await;
    let left = second.own_count();
    until("one works alone", async || {
        (second.own_count() >= left + 40).then_some(())
    })
    .await;
    let (senders, count) = sending.end().await;
    let all = keys.len() * usize::try_from(count).unwrap();
    until("all are handled", async || {
        (first.first_times() == all).then_some(())
    })
    .await;
    rig.gone(staying.stop().await).await;
    rig.gone(senders).await;
    for (key, numbers) in first.by_key() {
        let expected: Vec<_> = (0..count).collect();
        assert_eq!(first_times(&numbers), expected, "{key}");
        if rig.hands_over_cleanly() {
            assert_eq!(numbers, expected, "{key}: what was done was not committed");
        }
    }
}

/// Sends so that there is always something to do, and not much.
struct Backlog {
    stop: CancellationToken,
    sending: JoinHandle<(Arc<dyn EventBus>, u64)>,
}

impl Backlog {
    fn start(bus: Arc<dyn EventBus>, topic: &str, keys: &[String], by: &Recorder) -> Self {
        let stop = CancellationToken::new();
        let (topic, keys) = (topic.to_owned(), keys.to_vec());
        let (by, stopped) = (by.clone(), stop.clone());
        let sending = tokio::spawn(async move {
            let mut next = 0;
            while !stopped.is_cancelled() {
                let sent = keys.len() * usize::try_from(next).unwrap();
                if sent > by.count() + 300 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    continue;
                }
                for result in bus
                    .publish_all(&messages(&topic, &keys, next..next + 5))
                    .await
                {
                    result.unwrap();
                }
                next += 5;
            }
            (bus, next)
        });
        Self { stop, sending }
    }

    /// Gives with what it sent, and how many of each key.
    async fn end(self) -> (Arc<dyn EventBus>, u64) {
        self.stop.cancel();
        self.sending.await.unwrap()
    }
}

pub async fn each_group_gets_everything(rig: Arc<dyn Rig>) {
    let (topic, group) = &rig.names("groups");
    rig.topic(topic).await;
    let keys = keys(3);
    let mut members = Vec::new();
    for group in [group, &format!("{group}-too")] {
        let (bus, recorder) = (rig.bus(group).await, Recorder::default());
        let handler = Arc::new(recorder.clone());
        members.push((Member::start(bus, group, &[topic], handler).await, recorder));
    }
    for result in members[0]
        .0
        .bus
        .publish_all(&messages(topic, &keys, 0..5))
        .await
    {
        result.unwrap();
    }
    for (member, recorder) in members {
        until("all are handled", async || {
            (recorder.count() >= 15).then_some(())
        })
        .await;
        rig.gone(member.stop().await).await;
        for key in &keys {
            let numbers = first_times(&recorder.by_key()[key]);
            assert_eq!(numbers, [0, 1, 2, 3, 4], "{key}");
        }
    }
}
