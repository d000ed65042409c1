//! Plans of one scenario, played together. What comes before a fault is the same with and without it, so it is played
//! once: at each fault of a plan the process divides (`fork(2)`), and the copy plays on with the fault.

use std::collections::BTreeMap;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, alarm};

use crate::plan::{Fault, Plan};

/// Seconds of the machine's time after which a copy is taken for one that will never end.
const ENDLESS: u32 = 300;

/// How the copy that played a plan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Every promise was kept.
    Kept,
    /// One was broken; the plan, played again by itself, tells which.
    Broken,
    /// The process was ended by a signal, or could not be made.
    Lost,
    /// None of its faults was met.
    NeverBegun,
}

/// Plans that are to be played from one trunk, the run of their scenario and seed in which nothing goes wrong.
#[derive(Debug)]
pub struct Branches {
    plans: Vec<Plan>,
    /// One broken promise is enough.
    until_broken: bool,
    is_copy: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Plans by each of their faults, until one of these is met.
    waiting: BTreeMap<(bool, usize), Vec<usize>>,
    playing: BTreeMap<Pid, usize>,
    endings: BTreeMap<usize, Ending>,
}

impl Branches {
    /// Branches of these plans, whose seed is the trunk's. `until_broken`: none is begun once a promise is broken.
    pub fn new(plans: Vec<Plan>, until_broken: bool) -> Self {
        let mut waiting: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (i, plan) in plans.iter().enumerate() {
            for fault in &plan.faults {
                let point = (fault.what.is_at_write(), fault.at);
                waiting.entry(point).or_default().push(i);
            }
        }
        let state = State {
            waiting,
            ..State::default()
        };
        Self {
            plans,
            until_broken,
            is_copy: AtomicBool::new(false),
            state: Mutex::new(state),
        }
    }

    /// At a write or an event: divides for every plan that has a fault here. In a copy, the faults that it plays with.
    pub fn divide(&self, is_write: bool, at: usize) -> Option<Vec<Fault>> {
        if self.is_copy() {
            return None;
        }
        let mut state = self.state();
        for i in state.waiting.remove(&(is_write, at)).unwrap_or_default() {
            // Of a plan with two faults, the copy plays on to the second.
            let has_begun = state.endings.contains_key(&i)
                || state.playing.values().any(|&playing| playing == i);
            if has_begun {
                continue;
            }
            while state.playing.len() >= cores() {
                state.wait_for_one();
            }
            if self.until_broken && state.endings.values().any(|&ending| ending != Ending::Kept) {
                return None;
            }
            match fork() {
                Ok(ForkResult::Parent { child }) => {
                    state.playing.insert(child, i);
                }
                Ok(ForkResult::Child) => {
                    self.is_copy.store(true, Ordering::Relaxed);
                    alarm::set(ENDLESS);
                    return self.plans.get(i).map(|plan| plan.faults.clone());
                }
                Err(_) => {
                    state.endings.insert(i, Ending::Lost);
                }
            }
        }
        None
    }

    /// Whether this process is a copy.
    pub fn is_copy(&self) -> bool {
        self.is_copy.load(Ordering::Relaxed)
    }

    /// Ends a copy.
    pub fn end(&self, is_kept: bool) -> ! {
        process::exit(i32::from(!is_kept))
    }

    /// Waits for every copy. The plans with how they ended.
    pub fn endings(self) -> Vec<(Plan, Ending)> {
        let mut state = self.state();
        while !state.playing.is_empty() {
            state.wait_for_one();
        }
        let endings = std::mem::take(&mut state.endings);
        drop(state);
        let ending = |i: usize| endings.get(&i).copied().unwrap_or(Ending::NeverBegun);
        let plans = self.plans.into_iter().enumerate();
        plans.map(|(i, plan)| (plan, ending(i))).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wait_for_one(&mut self) {
        let (pid, ending) = match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, 0)) => (pid, Ending::Kept),
            Ok(WaitStatus::Exited(pid, _)) => (pid, Ending::Broken),
            Ok(WaitStatus::Signaled(pid, _, _)) => (pid, Ending::Lost),
            Ok(_) | Err(Errno::EINTR) => return,
            // There are no copies: nobody will tell how these ended.
            Err(_) => {
                let lost = std::mem::take(&mut self.playing).into_values();
                self.endings.extend(lost.map(|i| (i, Ending::Lost)));
                return;
            }
        };
        if let Some(i) = self.playing.remove(&pid) {
            self.endings.insert(i, ending);
        }
    }
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

#[allow(unsafe_code, reason = "no safe code can divide a process")]
fn fork() -> nix::Result<ForkResult> {
    // SAFETY: beside the thread that calls, the process has only such as wait for it and hold no lock; the copy, which
    // has this thread alone, waits for no other.
    unsafe { nix::unistd::fork() }
}
