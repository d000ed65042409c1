//! What containerd, CNI, kubelet and kube-proxy are told.

use std::path::Path;

use serde_json::{Value, json};

use super::network::Network;

/// The name of the node.
pub(crate) const NAME: &str = "node-1";

/// Where containerd listens, in the node's mount namespace.
pub(crate) const SOCKET: &str = "/run/containerd/containerd.sock";

/// Where kubelet says that it is well.
pub(crate) const KUBELET_HEALTH: u16 = 10248;

/// containerd's settings in its own format, version 2, which 1.6, 1.7 and 2 read. JSON strings are TOML strings.
pub(crate) fn containerd(root: &Path, plugins: &Path, pause: &str) -> String {
    let quoted = |path: &Path| json!(path.to_string_lossy()).to_string();
    format!(
        r#"version = 2
root = {root}
state = "/run/containerd"
# It would make /opt/containerd.
disabled_plugins = ["io.containerd.internal.v1.opt"]

[grpc]
  address = "{SOCKET}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # Without CAP_SYS_RESOURCE no score can be lowered, and every pod would fail.
  restrict_oom_score_adj = true
  # A profile would be loaded into the kernel of the machine, and stay there.
  disable_apparmor = true
  # Network namespaces of pods go with the directory instead of staying in /run/netns.
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = {plugins}
    conf_dir = {conf}
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
"#,
        root = quoted(&root.join("containerd")),
        plugins = quoted(plugins),
        conf = quoted(&root.join("cni")),
    )
}

/// A link of its own for each pod, and routes: all packets pass where Services are translated, which those between two
/// ports of one bridge do not. No masquerading: nothing leaves the machine.
pub(crate) fn cni(root: &Path, network: &Network) -> Value {
    json!({
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [{
            "type": "ptp",
            "ipMasq": false,
            "ipam": {
                "type": "host-local",
                "dataDir": root.join("addresses"),
                "ranges": [[{"subnet": network.pods()}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }],
    })
}

pub(crate) fn kubelet(root: &Path, pki: &Path, cgroup: &str, network: &Network) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": network.node(),
        "healthzBindAddress": network.node(),
        "healthzPort": KUBELET_HEALTH,
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": pki.join("ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": pki.join("kubelet-server.crt"),
        "tlsPrivateKeyFile": pki.join("kubelet-server.key"),
        "containerRuntimeEndpoint": format!("unix://{SOCKET}"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{cgroup}"),
        "failCgroupV1": false,
        // No more important than whatever else runs on this machine.
        "oomScoreAdj": 0,
        "failSwapOn": false,
        "clusterDomain": "cluster.local",
        "clusterDNS": [network.dns_service()],
        "resolvConf": root.join("resolv.conf"),
        "podLogsDir": root.join("pod-logs"),
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        "makeIPTablesUtilChains": false,
        // The disk is the host's: what is full there is not full because of pods, and images cannot be fetched again.
        "evictionHard": {
            "memory.available": "200Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
        },
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
    })
}

pub(crate) fn kube_proxy(kubeconfig: &Path, network: &Network) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "bindAddress": network.node(),
        "clientConnection": {"kubeconfig": kubeconfig},
        "hostnameOverride": NAME,
        "oomScoreAdj": 0,
        "mode": "nftables",
        // The default of a second is for clusters with thousands of Services.
        "nftables": {"minSyncPeriod": "100ms"},
        "clusterCIDR": network.pods(),
        "nodePortAddresses": [network.link_network()],
        // Settings of the whole machine that cannot be written in a network namespace; 0 leaves them.
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_in_containerds_settings() {
        let text = containerd(
            Path::new("/a \"b\""),
            Path::new("/cni"),
            "localhost/pause:1",
        );
        assert!(text.contains(r#"root = "/a \"b\"/containerd""#), "{text}");
        assert!(
            text.contains("sandbox_image = \"localhost/pause:1\""),
            "{text}"
        );
    }
}
