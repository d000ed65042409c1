//! The resources that the simulated server serves: Kubernetes' own, the peers', and ours.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kube::CustomResourceExt;
use localcluster::{Cache, Peer, Silent, Tools};
use serde::Deserialize;
use serde_json::Value;
use todo_operator_api::{TodoApp, TodoEnvironment, TodoIntent, TodoRelease};
use todo_operator_core::kind::Kind;

use crate::apiserver::call::Call;
use crate::apiserver::rules::Rules;
use crate::apiserver::schema::{Resource, SchemaError};
use crate::world::World;

/// Why the resources are not known.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The pinned CRDs of a peer cannot be had.
    #[error("the custom resource definitions of {peer} cannot be had")]
    Peer {
        /// Which.
        peer: String,
        /// Why.
        #[source]
        source: Box<localcluster::Error>,
    },
    /// A file cannot be read.
    #[error("{path} cannot be read")]
    File {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file holds no YAML.
    #[error("{path} holds no YAML")]
    Yaml {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: serde_yaml::Error,
    },
    /// A CRD has no structural schema.
    #[error("a custom resource definition in {path} cannot be used")]
    Schema {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: SchemaError,
    },
}

static CATALOG: OnceLock<Catalog> = OnceLock::new();

/// What the server serves.
#[derive(Clone, Default)]
pub struct Catalog {
    /// Every resource.
    pub resources: Vec<Arc<Resource>>,
    /// The rules of those that have some.
    pub rules: Arc<Rules>,
}

/// The peers whose kinds the operator writes or reads.
pub const PEERS: [Peer; 6] = [
    Peer::ArgoRollouts,
    Peer::CloudNativePg,
    Peer::Keda,
    Peer::GatewayApi,
    Peer::Traefik,
    Peer::Strimzi,
];

/// Reads every resource, once in a process. To be called before the first [`resources`].
pub fn load() -> Result<(), CatalogError> {
    if CATALOG.get().is_some() {
        return Ok(());
    }
    let mut resources = Resource::builtin();
    let mut rules = Rules::default();
    let tools = Tools::new(Cache::from_env());
    for peer in PEERS {
        let files = localcluster::crd_files(&tools, peer, &Silent).map_err(|source| {
            CatalogError::Peer {
                peer: format!("{peer:?}"),
                source: Box::new(source),
            }
        })?;
        for file in files {
            let path = file.display().to_string();
            let text = std::fs::read_to_string(&file).map_err(|source| CatalogError::File {
                path: path.clone(),
                source,
            })?;
            add(&mut resources, &mut rules, &path, &text)?;
        }
    }
    for crd in [
        TodoApp::crd(),
        TodoEnvironment::crd(),
        TodoRelease::crd(),
        TodoIntent::crd(),
    ] {
        // What was generated can be written.
        let crd = serde_json::to_value(crd).unwrap_or_default();
        let resource = Resource::from_crd(&crd).map_err(|source| CatalogError::Schema {
            path: "our own kinds".into(),
            source,
        })?;
        rules.add(&crd);
        resources.push(resource);
    }
    // Another thread may have been quicker: it read the same.
    let _ = CATALOG.set(Catalog {
        resources: resources.into_iter().map(Arc::new).collect(),
        rules: Arc::new(rules),
    });
    Ok(())
}

fn add(
    resources: &mut Vec<Resource>,
    rules: &mut Rules,
    path: &str,
    text: &str,
) -> Result<(), CatalogError> {
    for document in serde_yaml::Deserializer::from_str(text) {
        let crd = Value::deserialize(document).map_err(|source| CatalogError::Yaml {
            path: path.to_owned(),
            source,
        })?;
        if !is_ours_to_write(&crd) {
            continue;
        }
        let resource = Resource::from_crd(&crd).map_err(|source| CatalogError::Schema {
            path: path.to_owned(),
            source,
        })?;
        rules.add(&crd);
        resources.push(resource);
    }
    Ok(())
}

/// Whether the operator writes or reads a kind.
fn is_ours_to_write(crd: &Value) -> bool {
    let spec = &crd["spec"];
    Kind::CHILDREN.iter().chain(&Kind::READ).any(|kind| {
        let (group, _, name, _) = kind.resource();
        spec["group"] == group && spec["names"]["kind"] == name
    })
}

/// What the server serves; nothing before [`load`].
pub fn catalog() -> Catalog {
    CATALOG.get().cloned().unwrap_or_default()
}

/// Takes away the CRD of the kind that a write is about, where it is a peer's and losing it loses no data; else that of
/// KEDA's scalers. It comes back after that time.
pub fn remove_crd(world: &Arc<World>, call: &Call, away: Duration) {
    const MAY_GO: [&str; 6] = [
        "rollouts",
        "analysistemplates",
        "scaledobjects",
        "traefikservices",
        "ingressroutes",
        "httproutes",
    ];
    let plural = MAY_GO
        .into_iter()
        .find(|plural| *plural == call.plural)
        .unwrap_or("scaledobjects");
    let id = world.server.read(|store| {
        store
            .resources()
            .find(|id| store.resource(*id).plural == plural)
    });
    let Some(id) = id else {
        return;
    };
    world.note(|| format!("the CRD of {plural} is removed"));
    world.server.change(|store| store.set_served(id, false));
    let world = Arc::clone(world);
    tokio::spawn(async move {
        tokio::time::sleep(away).await;
        world.note(|| format!("the CRD of {plural} is back"));
        world.server.change(|store| store.set_served(id, true));
    });
}
