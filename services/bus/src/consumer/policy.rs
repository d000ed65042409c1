//! How often something is tried, and how long is waited in between.

use std::time::Duration;

/// Times that a message is tried before it is parked.
const ATTEMPTS: u32 = 5;

/// How long to wait before the next try, if there is one.
pub(super) fn pause(attempt: u32) -> Option<Duration> {
    // 0.25, 1, 4, 16 seconds: below half a minute in all, which no broker takes for an end.
    (attempt < ATTEMPTS).then(|| Duration::from_millis(250) * 4_u32.pow(attempt.saturating_sub(1)))
}

/// How long to wait for something that was not there so many times in a row.
pub(super) fn patience(times: u32) -> Duration {
    const LONGEST: Duration = Duration::from_secs(15);
    let doubled = Duration::from_millis(100).saturating_mul(2_u32.saturating_pow(times.min(16)));
    doubled.min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_tried_five_times_within_half_a_minute() {
        let pauses: Vec<_> = (1..).map_while(pause).collect();
        assert_eq!(pauses.len(), 4);
        assert!(pauses.is_sorted());
        let all: Duration = pauses.iter().sum();
        assert!(all <= Duration::from_secs(30), "{all:?}");
    }

    #[test]
    fn patience_grows_up_to_a_limit() {
        assert_eq!(patience(0), Duration::from_millis(100));
        assert!(patience(3) > patience(2));
        assert_eq!(patience(50), Duration::from_secs(15));
        assert_eq!(patience(u32::MAX), Duration::from_secs(15));
    }
}
