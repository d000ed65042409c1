//! Questions whose answer says that something is ready.

use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::Node;
use kube::Client;
use kube::api::{GetParams, Request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Whether a node says that it is ready.
pub(crate) fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|s| s.conditions.as_ref());
    conditions.is_some_and(|c| c.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
}

/// Whether the API server answers a GET of this path with success.
pub(crate) async fn serves(client: &Client, path: &str) -> bool {
    let Some((parent, name)) = path.rsplit_once('/') else {
        return false;
    };
    match Request::new(parent).get(name, &GetParams::default()) {
        Ok(request) => client.request_text(request).await.is_ok(),
        Err(_) => false,
    }
}

/// Whether the API server's published schema has these resources of a group and version.
pub(crate) async fn publishes(client: &Client, group_version: &str, resources: &[&str]) -> bool {
    let Some((group, version)) = group_version.split_once('/') else {
        return false;
    };
    let Ok(request) =
        Request::new(format!("/openapi/v3/apis/{group}")).get(version, &GetParams::default())
    else {
        return false;
    };
    let Ok(schema) = client.request_text(request).await else {
        return false;
    };
    resources.iter().all(|resource| {
        schema.contains(&format!(
            "\"/apis/{group_version}/namespaces/{{namespace}}/{resource}/{{name}}\""
        ))
    })
}

/// Whether a server answers `/healthz` with 200.
pub(crate) async fn is_healthy(server: (Ipv4Addr, u16)) -> bool {
    answers(server, "/healthz", 200).await
}

/// Whether a server answers a GET of a path with a status. Plain sockets: it is one line of HTTP.
pub(crate) async fn answers(server: (Ipv4Addr, u16), path: &str, status: u16) -> bool {
    let ask = async {
        let mut stream = tokio::net::TcpStream::connect(server).await?;
        let request = format!("GET {path} HTTP/1.0\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await?;
        std::io::Result::Ok(answer.ends_with(format!(" {status}").as_bytes()))
    };
    ask.await.unwrap_or(false)
}
