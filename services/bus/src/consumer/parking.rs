//! Messages that cannot be handled, and those that wait behind them.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};
use todo_contracts::Envelope;
use todo_kit::database::{Database, DatabaseError};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Consumer, Failure, Order, Subscriber};
use crate::Delivery;

/// Time for the copy that goes to the operators' topic: it is evidence, and nothing waits for it.
const COPY: Duration = Duration::from_secs(5);
/// Time between two looks at whether parked messages are to be tried again.
const LOOK: Duration = Duration::from_secs(1);
/// Days after which nobody sends a message again.
const REMEMBERED_DAYS: i32 = 30;
/// Looks between two removals of what nobody sends again.
const LOOKS_A_CLEANING: u32 = 3_600;

/// What keeps its order when one message is parked.
pub(super) fn sequence_key(message: &Envelope, order: Order) -> String {
    let workspace = message.workspaceid.map(|id| id.to_string());
    match order {
        Order::Subject => message.subject.clone().or(workspace),
        Order::Workspace => workspace.or_else(|| message.subject.clone()),
    }
    .unwrap_or_else(|| message.id.to_string())
}

/// A message to be parked.
pub(super) struct Waiting {
    key: String,
    id: Uuid,
    topic: String,
    message_key: Option<String>,
    text: String,
    reason: String,
}

impl Waiting {
    pub(super) fn of(delivery: &Delivery, message: &Envelope, key: String, reason: &str) -> Self {
        Self {
            key,
            id: message.id,
            topic: delivery.topic.clone(),
            message_key: delivery.key.clone(),
            // What was read from JSON can be written as JSON.
            text: serde_json::to_string(message).unwrap_or_default(),
            reason: reason.to_owned(),
        }
    }

    /// A message that is no envelope has no subject: nothing waits behind it. The same text is the same message.
    fn unreadable(delivery: &Delivery, text: &str, reason: &str) -> Self {
        let place = format!("{}\n{}", delivery.topic, text);
        let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, place.as_bytes());
        Self {
            key: id.to_string(),
            id,
            topic: delivery.topic.clone(),
            message_key: delivery.key.clone(),
            // PostgreSQL's texts hold every character but this one.
            text: text.replace('\0', "\u{fffd}"),
            reason: reason.to_owned(),
        }
    }
}

/// Whether messages of one of these keys are parked.
pub(super) async fn any_waits(
    transaction: &mut PgConnection,
    consumer: &str,
    keys: &[String],
) -> Result<bool, sqlx::Error> {
    let sql = "SELECT EXISTS (SELECT FROM parked WHERE consumer = $1 AND sequence_key = ANY ($2))";
    sqlx::query(sql)
        .bind(consumer)
        .bind(keys)
        .fetch_one(transaction)
        .await?
        .try_get(0)
}

/// Keeps others from what is parked of a key, until the transaction ends.
pub(super) async fn lock(
    transaction: &mut PgConnection,
    consumer: &str,
    key: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1 || ':' || $2, 0))")
        .bind(consumer)
        .bind(key)
        .execute(transaction)
        .await
        .map(drop)
}

/// Parks a message behind those of its key.
pub(super) async fn insert(
    transaction: &mut PgConnection,
    consumer: &str,
    waiting: &Waiting,
) -> Result<(), sqlx::Error> {
    const INSERT: &str = "INSERT INTO parked (consumer, sequence_key, event_id, topic, message_key, message, reason)
                          VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (consumer, event_id) DO NOTHING";
    sqlx::query(INSERT)
        .bind(consumer)
        .bind(&waiting.key)
        .bind(waiting.id)
        .bind(&waiting.topic)
        .bind(&waiting.message_key)
        .bind(&waiting.text)
        .bind(&waiting.reason)
        .execute(transaction)
        .await
        .map(drop)
}

/// A parked message, as operators see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Parked {
    /// Who could not handle it.
    pub consumer: String,
    /// Messages of the same key wait for each other.
    pub sequence_key: String,
    /// Its id.
    pub event_id: Uuid,
    /// Where it came from.
    pub topic: String,
    /// The message.
    pub message: String,
    /// Why it was not handled.
    pub reason: String,
    /// Since when.
    pub parked_at: Timestamp,
}

/// What is parked, in the order in which it will be tried.
///
/// # Errors
/// If the database does not answer.
pub async fn list_parked(database: &Database) -> Result<Vec<Parked>, DatabaseError> {
    const LIST: &str = "SELECT consumer, sequence_key, event_id, topic, message, reason,
                               (extract(epoch FROM parked_at) * 1000)::bigint AS parked_at
                        FROM parked ORDER BY id";
    let read = |row: PgRow| -> Result<Parked, sqlx::Error> {
        Ok(Parked {
            consumer: row.try_get("consumer")?,
            sequence_key: row.try_get("sequence_key")?,
            event_id: row.try_get("event_id")?,
            topic: row.try_get("topic")?,
            message: row.try_get("message")?,
            reason: row.try_get("reason")?,
            parked_at: Timestamp::from_millisecond(row.try_get("parked_at")?).unwrap_or_default(),
        })
    };
    let rows = sqlx::query(LIST).fetch_all(database.pool()).await;
    rows.and_then(|rows| rows.into_iter().map(read).collect())
        .map_err(database.failed("list parked messages"))
}

/// Has the messages of a key tried again, in their order. Gives how many wait.
///
/// # Errors
/// If the database does not answer.
pub async fn retry_parked(
    database: &Database,
    consumer: &str,
    key: &str,
) -> Result<u64, DatabaseError> {
    let sql = "UPDATE parked SET retry_at = now() WHERE consumer = $1 AND sequence_key = $2";
    let done = sqlx::query(sql)
        .bind(consumer)
        .bind(key)
        .execute(database.pool())
        .await;
    done.map(|done| done.rows_affected())
        .map_err(database.failed("have parked messages tried again"))
}

/// Has all messages of a consumer tried again.
pub(super) async fn retry_all(database: &Database, consumer: &str) -> Result<(), DatabaseError> {
    let sql = "UPDATE parked SET retry_at = now() WHERE consumer = $1";
    let done = sqlx::query(sql)
        .bind(consumer)
        .execute(database.pool())
        .await;
    done.map(drop)
        .map_err(database.failed("have parked messages tried again"))
}

/// Gives a message up for good; those behind it are tried. Gives whether it was there.
///
/// # Errors
/// If the database does not answer.
pub async fn drop_parked(
    database: &Database,
    consumer: &str,
    event_id: Uuid,
) -> Result<bool, DatabaseError> {
    const DROP: &str = "
        WITH dropped AS (
            DELETE FROM parked WHERE consumer = $1 AND event_id = $2 RETURNING consumer, event_id, sequence_key
        ), noted AS (
            INSERT INTO inbox (consumer, event_id) SELECT consumer, event_id FROM dropped ON CONFLICT DO NOTHING
        ), behind AS (
            UPDATE parked SET retry_at = now() FROM dropped
            WHERE parked.consumer = dropped.consumer AND parked.sequence_key = dropped.sequence_key
              AND parked.event_id <> dropped.event_id
        )
        SELECT FROM dropped";
    let done = sqlx::query(DROP)
        .bind(consumer)
        .bind(event_id)
        .fetch_optional(database.pool())
        .await;
    done.map(|row| row.is_some())
        .map_err(database.failed("drop a parked message"))
}

impl<S: Subscriber> Consumer<S> {
    /// Parks a message that cannot be handled, and copies it to the operators' topic.
    pub(super) async fn park(&self, delivery: &Delivery, reason: &str) -> Result<(), sqlx::Error> {
        let waiting = match &delivery.message {
            Ok(message) => {
                self.copy(delivery, message).await;
                let key = sequence_key(message, self.subscriber.order());
                Waiting::of(delivery, message, key, reason)
            }
            Err(unreadable) => Waiting::unreadable(delivery, &unreadable.text, reason),
        };
        let mut transaction = self.database.pool().begin().await?;
        lock(&mut transaction, &self.name, &waiting.key).await?;
        insert(&mut transaction, &self.name, &waiting).await?;
        transaction.commit().await?;
        tracing::error!(
            consumer = self.name,
            topic = waiting.topic,
            event = %waiting.id,
            key = waiting.key,
            reason,
            "a message is parked, and those of its key will wait behind it"
        );
        Ok(())
    }

    async fn copy(&self, delivery: &Delivery, message: &Envelope) {
        let (topic, id) = (format!("{}.dlq", self.name), message.id.to_string());
        let key = delivery.key.as_deref().unwrap_or(&id);
        match tokio::time::timeout(COPY, self.bus.publish(&topic, key, message)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "no copy of a parked message"),
            Err(_) => tracing::warn!(topic, "no copy of a parked message: nobody takes it"),
        }
    }

    /// Tries parked messages again when that is asked for, until `stop`.
    pub(super) async fn retry_parked_until(&self, stop: &CancellationToken) {
        let mut looks = 0_u32;
        loop {
            if let Err(error) = self.retry_what_is_due().await {
                tracing::warn!(%error, "parked messages wait");
            }
            if looks.is_multiple_of(LOOKS_A_CLEANING)
                && let Err(error) = self.forget().await
            {
                tracing::warn!(%error, "the inbox grows");
            }
            looks = looks.wrapping_add(1);
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn retry_what_is_due(&self) -> Result<(), sqlx::Error> {
        const STATE: &str = "SELECT sequence_key, count(*), bool_or(retry_at <= now()) IS TRUE
                             FROM parked WHERE consumer = $1 GROUP BY sequence_key";
        let rows = sqlx::query(STATE)
            .bind(&self.name)
            .fetch_all(self.database.pool())
            .await?;
        let mut waiting = 0_i64;
        for row in rows {
            waiting += row.try_get::<i64, _>(1)?;
            if row.try_get(2)? {
                let key: String = row.try_get(0)?;
                while self.retry_first(&key).await? {}
            }
        }
        self.metrics.parked(&self.name, waiting);
        Ok(())
    }

    /// Tries the first message of a key; whether another may follow.
    async fn retry_first(&self, key: &str) -> Result<bool, sqlx::Error> {
        const FIRST: &str = "SELECT id, event_id, topic, message FROM parked
                             WHERE consumer = $1 AND sequence_key = $2 ORDER BY id LIMIT 1";
        let mut transaction = self.database.pool().begin().await?;
        lock(&mut transaction, &self.name, key).await?;
        let first = sqlx::query(FIRST)
            .bind(&self.name)
            .bind(key)
            .fetch_optional(&mut *transaction)
            .await?;
        let Some(first) = first else { return Ok(false) };
        let (id, event_id): (i64, Uuid) = (first.try_get("id")?, first.try_get("event_id")?);
        let (topic, text): (String, String) = (first.try_get("topic")?, first.try_get("message")?);
        let is_new = !self
            .note(&mut transaction, vec![event_id])
            .await?
            .is_empty();
        let applied = match serde_json::from_str::<Envelope>(&text) {
            Ok(message) if is_new => self.apply_one(&mut transaction, &topic, &message).await,
            Ok(_) => Ok(()),
            Err(error) => Err(Failure::Malformed(error.to_string())),
        };
        match applied {
            Ok(()) => {
                sqlx::query("DELETE FROM parked WHERE id = $1")
                    .bind(id)
                    .execute(&mut *transaction)
                    .await?;
                transaction.commit().await?;
                self.subscriber.committed();
                tracing::info!(consumer = self.name, event = %event_id, "a parked message is handled");
                Ok(true)
            }
            // It is tried again at the next look.
            Err(Failure::Unavailable(reason)) => {
                tracing::warn!(reason, "parked messages wait");
                Ok(false)
            }
            Err(Failure::Rejected(reason) | Failure::Malformed(reason)) => {
                transaction.rollback().await?;
                self.still_parked(key, id, &reason).await?;
                Ok(false)
            }
        }
    }

    async fn still_parked(&self, key: &str, id: i64, reason: &str) -> Result<(), sqlx::Error> {
        const STILL: &str =
            "UPDATE parked SET retry_at = NULL, reason = CASE id WHEN $3 THEN $4 ELSE reason END
                             WHERE consumer = $1 AND sequence_key = $2";
        tracing::error!(
            consumer = self.name,
            key,
            reason,
            "a parked message failed again"
        );
        sqlx::query(STILL)
            .bind(&self.name)
            .bind(key)
            .bind(id)
            .bind(reason)
            .execute(self.database.pool())
            .await
            .map(drop)
    }

    /// Forgets messages that nobody sends again.
    async fn forget(&self) -> Result<(), sqlx::Error> {
        let sql = "DELETE FROM inbox WHERE consumer = $1 AND handled_at < now() - make_interval(days => $2)";
        sqlx::query(sql)
            .bind(&self.name)
            .bind(REMEMBERED_DAYS)
            .execute(self.database.pool())
            .await
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(workspace: bool, subject: bool) -> Envelope {
        let mut wire = json!({
            "specversion": "1.0", "id": "019a2d3c-0000-7000-8000-000000000001",
            "source": "/todo/test", "type": "t", "data": {},
        });
        if workspace {
            wire["workspaceid"] = json!("019a2d3c-0000-7000-8000-0000000000aa");
        }
        if subject {
            wire["subject"] = json!("s");
        }
        serde_json::from_value(wire).unwrap()
    }

    #[test]
    fn what_waits_is_what_belongs_together() {
        let both = message(true, true);
        assert_eq!(sequence_key(&both, Order::Subject), "s");
        let workspace = "019a2d3c-0000-7000-8000-0000000000aa";
        assert_eq!(sequence_key(&both, Order::Workspace), workspace);
        assert_eq!(
            sequence_key(&message(true, false), Order::Subject),
            workspace
        );
        assert_eq!(sequence_key(&message(false, true), Order::Workspace), "s");
        let alone = message(false, false);
        assert_eq!(sequence_key(&alone, Order::Subject), alone.id.to_string());
    }
}
