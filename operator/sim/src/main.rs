//! Plays scenarios in the simulated Kubernetes.

use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};
#[cfg(feature = "mutants")]
use todo_operator_core::mutants::Mutant;
use todo_operator_sim::catalog;
#[cfg(feature = "mutants")]
use todo_operator_sim::mutants;
use todo_operator_sim::plan::Plan;
use todo_operator_sim::scenario::{self, Scenario};
use todo_operator_sim::suite;

/// A quarter of a run is making and dropping small values.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Plays scenarios in the simulated Kubernetes.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Names every scenario.
    List,
    /// Plays every single fault of a scenario, or of all.
    Faults {
        /// The scenario.
        scenario: Option<String>,
        /// Only every n-th plan.
        #[arg(long, default_value_t = 1)]
        every: usize,
        /// Also so many plans of each scenario with two faults.
        #[arg(long, default_value_t = 0)]
        pairs: usize,
        /// The first seed: it decides the delays, and which faults make pairs.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Puts deliberate bugs into the operator, one at a time, and says what catches each.
    #[cfg(feature = "mutants")]
    Mutants {
        /// Looks for what catches them, and prints the table; else the table's plans are played.
        #[arg(long)]
        search: bool,
        /// Looks for this one alone.
        #[arg(long, requires = "search")]
        mutant: Option<String>,
        /// Looks in this scenario alone.
        #[arg(long, requires = "search")]
        scenario: Option<String>,
    },
    /// Plays one plan again and shows what happens.
    Replay {
        /// The scenario.
        scenario: String,
        /// The plan, as a failure prints it: 7:crash-after@12.
        #[arg(default_value = "0")]
        plan: Plan,
        /// Only how it ends.
        #[arg(long)]
        quiet: bool,
        /// Also the objects that are there at the end.
        #[arg(long)]
        objects: bool,
    },
}

fn main() -> ExitCode {
    match run(&Arguments::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn find(name: &str) -> Result<&'static Scenario, String> {
    Scenario::find(name).ok_or_else(|| {
        let names: Vec<&str> = scenario::ALL.iter().map(|scenario| scenario.name).collect();
        format!(
            "there is no scenario {name:?}; there are {}",
            names.join(", ")
        )
    })
}

/// The scenario of that name, or all that are played with faults.
fn chosen(name: Option<&str>) -> Result<Vec<&'static Scenario>, String> {
    let all = scenario::ALL.iter();
    name.map_or_else(
        || Ok(all.filter(|scenario| scenario.seeds > 0).collect()),
        |name| Ok(vec![find(name)?]),
    )
}

/// Plans that once broke a promise.
fn regressions() -> Result<Vec<(&'static Scenario, Plan)>, Box<dyn std::error::Error>> {
    include_str!("../regressions.txt")
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| {
            let mut words = line.split_whitespace();
            let scenario = find(words.next().unwrap_or_default())?;
            Ok((scenario, words.next().unwrap_or_default().parse()?))
        })
        .collect()
}

fn run(command: &Command) -> Result<bool, Box<dyn std::error::Error>> {
    catalog::load()?;
    match command {
        Command::List => {
            for scenario in scenario::ALL {
                println!("{}", scenario.name);
            }
            Ok(true)
        }
        Command::Faults {
            scenario,
            every,
            pairs,
            seed,
        } => {
            let chosen = chosen(scenario.as_deref())?;
            let begun = Instant::now();
            let (mut played, mut failed) = (0_u32, 0_u32);
            let mut play = |scenario: &'static Scenario, plans: Vec<Plan>| {
                played = played.saturating_add(plans.len().try_into().unwrap_or(u32::MAX));
                for failure in suite::run_all(scenario, plans) {
                    failed += 1;
                    println!("{} {}: {}", scenario.name, failure.plan, failure.violation);
                }
            };
            for (scenario, plan) in regressions()? {
                play(scenario, vec![plan]);
            }
            for scenario in chosen {
                let begun = Instant::now();
                // One that is asked for by name is played, however long that takes.
                let seeds = *seed..*seed + scenario.seeds.max(1);
                let single = seeds.flat_map(|seed| suite::single_faults(scenario, seed));
                let pairs = suite::pairs(scenario, *seed, *pairs);
                let plans: Vec<Plan> = single.step_by(*every).chain(pairs).collect();
                let count = plans.len();
                play(scenario, plans);
                let seconds = begun.elapsed().as_secs_f64();
                println!("{}: {count} plans in {seconds:.1} s", scenario.name);
            }
            let minutes = begun.elapsed().as_secs_f64() / 60.0;
            println!("plans {played}");
            println!("failures {failed}");
            println!("plans_per_min {:.0}", f64::from(played) / minutes);
            Ok(failed == 0)
        }
        #[cfg(feature = "mutants")]
        Command::Mutants {
            search: true,
            mutant,
            scenario,
        } => {
            let scenarios = chosen(scenario.as_deref())?;
            let wanted = |name: &str| mutant.as_deref().is_none_or(|wanted| wanted == name);
            let mut uncaught = 0;
            for mutant in Mutant::ALL {
                let name = format!("{mutant:?}");
                if !wanted(&name) {
                    continue;
                }
                match mutants::search(mutant, &scenarios) {
                    Some(catch) => println!("{catch}"),
                    None => {
                        uncaught += 1;
                        println!("# {name} is not caught");
                    }
                }
            }
            Ok(uncaught == 0)
        }
        #[cfg(feature = "mutants")]
        Command::Mutants { search: false, .. } => {
            let table = mutants::read(include_str!("../mutants.txt"))?;
            let mut caught = 0;
            for mutant in Mutant::ALL {
                let Some(catch) = table.iter().find(|catch| catch.mutant == mutant) else {
                    println!("{mutant:?} is not in the table");
                    continue;
                };
                match catch.play() {
                    Some(plan) => {
                        caught += 1;
                        if plan != catch.plan {
                            println!("{catch}: now by {plan}");
                        }
                    }
                    None => println!("{catch}: not any more"),
                }
            }
            println!("mutants {}", Mutant::ALL.len());
            println!("mutants_caught {caught}");
            Ok(caught == Mutant::ALL.len())
        }
        Command::Replay {
            scenario,
            plan,
            quiet,
            objects,
        } => {
            let report = suite::run(find(scenario)?, plan, !quiet);
            for line in &report.timeline {
                println!("{:>10.3} {}", line.at.as_secs_f64(), line.what);
            }
            if *objects {
                println!("{}", report.end);
            }
            println!(
                "{} writes, {} events, {} faults met",
                report.writes, report.events, report.faults_met
            );
            if let Some(violation) = &report.violation {
                println!("{violation}");
            }
            Ok(report.violation.is_none())
        }
    }
}
