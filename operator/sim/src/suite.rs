//! Runs: one plan of a scenario, or many of them together.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::branches::{Branches, Ending};
use crate::oracle::{self, EndState, Violation};
use crate::plan::{Fault, Plan, What};
use crate::scenario::Scenario;
use crate::world::{Line, World};

/// How a run ended.
#[derive(Debug, Default)]
pub struct Report {
    /// What broke, if anything did.
    pub violation: Option<Violation>,
    /// Writes of the operators.
    pub writes: usize,
    /// Events that their watches brought.
    pub events: usize,
    /// Writes and events before the scenario began.
    pub before_faults: (usize, usize),
    /// How many of the plan's faults were met.
    pub faults_met: usize,
    /// What happened, where it was asked for.
    pub timeline: Vec<Line>,
    /// The state that it ended in.
    pub end: EndState,
}

/// Plays a scenario by a plan, in a thread of its own: what it finds there is the same each time.
fn play(scenario: &'static Scenario, plan: &Plan, timeline: bool) -> Report {
    let plan = plan.clone();
    let played = thread::spawn(move || {
        in_virtual_time(async {
            let world = World::new(plan, timeline);
            let _log = timeline.then(|| log_into(&world));
            play_in(scenario, &world).await
        })
    });
    played
        .join()
        .unwrap_or_else(|panic| panicked(panic.as_ref()))
}

/// Plays a scenario once, and each of the plans, which have the same seed, from where its first fault is met.
fn play_together(
    scenario: &'static Scenario,
    seed: u64,
    plans: Vec<Plan>,
    until_broken: bool,
) -> Vec<(Plan, Ending)> {
    let branches = Arc::new(Branches::new(plans, until_broken));
    let shared = Arc::clone(&branches);
    let trunk = thread::spawn(move || {
        let played = catch_unwind(AssertUnwindSafe(|| {
            in_virtual_time(async {
                let world = World::dividing(seed, &shared);
                let mut report = play_in(scenario, &world).await;
                if shared.is_copy() {
                    judge(scenario, &world.plan(), &mut report);
                    shared.end(report.violation.is_none());
                }
            })
        }));
        if played.is_err() && shared.is_copy() {
            shared.end(false);
        }
    });
    // The trunk is the run without faults, which has been judged already.
    let _ = trunk.join();
    Arc::into_inner(branches).map_or_else(Vec::new, Branches::endings)
}

fn in_virtual_time<T: Default>(future: impl Future<Output = T>) -> T {
    crate::entropy::without_chance();
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .map(|runtime| runtime.block_on(future))
        // Without I/O there is nothing in it that can fail.
        .unwrap_or_default()
}

async fn play_in(scenario: &'static Scenario, world: &Arc<World>) -> Report {
    let outcome = scenario.play(world).await;
    let (writes, events) = world.counts();
    Report {
        violation: outcome.err(),
        writes,
        events,
        before_faults: world.before_faults(),
        faults_met: world.faults_met(),
        timeline: world.timeline(),
        end: oracle::end_state(world),
    }
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Report {
    Report {
        violation: Some(Violation::new("no panic", words(panic))),
        ..Report::default()
    }
}

/// Writes what the operator logs into the timeline, as long as the guard lives.
fn log_into(world: &Arc<World>) -> tracing::subscriber::DefaultGuard {
    let weak = Arc::downgrade(world);
    let log = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .without_time()
        .with_ansi(false)
        .with_target(false)
        .with_writer(move || LogLine(weak.clone()))
        .finish();
    tracing::subscriber::set_default(log)
}

struct LogLine(Weak<World>);

impl std::io::Write for LogLine {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        if let Some(world) = self.0.upgrade() {
            world.note(|| String::from_utf8_lossy(line).trim().to_owned());
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "it panicked".to_owned())
}

/// The same scenario when nothing goes wrong: what every other run of it is compared with. Played once in a process.
pub fn without_faults(scenario: &'static Scenario) -> Arc<Report> {
    static PLAYED: OnceLock<Mutex<BTreeMap<&'static str, Arc<Report>>>> = OnceLock::new();
    let played = PLAYED.get_or_init(Mutex::default);
    let mut played = played.lock().unwrap_or_else(PoisonError::into_inner);
    let report = played
        .entry(scenario.name)
        .or_insert_with(|| Arc::new(play(scenario, &Plan::default(), false)));
    Arc::clone(report)
}

/// Plays a scenario by a plan, and judges it beside the run without faults.
pub fn run(scenario: &'static Scenario, plan: &Plan, timeline: bool) -> Report {
    let mut report = play(scenario, plan, timeline);
    judge(scenario, plan, &mut report);
    report
}

/// Compares a run that kept the promises that it can be judged by alone with the run without faults.
fn judge(scenario: &'static Scenario, plan: &Plan, report: &mut Report) {
    let expected = without_faults(scenario);
    let compare = || {
        if let Some(violation) = &expected.violation {
            return Err(violation.clone());
        }
        if plan.removes_a_crd() {
            // What went with it, and its pods, are others now.
            let end = |report: &Report| report.end.clone().without_peers_words();
            return end(report).compare(&end(&expected));
        }
        report.end.compare(&expected.end)?;
        report.end.compare_made(&expected.end)?;
        if scenario.allows.restarts {
            return Ok(());
        }
        report.end.compare_pods(&expected.end)
    };
    if report.violation.is_none() {
        report.violation = compare().err();
    }
}

/// Every plan of a scenario with one fault: each kind of fault at each write and each event.
pub fn single_faults(scenario: &'static Scenario, seed: u64) -> Vec<Plan> {
    let unharmed = play(scenario, &Plan::of(seed), false);
    let (writes, events) = unharmed.before_faults;
    let at = |points: std::ops::RangeInclusive<usize>, whats: &'static [What]| {
        points.flat_map(move |at| whats.iter().map(move |&what| Fault { at, what }))
    };
    at(writes + 1..=unharmed.writes, &What::AT_WRITES)
        .chain(at(events + 1..=unharmed.events, &What::AT_EVENTS))
        .map(|fault| Plan {
            seed,
            faults: vec![fault],
        })
        .collect()
}

/// Plans of a scenario with two faults, chosen by the seed.
pub fn pairs(scenario: &'static Scenario, seed: u64, count: usize) -> Vec<Plan> {
    let mut single: Vec<Fault> = single_faults(scenario, seed)
        .into_iter()
        .flat_map(|plan| plan.faults)
        .collect();
    let mut random = StdRng::seed_from_u64(seed);
    let mut pair = || {
        let (chosen, _) = single.partial_shuffle(&mut random, 2);
        let faults = chosen.to_vec();
        Plan { seed, faults }
    };
    (0..count).map(|_| pair()).collect()
}

/// A run that broke a promise.
#[derive(Debug)]
pub struct Failure {
    /// The scenario.
    pub scenario: &'static str,
    /// The plan, by which it can be played again.
    pub plan: Plan,
    /// What broke.
    pub violation: Violation,
}

/// The first of these plans, which have the same seed, that is seen to break a promise.
pub fn first_broken(
    scenario: &'static Scenario,
    seed: u64,
    plans: Vec<Plan>,
) -> Option<(Plan, Violation)> {
    let endings = play_together(scenario, seed, plans, true);
    let mut broken = endings
        .into_iter()
        .filter(|(_, ending)| *ending == Ending::Broken);
    let (plan, _) = broken.next()?;
    let violation = run(scenario, &plan, false).violation;
    Some((plan, violation.unwrap_or_else(only_beside_others)))
}

/// A plan that is not broken when it is played alone.
fn only_beside_others() -> Violation {
    Violation::new("the same again", "only broken beside other plans")
}

/// Plays plans of a scenario; returns those that broke a promise.
pub fn run_all(scenario: &'static Scenario, plans: Vec<Plan>) -> Vec<Failure> {
    without_faults(scenario);
    let mut by_seed: BTreeMap<u64, Vec<Plan>> = BTreeMap::new();
    for plan in plans {
        by_seed.entry(plan.seed).or_default().push(plan);
    }
    let endings = by_seed
        .into_iter()
        .flat_map(|(seed, plans)| play_together(scenario, seed, plans, false));
    endings
        .filter_map(|(plan, ending)| {
            let violation = match ending {
                Ending::Kept => return None,
                Ending::Broken => run(scenario, &plan, false).violation,
                Ending::Lost => Some(Violation::new("an end", "the process was ended")),
                Ending::NeverBegun => Some(Violation::new(
                    "scenario",
                    "there is no such write or event",
                )),
            };
            Some(Failure {
                scenario: scenario.name,
                plan,
                violation: violation.unwrap_or_else(only_beside_others),
            })
        })
        .collect()
}
