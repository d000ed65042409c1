//! What is to be sent, and when.

use std::time::Duration;

use anyhow::{Result, bail};
use hyper::body::Bytes;
use hyper::{HeaderMap, Method, Uri};

/// A load.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whom to ask. Without TLS.
    pub uri: Uri,
    /// How to ask.
    pub method: Method,
    /// With which headers. `Host` is the URI's unless it is here.
    pub headers: HeaderMap,
    /// With which body.
    pub body: Bytes,
    /// Requests a second.
    pub rate: f64,
    /// How long requests are sent.
    pub duration: Duration,
    /// How long an answer may take, from the time at which its request was due.
    pub timeout: Duration,
    /// The header, or the field of the answer's JSON object, that tells one answerer from another.
    pub by: Option<String>,
    /// Most requests without an answer; those due beyond that are not sent, and counted as such.
    pub most_unanswered: usize,
}

impl Plan {
    /// `GET uri` so many times a second.
    ///
    /// # Errors
    /// If there is nobody at such an address, or no such rate.
    pub fn get(uri: &str, rate: f64, duration: Duration) -> Result<Self> {
        let parsed: Uri = match uri.parse() {
            Ok(parsed) => parsed,
            Err(error) => bail!("{uri:?} is no URL: {error}"),
        };
        if parsed.scheme_str() != Some("http") || parsed.authority().is_none() {
            bail!(
                "{uri:?} is no address that can be asked: write http://HOST:PORT/PATH; TLS is not spoken here"
            );
        }
        if !(rate > 0.0 && rate <= 100_000.0) {
            bail!(
                "a rate of {rate} requests a second cannot be kept: choose one above 0 and up to 100000"
            );
        }
        Ok(Self {
            uri: parsed,
            method: Method::GET,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            rate,
            duration,
            timeout: Duration::from_secs(10),
            by: None,
            most_unanswered: 10_000,
        })
    }

    /// When request `number`, counted from 0, is due after the beginning; nothing behind the last.
    #[allow(
        clippy::cast_precision_loss,
        reason = "exact for the first 2^53 requests"
    )]
    pub(super) fn due(&self, number: u64) -> Option<Duration> {
        let due = Duration::from_secs_f64(number as f64 / self.rate);
        (due < self.duration).then_some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_at_equal_distances_until_the_end() {
        let plan = Plan::get("http://h:1/", 4.0, Duration::from_secs(1)).unwrap();
        let due: Vec<_> = (0..).map_while(|number| plan.due(number)).collect();
        assert_eq!(due, [0, 250, 500, 750].map(Duration::from_millis));
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        let refused = |uri, rate| {
            let plan = Plan::get(uri, rate, Duration::from_secs(1));
            plan.unwrap_err().to_string()
        };
        assert!(refused("https://h/", 1.0).contains("TLS"));
        assert!(refused("/path", 1.0).contains("http://HOST:PORT/PATH"));
        assert!(refused("http://h/", 0.0).contains("above 0"));
        assert!(refused("http://h/", f64::NAN).contains("above 0"));
    }
}
