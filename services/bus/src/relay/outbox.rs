//! An outbox for services that keep no event log.

use async_trait::async_trait;
use sqlx::{PgConnection, Row as _};
use todo_kit::database::migrate::Step;

use super::{Limit, Outbox, Pending};
use crate::Outgoing;

/// The migration that makes the table. Numbers below 100 are those of this crate.
pub const MIGRATION: Step = Step {
    version: 2,
    name: "outbox",
    sql: "
        CREATE TABLE outbox (
            position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            topic text NOT NULL,
            message_key text NOT NULL,
            message jsonb NOT NULL
        );
        -- Nothing stays, so nothing is worth compressing; and the size of what is stored is the size of what is read.
        ALTER TABLE outbox ALTER COLUMN message SET STORAGE EXTERNAL;
    ",
};

/// The table `outbox`. A row is gone when its message is sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct OutboxTable;

impl OutboxTable {
    /// Writes messages that are sent if the transaction is committed, in their order.
    ///
    /// Two transactions that write messages of one key must not run beside each other: whoever comes second to commit could have
    /// the lower positions. A row that both lock first sees to that.
    ///
    /// # Errors
    /// If the database does not take them.
    pub async fn write(
        transaction: &mut PgConnection,
        messages: &[Outgoing],
    ) -> Result<(), sqlx::Error> {
        const WRITE: &str = "INSERT INTO outbox (topic, message_key, message)
                             SELECT * FROM unnest($1::text[], $2::text[], $3::jsonb[])";
        let column = |read: fn(&Outgoing) -> &String| -> Vec<&str> {
            messages
                .iter()
                .map(|message| read(message).as_str())
                .collect()
        };
        let bodies = messages
            .iter()
            .map(|message| serde_json::to_value(&message.message));
        let bodies: Result<Vec<_>, _> = bodies.collect();
        sqlx::query(WRITE)
            .bind(column(|message| &message.topic))
            .bind(column(|message| &message.key))
            .bind(bodies.map_err(|error| sqlx::Error::Encode(Box::new(error)))?)
            .execute(transaction)
            .await
            .map(drop)
    }
}

#[async_trait]
impl Outbox for OutboxTable {
    async fn pending(
        &self,
        connection: &mut PgConnection,
        limit: Limit,
        without_keys: &[String],
    ) -> Result<Vec<Pending>, sqlx::Error> {
        // Messages are fetched only after they were chosen by their sizes.
        const PENDING: &str = "
            WITH first AS (
                SELECT position, topic, message_key, message, pg_column_size(message) AS bytes FROM outbox
                WHERE message_key <> ALL ($3) ORDER BY position LIMIT $1
            ), measured AS (
                SELECT *, sum(bytes) OVER (ORDER BY position) - bytes AS before FROM first
            )
            SELECT position, topic, message_key, message FROM measured WHERE before < $2 ORDER BY position";
        let rows = sqlx::query(PENDING)
            .bind(limit.messages)
            .bind(limit.bytes)
            .bind(without_keys)
            .fetch_all(connection)
            .await?;
        let read = |row: &sqlx::postgres::PgRow| {
            let message = serde_json::from_value(row.try_get("message")?);
            Ok(Pending {
                position: row.try_get("position")?,
                outgoing: Outgoing {
                    topic: row.try_get("topic")?,
                    key: row.try_get("message_key")?,
                    message: message.map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
                },
            })
        };
        rows.iter().map(read).collect()
    }

    async fn sent(
        &self,
        connection: &mut PgConnection,
        positions: &[i64],
    ) -> Result<(), sqlx::Error> {
        sqlx::query("DELETE FROM outbox WHERE position = ANY ($1)")
            .bind(positions)
            .execute(connection)
            .await
            .map(drop)
    }
}
