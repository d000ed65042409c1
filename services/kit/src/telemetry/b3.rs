//! B3, in which Zipkin's clients and older meshes say where a trace comes from. OpenTelemetry's own crate for it is given up.

use axum::http::{HeaderMap, HeaderValue};
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

const SINGLE: &str = "b3";
const TRACE: &str = "x-b3-traceid";
const SPAN: &str = "x-b3-spanid";
const SAMPLED: &str = "x-b3-sampled";
const FLAGS: &str = "x-b3-flags";

/// What the headers say, if they say it in one of the two forms of B3.
pub(super) fn extract(headers: &HeaderMap) -> Option<SpanContext> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(single) = text(SINGLE) {
        let mut parts = single.split('-');
        let (trace, span) = (parts.next()?, parts.next()?);
        return context(trace, span, parts.next());
    }
    // The flag 1 stands for "debug", which is sampled too.
    let sampled = text(FLAGS).filter(|flags| *flags == "1").or(text(SAMPLED));
    context(text(TRACE)?, text(SPAN)?, sampled)
}

fn context(trace: &str, span: &str, sampled: Option<&str>) -> Option<SpanContext> {
    // Old traces have 64 bits; a text of another length or with a sign is none.
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !matches!(trace.len(), 16 | 32) || span.len() != 16 || !is_hex(trace) || !is_hex(span) {
        return None;
    }
    let flags = match sampled {
        Some("1" | "true" | "d") => TraceFlags::SAMPLED,
        _ => TraceFlags::default(),
    };
    let trace = TraceId::from_hex(trace).ok()?;
    let span = SpanId::from_hex(span).ok()?;
    let context = SpanContext::new(trace, span, flags, true, TraceState::default());
    context.is_valid().then_some(context)
}

/// Says it in the form with several headers, which all of them read.
pub(super) fn inject(span: &SpanContext, headers: &mut HeaderMap) {
    if !span.is_valid() {
        return;
    }
    let sampled = if span.is_sampled() { "1" } else { "0" };
    for (name, text) in [
        (TRACE, span.trace_id().to_string()),
        (SPAN, span.span_id().to_string()),
        (SAMPLED, sampled.to_owned()),
    ] {
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&'static str, &'static str)]) -> Option<SpanContext> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        extract(&headers)
    }

    #[test]
    fn both_forms_say_trace_span_and_whether_it_is_sampled() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        for (pairs, is_sampled) in [
            (
                vec![("b3", "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1")],
                true,
            ),
            (
                vec![(
                    "b3",
                    "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-d-05e3ac9a4f6e3b90",
                )],
                true,
            ),
            (
                vec![("b3", "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7")],
                false,
            ),
            (
                vec![(TRACE, trace), (SPAN, "00f067aa0ba902b7"), (SAMPLED, "0")],
                false,
            ),
            (
                vec![(TRACE, trace), (SPAN, "00f067aa0ba902b7"), (FLAGS, "1")],
                true,
            ),
        ] {
            let context = read(&pairs).unwrap_or_else(|| panic!("{pairs:?}"));
            assert_eq!(context.trace_id().to_string(), trace);
            assert_eq!(context.span_id().to_string(), "00f067aa0ba902b7");
            assert_eq!(context.is_sampled(), is_sampled, "{pairs:?}");
        }
        let short = read(&[("b3", "a3ce929d0e0e4736-00f067aa0ba902b7-1")]).unwrap();
        assert_eq!(
            short.trace_id().to_string(),
            "0000000000000000a3ce929d0e0e4736"
        );
    }

    #[test]
    fn nonsense_is_no_trace() {
        for single in [
            "0",
            "",
            "4bf92f3577b34da6a3ce929d0e0e4736",
            "00000000000000000000000000000000-00f067aa0ba902b7-1",
            "+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa-1",
        ] {
            assert!(read(&[("b3", single)]).is_none(), "{single}");
        }
        assert!(read(&[(TRACE, "4bf92f3577b34da6a3ce929d0e0e4736")]).is_none());
    }

    #[test]
    fn what_is_said_is_read_again() {
        let said = read(&[("b3", "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1")]).unwrap();
        let mut headers = HeaderMap::new();
        inject(&said, &mut headers);
        assert_eq!(extract(&headers), Some(said));
    }
}
