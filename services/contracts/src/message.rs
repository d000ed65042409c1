//! What a message's `data` is, by its `type`.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;

use crate::Topic;

/// What stands in the `data` of one type of message.
pub trait Payload: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// The `type` of the envelope.
    const TYPE: &'static str;
    /// The topic that such messages are sent to.
    const TOPIC: Topic;
}

/// Why a message cannot be read.
#[derive(Debug, Error)]
pub enum MessageError {
    /// Its type is not known here: it belongs elsewhere, or to a later version.
    #[error("{topic} has no messages of type {kind:?} that this version knows")]
    UnknownType {
        /// The `type`.
        kind: String,
        /// Where it was looked for.
        topic: Topic,
    },
    /// Its data is not what its type says.
    #[error("data of {kind}: {path}: {reason}")]
    Malformed {
        /// The `type`.
        kind: String,
        /// The field.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Reads `data`.
pub(crate) fn read<T: Payload>(data: &Value) -> Result<T, MessageError> {
    serde_path_to_error::deserialize(data).map_err(|error| MessageError::Malformed {
        kind: T::TYPE.to_owned(),
        path: error.path().to_string(),
        reason: error.inner().to_string(),
    })
}

/// Writes `data`.
pub(crate) fn write<T: Payload>(payload: &T) -> Value {
    // Keys are strings and numbers are finite in all of them, so there is nothing that JSON could not hold.
    serde_json::to_value(payload).unwrap_or_default()
}

/// Declares the messages of a topic: ties each struct to its type, and makes an enum of them for who reads the topic.
macro_rules! messages {
    ($(#[$doc:meta])* pub enum $name:ident on $topic:ident { $($payload:ident = $kind:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        #[allow(clippy::large_enum_variant, reason = "one is read, matched and dropped: nobody keeps many")]
        pub enum $name {
            $(#[doc = concat!("`", $kind, "`")] $payload($payload),)+
        }

        impl $name {
            /// The message of an envelope.
            ///
            /// # Errors
            /// If the type is not known here, or the data is not of that type.
            pub fn read(message: &$crate::Envelope) -> Result<Self, $crate::MessageError> {
                match message.kind.as_str() {
                    $($kind => $crate::message::read(&message.data).map(Self::$payload),)+
                    kind => Err($crate::MessageError::UnknownType {
                        kind: kind.to_owned(),
                        topic: $crate::Topic::$topic,
                    }),
                }
            }

            /// The `type` of its envelope.
            #[must_use]
            pub const fn kind(&self) -> &'static str {
                match self {
                    $(Self::$payload(_) => $kind,)+
                }
            }

            /// The `data` of its envelope.
            #[must_use]
            pub fn data(&self) -> serde_json::Value {
                match self {
                    $(Self::$payload(payload) => $crate::message::write(payload),)+
                }
            }

            /// All of them, for the catalog.
            pub(crate) fn entries() -> Vec<$crate::catalog::Entry> {
                vec![$($crate::catalog::Entry::of::<$payload>(stringify!($payload)),)+]
            }
        }

        $(
            impl $crate::Payload for $payload {
                const TYPE: &'static str = $kind;
                const TOPIC: $crate::Topic = $crate::Topic::$topic;
            }

            impl From<$payload> for $name {
                fn from(payload: $payload) -> Self {
                    Self::$payload(payload)
                }
            }
        )+
    };
}
pub(crate) use messages;
