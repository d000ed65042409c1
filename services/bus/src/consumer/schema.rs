//! The tables of a consumer.

use todo_kit::database::migrate::Step;

/// The migration that makes them. Numbers below 100 are those of this crate.
pub const MIGRATION: Step = Step {
    version: 1,
    name: "inbox",
    sql: "
        CREATE TABLE inbox (
            consumer text NOT NULL,
            event_id uuid NOT NULL,
            handled_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (consumer, event_id)
        );
        CREATE INDEX inbox_by_age ON inbox USING brin (handled_at);
        CREATE TABLE parked (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            consumer text NOT NULL,
            sequence_key text NOT NULL,
            event_id uuid NOT NULL,
            topic text NOT NULL,
            message_key text,
            message text NOT NULL,
            reason text NOT NULL,
            parked_at timestamptz NOT NULL DEFAULT now(),
            retry_at timestamptz,
            UNIQUE (consumer, event_id)
        );
        CREATE INDEX parked_in_order ON parked (consumer, sequence_key, id);
    ",
};
