//! The command line of `cargo xtask load`.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use hyper::body::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, Method};
use jiff::SignedDuration;

use super::generate::generate;
use super::plan::Plan;

/// Arguments of `cargo xtask load`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Whom to ask, as http://HOST:PORT/PATH.
    pub url: String,
    /// Requests a second.
    #[arg(long, value_name = "N")]
    pub rate: f64,
    /// How long requests are sent, as 30s or 5m.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub duration: Duration,
    /// How long an answer may take.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub timeout: Duration,
    /// How to ask.
    #[arg(long, value_name = "METHOD", default_value = "GET")]
    pub method: Method,
    /// A header of each request, as 'Host: demo.test.localhost'; may be given more than once.
    #[arg(long, value_name = "NAME: VALUE", value_parser = header)]
    pub header: Vec<(HeaderName, HeaderValue)>,
    /// The body of each request.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub body: String,
    /// Tell answers apart by this header of theirs or, without such a header, this field of their JSON object.
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    /// Most requests without an answer; those due beyond that are not sent, and counted.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub most_unanswered: usize,
    /// Print the figures as one JSON object.
    #[arg(long)]
    pub json: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    let wrong = |reason: String| format!("{reason}; write a duration such as 500ms, 30s or 5m");
    let duration: SignedDuration = text
        .parse()
        .map_err(|error: jiff::Error| wrong(error.to_string()))?;
    match Duration::try_from(duration) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err(wrong("it is not above zero".to_owned())),
    }
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or("it has no colon; write 'NAME: VALUE'")?;
    let name = name.trim().parse::<HeaderName>();
    let value = value.trim().parse::<HeaderValue>();
    Ok((
        name.map_err(|error| error.to_string())?,
        value.map_err(|error| error.to_string())?,
    ))
}

impl Args {
    fn plan(&self) -> Result<Plan> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.header {
            headers.append(name.clone(), value.clone());
        }
        Ok(Plan {
            method: self.method.clone(),
            headers,
            body: Bytes::from(self.body.clone()),
            timeout: self.timeout,
            by: self.by.clone(),
            most_unanswered: self.most_unanswered,
            ..Plan::get(&self.url, self.rate, self.duration)?
        })
    }
}

/// Sends the load and prints what came of it. An interrupt ends the sending, not the counting.
///
/// # Errors
/// If it cannot be sent, or nobody answers.
pub fn run(args: &Args) -> Result<()> {
    let plan = args.plan()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start threads")?;
    let outcome = runtime.block_on(generate(&plan, async {
        if tokio::signal::ctrl_c().await.is_err() {
            // Without a handler an interrupt ends the process by itself.
            std::future::pending::<()>().await;
        }
    }));
    if args.json {
        println!("{}", outcome.json());
    } else {
        println!("{}", outcome.table());
    }
    if outcome.all.answers() == 0 {
        bail!("nobody answered at {}", args.url);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_durations_are_read() {
        let (name, value) = header("Host: demo.test.localhost:80").unwrap();
        assert_eq!(
            (name.as_str(), value.to_str().unwrap()),
            ("host", "demo.test.localhost:80")
        );
        assert!(header("Host").is_err() && header("a b: c").is_err());
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert!(duration("0s").is_err() && duration("30").unwrap_err().contains("5m"));
    }
}
