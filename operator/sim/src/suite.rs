//! Runs: one plan of one scenario, or every single fault of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread;

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

/// Plays a scenario by a plan, in a thread of its own, and judges it by itself alone.
fn play(scenario: &'static Scenario, plan: &Plan, timeline: bool) -> Report {
    let plan = plan.clone();
    let played = thread::spawn(move || {
        crate::entropy::without_chance();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .map_err(|error| Violation::new("simulation", error.to_string()))?;
        Ok(runtime.block_on(async {
            let world = World::new(plan, timeline);
            let _log = timeline.then(|| log_into(&world));
            let outcome = scenario.play(&world).await;
            let (writes, events) = world.counts();
            Report {
                violation: outcome.err(),
                writes,
                events,
                before_faults: world.before_faults(),
                faults_met: world.faults_met(),
                timeline: world.timeline(),
                end: oracle::end_state(&world),
            }
        }))
    })
    .join();
    let failed = |violation| Report {
        violation: Some(violation),
        ..Report::default()
    };
    match played {
        Ok(Ok(report)) => report,
        Ok(Err(violation)) => failed(violation),
        Err(panic) => failed(Violation::new("no panic", words(panic.as_ref()))),
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
    let expected = without_faults(scenario);
    let mut report = play(scenario, plan, timeline);
    if report.violation.is_none() {
        report.violation = expected
            .violation
            .clone()
            .or_else(|| report.end.compare(&expected.end).err())
            .or_else(|| {
                // Whose CRD is gone loses its pods, and gets others.
                let removed = plan
                    .faults
                    .iter()
                    .any(|fault| fault.what == What::CrdRemoved);
                let pods = || report.end.compare_pods(&expected.end).err();
                if removed || scenario.allows.restarts {
                    None
                } else {
                    pods()
                }
            });
    }
    report
}

/// Every plan of a scenario with one fault: each kind of fault at each write and each event.
pub fn single_faults(scenario: &'static Scenario, seed: u64) -> Vec<Plan> {
    let expected = without_faults(scenario);
    let (writes, events) = expected.before_faults;
    let at = |points: std::ops::RangeInclusive<usize>, whats: &'static [What]| {
        points.flat_map(move |at| whats.iter().map(move |&what| Fault { at, what }))
    };
    at(writes + 1..=expected.writes, &What::AT_WRITES)
        .chain(at(events + 1..=expected.events, &What::AT_EVENTS))
        .map(|fault| Plan {
            seed,
            faults: vec![fault],
        })
        .collect()
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

/// Plays plans on as many threads as there are cores; returns those that broke a promise.
pub fn run_all(plans: &[(&'static Scenario, Plan)]) -> Vec<Failure> {
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|threads| {
        for _ in 0..cores {
            threads.spawn(|| {
                while let Some((scenario, plan)) = plans.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Some(violation) = run(scenario, plan, false).violation {
                        let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
                        failures.push(Failure {
                            scenario: scenario.name,
                            plan: plan.clone(),
                            violation,
                        });
                    }
                }
            });
        }
    });
    failures
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
}
