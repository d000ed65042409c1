//! One run: the API server, the models, the operators, and what goes wrong between them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use todo_operator_controller::metrics::Metrics;
use todo_operator_controller::outside::Clock;
use todo_operator_controller::run::{Options, Outside, run};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::actor::{Actor, text};
use crate::apiserver::call::{Call, Verb};
use crate::apiserver::failure::Failure;
use crate::apiserver::server::ApiServer;
use crate::branches::Branches;
use crate::models::{self, Knobs};
use crate::plan::{Plan, What};
use crate::wire::{self, EventFate, Fate, Network};

/// The namespace that the operators run in.
pub const OPERATOR_NAMESPACE: &str = "todo-operator";
/// The field manager of people.
pub const PERSON: &str = "kubectl";
/// When every run begins, in seconds since the epoch: 2026-01-05T09:00:00Z, a Monday.
const BEGIN: i64 = 1_767_603_600;
/// The longest time that a message is on its way.
const LATENCY: Duration = Duration::from_millis(20);
/// The longest time that a controller takes to act on a change.
const LAG: Duration = Duration::from_millis(400);
/// Time from the end of an operator's process to the next one's start.
const RESTART: Duration = Duration::from_secs(2);

/// Time in the simulation.
#[derive(Clone, Copy, Debug)]
pub struct VirtualClock {
    begun: Instant,
}

impl VirtualClock {
    /// Since the run began.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        let elapsed = jiff::SignedDuration::try_from(self.elapsed()).unwrap_or_default();
        Timestamp::from_second(BEGIN).unwrap_or_default() + elapsed
    }
}

/// One line of what happened.
#[derive(Clone, Debug)]
pub struct Line {
    /// Since the run began.
    pub at: Duration,
    /// What happened.
    pub what: String,
}

/// What every part of a run shares.
pub struct World {
    /// The API server.
    pub server: Arc<ApiServer>,
    /// What the models are told to do.
    pub knobs: Knobs,
    /// The time.
    pub clock: VirtualClock,
    branches: Option<Arc<Branches>>,
    state: Mutex<State>,
}

struct State {
    plan: Plan,
    random: StdRng,
    writes: usize,
    events: usize,
    /// Resources whose next list comes from a server that is behind.
    stale: BTreeSet<String>,
    lines: Option<Vec<Line>>,
    /// When an operator last wrote anything but its Lease, and what.
    last_operator_write: (Duration, String),
    /// The newest change of anything but a Lease that was seen, and when it was.
    last_change: (u64, Duration),
    faults_met: usize,
    /// Writes and events before anything is to go wrong.
    before_faults: (usize, usize),
}

impl World {
    /// A world that holds what every cluster holds. `timeline`: whether what happens is written down.
    pub fn new(plan: Plan, timeline: bool) -> Arc<Self> {
        Self::with(plan, timeline, None)
    }

    /// A world that divides wherever one of the branches begins.
    pub fn dividing(seed: u64, branches: &Arc<Branches>) -> Arc<Self> {
        Self::with(Plan::of(seed), false, Some(Arc::clone(branches)))
    }

    fn with(plan: Plan, timeline: bool, branches: Option<Arc<Branches>>) -> Arc<Self> {
        let seed = plan.seed;
        let clock = VirtualClock {
            begun: Instant::now(),
        };
        let catalog = crate::catalog::catalog();
        let now = move || clock.now();
        let server = ApiServer::new(catalog.resources, catalog.rules, now, seed);
        let world = Arc::new(Self {
            server: Arc::new(server),
            knobs: Knobs::default(),
            clock,
            branches,
            state: Mutex::new(State {
                random: StdRng::seed_from_u64(seed),
                plan,
                writes: 0,
                events: 0,
                stale: BTreeSet::new(),
                lines: timeline.then(Vec::new),
                last_operator_write: (Duration::ZERO, String::new()),
                last_change: (0, Duration::ZERO),
                faults_met: 0,
                before_faults: (0, 0),
            }),
        });
        for (i, model) in models::all(&world.server, &world.knobs, seed)
            .into_iter()
            .enumerate()
        {
            let seed = seed.wrapping_mul(31).wrapping_add(i as u64);
            let server = Arc::clone(&world.server);
            tokio::spawn(models::drive(model, server, move || clock.now(), seed, LAG));
        }
        world
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A person at the keyboard.
    pub fn person(&self) -> Actor {
        Actor::new(&self.server, PERSON)
    }

    /// Writes down what happened.
    pub fn note(&self, what: impl FnOnce() -> String) {
        let at = self.clock.elapsed();
        if let Some(lines) = &mut self.state().lines {
            let what = what();
            lines.push(Line { at, what });
        }
    }

    /// What happened, where it was written down.
    pub fn timeline(&self) -> Vec<Line> {
        self.state().lines.clone().unwrap_or_default()
    }

    /// Writes and watch events of the operators so far.
    pub fn counts(&self) -> (usize, usize) {
        let state = self.state();
        (state.writes, state.events)
    }

    /// Everything so far is the way to where the scenario begins: other scenarios tell what comes of faults there.
    pub fn begin_of_faults(&self) {
        let mut state = self.state();
        state.before_faults = (state.writes, state.events);
    }

    /// Writes and watch events of the operators before the scenario began.
    pub fn before_faults(&self) -> (usize, usize) {
        self.state().before_faults
    }

    /// What goes wrong here.
    pub fn plan(&self) -> Plan {
        self.state().plan.clone()
    }

    /// How many of the plan's faults were met.
    pub fn faults_met(&self) -> usize {
        self.state().faults_met
    }

    /// When an operator last wrote anything but its Lease, and what.
    pub fn last_operator_write(&self) -> (Duration, String) {
        self.state().last_operator_write.clone()
    }

    /// When this was first asked after the newest change of anything but a Lease.
    pub fn last_change(&self) -> Duration {
        let newest = self.server.read(|store| {
            let changed = store
                .resources()
                .filter(|id| store.resource(*id).plural != "leases")
                .filter_map(|id| Some(store.changes_after(id, 0).last()?.revision));
            changed.max().unwrap_or(0)
        });
        let mut state = self.state();
        if state.last_change.0 != newest {
            state.last_change = (newest, self.clock.elapsed());
        }
        state.last_change.1
    }

    /// Keeps an operator running: a process that ends is started again.
    pub fn keep_operator_running(self: &Arc<Self>, name: &'static str) {
        let world = Arc::clone(self);
        tokio::spawn(async move {
            for instance in 1.. {
                let identity = format!("{name}-{instance}");
                world.note(|| format!("{identity} starts"));
                world.run_operator(&identity).await;
                tokio::time::sleep(RESTART).await;
            }
        });
    }

    /// Runs an operator until it ends by itself or is killed.
    async fn run_operator(self: &Arc<Self>, identity: &str) {
        let connection = Arc::new(Connection {
            world: Arc::clone(self),
            identity: identity.to_owned(),
            killed: Notify::new(),
            fate: Mutex::new(Life::Running),
        });
        let network: Arc<dyn Network> = Arc::clone(&connection) as Arc<dyn Network>;
        let jitter = Mutex::new(StdRng::seed_from_u64(self.state().random.random()));
        let outside = Outside {
            client: wire::client(Arc::clone(&self.server), network),
            kafka: self.knobs.kafka.clone(),
            clock: Arc::new(self.clock),
            jitter: Arc::new(move || {
                jitter
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .random()
            }),
        };
        let options = Options {
            namespace: OPERATOR_NAMESPACE.to_owned(),
            identity: identity.to_owned(),
            ready: Arc::default(),
            metrics: Arc::new(Metrics::default()),
        };
        tokio::select! {
            biased;
            () = connection.killed.notified() => self.note(|| format!("{identity} is killed")),
            ended = run(outside, options, std::future::pending()) => {
                self.note(|| format!("{identity} ends: {ended:?}"));
            }
        }
    }
}

/// How it stands with an operator's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Running,
    /// It does not reach the API server.
    CutOff,
    /// It has ended.
    Dead,
}

/// One operator's way to the API server.
struct Connection {
    world: Arc<World>,
    identity: String,
    killed: Notify,
    fate: Mutex<Life>,
}

impl Connection {
    fn life(&self) -> Life {
        *self.fate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_life(&self, life: Life) {
        *self.fate.lock().unwrap_or_else(PoisonError::into_inner) = life;
    }

    fn kill(&self) {
        self.set_life(Life::Dead);
        self.killed.notify_one();
    }

    fn note(&self, what: impl FnOnce() -> String) {
        self.world.note(|| format!("{}: {}", self.identity, what()));
    }

    fn fault_at(&self, is_write: bool) -> Option<What> {
        let mut state = self.world.state();
        let at = if is_write {
            state.writes += 1;
            state.writes
        } else {
            state.events += 1;
            state.events
        };
        let branches = self.world.branches.as_ref();
        if let Some(faults) = branches.and_then(|branches| branches.divide(is_write, at)) {
            state.plan.faults = faults;
        }
        let mut faults = state.plan.faults.iter();
        let fault = faults
            .find(|fault| fault.what.is_at_write() == is_write && fault.at == at)
            .map(|fault| fault.what);
        state.faults_met += usize::from(fault.is_some());
        fault
    }
}

impl Network for Connection {
    fn latency(&self) -> Duration {
        LATENCY.mul_f64(self.world.state().random.random())
    }

    fn request(&self, call: &Call) -> Fate {
        match self.life() {
            Life::Dead => return Fate::NeverSent,
            Life::CutOff => return Fate::Unreachable,
            Life::Running => {}
        }
        if !call.verb.is_write() || call.plural == "leases" {
            return Fate::Answered;
        }
        let written = format!("{} {}", call.verb.name(), of(call));
        self.world.state().last_operator_write = (self.world.clock.elapsed(), written);
        let fault = self.fault_at(true);
        if let Some(fault) = fault {
            self.note(|| format!("{} {} meets {fault:?}", call.verb.name(), of(call)));
        }
        match fault {
            None => Fate::Answered,
            Some(What::CrashBefore) => {
                self.kill();
                Fate::NeverSent
            }
            Some(What::CrashAfter) => {
                self.kill();
                Fate::NeverAnswered
            }
            Some(What::ReplyLost) => Fate::ReplyLost,
            Some(What::Conflict) => {
                Fate::Refused(Failure::simulated_conflict(&call.plural, &call.name))
            }
            Some(What::ServerError) => Fate::Refused(Failure::internal()),
            Some(What::Timeout) => Fate::Refused(Failure::timeout()),
            Some(What::LeaderChange) => {
                self.set_life(Life::CutOff);
                Fate::Unreachable
            }
            Some(What::CrdRemoved) => {
                crate::catalog::remove_crd(&self.world, call, Duration::from_secs(60));
                Fate::Answered
            }
            Some(What::CrdReplaced) => {
                crate::catalog::remove_crd(&self.world, call, Duration::from_millis(1));
                Fate::Answered
            }
            Some(
                What::WatchCut | What::WatchGone | What::StaleList | What::Merged | What::Delayed,
            ) => Fate::Answered,
        }
    }

    fn answered(&self, call: &Call, answer: &Result<u16, Failure>) {
        if matches!(call.verb, Verb::List(_) | Verb::Get) || call.plural == "leases" {
            return;
        }
        self.note(|| {
            let answer = match answer {
                Ok(code) => code.to_string(),
                Err(failure) => format!("{} {}", failure.code, failure.message()),
            };
            format!("{} {}: {answer}", call.verb.name(), of(call))
        });
    }

    fn event(&self, plural: &str, event: &Value) -> EventFate {
        match self.life() {
            Life::Running => {}
            Life::CutOff | Life::Dead => return EventFate::Cut,
        }
        let fault = self.fault_at(false);
        self.note(|| {
            let object = &event["object"];
            let fault = fault.map_or(String::new(), |fault| format!(" meets {fault:?}"));
            let kind = event["type"].as_str().unwrap_or_default();
            format!("sees {kind} {plural} {}{fault}", text(object, "name"))
        });
        match fault {
            Some(What::WatchCut) => EventFate::Cut,
            Some(What::WatchGone) => EventFate::Gone,
            Some(What::StaleList) => {
                self.world.state().stale.insert(plural.to_owned());
                EventFate::Gone
            }
            Some(What::Merged) => EventFate::Merged,
            Some(What::Delayed) => EventFate::Delayed,
            _ => EventFate::Brought,
        }
    }

    fn staleness(&self, plural: &str) -> u64 {
        const BEHIND: u64 = 8;
        if self.world.state().stale.remove(plural) {
            BEHIND
        } else {
            0
        }
    }
}

fn of(call: &Call) -> String {
    let name = match &call.verb {
        // Named after the moment by the machine's clock, which is no part of the run.
        _ if call.plural == "events" => "",
        Verb::Create(_, object) if call.name.is_empty() => text(object, "name"),
        _ => &call.name,
    };
    let subresource = match call.subresource.name() {
        "" => String::new(),
        name => format!("/{name}"),
    };
    format!("{} {}/{name}{subresource}", call.plural, call.namespace)
}
