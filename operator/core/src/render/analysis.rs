//! What a canary is judged by: AnalysisTemplates over Prometheus.
//!
//! Pods are told apart by the label `rollouts_pod_template_hash`. No data (an empty answer, or NaN from a division by
//! zero) is neither success nor failure: the measurement is inconclusive, and too many of them pause the canary.

use serde_json::{Value, json};
use todo_operator_api::component::{Analysis, Component, ComponentKind};
use todo_operator_api::environment::EnvironmentAnalysis;

use super::metadata::child;
use super::{duration, pod, rollout};
use crate::child::Child;
use crate::kind::Kind;
use crate::names;
use crate::validate::{ValidApp, ValidComponent};

/// Argument of every template: the pod-template hash of the canary.
pub(super) const CANARY_HASH: &str = "canary-hash";
const DEFAULT_DELAY_SECONDS: u64 = 60;
const DEFAULT_INTERVAL_SECONDS: u64 = 30;
const DEFAULT_WINDOW_SECONDS: u64 = 120;
/// Least share of requests or messages that succeed, in per cent.
const DEFAULT_SUCCESS: f64 = 99.0;
/// Lag, in messages, below which growing does not count, where neither topic nor scaling names one.
const DEFAULT_LAG: i64 = 100;
/// Failed measurements that are forgiven: one bad moment is no bad version.
const FAILURE_LIMIT: i32 = 2;
/// Measurements without data that are forgiven before the canary pauses.
const INCONCLUSIVE_LIMIT: i32 = 5;
/// Failures to ask Prometheus, in a row, that are forgiven.
const ERROR_LIMIT: i32 = 4;

/// Whether a component's canary is judged by measurements.
pub(super) fn is_judged(app: &ValidApp<'_>, component: &ValidComponent<'_>) -> bool {
    let disabled = asked(&component.spec).is_some_and(|analysis| analysis.disabled);
    let measured =
        component.spec.kind == ComponentKind::Worker || pod::port(&component.spec).is_some();
    rollout::is_canary(component)
        && app.environment.spec.analysis.is_some()
        && !disabled
        && measured
}

fn asked(component: &Component) -> Option<&Analysis> {
    component.rollout.as_ref()?.analysis.as_ref()
}

/// One template for every component that is judged.
pub(super) fn templates(app: &ValidApp<'_>) -> Vec<Child> {
    let Some(analysis) = &app.environment.spec.analysis else {
        return Vec::new();
    };
    app.components
        .values()
        .filter(|component| is_judged(app, component))
        .map(|component| {
            let name = names::component(app.name, component.name);
            let spec = json!({
                "args": [{"name": CANARY_HASH}],
                "metrics": metrics(app, component, analysis),
            });
            let content = json!({"spec": spec});
            child(
                app,
                Kind::AnalysisTemplate,
                &name,
                Some(component.name),
                content,
            )
        })
        .collect()
}

fn metrics(
    app: &ValidApp<'_>,
    component: &ValidComponent<'_>,
    analysis: &EnvironmentAnalysis,
) -> Vec<Value> {
    let measure = Measure {
        analysis,
        window: duration::text(analysis.window.as_ref(), DEFAULT_WINDOW_SECONDS),
    };
    let asked = asked(&component.spec);
    let success = asked
        .and_then(|analysis| analysis.success.as_deref())
        .and_then(|text| text.parse().ok())
        .unwrap_or(DEFAULT_SUCCESS);
    if component.spec.kind == ComponentKind::Worker {
        let mut metrics =
            vec![measure.success("messages_total", r#"result=~"error|parked""#, success)];
        let topics = component.spec.consumes.iter();
        for (topic, consume) in topics.filter(|(_, consume)| !consume.broadcast) {
            let scaling = component.spec.scaling.as_ref();
            let lag = consume.lag.or_else(|| scaling?.lag).unwrap_or(DEFAULT_LAG);
            let physical = names::physical_topic(app.namespace, topic);
            metrics.push(measure.lag(topic, &physical, lag));
        }
        return metrics;
    }
    let mut metrics = vec![measure.success("http_requests_total", r#"code=~"5..""#, success)];
    let latency = asked.and_then(|analysis| analysis.latency.as_ref());
    if let Some(millis) = latency.and_then(|latency| latency.as_millis()) {
        metrics.push(measure.latency(millis));
    }
    metrics
}

struct Measure<'a> {
    analysis: &'a EnvironmentAnalysis,
    window: String,
}

impl Measure<'_> {
    /// Share of events that are no failures, in per cent. A failure that never happened has no series: it counts as 0.
    fn success(&self, events: &str, failures: &str, least: f64) -> Value {
        let window = &self.window;
        let (all, failed) = (self.series(events, ""), self.series(events, failures));
        let query = format!(
            "100 - 100 * (sum(rate({failed}[{window}])) or vector(0)) / sum(rate({all}[{window}]))"
        );
        self.metric(
            "success",
            &query,
            &format!(">= {least}"),
            &format!("< {least}"),
        )
    }

    /// 99th percentile of the request duration, in seconds.
    fn latency(&self, most_millis: u64) -> Value {
        let buckets = self.series("http_request_duration_seconds_bucket", "");
        let query = format!(
            "histogram_quantile(0.99, sum by (le) (rate({buckets}[{}])))",
            self.window
        );
        let most = format!("{}.{:03}", most_millis / 1_000, most_millis % 1_000);
        self.metric(
            "latency",
            &query,
            &format!("<= {most}"),
            &format!("> {most}"),
        )
    }

    /// 1 where the lag on the canary's partitions was above `most` all the time and still grows: a new consumer may have to
    /// catch up, and whenever partitions change hands nobody reads them for a moment.
    fn lag(&self, topic: &str, physical: &str, most: i64) -> Value {
        let lag = self.series("consumer_lag", &format!(r#"topic="{physical}""#));
        let query = format!(
            "(sum(min_over_time({lag}[{window}])) > bool {most}) * (sum(deriv({lag}[{window}])) > bool 0)",
            window = self.window
        );
        self.metric(&format!("lag-{topic}"), &query, "== 0", "> 0")
    }

    fn series(&self, metric: &str, matcher: &str) -> String {
        let separator = if matcher.is_empty() { "" } else { "," };
        format!(
            r#"{metric}{{rollouts_pod_template_hash="{{{{args.{CANARY_HASH}}}}}"{separator}{matcher}}}"#
        )
    }

    fn metric(&self, name: &str, query: &str, success: &str, failure: &str) -> Value {
        let data = "len(result) > 0 && !isNaN(result[0])";
        let (delay, interval) = (
            self.analysis.delay.as_ref(),
            self.analysis.interval.as_ref(),
        );
        json!({
            "name": name,
            "initialDelay": duration::text(delay, DEFAULT_DELAY_SECONDS),
            "interval": duration::text(interval, DEFAULT_INTERVAL_SECONDS),
            "successCondition": format!("{data} && result[0] {success}"),
            "failureCondition": format!("{data} && result[0] {failure}"),
            "failureLimit": FAILURE_LIMIT,
            "inconclusiveLimit": INCONCLUSIVE_LIMIT,
            "consecutiveErrorLimit": ERROR_LIMIT,
            "provider": {"prometheus": {"address": self.analysis.prometheus, "query": query}},
        })
    }
}
