//! Watches: every kind into the [`Index`], and word to whom it concerns.

use std::collections::HashSet;
use std::sync::Arc;

use futures::{Stream, StreamExt, stream};
use kube::api::Api;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Resource as _, runtime};
use todo_operator_core::child::ChildKey;
use todo_operator_core::kind::Kind;
use todo_operator_core::mutants::Mutant;
use todo_operator_core::names::{FIELD_MANAGER, LABEL_MANAGED_BY};
use todo_operator_core::observe;

use crate::apply::api_resource;
use crate::arrival::Arrival;
use crate::index::{Concern, Index};

/// What the watches have to say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum News {
    /// Something of these changed.
    Changed(Concern),
    /// A kind appeared or went away: everybody is concerned.
    Kinds,
}

/// Objects in a page of a list.
pub const PAGE: u32 = 100;

fn config(kind: Kind) -> watcher::Config {
    // Small pages: they are all in memory at once, of every kind.
    let config = watcher::Config::default().page_size(PAGE);
    match kind {
        // Namespaces are looked at before they are ours, and AnalysisRuns bear no labels of ours.
        Kind::Namespace | Kind::AnalysisRun => config,
        Kind::Event => config.fields("reason=FailedMount,type=Warning"),
        _ => config.labels(&format!("{LABEL_MANAGED_BY}={FIELD_MANAGER}")),
    }
}

/// Watches one kind for ever. A kind that the API server does not serve is noted as missing and tried again,
/// from a list: a watcher that took up its old place would never say what is there of a kind that came back.
pub fn watch(
    client: Client,
    kind: Kind,
    index: Arc<Index>,
) -> impl Stream<Item = News> + Send + 'static {
    let api: Api<Arrival> = Api::all_with(client, &api_resource(kind));
    let mut listed: HashSet<ChildKey> = HashSet::new();
    let begin = move || Box::pin(watcher(api.clone(), config(kind)));
    stream::unfold((begin, None), |(begin, watching)| async move {
        let mut watching = watching.unwrap_or_else(&begin);
        let event = watching.next().await?;
        let kind_is_missing = event.as_ref().is_err_and(is_not_found);
        let goes_on = !kind_is_missing || Mutant::ResumesLostWatch.is_on();
        Some((event, (begin, goes_on.then_some(watching))))
    })
    .backoff(runtime::watcher::DefaultBackoff::default())
    .map(move |event| take_in(kind, &index, &mut listed, event))
    .flat_map(stream::iter)
}

fn take_in(
    kind: Kind,
    index: &Index,
    listed: &mut HashSet<ChildKey>,
    event: Result<watcher::Event<Arrival>, watcher::Error>,
) -> Vec<News> {
    // An object that is none cannot be told apart from one that is not there.
    let read = |arrival: &Arrival| observe::read(kind, &arrival.parse().ok()?);
    match event {
        Ok(watcher::Event::Init) => {
            listed.clear();
            Vec::new()
        }
        Ok(watcher::Event::InitApply(object)) => {
            let Some(record) = read(&object) else {
                return Vec::new();
            };
            listed.insert(record.key.clone());
            changed(index.insert(record))
        }
        Ok(watcher::Event::InitDone) => {
            let mut news = changed(index.retain(kind, listed));
            *listed = HashSet::new();
            if index.set_missing(kind, false) {
                tracing::info!(kind = kind.name(), "the API server serves this kind now");
                news.push(News::Kinds);
            }
            news
        }
        Ok(watcher::Event::Apply(object)) => {
            let version = object.meta().resource_version.as_deref();
            if version.is_some_and(|version| index.is_echo(kind, version)) {
                return Vec::new();
            }
            let Some(record) = read(&object) else {
                return Vec::new();
            };
            changed(index.insert(record))
        }
        Ok(watcher::Event::Delete(object)) => {
            let Some(record) = read(&object) else {
                return Vec::new();
            };
            changed(index.remove(&record))
        }
        Err(error) => {
            if !is_not_found(&error) {
                tracing::warn!(kind = kind.name(), %error, "watch interrupted; it begins again");
                return Vec::new();
            }
            let mut news = changed(index.retain(kind, &HashSet::new()));
            if index.set_missing(kind, true) {
                tracing::info!(
                    kind = kind.name(),
                    "the API server does not serve this kind"
                );
                news.push(News::Kinds);
            }
            news
        }
    }
}

fn changed(concerned: impl IntoIterator<Item = Concern>) -> Vec<News> {
    concerned.into_iter().map(News::Changed).collect()
}

fn is_not_found(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.code == 404,
        watcher::Error::WatchError(status) => status.code == 404,
        _ => false,
    }
}
