//! What Prometheus reads.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// Labels of reconciles.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReconcileLabels {
    /// `TodoApp` or `TodoEnvironment`.
    pub kind: &'static str,
    /// `ok` or `error`.
    pub result: &'static str,
}

/// The label of counters by kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KindLabel {
    /// Kind of the child.
    pub kind: &'static str,
}

/// The operator's own metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Reconciles by kind and result.
    pub reconciles: Family<ReconcileLabels, Counter>,
    /// How long reconciles take.
    pub reconcile_seconds: Histogram,
    /// Children written.
    pub writes: Family<KindLabel, Counter>,
    /// Children deleted.
    pub deletes: Family<KindLabel, Counter>,
    /// Children that somebody had changed, and that were put right.
    pub drift_corrected: Family<KindLabel, Counter>,
    /// Releases that were rejected.
    pub rejections: Counter,
    /// Kinds of peers that are not installed.
    pub crd_missing: Family<KindLabel, Gauge>,
    /// 1 while this instance leads.
    pub leader: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("todo_operator");
        let metrics = Self {
            reconciles: Family::default(),
            reconcile_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
            writes: Family::default(),
            deletes: Family::default(),
            drift_corrected: Family::default(),
            rejections: Counter::default(),
            crd_missing: Family::default(),
            leader: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register(
            "reconciles",
            "Reconciles by kind and result",
            metrics.reconciles.clone(),
        );
        registry.register_with_unit(
            "reconcile",
            "Time that a reconcile takes",
            Unit::Seconds,
            metrics.reconcile_seconds.clone(),
        );
        registry.register(
            "writes",
            "Children written, by kind",
            metrics.writes.clone(),
        );
        registry.register(
            "deletes",
            "Children deleted, by kind",
            metrics.deletes.clone(),
        );
        registry.register(
            "drift_corrected",
            "Children changed by others and put right, by kind",
            metrics.drift_corrected.clone(),
        );
        registry.register(
            "rejections",
            "Releases rejected",
            metrics.rejections.clone(),
        );
        registry.register(
            "crd_missing",
            "1 where the API server does not serve a peer's kind",
            metrics.crd_missing.clone(),
        );
        registry.register(
            "leader",
            "1 while this instance leads",
            metrics.leader.clone(),
        );
        Self {
            registry,
            ..metrics
        }
    }
}

impl Metrics {
    /// All metrics in the OpenMetrics text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
