//! Cases beside each other, in peace and in a storm.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::time::Instant;

use futures::future::LocalBoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::Barrier;
use tokio_util::sync::CancellationToken;

use crate::rig::Rig;

/// Cases that run beside each other.
#[derive(Default)]
pub struct Cases(Vec<(String, LocalBoxFuture<'static, ()>)>);

impl Cases {
    /// Adds one with a transport. It is called like its function.
    pub fn add<F: Future<Output = ()> + 'static>(&mut self, rig: &dyn Rig, case: F) {
        let name = std::any::type_name::<F>().trim_end_matches("::{{closure}}");
        let name = name.rsplit("::").next().unwrap_or(name);
        self.0
            .push((format!("{}: {name}", rig.name()), case.boxed_local()));
    }

    /// Runs all of them; each must pass.
    pub async fn run(self) {
        let begun = Instant::now();
        let cases = self.0.into_iter();
        let mut running: FuturesUnordered<_> = cases
            .map(async |(name, case)| (name, AssertUnwindSafe(case).catch_unwind().await))
            .collect();
        while let Some((name, ended)) = running.next().await {
            let took = begun.elapsed();
            if let Err(panic) = ended {
                eprintln!("{name} failed after {took:.1?}");
                resume_unwind(panic);
            }
            eprintln!("{name} passed after {took:.1?}");
        }
    }
}

/// How many messages may wait in a storm: enough that there is always something in work, and no more.
pub const AHEAD: usize = 200;

/// A time in which everything that cases use is killed.
#[derive(Clone)]
pub struct Storm {
    at_work: Arc<Barrier>,
    is_over: CancellationToken,
}

impl Storm {
    /// A storm over so many cases.
    pub fn over(cases: usize) -> Self {
        Self {
            at_work: Arc::new(Barrier::new(cases + 1)),
            is_over: CancellationToken::new(),
        }
    }

    /// Lets it rage as soon as all cases are in the middle of their work.
    pub async fn rage(&self, kill: impl AsyncFnOnce()) {
        self.at_work.wait().await;
        let begun = Instant::now();
        kill().await;
        eprintln!("the storm was over after {:.1?}", begun.elapsed());
        self.is_over.cancel();
    }

    /// A case is in the middle of its work, and goes on with it until the storm is over.
    pub async fn may_begin(&self) {
        self.at_work.wait().await;
    }

    /// The numbers of what a case has to do: enough to be in the middle of, and more as long as the storm rages, and after.
    pub fn numbers(&self) -> impl Iterator<Item = u64> + Send + use<> {
        const AT_LEAST: u64 = 15;
        const AFTER: u64 = 5;
        let (is_over, mut end) = (self.is_over.clone(), None);
        (0..).take_while(move |n| {
            if is_over.is_cancelled() && end.is_none() {
                end = Some(AT_LEAST.max(n + AFTER));
            }
            end.is_none_or(|end| *n < end)
        })
    }
}
