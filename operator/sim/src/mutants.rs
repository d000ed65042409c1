//! Deliberate bugs of the operator, and what catches each.

use std::fmt;

use todo_operator_core::mutants::Mutant;

use crate::oracle::Violation;
use crate::plan::Plan;
use crate::scenario::Scenario;
use crate::suite;

/// How far from its place in the table a fault may be: what the operator writes before it changes with the operator.
const NEAR: isize = 40;
/// The first seed that the suite plays.
const SEED: u64 = 1;

/// What catches a mutant.
pub struct Catch {
    /// The mutant.
    pub mutant: Mutant,
    /// The scenario.
    pub scenario: &'static Scenario,
    /// The plan: without faults where the bug shows at once.
    pub plan: Plan,
    /// The oracle.
    pub oracle: String,
}

/// `LeavesOrphans release 1 end state`
impl fmt::Display for Catch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scenario, plan, oracle) = (self.scenario.name, &self.plan, &self.oracle);
        write!(f, "{:?} {scenario} {plan} {oracle}", self.mutant)
    }
}

/// A line of the table that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} names no mutant, scenario, plan and oracle")]
pub struct NoCatch(String);

/// The table.
pub fn read(table: &str) -> Result<Vec<Catch>, NoCatch> {
    let lines = table
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let mut words = line.splitn(4, ' ');
            let mut word = || words.next().unwrap_or_default();
            let name = word();
            let mutant = Mutant::ALL
                .into_iter()
                .find(|mutant| format!("{mutant:?}") == name);
            let (scenario, plan, oracle) = (Scenario::find(word()), word().parse(), word());
            match (mutant, scenario, plan) {
                (Some(mutant), Some(scenario), Ok(plan)) => Ok(Catch {
                    mutant,
                    scenario,
                    plan,
                    oracle: oracle.to_owned(),
                }),
                _ => Err(NoCatch(line.to_owned())),
            }
        })
        .collect()
}

impl Catch {
    /// Plays it with the mutant in, and then the same fault near its place, the nearest first: which plan is caught by the
    /// oracle.
    pub fn play(&self) -> Option<Plan> {
        // What it is compared with has no bug.
        suite::without_faults(self.scenario);
        let is_caught = |plan: &Plan| {
            let violation = suite::run(self.scenario, plan, false).violation;
            violation.is_some_and(|violation| violation.oracle == self.oracle)
        };
        with(self.mutant, || near(&self.plan).find(is_caught))
    }
}

/// A plan, and those whose first fault is a little later or earlier.
fn near(plan: &Plan) -> impl Iterator<Item = Plan> {
    let moved = |by: isize| {
        let mut moved = plan.clone();
        if let Some(first) = moved.faults.first_mut() {
            first.at = first.at.checked_add_signed(by)?;
        }
        Some(moved)
    };
    let far = if plan.faults.is_empty() { 0 } else { NEAR };
    (0..=far).flat_map(|by| [by, -by]).skip(1).filter_map(moved)
}

/// Looks through runs of these scenarios in which nothing goes wrong, then through every single fault of them.
pub fn search(mutant: Mutant, scenarios: &[&'static Scenario]) -> Option<Catch> {
    let catch = |scenario, plan, violation: Violation| Catch {
        mutant,
        scenario,
        plan,
        oracle: violation.oracle.to_owned(),
    };
    for scenario in scenarios {
        suite::without_faults(scenario);
    }
    let seeds_of = |scenario: &Scenario| SEED..SEED + scenario.seeds;
    with(mutant, || {
        let at_once = scenarios.iter().find_map(|&scenario| {
            seeds_of(scenario).find_map(|seed| {
                let plan = Plan::of(seed);
                let violation = suite::run(scenario, &plan, false).violation?;
                Some(catch(scenario, plan, violation))
            })
        });
        at_once.or_else(|| {
            scenarios.iter().find_map(|&scenario| {
                seeds_of(scenario).find_map(|seed| {
                    let plans = suite::single_faults(scenario, seed);
                    let (plan, violation) = suite::first_broken(scenario, seed, plans)?;
                    Some(catch(scenario, plan, violation))
                })
            })
        })
    })
}

fn with<T>(mutant: Mutant, then: impl FnOnce() -> T) -> T {
    Mutant::put_in(Some(mutant));
    let result = then();
    Mutant::put_in(None);
    result
}
