//! Handling messages in a transaction.

use std::collections::HashSet;

use sqlx::{PgConnection, Row as _};
use todo_contracts::Envelope;
use todo_kit::telemetry::propagation::{go_on, of_traceparent};
use tracing::Instrument as _;
use tracing::field::Empty;
use uuid::Uuid;

use super::parking::{self, sequence_key};
use super::{Consumer, Failure, Subscriber};
use crate::Delivery;

/// What became of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Applied {
    /// They are handled, now or before.
    Done,
    /// It waits behind another.
    Parked,
}

/// What was in the way.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Something is not there.
    Unavailable(String),
    /// A message fails.
    Rejected(String),
    /// A message cannot be read.
    Malformed(String),
    /// Some of them wait behind others, so each must be looked at.
    Divide,
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unavailable(reason) => Self::Unavailable(reason),
            Failure::Rejected(reason) => Self::Rejected(reason),
            Failure::Malformed(reason) => Self::Malformed(reason),
        }
    }
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Self {
        Failure::from(error).into()
    }
}

impl<S: Subscriber> Consumer<S> {
    /// Handles messages in one transaction: all of them, or none.
    pub(super) async fn apply(&self, batch: &[Delivery]) -> Result<Applied, Trouble> {
        let messages = readable(batch)?;
        let order = self.subscriber.order();
        let keys: Vec<_> = messages
            .iter()
            .map(|(_, message)| sequence_key(message, order))
            .collect();
        let mut transaction = self.database.pool().begin().await?;
        if parking::any_waits(&mut transaction, &self.name, &keys).await? {
            let ([(delivery, message)], [key]) = (messages.as_slice(), keys.as_slice()) else {
                return Err(Trouble::Divide);
            };
            // Whoever tries those before it again holds the lock, and may have ended by now.
            parking::lock(&mut transaction, &self.name, key).await?;
            if parking::any_waits(&mut transaction, &self.name, &keys).await? {
                let reason = "it waits behind a message that could not be handled";
                let waiting = parking::Waiting::of(delivery, message, key.clone(), reason);
                parking::insert(&mut transaction, &self.name, &waiting).await?;
                transaction.commit().await?;
                return Ok(Applied::Parked);
            }
        }
        let ids = messages.iter().map(|(_, message)| message.id).collect();
        let mut new = self.note(&mut transaction, ids).await?;
        for (delivery, message) in messages {
            // One that came before, or twice in this batch, is handled.
            if new.remove(&message.id) {
                self.apply_one(&mut transaction, &delivery.topic, message)
                    .await?;
            }
        }
        transaction.commit().await?;
        self.unavailable
            .store(0, std::sync::atomic::Ordering::Relaxed);
        self.subscriber.committed();
        Ok(Applied::Done)
    }

    /// Notes messages as handled; gives those that were not.
    pub(super) async fn note(
        &self,
        transaction: &mut PgConnection,
        ids: Vec<Uuid>,
    ) -> Result<HashSet<Uuid>, sqlx::Error> {
        const NOTE: &str =
            "INSERT INTO inbox (consumer, event_id) SELECT $1, id FROM unnest($2::uuid[]) AS id
                            ON CONFLICT DO NOTHING RETURNING event_id";
        let rows = sqlx::query(NOTE)
            .bind(&self.name)
            .bind(ids)
            .fetch_all(transaction)
            .await?;
        rows.iter().map(|row| row.try_get(0)).collect()
    }

    /// Does what one message leads to, in its trace.
    pub(super) async fn apply_one(
        &self,
        transaction: &mut PgConnection,
        topic: &str,
        message: &Envelope,
    ) -> Result<(), Failure> {
        let span = tracing::info_span!(
            "consume",
            otel.name = %format_args!("consume {}", message.kind),
            otel.kind = "consumer",
            trace_id = Empty,
            event = %message.id,
        );
        go_on(&span, of_traceparent(message.traceparent.as_deref()));
        let applying = self.subscriber.apply(transaction, topic, message);
        applying.instrument(span).await
    }
}

/// The envelopes of deliveries.
fn readable<'a>(batch: &'a [Delivery]) -> Result<Vec<(&'a Delivery, &'a Envelope)>, Trouble> {
    let read = |delivery: &'a Delivery| match &delivery.message {
        Ok(message) => Ok((delivery, message)),
        Err(unreadable) => Err(Trouble::Malformed(unreadable.to_string())),
    };
    batch.iter().map(read).collect()
}
