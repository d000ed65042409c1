//! Order, keys, groups.

use std::sync::Arc;
use std::time::Duration;

use crate::messages::{Recorder, first_times, keys, message, messages};
use crate::rig::{Member, PARTITIONS, Rig, until};

pub async fn messages_arrive_as_they_were_in_the_order_of_their_keys(rig: &mut dyn Rig) {
    let (topic, group) = ("order", "order.readers");
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

pub async fn a_key_is_in_one_partition_whatever_carries_it(rig: &mut dyn Rig) {
    let topic = "keys";
    rig.topic(topic).await;
    let bus = rig.bus("keys.readers").await;
    let keys = keys(12);
    for result in bus.publish_all(&messages(topic, &keys, 0..3)).await {
        result.unwrap();
    }
    for key in &keys {
        let expected = [todo_bus::partition::of(key.as_bytes(), PARTITIONS)];
        assert_eq!(
            rig.partitions_of(topic, key).await,
            expected.into(),
            "{key}"
        );
    }
    rig.gone(bus).await;
}

pub async fn what_is_to_come_again_comes_before_what_is_behind_it(rig: &mut dyn Rig) {
    let (topic, group) = ("again", "again.readers");
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

pub async fn members_share_and_one_that_leaves_hands_over(rig: &mut dyn Rig) {
    const COUNT: u64 = 60;
    let (topic, group) = ("shared", "shared.readers");
    rig.topic(topic).await;
    let keys = keys(10);
    let slow = Duration::from_millis(4);
    let (first, second) = (Recorder::slow(slow), Recorder::slow(slow));
    let bus = rig.bus(group).await;
    let leaving = Member::start(bus, group, &[topic], Arc::new(first.clone())).await;
    let bus = rig.bus(group).await;
    let staying = Member::start(bus, group, &[topic], Arc::new(second.clone())).await;
    let publishing = {
        let (bus, sent) = (Arc::clone(&staying.bus), messages(topic, &keys, 0..COUNT));
        tokio::spawn(async move {
            for part in sent.chunks(40) {
                for result in bus.publish_all(part).await {
                    result.unwrap();
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
    };
    until("one works", async || {
        (first.count() + second.count() >= 60).then_some(())
    })
    .await;
    rig.gone(leaving.stop().await).await;
    publishing.await.unwrap();
    let all = keys.len() * usize::try_from(COUNT).unwrap();
    until("all are handled", async || {
        let (mut seen, more) = (first.seen(), second.seen());
        seen.extend(more);
        seen.sort_by_key(|message| message.id);
        seen.dedup_by_key(|message| message.id);
        (seen.len() == all).then_some(())
    })
    .await;
    let (first, mut handled) = (first.by_key(), second.by_key());
    for (key, mut numbers) in first {
        let later = handled.remove(&key).unwrap_or_default();
        // Whoever leaves has committed what it did: nothing comes twice.
        numbers.extend(later);
        handled.insert(key, numbers);
    }
    for (key, numbers) in handled {
        let mut once = numbers.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), numbers.len(), "{key}: {numbers:?}");
    }
    rig.gone(staying.stop().await).await;
}

pub async fn each_group_gets_everything(rig: &mut dyn Rig) {
    let topic = "groups";
    rig.topic(topic).await;
    let keys = keys(3);
    let mut members = Vec::new();
    for group in ["groups.one", "groups.two"] {
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
        assert_eq!(recorder.by_key().len(), 3);
        rig.gone(member.stop().await).await;
    }
}
