//! Waves: the order in which children are applied.

/// The order in which children are applied. A barrier stands behind `Storage`, `Roles`, `Databases` and
/// `Migrations`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wave {
    /// Accounts, configuration, network policy: what pods need to start.
    Policy,
    /// PostgreSQL clusters, topics.
    Storage,
    /// Roles, which need a primary: CloudNativePG tries again only after half a minute.
    Roles,
    /// Databases, which need their roles.
    Databases,
    /// Migration Jobs, which need their databases.
    Migrations,
    /// Services, weighted routes and analysis templates, which a Rollout refers to.
    Services,
    /// Deployments, Rollouts, CronJobs.
    Workloads,
    /// Scalers and what opens the way from outside.
    Traffic,
}

impl Wave {
    /// All, in order.
    pub const ALL: [Self; 8] = [
        Self::Policy,
        Self::Storage,
        Self::Roles,
        Self::Databases,
        Self::Migrations,
        Self::Services,
        Self::Workloads,
        Self::Traffic,
    ];
}
