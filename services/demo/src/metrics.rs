//! What Prometheus reads. The names are those that canaries are judged by.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// Label of requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Answered {
    /// Status code.
    pub code: u16,
}

/// Labels of messages.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Processed {
    /// The topic's name in Kafka.
    pub topic: String,
    /// `ok`, `error` (it is tried again) or `parked` (it cannot be read, and never will be).
    pub result: &'static str,
}

/// Labels of lag.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Partition {
    /// The topic's name in Kafka.
    pub topic: String,
    /// The partition.
    pub partition: i32,
}

/// All metrics of a process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Requests answered.
    pub requests: Family<Answered, Counter>,
    /// How long answers took.
    pub request_seconds: Histogram,
    /// Messages processed, or tried.
    pub messages: Family<Processed, Counter>,
    /// Messages that this process has still to take, by partition.
    pub lag: Family<Partition, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let requests = Family::default();
        // 1 ms to 16 s: a limit on latency is somewhere in between.
        let request_seconds = Histogram::new(exponential_buckets(0.001, 1.5, 25));
        let (messages, lag) = (Family::default(), Family::default());
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
        Self {
            registry,
            requests,
            request_seconds,
            messages,
            lag,
        }
    }
}

impl Metrics {
    /// All metrics in the OpenMetrics text format.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    /// Counts a message.
    pub fn message(&self, topic: &str, result: &'static str) {
        let topic = topic.to_owned();
        self.messages
            .get_or_create(&Processed { topic, result })
            .inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_that_the_operator_asks_prometheus_for() {
        let metrics = Metrics::default();
        metrics
            .requests
            .get_or_create(&Answered { code: 503 })
            .inc();
        metrics.request_seconds.observe(0.004);
        metrics.message("todo-test.orders", "error");
        let partition = Partition {
            topic: "todo-test.orders".to_owned(),
            partition: 2,
        };
        metrics.lag.get_or_create(&partition).set(7);
        let text = metrics.text();
        for series in [
            "http_requests_total{code=\"503\"} 1",
            "http_request_duration_seconds_bucket{le=\"+Inf\"} 1",
            "messages_total{topic=\"todo-test.orders\",result=\"error\"} 1",
            "consumer_lag{topic=\"todo-test.orders\",partition=\"2\"} 7",
        ] {
            assert!(text.contains(series), "{series} is not in\n{text}");
        }
    }
}
