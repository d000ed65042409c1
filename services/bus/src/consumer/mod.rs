//! Handling each message once.
//!
//! What a [`Subscriber`] does is done in one transaction with the note that the message is handled (the inbox), so that a
//! message that comes again changes nothing. One that cannot be handled is tried a few times and then parked: those of the
//! same subject that follow it are parked behind it, in their order, and all others go on.

mod apply;
mod parking;
mod policy;
mod schema;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use sqlx::PgConnection;
use todo_contracts::{Envelope, MessageError};
use todo_kit::database::{Database, is_transient};
use todo_kit::metrics::{Metrics, Outcome};
use tokio_util::sync::CancellationToken;

pub use self::parking::{Parked, drop_parked, list_parked, retry_parked};
pub use self::schema::MIGRATION;

use self::apply::{Applied, Trouble};
use crate::{BusError, Delivery, EventBus, Handler, Mode, Subscription, Verdict};

/// What follows a message that is parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Messages of the same subject.
    Subject,
    /// Messages of the same workspace: for who cannot do without one of them. One bad message stops a workspace.
    Workspace,
}

/// Why a message was not handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Something that is needed is not there at the moment; the message is as good as any. Tried until it is there.
    Unavailable(String),
    /// The message, or what it is about, is not as it should be. Tried a few times, then parked.
    Rejected(String),
    /// The message cannot be read, and never will be by this version. Parked at once.
    Malformed(String),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        match is_transient(&error) {
            true => Self::Unavailable(error.to_string()),
            false => Self::Rejected(error.to_string()),
        }
    }
}

impl From<MessageError> for Failure {
    fn from(error: MessageError) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// Does what messages lead to.
#[async_trait]
pub trait Subscriber: Send + Sync + 'static {
    /// What follows a message that is parked.
    fn order(&self) -> Order {
        Order::Subject
    }

    /// Does what a message leads to, within a transaction. A type that is not known is to be passed over.
    async fn apply(
        &self,
        transaction: &mut PgConnection,
        topic: &str,
        message: &Envelope,
    ) -> Result<(), Failure>;

    /// Called when messages are handled and that is kept safe.
    fn committed(&self) {}
}

/// Handles each message once.
pub struct Consumer<S> {
    name: String,
    database: Database,
    bus: Arc<dyn EventBus>,
    subscriber: S,
    metrics: Metrics,
    /// How often in a row something was not there.
    unavailable: AtomicU32,
}

impl<S: Subscriber> Consumer<S> {
    /// A consumer that remembers what it has handled, under that name, in a database with the tables of [`MIGRATION`].
    #[must_use]
    pub fn new(
        name: &str,
        database: Database,
        bus: Arc<dyn EventBus>,
        subscriber: S,
        metrics: Metrics,
    ) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            database,
            bus,
            subscriber,
            metrics,
            unavailable: AtomicU32::new(0),
        })
    }

    /// Handles the messages of a subscription until `stop`.
    ///
    /// # Errors
    /// If the transport is configured in a way that cannot work, or does not confirm the end.
    pub async fn run(
        self: Arc<Self>,
        subscription: Subscription,
        stop: CancellationToken,
    ) -> Result<(), BusError> {
        if subscription.mode != Mode::Shared {
            return Err(BusError::Misconfigured {
                transport: "the consumer",
                reason: "what every member gets is nobody's to remember; receive it with a Handler"
                    .to_owned(),
            });
        }
        let bus = Arc::clone(&self.bus);
        let handler: Arc<dyn Handler> = self.clone();
        // A message that this version can handle may have been parked by the one before it.
        if let Err(error) = parking::retry_all(&self.database, &self.name).await {
            tracing::warn!(%error, "parked messages are not tried again");
        }
        let parked = CancellationToken::new();
        let retrying = {
            let (consumer, parked) = (Arc::clone(&self), parked.clone());
            tokio::spawn(async move { consumer.retry_parked_until(&parked).await })
        };
        let result = bus.run(subscription, handler, stop).await;
        parked.cancel();
        if let Err(error) = retrying.await {
            tracing::error!(%error, "what tried parked messages again has ended");
        }
        result
    }

    /// Handles one message, as often as it takes or makes sense.
    async fn handle_one(&self, delivery: &Delivery) -> Verdict {
        let mut attempt = 1;
        let reason = loop {
            match self.apply(std::slice::from_ref(delivery)).await {
                Ok(applied) => {
                    self.count(delivery, applied.outcome());
                    return Verdict::Done;
                }
                Err(Trouble::Unavailable(reason)) => {
                    self.count(delivery, Outcome::Error);
                    return self.wait(&reason);
                }
                Err(Trouble::Malformed(reason)) => break reason,
                Err(Trouble::Rejected(reason)) => {
                    let Some(pause) = policy::pause(attempt) else {
                        break reason;
                    };
                    self.count(delivery, Outcome::Error);
                    tracing::warn!(
                        consumer = self.name,
                        topic = delivery.topic,
                        attempt,
                        reason,
                        "a message failed"
                    );
                    tokio::time::sleep(pause).await;
                    attempt += 1;
                }
                // Only more than one can be divided.
                Err(Trouble::Divide) => break "it waits behind itself".to_owned(),
            }
        };
        match self.park(delivery, &reason).await {
            Ok(()) => {
                self.count(delivery, Outcome::Parked);
                Verdict::Done
            }
            Err(error) => self.wait(&error.to_string()),
        }
    }

    fn wait(&self, reason: &str) -> Verdict {
        let times = self.unavailable.fetch_add(1, Ordering::Relaxed);
        let after = policy::patience(times);
        tracing::warn!(consumer = self.name, reason, ?after, "messages wait");
        Verdict::Retry { done: 0, after }
    }

    fn count(&self, delivery: &Delivery, outcome: Outcome) {
        self.metrics.message(&delivery.topic, outcome);
    }
}

impl Applied {
    const fn outcome(self) -> Outcome {
        match self {
            Self::Done => Outcome::Ok,
            Self::Parked => Outcome::Parked,
        }
    }
}

#[async_trait]
impl<S: Subscriber> Handler for Consumer<S> {
    async fn handle(&self, batch: &[Delivery]) -> Verdict {
        if batch.len() > 1 {
            match self.apply(batch).await {
                Ok(_) => {
                    for delivery in batch {
                        self.count(delivery, Outcome::Ok);
                    }
                    return Verdict::Done;
                }
                Err(Trouble::Unavailable(reason)) => {
                    for delivery in batch {
                        self.count(delivery, Outcome::Error);
                    }
                    return self.wait(&reason);
                }
                // One by one it shows which.
                Err(Trouble::Rejected(_) | Trouble::Malformed(_) | Trouble::Divide) => {}
            }
        }
        for (done, delivery) in batch.iter().enumerate() {
            if let Verdict::Retry { after, .. } = self.handle_one(delivery).await {
                return Verdict::Retry { done, after };
            }
        }
        Verdict::Done
    }
}
