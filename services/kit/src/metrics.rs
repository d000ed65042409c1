//! What Prometheus reads. The names of those that every service has are the ones by which canaries are judged.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// Label of requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    code: u16,
}

/// How a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was handled, now or before.
    Ok,
    /// It failed, and is tried again.
    Error,
    /// It cannot be handled, or waits for one that cannot.
    Parked,
}

/// Labels of messages.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Handled {
    topic: String,
    result: &'static str,
}

/// Labels of lag.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Partition {
    topic: String,
    partition: i32,
}

/// Label of parked messages.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Consumer {
    consumer: String,
}

/// All metrics of a process. Clones are the same.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Mutex<Registry>,
    requests: Family<Answered, Counter>,
    request_seconds: Histogram,
    messages: Family<Handled, Counter>,
    lag: Family<Partition, Gauge>,
    parked: Family<Consumer, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let requests = Family::default();
        // 1 ms to 16 s: a limit on latency is somewhere in between.
        let request_seconds = Histogram::new(exponential_buckets(0.001, 1.5, 25));
        let (messages, lag, parked) = (Family::default(), Family::default(), Family::default());
        registry.register(
            "http_requests",
            "Requests by status code",
            Family::clone(&requests),
        );
        registry.register_with_unit(
            "http_request_duration",
            "Time from a request to its answer",
            Unit::Seconds,
            request_seconds.clone(),
        );
        registry.register("messages", "Messages by result", Family::clone(&messages));
        registry.register(
            "consumer_lag",
            "Messages not yet committed",
            Family::clone(&lag),
        );
        registry.register(
            "parked_messages",
            "Messages that could not be handled, and those that wait behind them",
            Family::clone(&parked),
        );
        Self(Arc::new(Inner {
            registry: Mutex::new(registry),
            requests,
            request_seconds,
            messages,
            lag,
            parked,
        }))
    }
}

impl Metrics {
    /// All metrics in the OpenMetrics text format.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.register(|registry| {
            // Writing to a String cannot fail.
            let _ = encode(&mut text, registry);
        });
        text
    }

    /// Lets a service add metrics of its own.
    pub fn register<T>(&self, add: impl FnOnce(&mut Registry) -> T) -> T {
        let registry = &self.0.registry;
        add(&mut registry.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts an answer.
    pub fn request(&self, code: u16, seconds: f64) {
        self.0.requests.get_or_create(&Answered { code }).inc();
        self.0.request_seconds.observe(seconds);
    }

    /// Counts a message.
    pub fn message(&self, topic: &str, outcome: Outcome) {
        let result = match outcome {
            Outcome::Ok => "ok",
            Outcome::Error => "error",
            Outcome::Parked => "parked",
        };
        let topic = topic.to_owned();
        self.0
            .messages
            .get_or_create(&Handled { topic, result })
            .inc();
    }

    /// Says how many messages of a consumer are parked.
    pub fn parked(&self, consumer: &str, messages: i64) {
        let consumer = consumer.to_owned();
        self.0
            .parked
            .get_or_create(&Consumer { consumer })
            .set(messages);
    }

    /// Says how many messages of a partition are not yet committed; nothing, if the partition is somebody else's.
    pub fn lag(&self, topic: &str, partition: i32, messages: Option<i64>) {
        let labels = Partition {
            topic: topic.to_owned(),
            partition,
        };
        match messages {
            Some(messages) => {
                self.0.lag.get_or_create(&labels).set(messages);
            }
            None => {
                self.0.lag.remove(&labels);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_that_the_operator_asks_prometheus_for() {
        let metrics = Metrics::default();
        metrics.request(503, 0.004);
        metrics.message("todo-test.orders", Outcome::Error);
        metrics.lag("todo-test.orders", 2, Some(7));
        metrics.parked("todo-test.views", 3);
        let text = metrics.text();
        for series in [
            "http_requests_total{code=\"503\"} 1",
            "http_request_duration_seconds_bucket{le=\"+Inf\"} 1",
            "messages_total{topic=\"todo-test.orders\",result=\"error\"} 1",
            "consumer_lag{topic=\"todo-test.orders\",partition=\"2\"} 7",
            "parked_messages{consumer=\"todo-test.views\"} 3",
        ] {
            assert!(text.contains(series), "{series} is not in\n{text}");
        }
    }

    #[test]
    fn the_lag_of_a_partition_that_is_gone_is_not_told_any_more() {
        let metrics = Metrics::default();
        metrics.lag("t", 0, Some(7));
        metrics.lag("t", 0, None);
        assert!(!metrics.text().contains("consumer_lag{"));
    }

    #[test]
    fn a_service_adds_metrics_of_its_own() {
        let metrics = Metrics::default();
        let published = Counter::<u64>::default();
        metrics.register(|registry| registry.register("published", "Sent", published.clone()));
        published.inc();
        assert!(metrics.text().contains("published_total 1"));
    }
}
