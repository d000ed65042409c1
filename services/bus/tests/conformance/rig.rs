//! What the suite needs of a transport.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use todo_bus::{BusError, EventBus, Handler, Joined, Mode, Subscription};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long anything may take before a test fails. Far more than it takes.
pub const DEADLINE: Duration = Duration::from_secs(120);
/// Partitions of every topic.
pub const PARTITIONS: u32 = 4;

/// Keys, and the partitions in which each is found.
pub type Keys = BTreeMap<String, BTreeSet<u32>>;

/// A transport, with all that is around it.
#[async_trait(?Send)]
pub trait Rig: Send + Sync {
    /// What it is called.
    fn name(&self) -> &'static str;

    /// A topic and a group of a case, which no case with another transport has.
    fn names(&self, case: &str) -> (String, String) {
        let topic = format!("{}-{case}", self.name());
        let group = format!("{topic}.readers");
        (topic, group)
    }

    /// Makes a topic.
    async fn topic(&self, name: &str);

    /// A bus as another process of the group would have it.
    async fn bus(&self, group: &str) -> Arc<dyn EventBus>;

    /// Kills what carries the messages, and brings it back.
    async fn interrupt(&self);

    /// The keys of what was sent to a topic, and the partitions in which each is found.
    async fn keys_in(&self, topic: &str) -> Keys;

    /// Whether nothing comes twice when members come and go in order.
    fn hands_over_cleanly(&self) -> bool {
        true
    }

    /// A process has ended: what was started for it goes.
    async fn gone(&self, bus: Arc<dyn EventBus>);
}

/// A member of a group at work.
pub struct Member {
    pub bus: Arc<dyn EventBus>,
    stop: CancellationToken,
    running: JoinHandle<Result<(), BusError>>,
}

impl Member {
    /// Starts one, and waits until it gets messages.
    pub async fn start(
        bus: Arc<dyn EventBus>,
        group: &str,
        topics: &[&str],
        handler: Arc<dyn Handler>,
    ) -> Self {
        let subscription = subscription(group, topics);
        let (joined, stop) = (subscription.joined.clone(), CancellationToken::new());
        let running = {
            let (bus, stop) = (Arc::clone(&bus), stop.clone());
            tokio::spawn(async move { bus.run(subscription, handler, stop).await })
        };
        tokio::time::timeout(DEADLINE, joined.wait())
            .await
            .expect("it never gets messages");
        Self { bus, stop, running }
    }

    /// Tells it to end; it must end well.
    pub async fn stop(self) -> Arc<dyn EventBus> {
        self.stop.cancel();
        let ended = tokio::time::timeout(DEADLINE, self.running).await;
        ended.expect("it does not end").unwrap().unwrap();
        self.bus
    }
}

pub fn subscription(group: &str, topics: &[&str]) -> Subscription {
    Subscription {
        group: group.to_owned(),
        topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
        mode: Mode::Shared,
        joined: Joined::default(),
    }
}

/// Looks until there is something.
pub async fn until<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
