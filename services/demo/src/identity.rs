//! Who answers: component, version and pod.

use clap::Args;
use serde::Serialize;

/// Names of the process, which it puts into answers and records.
#[derive(Args, Clone, Debug, Serialize)]
pub struct Identity {
    /// Name of the component.
    #[arg(long, env = "APP_COMPONENT", default_value = "demo")]
    pub component: String,
    /// The version that it says it is, so that a release can be told by its answers. Images and releases set it.
    #[arg(long = "as-version", env = "DEMO_VERSION", default_value = env!("CARGO_PKG_VERSION"))]
    pub version: String,
    /// Name of the pod.
    #[arg(long, env = "POD_NAME", default_value = "local")]
    pub pod: String,
}
