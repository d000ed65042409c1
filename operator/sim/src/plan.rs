//! What goes wrong in one run, and when: decided before it begins, so that it can be run again.

use std::fmt;
use std::str::FromStr;

/// A run: its seed, and what goes wrong in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Decides every delay.
    pub seed: u64,
    /// What goes wrong.
    pub faults: Vec<Fault>,
}

impl Plan {
    /// A run in which nothing goes wrong.
    pub fn of(seed: u64) -> Self {
        let faults = Vec::new();
        Self { seed, faults }
    }

    /// Whether objects go with their CRD, and their pods with them.
    pub fn removes_a_crd(&self) -> bool {
        let mut faults = self.faults.iter();
        faults.any(|fault| matches!(fault.what, What::CrdRemoved | What::CrdReplaced))
    }

    /// Whether the operators are shown a state that is over: what was made since looks as if somebody had deleted it.
    pub fn shows_the_past(&self) -> bool {
        let mut faults = self.faults.iter();
        faults.any(|fault| fault.what == What::StaleList)
    }
}

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// At the how-many-eth write or watch event of the operators, counted from 1. Renewals of the Lease do not count.
    pub at: usize,
    /// What goes wrong there.
    pub what: What,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// The operator's process ends before the write is sent.
    CrashBefore,
    /// The operator's process ends after the write was carried out.
    CrashAfter,
    /// The write is carried out, and its answer is lost.
    ReplyLost,
    /// The write is refused with 409.
    Conflict,
    /// The write is answered with 500.
    ServerError,
    /// The write is answered with 504, late.
    Timeout,
    /// From this write on, the operator does not reach the API server until another one leads.
    LeaderChange,
    /// At this write, the CRD of a peer is removed; it comes back a minute later.
    CrdRemoved,
    /// At this write, the CRD of a peer is removed and made anew, with nothing of its kind.
    CrdReplaced,
    /// The connection of a watch breaks before the event.
    WatchCut,
    /// The server has forgotten the history that the watch needs: it lists anew.
    WatchGone,
    /// As [`Self::WatchGone`], and the list comes from a server that is behind.
    StaleList,
    /// The event is merged with the next one of the same object.
    Merged,
    /// The event, and what comes after it, is late.
    Delayed,
}

impl What {
    /// What can go wrong at a write.
    pub const AT_WRITES: [Self; 9] = [
        Self::CrashBefore,
        Self::CrashAfter,
        Self::ReplyLost,
        Self::Conflict,
        Self::ServerError,
        Self::Timeout,
        Self::LeaderChange,
        Self::CrdRemoved,
        Self::CrdReplaced,
    ];
    /// What can go wrong at an event of a watch.
    pub const AT_EVENTS: [Self; 5] = [
        Self::WatchCut,
        Self::WatchGone,
        Self::StaleList,
        Self::Merged,
        Self::Delayed,
    ];

    /// Whether it goes wrong at a write, not at an event.
    pub fn is_at_write(self) -> bool {
        Self::AT_WRITES.contains(&self)
    }

    fn name(self) -> &'static str {
        match self {
            Self::CrashBefore => "crash-before",
            Self::CrashAfter => "crash-after",
            Self::ReplyLost => "reply-lost",
            Self::Conflict => "conflict",
            Self::ServerError => "server-error",
            Self::Timeout => "timeout",
            Self::LeaderChange => "leader-change",
            Self::CrdRemoved => "crd-removed",
            Self::CrdReplaced => "crd-replaced",
            Self::WatchCut => "watch-cut",
            Self::WatchGone => "watch-gone",
            Self::StaleList => "stale-list",
            Self::Merged => "merged",
            Self::Delayed => "delayed",
        }
    }
}

/// `7:crash-after@12+watch-cut@3`: the seed, then each fault with its place.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.seed)?;
        for (i, fault) in self.faults.iter().enumerate() {
            let separator = if i == 0 { ':' } else { '+' };
            write!(f, "{separator}{}@{}", fault.what.name(), fault.at)?;
        }
        Ok(())
    }
}

/// A text that is no plan.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is no plan; write a seed, then faults, as in 7:crash-after@12+watch-cut@3")]
pub struct NoPlan(String);

impl FromStr for Plan {
    type Err = NoPlan;

    fn from_str(text: &str) -> Result<Self, NoPlan> {
        let no_plan = || NoPlan(text.to_owned());
        let (seed, faults) = text.split_once(':').unwrap_or((text, ""));
        let seed = seed.parse().map_err(|_| no_plan())?;
        let faults = faults
            .split('+')
            .filter(|fault| !fault.is_empty())
            .map(|fault| {
                let (name, at) = fault.split_once('@').ok_or_else(no_plan)?;
                let all = What::AT_WRITES.into_iter().chain(What::AT_EVENTS);
                Ok(Fault {
                    at: at.parse().map_err(|_| no_plan())?,
                    what: all
                        .into_iter()
                        .find(|what| what.name() == name)
                        .ok_or_else(no_plan)?,
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { seed, faults })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_read_as_it_is_shown() {
        let text = "7:crash-after@12+watch-cut@3";
        let plan: Result<Plan, _> = text.parse();
        assert_eq!(plan.map(|plan| plan.to_string()), Ok(text.to_owned()));
        assert_eq!(
            "9".parse(),
            Ok(Plan {
                seed: 9,
                faults: vec![]
            })
        );
        for bad in ["", "x", "7:crash", "7:crash-after@", "7:nothing@1"] {
            assert_eq!(bad.parse::<Plan>(), Err(NoPlan(bad.to_owned())));
        }
    }
}
