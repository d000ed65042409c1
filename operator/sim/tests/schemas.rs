//! Schemas and managed fields beside a real API server.
//!
//! One cluster serves all: the file of builtin definitions is what the server publishes, and random writes by several
//! managers have the result that the simulation computes, with managed fields, status code and message.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

#[path = "schemas/builtin_kinds.rs"]
mod builtin_kinds;
#[path = "schemas/custom.rs"]
mod custom;
#[path = "schemas/defaults.rs"]
mod defaults;
#[path = "schemas/model.rs"]
mod model;
#[path = "schemas/peers.rs"]
mod peers;
#[path = "schemas/random.rs"]
mod random;
#[path = "schemas/server.rs"]
mod server;
#[path = "schemas/special.rs"]
mod special;

use std::path::Path;

use localcluster::{Cluster, Config};
use serde_json::Value;
use todo_operator_sim::apiserver::schema::{DOCUMENTS, generate};
use todo_operator_sim::catalog;

use server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn same_as_the_api_server() {
    let config = Config::control_plane().peers(catalog::PEERS);
    let cluster = Cluster::start(config).await.unwrap();
    let server = Server::new(cluster.client().unwrap());
    definitions(&server).await;
    custom::compare(&server).await;
    special::compare(&server).await;
    builtin_kinds::compare(&server).await;
    peers::compare(&server).await;
    cluster.stop().unwrap();
}

/// The definitions in the tree are those of the server's version.
async fn definitions(server: &Server) {
    let mut documents: Vec<Value> = Vec::new();
    for path in DOCUMENTS {
        documents.push(server.get(&format!("/openapi/v3/{path}")).await.unwrap());
    }
    let generated = generate(&documents);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/builtin.json");
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::write(&file, &generated).unwrap();
        return;
    }
    let in_tree = std::fs::read_to_string(&file).unwrap();
    assert!(
        in_tree == generated,
        "{} is not what the API server publishes; run this test with UPDATE_SCHEMAS=1 and commit the file",
        file.display()
    );
}
