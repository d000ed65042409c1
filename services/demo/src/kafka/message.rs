//! What lies in the topics: numbered messages, and what a worker says that it did with each.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A numbered message. Its key is the key in Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbered {
    /// Counted from 1 for each key.
    pub sequence: u64,
}

/// What a worker did, in the topic of records and under the same key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The message's number.
    pub sequence: u64,
    /// Who processed it.
    pub pod: String,
    /// The version of who processed it.
    pub version: String,
    /// Where it lay.
    pub partition: i32,
    /// Where it lay.
    pub offset: i64,
}

/// A message that is none of ours.
#[derive(Debug, Error)]
pub enum Unreadable {
    /// Its key is missing, or no text.
    #[error("it has no key that is a text")]
    Key,
    /// Its content is something else.
    #[error("its content is none that is known here: {0}")]
    Content(#[from] serde_json::Error),
}

/// Key and content of a message.
///
/// # Errors
/// If it is none of ours.
pub fn read<'a, T: Deserialize<'a>>(
    message: &'a impl rdkafka::Message,
) -> Result<(&'a str, T), Unreadable> {
    let key = message.key().map(std::str::from_utf8);
    let Some(Ok(key)) = key else {
        return Err(Unreadable::Key);
    };
    let content = serde_json::from_slice(message.payload().unwrap_or_default())?;
    Ok((key, content))
}

#[cfg(test)]
mod tests {
    use rdkafka::Timestamp;
    use rdkafka::message::OwnedMessage;

    use super::*;

    fn message(key: Option<&[u8]>, payload: &str) -> OwnedMessage {
        OwnedMessage::new(
            Some(payload.as_bytes().to_vec()),
            key.map(<[u8]>::to_vec),
            "orders".to_owned(),
            Timestamp::NotAvailable,
            0,
            0,
            None,
        )
    }

    #[test]
    fn a_record_can_be_read_as_the_numbered_message_that_it_is_about() {
        let record = r#"{"sequence":3,"pod":"p","version":"v","partition":0,"offset":9}"#;
        let message = message(Some(b"a"), record);
        let (key, numbered): (_, Numbered) = read(&message).unwrap();
        assert_eq!((key, numbered), ("a", Numbered { sequence: 3 }));
    }

    #[test]
    fn what_is_none_of_ours_says_why() {
        assert!(matches!(
            read::<Numbered>(&message(None, "{}")),
            Err(Unreadable::Key)
        ));
        assert!(matches!(
            read::<Numbered>(&message(Some(b"\xff"), "{}")),
            Err(Unreadable::Key)
        ));
        assert!(matches!(
            read::<Numbered>(&message(Some(b"a"), "{}")),
            Err(Unreadable::Content(_))
        ));
    }
}
