//! Who the process is.

use clap::Args;

/// Names of the process, which the operator sets.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Identity")]
pub struct Identity {
    /// Name of the application.
    #[arg(long, env = "APP_NAME", default_value = "todo")]
    pub app: String,
    /// Name of the stage.
    #[arg(long, env = "APP_ENVIRONMENT", default_value = "local")]
    pub stage: String,
    /// Name of the pod, by which PostgreSQL and Kafka know the process.
    #[arg(long, env = "POD_NAME", default_value = "local")]
    pub pod: String,
}
