//! Messages between services: sent with a key, received by groups, over Kafka, Dapr or memory.
//!
//! What holds whatever the transport: a message arrives at least once, those of a key in the order in which they were sent,
//! in the same partition, with the envelope as it was. [`consumer::Consumer`] makes "at least once" into "once" for what a
//! handler does in a database; [`relay`] sends what a service has decided, from its own database.

mod bus;
pub mod consumer;
pub mod dapr;
pub mod kafka;
pub mod memory;
pub mod partition;
pub mod relay;
pub mod topics;
pub mod transport;

pub use bus::{
    BusError, Delivery, EventBus, Handler, Joined, Mode, Outgoing, Subscription, Verdict,
};

/// The page's program is compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/services/bus.md")]
struct MessagesBetweenServices;
