//! Traces that go on from one process to another: W3C Trace Context, and B3 of callers that know nothing newer.

use std::collections::HashMap;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::b3;

/// The header, and attribute of messages, in which W3C Trace Context says where a trace comes from.
pub const TRACEPARENT: &str = "traceparent";

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct HeadersMut<'a>(&'a mut HeaderMap);

impl Injector for HeadersMut<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}

/// What the headers of a request say of its trace.
#[must_use]
pub fn of_headers(headers: &HeaderMap) -> Context {
    if headers.contains_key(TRACEPARENT) {
        let carrier = Headers(headers);
        return TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier);
    }
    match b3::extract(headers) {
        Some(span) => Context::new().with_remote_span_context(span),
        None => Context::new(),
    }
}

/// What the attribute of a message says of its trace.
#[must_use]
pub fn of_traceparent(traceparent: Option<&str>) -> Context {
    let Some(traceparent) = traceparent else {
        return Context::new();
    };
    let carrier = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
    TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier)
}

/// Makes a span go on with a trace, if that is one.
pub fn go_on(span: &Span, context: Context) {
    let parent = context.span().span_context().clone();
    if parent.is_valid() {
        // It can only fail for a span that has begun, and nobody hands one in.
        let _ = span.set_parent(context);
        span.record("trace_id", tracing::field::display(parent.trace_id()));
    }
}

/// What a message that is made now is to say of its trace.
#[must_use]
pub fn traceparent() -> Option<String> {
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&Span::current().context(), &mut carrier);
    carrier.remove(TRACEPARENT)
}

/// Puts the trace into the headers of a request that is made now, in both forms.
pub fn into_headers(headers: &mut HeaderMap) {
    let context = Span::current().context();
    TraceContextPropagator::new().inject_context(&context, &mut HeadersMut(headers));
    b3::inject(context.span().span_context(), headers);
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn traced<T>(work: impl FnOnce() -> T) -> T {
        let tracer = SdkTracerProvider::default().tracer("test");
        let subscriber =
            tracing_subscriber::registry().with(tracing_opentelemetry::layer().with_tracer(tracer));
        tracing::subscriber::with_default(subscriber, work)
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    /// The trace that a span belongs to after it has gone on with what the headers say.
    fn trace_of(headers: &HeaderMap) -> String {
        traced(|| {
            let span = tracing::info_span!("request");
            go_on(&span, of_headers(headers));
            span.in_scope(traceparent).unwrap()
        })
    }

    #[test]
    fn a_trace_goes_on_by_w3c_and_by_both_forms_of_b3() {
        for carrier in [
            headers(&[("traceparent", PARENT)]),
            headers(&[("b3", "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1")]),
            headers(&[
                ("x-b3-traceid", TRACE),
                ("x-b3-spanid", "00f067aa0ba902b7"),
                ("x-b3-sampled", "1"),
            ]),
        ] {
            let traceparent = trace_of(&carrier);
            assert!(traceparent.contains(TRACE), "{carrier:?}: {traceparent}");
            assert_ne!(traceparent, PARENT, "the span is a new one");
        }
    }

    #[test]
    fn w3c_wins_and_nonsense_begins_a_new_trace() {
        let other = "0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-1";
        let both = headers(&[("traceparent", PARENT), ("b3", other)]);
        assert!(trace_of(&both).contains(TRACE));
        for carrier in [headers(&[]), headers(&[("traceparent", "00-nonsense")])] {
            let traceparent = trace_of(&carrier);
            assert!(!traceparent.contains(TRACE), "{traceparent}");
            assert!(
                of_traceparent(Some(&traceparent))
                    .span()
                    .span_context()
                    .is_valid()
            );
        }
    }

    #[test]
    fn a_request_carries_both_forms() {
        let mut sent = HeaderMap::new();
        traced(|| {
            let span = tracing::info_span!("call");
            go_on(&span, of_traceparent(Some(PARENT)));
            span.in_scope(|| into_headers(&mut sent));
        });
        for name in ["traceparent", "x-b3-traceid"] {
            assert!(sent[name].to_str().unwrap().contains(TRACE), "{sent:?}");
        }
    }
}
