//! The command lines of the control plane. All listen on 127.0.0.1 only; the API server of a cluster with a real node on
//! the host's end of the link to that node instead.

use std::net::Ipv4Addr;
use std::path::Path;

use crate::config::Config;
use crate::node::Network;
use crate::pki::Pki;

/// Records who did what, without bodies: enough to compare granted with used permissions.
pub(crate) const AUDIT_POLICY: &str = r#"{"apiVersion":"audit.k8s.io/v1","kind":"Policy","omitStages":["RequestReceived"],"rules":[{"level":"Metadata"}]}"#;

/// Services of a cluster without a real node: addresses that nobody can reach.
const SERVICE_NETWORK: &str = "10.96.0.0/16";

pub(crate) struct Ports {
    pub(crate) etcd_client: u16,
    pub(crate) etcd_peer: u16,
    pub(crate) api: u16,
}

pub(crate) fn etcd(state: &Path, ports: &Ports) -> Vec<String> {
    let (client, peer) = (
        format!("http://127.0.0.1:{}", ports.etcd_client),
        format!("http://127.0.0.1:{}", ports.etcd_peer),
    );
    vec![
        "--name=local".to_owned(),
        format!("--data-dir={}", state.join("etcd").display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=local={peer}"),
        // A crash of the machine may lose data here; a crash of the process does not.
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
    ]
}

/// Where the API server listens.
pub(crate) fn api_address(network: Option<&Network>) -> Ipv4Addr {
    network.map_or(Ipv4Addr::LOCALHOST, Network::host)
}

fn services(network: Option<&Network>) -> String {
    network.map_or_else(|| SERVICE_NETWORK.to_owned(), Network::services)
}

pub(crate) fn api_server(
    state: &Path,
    pki: &Pki,
    ports: &Ports,
    config: &Config,
    network: Option<&Network>,
) -> Vec<String> {
    let file = |name: &str| pki.file(name).display().to_string();
    let (address, services) = (api_address(network), services(network));
    let mut args = vec![
        format!("--etcd-servers=http://127.0.0.1:{}", ports.etcd_client),
        format!("--bind-address={address}"),
        format!("--advertise-address={address}"),
        format!("--secure-port={}", ports.api),
        format!("--tls-cert-file={}", file("apiserver.crt")),
        format!("--tls-private-key-file={}", file("apiserver.key")),
        format!("--client-ca-file={}", file("ca.crt")),
        "--anonymous-auth=false".to_owned(),
        "--allow-privileged=true".to_owned(),
        format!("--service-cluster-ip-range={services}"),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
        format!("--service-account-key-file={}", file("sa.pub")),
        format!("--service-account-signing-key-file={}", file("sa.key")),
        // Long tokens for programs that run on the host, where nobody renews a token file.
        "--service-account-max-token-expiration=8760h".to_owned(),
        "--enable-priority-and-fairness=false".to_owned(),
        "--max-requests-inflight=3000".to_owned(),
        "--max-mutating-requests-inflight=1500".to_owned(),
        "--profiling=false".to_owned(),
        "--shutdown-delay-duration=0s".to_owned(),
    ];
    if network.is_some() {
        let more = [
            "--authorization-mode=Node,RBAC".to_owned(),
            "--enable-admission-plugins=NodeRestriction".to_owned(),
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
            format!("--kubelet-certificate-authority={}", file("ca.crt")),
            format!(
                "--kubelet-client-certificate={}",
                file("apiserver-kubelet-client.crt")
            ),
            format!(
                "--kubelet-client-key={}",
                file("apiserver-kubelet-client.key")
            ),
            // For APIs that pods serve, such as that of KEDA's metrics.
            format!(
                "--requestheader-client-ca-file={}",
                file("front-proxy-ca.crt")
            ),
            "--requestheader-allowed-names=front-proxy-client".to_owned(),
            "--requestheader-username-headers=X-Remote-User".to_owned(),
            "--requestheader-group-headers=X-Remote-Group".to_owned(),
            "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
            format!(
                "--proxy-client-cert-file={}",
                file("front-proxy-client.crt")
            ),
            format!("--proxy-client-key-file={}", file("front-proxy-client.key")),
        ];
        args.extend(more);
    } else {
        args.push("--authorization-mode=RBAC".to_owned());
        // Loopback is no valid endpoint address, and no pod runs that would ask for it.
        args.push("--endpoint-reconciler-type=none".to_owned());
    }
    if config.audit {
        args.push(format!(
            "--audit-policy-file={}",
            state.join("audit-policy.json").display()
        ));
        args.push(format!(
            "--audit-log-path={}",
            state.join("audit.log").display()
        ));
        args.push("--audit-log-mode=blocking".to_owned());
        args.push("--audit-log-maxsize=2000".to_owned());
    }
    args.extend(config.api_args.iter().cloned());
    args
}

pub(crate) fn controller_manager(
    kubeconfig: &Path,
    pki: &Pki,
    config: &Config,
    network: Option<&Network>,
) -> Vec<String> {
    let file = |name: &str| pki.file(name).display().to_string();
    let mut args = vec![
        format!("--kubeconfig={}", kubeconfig.display()),
        format!("--root-ca-file={}", file("ca.crt")),
        format!("--service-account-private-key-file={}", file("sa.key")),
        format!("--cluster-signing-cert-file={}", file("ca.crt")),
        format!("--cluster-signing-key-file={}", file("ca.key")),
        format!("--service-cluster-ip-range={}", services(network)),
        "--leader-elect=false".to_owned(),
        // One administrator instead of forty service accounts: they would all have to be made first.
        "--use-service-account-credentials=false".to_owned(),
        "--secure-port=0".to_owned(),
        // The default of 20 requests a second was chosen for clusters that are never created in one go.
        "--kube-api-qps=300".to_owned(),
        "--kube-api-burst=600".to_owned(),
        "--horizontal-pod-autoscaler-sync-period=1s".to_owned(),
        "--profiling=false".to_owned(),
    ];
    args.extend(config.controller_manager_args.iter().cloned());
    args
}

pub(crate) fn scheduler(kubeconfig: &Path) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", kubeconfig.display()),
        "--leader-elect=false".to_owned(),
        "--secure-port=0".to_owned(),
        "--kube-api-qps=300".to_owned(),
        "--kube-api-burst=600".to_owned(),
        "--profiling=false".to_owned(),
    ]
}

pub(crate) fn argo_rollouts(kubeconfig: &Path, metrics: u16, health: u16) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", kubeconfig.display()),
        "--namespace=argo-rollouts".to_owned(),
        "--leader-elect=false".to_owned(),
        format!("--metricsPort={metrics}"),
        format!("--healthzPort={health}"),
        // Its default group went away with Traefik 3.
        "--traefik-api-group=traefik.io".to_owned(),
        "--traefik-api-version=traefik.io/v1alpha1".to_owned(),
        "--qps=200".to_owned(),
        "--burst=400".to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORTS: Ports = Ports {
        etcd_client: 1,
        etcd_peer: 2,
        api: 3,
    };

    #[test]
    fn own_arguments_come_last_and_so_win() {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::open(dir.path(), None).unwrap();
        let config = Config::control_plane().api_server_arg("--max-requests-inflight=1");
        let args = api_server(dir.path(), &pki, &PORTS, &config, None);
        assert_eq!(
            args.last().map(String::as_str),
            Some("--max-requests-inflight=1")
        );
        assert!(args.contains(&"--secure-port=3".to_owned()));
        assert!(!args.iter().any(|a| a.starts_with("--audit")));
    }

    #[test]
    fn the_audit_log_lies_in_the_state_directory() {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::open(dir.path(), None).unwrap();
        let args = api_server(
            Path::new("/state"),
            &pki,
            &PORTS,
            &Config::control_plane().audit(),
            None,
        );
        assert!(args.contains(&"--audit-log-path=/state/audit.log".to_owned()));
        serde_json::from_str::<serde_json::Value>(AUDIT_POLICY).unwrap();
    }

    #[test]
    fn etcd_listens_on_loopback_only() {
        for arg in etcd(Path::new("/state"), &PORTS)
            .iter()
            .filter(|a| a.contains("http"))
        {
            assert!(arg.contains("http://127.0.0.1:"), "{arg}");
        }
    }
}
