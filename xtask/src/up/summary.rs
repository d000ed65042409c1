//! What a person reads when `up` is done.

use std::path::PathBuf;
use std::time::Duration;

use owo_colors::{OwoColorize as _, Stream::Stdout};

/// How the cluster is reached.
#[derive(Debug)]
pub enum Access {
    /// The cluster of `up`.
    Local {
        /// Its administrator's kubeconfig.
        kubeconfig: PathBuf,
        /// The kubectl to type.
        kubectl: String,
        /// The broker.
        kafka: String,
    },
    /// The user's own.
    Context {
        /// Its name in the user's kubeconfig.
        name: String,
        /// The kubectl to type.
        kubectl: String,
    },
}

const REAL: [&str; 4] = [
    "etcd, kube-apiserver, kube-controller-manager, kube-scheduler",
    "Argo Rollouts",
    "the custom resource definitions of every peer",
    "the operator, under its own RBAC",
];

const MODELLED: [&str; 5] = [
    "nodes and pods (KWOK: no image is pulled, nothing runs in them)",
    "CloudNativePG (KWOK stages: every cluster is healthy at once)",
    "KEDA (makes the HorizontalPodAutoscaler; there are no metrics behind it)",
    "Gateway API controller (accepts every route)",
    "Strimzi (every topic is ready; config-repo does not use it)",
];

/// Prints what runs and what to try.
pub fn print(access: &Access, namespaces: &[String], took: Duration) {
    let last = namespaces.last().map_or("production", String::as_str);
    println!("\nReady after {:.0} s.", took.as_secs_f64());
    match access {
        Access::Local {
            kubeconfig,
            kubectl,
            kafka,
        } => {
            println!("\n{}", "Real".if_supports_color(Stdout, |t| t.bold()));
            for part in REAL {
                println!("  {part}");
            }
            println!("  Kafka at {kafka}");
            println!("\n{}", "Modelled".if_supports_color(Stdout, |t| t.bold()));
            for part in MODELLED {
                println!("  {part}");
            }
            println!("\n  export KUBECONFIG={}\n", kubeconfig.display());
            commands(kubectl, last);
        }
        Access::Context { name, kubectl } => {
            println!(
                "\nThe operator runs on this machine and works in the cluster of context {name}.\n"
            );
            commands(&format!("{kubectl} --context {name}"), last);
        }
    }
    println!("\n`cargo xtask down` stops and removes it all.");
}

fn commands(kubectl: &str, namespace: &str) {
    println!("Try next:");
    println!("  {kubectl} get todoapps --all-namespaces");
    println!(
        "  {kubectl} --namespace {namespace} get rollouts,deployments,scaledobjects,clusters.postgresql.cnpg.io"
    );
    println!("  cargo run --quiet --package todoctl -- why {namespace}");
}
