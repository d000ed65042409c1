//! The primary of PostgreSQL dies while somebody writes: another takes over, and every write that was acknowledged is there.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::FutureExt as _;
use hyper::Method;
use kube::api::DeleteParams;
use localcluster::peers::Product;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::e2e::case::{Case, Context};
use crate::e2e::objects::{self, Kind, POD, until};
use crate::e2e::recorder::Recorder;
use crate::e2e::stage::{Stage, ensure};
use crate::e2e::timeline::Style;
use crate::e2e::web::Web;

pub const CASE: Case = Case {
    name: "failover",
    shows: "the PostgreSQL primary dies: a standby takes over, and every acknowledged write is there",
    is_quick: false,
    needs: &[Product::CloudNativePg, Product::Traefik],
    run: |context| run(context).boxed_local(),
};

/// The cluster of the application's databases.
const CLUSTER: Kind = Kind("postgresql.cnpg.io/v1", "Cluster");
const NAME: &str = "demo-db";
/// A writer waits so long for an answer; the write may be there all the same.
const ANSWER: Duration = Duration::from_secs(2);
const BETWEEN: Duration = Duration::from_millis(20);
const WRITES: &str = "writes a second";

async fn run(context: &Context) -> Result<()> {
    let app = json!({
        "components": {
            "worker": null,
            "backup": null,
            "web": {"rollout": null},
            "api": {"produces": null},
        },
        "messaging": null,
        "databases": {"cluster": {"instances": 2, "parameters": {"checkpoint_completion_target": "0"}}},
    });
    let stage = Stage::create(context, &[app]).await?;
    let record = &context.record;
    record.chart(WRITES);
    let _watch = stage.watch();
    stage.apply(json!({})).await?;
    stage.ready(Duration::from_secs(300)).await?;

    let web = Web::new(&context.platform.entrance().await?, Some(&stage.host()));
    let written = Written::default();
    let mut writers = JoinSet::new();
    for number in 0..4 {
        writers.spawn(write(web.clone(), record.clone(), written.clone(), number));
    }
    until(
        "writes are acknowledged",
        Duration::from_secs(60),
        async || Ok((written.len() > 200).then_some(())),
    )
    .await?;

    let clusters = stage.api(CLUSTER);
    let primary = async || -> Result<String> {
        let cluster = objects::get(&clusters, NAME)
            .await?
            .context("there is no database")?;
        Ok(cluster["status"]["currentPrimary"]
            .as_str()
            .unwrap_or_default()
            .to_owned())
    };
    let dies = primary().await?;
    let at = record.elapsed();
    record.mark("somebody", format!("kills the primary, {dies}"));
    let at_once = DeleteParams::default().grace_period(0);
    stage.api(POD).delete(&dies, &at_once).await?;
    let patience = Duration::from_secs(120);
    let promoted = until("there is another primary", patience, async || {
        let is_another = primary().await? != dies;
        Ok(is_another.then(|| record.elapsed()))
    })
    .await?;
    until("it takes writes", patience, async || {
        Ok(written.is_acknowledged_after(promoted).then_some(()))
    })
    .await?;
    let silence = written.longest_silence(at).as_secs_f64();
    let now = primary().await?;
    record.mark(
        "users",
        format!("no write was acknowledged for {silence:.1} s; the primary is {now}"),
    );
    record.figure("seconds", silence);
    stage.ready(Duration::from_secs(180)).await?;
    record.mark("case", "two servers again");
    tokio::time::sleep(Duration::from_secs(3)).await;
    writers.shutdown().await;
    written.draw(record);

    let there = read(&web).await?;
    let acknowledged = written.texts();
    let lost = acknowledged.difference(&there).count();
    record.mark(
        "check",
        format!(
            "{} writes were acknowledged, {} are there, {lost} are lost",
            acknowledged.len(),
            there.len()
        ),
    );
    ensure(lost == 0, || format!("{lost} acknowledged writes are lost"))?;
    stage.remove().await
}

/// When a write was sent, and what it is called if it was acknowledged.
type Attempt = (Duration, Option<String>);

/// What was acknowledged, and when; and when a write was not.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<Attempt>>>);

impl Written {
    fn add(&self, at: Duration, acknowledged: Option<String>) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((at, acknowledged));
    }

    fn all(&self) -> Vec<(Duration, Option<String>)> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn len(&self) -> usize {
        self.texts().len()
    }

    fn texts(&self) -> BTreeSet<String> {
        self.all()
            .into_iter()
            .filter_map(|(_, text)| text)
            .collect()
    }

    fn is_acknowledged_after(&self, time: Duration) -> bool {
        let mut all = self.all().into_iter();
        all.any(|(at, text)| at > time && text.is_some())
    }

    /// The longest time after another without a write that was acknowledged.
    fn longest_silence(&self, after: Duration) -> Duration {
        let acknowledged = self.all().into_iter().filter(|(_, text)| text.is_some());
        let mut times: Vec<_> = acknowledged.map(|(at, _)| at.max(after)).collect();
        times.sort();
        let silences = times.windows(2).map(|pair| pair[1] - pair[0]);
        silences.max().unwrap_or_default()
    }

    fn draw(&self, record: &Recorder) {
        for (name, is_good) in [("acknowledged", true), ("not", false)] {
            let mut seconds = vec![0_u32; record.elapsed().as_secs() as usize + 1];
            for (at, text) in self.all() {
                if text.is_some() == is_good
                    && let Some(second) = seconds.get_mut(at.as_secs() as usize)
                {
                    *second += 1;
                }
            }
            // Nobody writes any more.
            seconds.push(0);
            for (second, count) in (0..).zip(seconds) {
                record.value_at(
                    Duration::from_secs(second),
                    WRITES,
                    name,
                    Style::Steps,
                    count.into(),
                );
            }
        }
    }
}

/// Writes one entry after another for ever.
async fn write(web: Web, record: Recorder, written: Written, writer: u32) {
    for number in 0_u64.. {
        let text = format!("entry {number} of writer {writer}");
        let body = json!({"text": text});
        let answer = web.ask(Method::POST, "/entries", Some(&body), ANSWER).await;
        let is_good = answer.is_ok_and(|(status, _)| status == 201);
        written.add(record.elapsed(), is_good.then_some(text));
        tokio::time::sleep(BETWEEN).await;
    }
}

/// The texts of all entries.
async fn read(web: &Web) -> Result<BTreeSet<String>> {
    let (mut texts, mut after) = (BTreeSet::new(), 0);
    loop {
        let page = web
            .get(&format!("/entries?after={after}&limit=5000"))
            .await?;
        let entries = page["entries"].as_array().map_or(&[][..], Vec::as_slice);
        let Some(last) = entries.last() else {
            return Ok(texts);
        };
        after = last["id"].as_i64().context("an entry has no number")?;
        texts.extend(
            entries
                .iter()
                .filter_map(|entry: &Value| entry["text"].as_str().map(str::to_owned)),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_what_lies_between_two_acknowledged_writes() {
        let written = Written::default();
        let write = |at: u64, is_good: bool| {
            written.add(Duration::from_secs(at), is_good.then(|| at.to_string()));
        };
        for (at, is_good) in [
            (1, true),
            (9, true),
            (10, true),
            (11, false),
            (14, true),
            (15, true),
        ] {
            write(at, is_good);
        }
        let silence = |after| written.longest_silence(Duration::from_secs(after));
        assert_eq!(silence(9), Duration::from_secs(4));
        assert_eq!(silence(0), Duration::from_secs(8));
        assert!(written.is_acknowledged_after(Duration::from_secs(14)));
        assert!(!written.is_acknowledged_after(Duration::from_secs(15)));
    }
}
