//! What a person reads when `up` is done.

use std::path::{Path, PathBuf};
use std::time::Duration;

use localcluster::peers::Product;
use owo_colors::{OwoColorize as _, Stream::Stdout};

/// How the cluster is reached.
#[derive(Debug)]
pub enum Access {
    /// The cluster of `up` with a real node.
    Real {
        /// Its administrator's kubeconfig.
        kubeconfig: PathBuf,
        /// The kubectl to type.
        kubectl: String,
        /// The peers in it.
        products: Vec<Product>,
        /// What a person may want to look at.
        urls: Vec<String>,
    },
    /// The cluster of `up` with modelled pods.
    Modelled {
        /// Its administrator's kubeconfig.
        kubeconfig: PathBuf,
        /// The kubectl to type.
        kubectl: String,
        /// The broker, if there is one.
        kafka: Option<String>,
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
    println!("\nReady after {:.0} s.", took.as_secs_f64());
    match access {
        Access::Real {
            kubeconfig,
            kubectl,
            products,
            urls,
        } => {
            let names: Vec<_> = products.iter().map(|product| product.name()).collect();
            println!(
                "\nReal, in pods on a node of this machine: {}.",
                names.join(", ")
            );
            println!(
                "Real beside them: the control plane, containerd, kubelet, kube-proxy, CoreDNS, volumes."
            );
            println!("Not enforced: NetworkPolicies.\n");
            for url in urls {
                println!("  {url}");
            }
            export(kubeconfig);
            commands(kubectl, namespaces);
        }
        Access::Modelled {
            kubeconfig,
            kubectl,
            kafka,
        } => {
            println!("\n{}", "Real".if_supports_color(Stdout, |t| t.bold()));
            for part in REAL {
                println!("  {part}");
            }
            if let Some(kafka) = kafka {
                println!("  Kafka at {kafka}");
            }
            println!("\n{}", "Modelled".if_supports_color(Stdout, |t| t.bold()));
            for part in MODELLED {
                println!("  {part}");
            }
            export(kubeconfig);
            commands(kubectl, namespaces);
        }
        Access::Context { name, kubectl } => {
            println!(
                "\nThe operator runs on this machine and works in the cluster of context {name}.\n"
            );
            commands(&format!("{kubectl} --context {name}"), namespaces);
        }
    }
    println!("\n`cargo xtask down` stops and removes it all.");
}

fn export(kubeconfig: &Path) {
    println!("\n  export KUBECONFIG={}\n", kubeconfig.display());
}

fn commands(kubectl: &str, namespaces: &[String]) {
    println!("Try next:");
    let Some(last) = namespaces.last() else {
        println!("  {kubectl} get pods --all-namespaces");
        return;
    };
    println!("  {kubectl} get todoapps --all-namespaces");
    println!(
        "  {kubectl} --namespace {last} get rollouts,deployments,scaledobjects,clusters.postgresql.cnpg.io"
    );
    println!("  cargo run --quiet --package todoctl -- why {last}");
}
