//! Dapr: a sidecar that knows the broker, so that the process need not. Two endpoints of HTTP: one of the sidecar's, to
//! publish; one of ours, to receive.
//!
//! The component of the sidecar must say `initialOffset: oldest` and `consumeRetryEnabled: "true"`, and `consumerID` is the
//! group. What cannot be handled is parked by our own consumer: Dapr's dead letters would leave its order.

mod publish;
mod receive;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use clap::Args;
use todo_kit::arguments::name;
use tokio_util::sync::CancellationToken;

use self::publish::Publisher;
use crate::{BusError, EventBus, Handler, Mode, Outgoing, Subscription};

const TRANSPORT: &str = "Dapr";

/// Where the sidecar is.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Dapr")]
#[group(skip)]
pub struct Options {
    /// Address of the sidecar's HTTP API.
    #[arg(
        long,
        env = "DAPR_HTTP_ENDPOINT",
        value_name = "URL",
        default_value = "http://127.0.0.1:3500"
    )]
    pub dapr_http_endpoint: String,
    /// Name of the sidecar's component for messages.
    #[arg(long, env = "DAPR_PUBSUB", value_name = "NAME", default_value = "pubsub", value_parser = name)]
    pub dapr_pubsub: String,
    /// Address on which messages are taken from the sidecar, whose `--app-port` it is.
    #[arg(
        long,
        env = "DAPR_APP_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:3501"
    )]
    pub dapr_app_listen: SocketAddr,
}

/// Messages over Dapr.
pub struct DaprBus {
    options: Options,
    drain: Duration,
    publisher: Publisher,
    is_receiving: AtomicBool,
}

impl fmt::Debug for DaprBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DaprBus").field(&self.options).finish()
    }
}

impl DaprBus {
    /// A bus of a process that has `drain` to end what is in work when it stops.
    ///
    /// # Errors
    /// If the address of the sidecar is none.
    pub fn new(options: Options, drain: Duration) -> Result<Self, BusError> {
        let publisher = Publisher::new(&options)?;
        Ok(Self {
            options,
            drain,
            publisher,
            is_receiving: AtomicBool::new(false),
        })
    }
}

fn misconfigured(reason: String) -> BusError {
    BusError::Misconfigured {
        transport: TRANSPORT,
        reason,
    }
}

#[async_trait]
impl EventBus for DaprBus {
    async fn publish_all(&self, messages: &[Outgoing]) -> Vec<Result<(), BusError>> {
        self.publisher.publish_all(messages).await
    }

    async fn run(
        &self,
        subscription: Subscription,
        handler: Arc<dyn Handler>,
        stop: CancellationToken,
    ) -> Result<(), BusError> {
        if subscription.mode == Mode::Broadcast {
            return Err(misconfigured(
                "it has no broadcast; give each pod a group of its own (`consumerID: {podName}`), and share that".to_owned(),
            ));
        }
        // The sidecar asks once for all subscriptions of a process.
        if self.is_receiving.swap(true, Ordering::AcqRel) {
            return Err(misconfigured(
                "a process has one subscription; put all its topics into that".to_owned(),
            ));
        }
        let received = receive::run(&self.options, subscription, handler, stop, self.drain).await;
        self.is_receiving.store(false, Ordering::Release);
        received
    }
}
