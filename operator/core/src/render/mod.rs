//! From a [`ValidApp`] to children. Cannot fail, and has no client.
//!
//! One function per wave; each module renders one concern. Everything is in the form in which the API server stores it,
//! and holds no null, no empty object and no empty list, so that what is stored can be compared with what is wanted.

mod analysis;
mod config;
pub(crate) mod database;
mod duration;
mod gateway;
pub(crate) mod metadata;
mod migration;
mod network;
mod pod;
pub(crate) mod quantity;
mod rollout;
pub(crate) mod scaler;
mod service;
mod topic;
mod traefik;
mod variables;
mod volumes;
mod workload;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;

use crate::child::Child;
use crate::inputs::PodInputs;
use crate::topics::WantedTopic;
use crate::validate::{ValidApp, ValidComponent};

pub use rollout::ladder;
pub use scaler::{autoscaled, replicas};

/// What the pods of each component are made of.
pub fn pod_inputs(app: &ValidApp<'_>) -> BTreeMap<String, PodInputs> {
    app.components
        .values()
        .map(|component| (component.name.to_owned(), pod::inputs(app, component)))
        .collect()
}

/// What pods need before they start: accounts, configuration, network policies.
///
/// `inputs` may name a component twice, as it is wanted and as it still serves: both need their configuration.
pub fn policy(app: &ValidApp<'_>, inputs: &[(&str, &PodInputs)]) -> Vec<Child> {
    let mut children = config::service_accounts(app, inputs);
    children.extend(config::config_maps(app, inputs));
    children.extend(network::policies(app));
    children
}

/// What holds data: PostgreSQL clusters and Strimzi's topics.
pub fn storage(app: &ValidApp<'_>) -> Vec<Child> {
    let mut children = database::clusters(app);
    children.extend(topic::strimzi(app));
    children
}

/// The roles of databases.
pub fn roles(app: &ValidApp<'_>) -> Vec<Child> {
    database::roles(app)
}

/// The databases themselves, whose owners must exist before.
pub fn databases(app: &ValidApp<'_>) -> Vec<Child> {
    database::databases(app)
}

/// The migration Jobs. A Job's pod template is immutable, and its name stands for image, arguments and attempt alone: a
/// Job that exists is not written again.
pub fn migrations(app: &ValidApp<'_>, inputs: &BTreeMap<String, PodInputs>) -> Vec<Child> {
    migration::jobs(app, inputs)
}

/// What a Rollout refers to: Services, weighted routes, analysis templates.
pub fn services(app: &ValidApp<'_>) -> Vec<Child> {
    let mut children = service::services(app);
    children.extend(analysis::templates(app));
    children.extend(gateway::routes(app));
    children.extend(traefik::weighted_services(app));
    children.extend(traefik::middlewares(app));
    children
}

/// What runs pods, of every component that has inputs.
pub fn workloads(app: &ValidApp<'_>, inputs: &BTreeMap<String, PodInputs>) -> Vec<Child> {
    app.components
        .values()
        .filter_map(|component| Some((component, inputs.get(component.name)?)))
        .flat_map(|(component, inputs)| workload::children(app, component, inputs))
        .collect()
}

/// Scalers, and what opens the way from outside.
pub fn traffic(app: &ValidApp<'_>) -> Vec<Child> {
    let mut children = scaler::authentication(app);
    children.extend(scaler::scaled_objects(app));
    children.extend(traefik::ingress_routes(app));
    children
}

/// Topics that the operator makes itself; none where Strimzi does.
pub fn topics(app: &ValidApp<'_>) -> Vec<WantedTopic> {
    topic::direct(app)
}

/// Whether a router weighs stable against canary for a component.
fn weighted(app: &ValidApp<'_>, component: &ValidComponent<'_>) -> bool {
    use todo_operator_api::traffic::Router;
    component.spec.route.is_some()
        && rollout::is_canary(component)
        && matches!(app.router, Router::GatewayAPI | Router::Traefik)
}
