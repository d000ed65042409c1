//! Durations in the one form that Go, Prometheus and the Gateway API all read.

use todo_operator_api::scalar::Duration;

/// `duration` as `1h2m3s4ms`, without parts that are zero. Go knows no days, and the Gateway API takes at most five
/// digits a unit, so that hours carry what is longer. `fallback` (in seconds) stands where there is none.
pub(super) fn text(duration: Option<&Duration>, fallback: u64) -> String {
    let millis = duration
        .and_then(Duration::as_millis)
        .unwrap_or(fallback.saturating_mul(1_000));
    let parts = [
        (millis / 3_600_000, "h"),
        (millis / 60_000 % 60, "m"),
        (millis / 1_000 % 60, "s"),
        (millis % 1_000, "ms"),
    ];
    let text: String = parts
        .iter()
        .filter(|(amount, _)| *amount > 0)
        .map(|(amount, unit)| format!("{amount}{unit}"))
        .collect();
    if text.is_empty() {
        "0s".to_owned()
    } else {
        text
    }
}

/// `duration` in whole seconds; `fallback` where there is none.
pub(super) fn seconds(duration: Option<&Duration>, fallback: u64) -> u64 {
    duration.and_then(Duration::as_secs).unwrap_or(fallback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_one_form() {
        for (written, form) in [
            ("1d", "24h"),
            ("90s", "1m30s"),
            ("500ms", "500ms"),
            ("3600s", "1h"),
            ("0s", "0s"),
            ("100500ms", "1m40s500ms"),
        ] {
            assert_eq!(text(Some(&Duration::from(written)), 1), form);
        }
        assert_eq!(text(None, 60), "1m");
        assert_eq!(seconds(Some(&Duration::from("1500ms")), 9), 2);
        assert_eq!(seconds(None, 9), 9);
    }
}
