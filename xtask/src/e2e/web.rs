//! Single HTTP requests.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::{Method, Request};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use super::objects::{self, SERVICE, until};
use super::platform::Platform;

/// Who asks.
#[derive(Clone)]
pub struct Web {
    client: Client<HttpConnector, Full<Bytes>>,
    address: String,
    host: Option<String>,
}

/// An answer: status code and body.
pub type Answer = (u16, String);

impl Web {
    /// Somebody who asks at an address, for a host if that is not the address.
    pub fn new(address: &str, host: Option<&str>) -> Self {
        Self {
            client: Client::builder(TokioExecutor::new()).build_http(),
            address: address.to_owned(),
            host: host.map(str::to_owned),
        }
    }

    /// Sends a request, with a JSON body if there is one.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        patience: Duration,
    ) -> Result<Answer> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.address));
        if let Some(host) = &self.host {
            request = request.header("host", host);
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = request.body(Full::from(body))?;
        let answer = async {
            let answer = self.client.request(request).await?;
            let status = answer.status().as_u16();
            let body = answer.into_body().collect().await?.to_bytes();
            anyhow::Ok((status, String::from_utf8_lossy(&body).into_owned()))
        };
        let waited = tokio::time::timeout(patience, answer).await;
        waited.with_context(|| format!("{}{path} does not answer", self.address))?
    }

    /// Writes an entry of the demonstration service, however often that takes.
    pub async fn write_entry(&self, text: &str, patience: Duration) -> Result<()> {
        let body = json!({"text": text});
        let what = format!("the entry {text:?} is written");
        until(&what, patience, async || {
            let answer = self.ask(
                Method::POST,
                "/entries",
                Some(&body),
                Duration::from_secs(5),
            );
            let (status, _) = answer.await?;
            Ok((status == 201).then_some(()))
        })
        .await
    }

    /// Gets a JSON document.
    pub async fn get(&self, path: &str) -> Result<Value> {
        let (status, body) = self
            .ask(Method::GET, path, None, Duration::from_secs(10))
            .await?;
        if status != 200 {
            bail!("{}{path} answers {status}: {body}", self.address);
        }
        Ok(serde_json::from_str(&body)?)
    }
}

/// Prometheus in the cluster.
pub struct Prometheus(Web);

impl Prometheus {
    /// Finds it.
    pub async fn find(platform: &Platform) -> Result<Self> {
        let services = objects::api(&platform.client, SERVICE, Some("monitoring"));
        let service = objects::get(&services, "prometheus")
            .await?
            .context("there is no Prometheus")?;
        let address = service["spec"]["clusterIP"]
            .as_str()
            .context("Prometheus has no address")?;
        Ok(Self(Web::new(&format!("http://{address}:9090"), None)))
    }

    /// The number that a query gives now; none if it gives none.
    pub async fn number(&self, query: &str) -> Result<Option<f64>> {
        let query: String = form_urlencoded::byte_serialize(query.as_bytes()).collect();
        let answer = self.0.get(&format!("/api/v1/query?query={query}")).await?;
        Ok(first_number(&answer))
    }
}

fn first_number(answer: &Value) -> Option<f64> {
    let value = &answer["data"]["result"][0]["value"][1];
    value
        .as_str()?
        .parse()
        .ok()
        .filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_the_first_result_and_nan_is_none() {
        let answer = |value: &str| json!({"data": {"result": [{"value": [1.0, value]}]}});
        assert_eq!(first_number(&answer("12.5")), Some(12.5));
        assert_eq!(first_number(&answer("NaN")), None);
        assert_eq!(first_number(&json!({"data": {"result": []}})), None);
    }
}
