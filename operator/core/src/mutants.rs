//! Deliberate bugs, which the simulation must catch. Their shapes are those that operators were published with: Sieve
//! (OSDI '22), Acto (SOSP '23), Anvil (OSDI '24), and those of our own that the simulation has found.
//!
//! They are there with the feature `mutants` alone, one at a time; without it, nothing of them is compiled.

/// A deliberate bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mutant {
    /// A Rollout's status is trusted whatever generation it is about.
    TrustsOldRolloutStatus = 1,
    /// A Deployment's status is trusted whatever generation it is about.
    TrustsOldDeploymentStatus,
    /// A rejection goes on record only after the release has gone back.
    ForgetsRejection,
    /// What was rejected goes out again.
    RetriesRejected,
    /// The oldest release that was proven is taken for the last good one.
    GoesBackTooFar,
    /// A Rollout that is new begins with the version that is to be proven.
    SkipsCanaryOfNewRollout,
    /// Pods do not wait for their migration.
    SkipsMigration,
    /// Replicas that an autoscaler moves are written.
    OverwritesReplicas,
    /// Weights that Argo Rollouts moves are written.
    OverwritesWeights,
    /// Selectors that Argo Rollouts narrows are written.
    OverwritesSelectors,
    /// What is no longer wanted stays.
    LeavesOrphans,
    /// A ConfigMap that pods still read is taken for an orphan.
    DeletesWhatIsInUse,
    /// Labels alone make an object ours to delete.
    DeletesByLabelAlone,
    /// Databases and topics go with their application, whatever its policy.
    DeletesData,
    /// An application that takes its data along is let go before the data is gone.
    ForgetsFinalizer,
    /// What a new list does not hold is still believed to be there.
    ForgetsNothing,
    /// The watch of a kind that came back goes on where it was.
    ResumesLostWatch,
    /// Claims count from when an application is listed, its environment known or not.
    ClaimsBeforeListed,
    /// Does not look again at what its own write makes superfluous.
    WaitsForOwnWrite,
    /// A write that failed is not tried again.
    SwallowsErrors,
    /// A conflict is taken for success.
    SwallowsConflicts,
    /// Every reconcile writes every child.
    AppliesWithoutDifference,
    /// Every reconcile writes the status.
    WritesStatusWithoutDifference,
}

impl Mutant {
    /// Every one of them.
    pub const ALL: [Self; 23] = [
        Self::TrustsOldRolloutStatus,
        Self::TrustsOldDeploymentStatus,
        Self::ForgetsRejection,
        Self::RetriesRejected,
        Self::GoesBackTooFar,
        Self::SkipsCanaryOfNewRollout,
        Self::SkipsMigration,
        Self::OverwritesReplicas,
        Self::OverwritesWeights,
        Self::OverwritesSelectors,
        Self::LeavesOrphans,
        Self::DeletesWhatIsInUse,
        Self::DeletesByLabelAlone,
        Self::DeletesData,
        Self::ForgetsFinalizer,
        Self::ForgetsNothing,
        Self::ResumesLostWatch,
        Self::ClaimsBeforeListed,
        Self::WaitsForOwnWrite,
        Self::SwallowsErrors,
        Self::SwallowsConflicts,
        Self::AppliesWithoutDifference,
        Self::WritesStatusWithoutDifference,
    ];

    /// Whether this bug is there.
    #[cfg(feature = "mutants")]
    pub fn is_on(self) -> bool {
        active::ACTIVE.load(std::sync::atomic::Ordering::Relaxed) == self as u8
    }

    /// Whether this bug is there: it is not.
    #[cfg(not(feature = "mutants"))]
    #[inline(always)]
    pub const fn is_on(self) -> bool {
        false
    }
}

#[cfg(feature = "mutants")]
mod active {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::Mutant;

    pub(super) static ACTIVE: AtomicU8 = AtomicU8::new(0);

    impl Mutant {
        /// Puts this bug in, in the place of any other; `None` for none.
        pub fn put_in(mutant: Option<Self>) {
            ACTIVE.store(mutant.map_or(0, |mutant| mutant as u8), Ordering::Relaxed);
        }
    }
}
