//! The operator as a process of this machine, under the permissions that it has been given and no others.

use std::fs;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, PostParams};
use kube::{Client, CustomResourceExt as _};
use localcluster::Life;
use localcluster::process::{Directory, Spec, tail};
use todo_operator_api::{TodoApp, TodoEnvironment, TodoIntent, TodoRelease};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::kubectl::Kubectl;
use super::state::{Run, State};
use crate::release::{self, Profile};

/// The name of its process, its ServiceAccount and that one's namespace.
pub const NAME: &str = "todo-operator";
const OVERLAY: &str = "kustomize/overlays/host";
const YEAR: i64 = 365 * 24 * 3600;

/// Builds the operator and gives the path of its binary.
pub async fn build(root: &Path) -> Result<PathBuf> {
    let root = root.to_owned();
    let build = move || release::program(&root, release::OPERATOR, Profile::Debug);
    tokio::task::spawn_blocking(build).await?
}

/// Installs CRDs, permissions and policy.
pub async fn install(kubectl: &Kubectl) -> Result<()> {
    kubectl.apply(OVERLAY).await?;
    until_established(kubectl).await
}

/// Waits until the API server serves its resources.
pub async fn until_established(kubectl: &Kubectl) -> Result<()> {
    let names = [
        TodoApp::crd_name(),
        TodoEnvironment::crd_name(),
        TodoIntent::crd_name(),
        TodoRelease::crd_name(),
    ];
    let mut wait = vec![
        "wait",
        "--for=condition=Established",
        "--timeout=30s",
        "crd",
    ];
    wait.extend(names);
    kubectl.run(&wait).await
}

/// A token of the operator's ServiceAccount.
pub async fn token(client: &Client) -> Result<String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), NAME);
    // Nobody renews it for a process of the host. A cluster may grant less.
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            expiration_seconds: Some(YEAR),
            ..TokenRequestSpec::default()
        }),
        ..TokenRequest::default()
    };
    let answer = accounts
        .create_token_request(NAME, &PostParams::default(), &request)
        .await
        .with_context(|| format!("cannot get a token for the ServiceAccount {NAME} in namespace {NAME}, which {OVERLAY} makes"))?;
    answer
        .status
        .and_then(|status| status.token)
        .context("the API server's answer has no token")
}

/// Writes a file that only its owner can read.
pub fn write_private(path: &Path, content: &str) -> Result<()> {
    let file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    file.and_then(|mut file| file.write_all(content.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Starts the operator, unless it runs already with this binary, and waits until it is ready.
pub async fn start(
    state: &State,
    run: &mut Run,
    executable: &Path,
    kubeconfig: &str,
) -> Result<()> {
    let built = fs::metadata(executable)
        .and_then(|m| m.modified())
        .with_context(|| format!("cannot read {}", executable.display()))?;
    let built = built
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos();
    let directory = Directory::open(state.dir())?;
    let mut process = directory.find(NAME);
    if let Some(old) = process.as_mut().filter(|_| run.operator_built != built) {
        old.stop(Duration::from_secs(10))?;
        process = None;
    }
    let mut process = match process {
        Some(process) => process,
        None => {
            write_private(&state.operator_kubeconfig(), kubeconfig)?;
            run.operator_built = built;
            run.operator_port = localcluster::free_port(NAME)?;
            state.save(run)?;
            let spec = Spec::new(NAME, executable)
                .args([
                    "--log-format".to_owned(),
                    "json".to_owned(),
                    "--listen".to_owned(),
                    format!("127.0.0.1:{}", run.operator_port),
                ])
                .env("KUBECONFIG", state.operator_kubeconfig())
                .env("POD_NAMESPACE", NAME)
                .env("POD_NAME", "up");
            directory.spawn(&spec, Life::Detached)?
        }
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_ready(run.operator_port).await {
        if !process.is_alive() {
            bail!(
                "the operator ended; its log {} ends with:\n{}",
                process.log().display(),
                tail(process.log())
            );
        }
        if Instant::now() >= deadline {
            bail!(
                "the operator was not ready after 60 s; its log {} ends with:\n{}",
                process.log().display(),
                tail(process.log())
            );
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Whether `/readyz` answers with 200. Plain sockets: it is one line of HTTP.
async fn is_ready(port: u16) -> bool {
    let ask = async {
        let mut stream = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream
            .write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .await?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await?;
        std::io::Result::Ok(answer.ends_with(b" 200"))
    };
    ask.await.unwrap_or(false)
}
