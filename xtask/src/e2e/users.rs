//! Users: a load from outside of the cluster, through the router.

use std::time::Duration;

use anyhow::{Context as _, Result};
use hyper::header::HeaderValue;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use xtask::load::{Outcome, Plan, Seen, generate_watched};

use super::answers::Answers;
use super::objects::until;
use super::stage::Stage;

/// Longer than any case.
const LONG: Duration = Duration::from_secs(3_600);
const PATIENCE: Duration = Duration::from_secs(60);
/// The header by which the demonstration service says its version.
const VERSION: &str = "x-demo-version";

/// Users who keep coming until they are told to stop.
pub struct Users {
    stop: oneshot::Sender<()>,
    load: JoinHandle<Outcome>,
    /// What they have seen so far, by version, in the time of the timeline.
    pub answers: Answers,
}

impl Stage<'_> {
    /// Lets so many users a second ask for `/`, once somebody answers there.
    pub async fn users(&self, rate: f64) -> Result<Users> {
        let mut plan = Plan::get(&self.platform.entrance().await?, rate, LONG)?;
        plan.headers
            .insert("host", HeaderValue::from_str(&self.host())?);
        plan.by = Some(VERSION.to_owned());
        plan.timeout = Duration::from_secs(5);
        // A route needs a moment until it is known to the router.
        until("the first user is answered", PATIENCE, async || {
            let mut one = plan.clone();
            one.duration = Duration::from_secs_f64(1.0 / rate);
            let outcome = generate_watched(&one, std::future::pending(), |_| {}).await;
            Ok(outcome.all.codes().contains_key(&200).then_some(()))
        })
        .await?;
        let (stop, stopped) = oneshot::channel();
        let (answers, since) = (Answers::default(), self.record.elapsed());
        let noted = answers.clone();
        self.record
            .mark("users", format!("{rate} a second begin to ask"));
        let load = tokio::spawn(async move {
            let watch = move |seen: Seen| {
                noted.add(Seen {
                    due: since + seen.due,
                    ..seen
                });
            };
            let stop = async { drop(stopped.await) };
            generate_watched(&plan, stop, watch).await
        });
        Ok(Users {
            stop,
            load,
            answers,
        })
    }
}

impl Users {
    /// Sends them away, and gives all that they have seen.
    pub async fn end(self) -> Result<(Outcome, Vec<Seen>)> {
        let _ = self.stop.send(());
        let outcome = self
            .load
            .await
            .context("the load has ended before its time")?;
        Ok((outcome, self.answers.all()))
    }
}
