//! Certificates, keys and kubeconfigs of a local control plane.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};

use crate::error::{Error, Result};
use crate::node::{self, Network};

pub(crate) const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The certificate authority of one cluster and the files that it has signed.
#[derive(Debug)]
pub(crate) struct Pki {
    dir: PathBuf,
}

impl Pki {
    /// Opens the directory, making everything in it first if it is new; for a real node if there is a network.
    pub(crate) fn open(dir: &Path, network: Option<&Network>) -> Result<Self> {
        let pki = Self {
            dir: dir.to_owned(),
        };
        // Written last, so that a directory without it is incomplete.
        if !pki.service_account_key().exists() {
            pki.make(network)?;
        }
        Ok(pki)
    }

    fn make(&self, network: Option<&Network>) -> Result<()> {
        fs::create_dir_all(&self.dir).map_err(Error::io("create", &self.dir))?;
        let ca = Authority::new("localcluster-ca")?;
        self.write("ca.crt", &ca.pem)?;
        self.write("ca.key", &ca.issuer.key().serialize_pem())?;
        let names = [
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
            "localhost",
        ];
        let mut addresses = vec![LOOPBACK];
        addresses.extend(network.map(|n| IpAddr::V4(n.host())));
        addresses.extend(network.map(|n| IpAddr::V4(n.api_service())));
        self.write_pair(
            "apiserver",
            ca.server("kube-apiserver", &names, &addresses)?,
        )?;
        self.write_pair(
            "admin",
            ca.client("localcluster-admin", Some("system:masters"))?,
        )?;
        if let Some(network) = network {
            self.make_node(&ca, network)?;
        }
        // Kafka's own authority: a client that trusts it must not thereby trust the API server.
        let kafka = Authority::new("localcluster-kafka-ca")?;
        let (crt, key) = kafka.server("kafka", &["localhost"], &[LOOPBACK])?;
        self.write("kafka-ca.crt", &kafka.pem)?;
        self.write("kafka.pem", &format!("{key}{crt}"))?;
        let service_accounts = KeyPair::generate().map_err(failed("service accounts"))?;
        self.write("sa.pub", &service_accounts.public_key_pem())?;
        self.write("sa.key", &service_accounts.serialize_pem())
    }

    /// What the node's programs prove themselves with, and the API server to them and to APIs that it passes on.
    fn make_node(&self, ca: &Authority, network: &Network) -> Result<()> {
        let address = [LOOPBACK, IpAddr::V4(network.node())];
        let user = format!("system:node:{}", node::NAME);
        self.write_pair("kubelet", ca.client(&user, Some("system:nodes"))?)?;
        self.write_pair(
            "kubelet-server",
            ca.server("kubelet", &[node::NAME], &address)?,
        )?;
        self.write_pair("kube-proxy", ca.client("system:kube-proxy", None)?)?;
        self.write_pair(
            "apiserver-kubelet-client",
            ca.client("kube-apiserver-kubelet-client", Some("system:masters"))?,
        )?;
        // An authority of its own: who may name any user in a header is not just anybody with a client certificate.
        let front_proxy = Authority::new("localcluster-front-proxy-ca")?;
        self.write("front-proxy-ca.crt", &front_proxy.pem)?;
        self.write_pair(
            "front-proxy-client",
            front_proxy.client("front-proxy-client", None)?,
        )
    }

    fn write_pair(&self, name: &str, (crt, key): (String, String)) -> Result<()> {
        self.write(&format!("{name}.crt"), &crt)?;
        self.write(&format!("{name}.key"), &key)
    }

    fn write(&self, name: &str, content: &str) -> Result<()> {
        let path = self.dir.join(name);
        write_private(&path, content)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn service_account_key(&self) -> PathBuf {
        self.file("sa.key")
    }

    /// A kubeconfig of the cluster's administrator with everything inside, so that it can be copied.
    pub(crate) fn admin_kubeconfig(&self, server: &str) -> Result<String> {
        self.certificate_kubeconfig(server, "admin")
    }

    /// A kubeconfig for the bearer of the certificate of this name.
    pub(crate) fn certificate_kubeconfig(&self, server: &str, name: &str) -> Result<String> {
        let read = |name: &str| {
            let path = self.file(name);
            fs::read(&path)
                .map(|bytes| base64(&bytes))
                .map_err(Error::io("read", &path))
        };
        let (crt, key) = (read(&format!("{name}.crt"))?, read(&format!("{name}.key"))?);
        let ca = read("ca.crt")?;
        Ok(kubeconfig(
            server,
            &ca,
            &serde_json::json!({"client-certificate-data": crt, "client-key-data": key}),
        ))
    }

    /// A kubeconfig for the bearer of a token.
    pub(crate) fn token_kubeconfig(&self, server: &str, token: &str) -> Result<String> {
        let path = self.file("ca.crt");
        let ca = fs::read(&path)
            .map(|bytes| base64(&bytes))
            .map_err(Error::io("read", &path))?;
        Ok(kubeconfig(
            server,
            &ca,
            &serde_json::json!({"token": token}),
        ))
    }
}

/// Writes a file that only its owner can read.
pub(crate) fn write_private(path: &Path, content: &str) -> Result<()> {
    use std::io::Write as _;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(Error::io("create", path))?;
    file.write_all(content.as_bytes())
        .map_err(Error::io("write", path))
}

fn kubeconfig(server: &str, ca: &str, user: &serde_json::Value) -> String {
    // JSON is YAML: no template, no quoting mistakes.
    let config = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "localcluster", "cluster": {"server": server, "certificate-authority-data": ca}}],
        "users": [{"name": "localcluster", "user": user}],
        "contexts": [{"name": "localcluster", "context": {"cluster": "localcluster", "user": "localcluster"}}],
        "current-context": "localcluster",
    });
    format!("{config:#}\n")
}

/// An authority that signs certificates.
#[derive(Debug)]
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Result<Self> {
        let mut params = named(name, None, name)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let key = KeyPair::generate().map_err(failed(name))?;
        let pem = params.self_signed(&key).map_err(failed(name))?.pem();
        Ok(Self {
            issuer: Issuer::new(params, key),
            pem,
        })
    }

    /// Its own certificate, as PEM.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// The certificate of a server and its key, as PEM.
    pub(crate) fn server(
        &self,
        name: &str,
        dns: &[&str],
        addresses: &[IpAddr],
    ) -> Result<(String, String)> {
        let mut params = named(name, None, name)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        for dns in dns {
            params
                .subject_alt_names
                .push(SanType::DnsName((*dns).try_into().map_err(failed(name))?));
        }
        params
            .subject_alt_names
            .extend(addresses.iter().copied().map(SanType::IpAddress));
        self.sign(name, &params)
    }

    /// The certificate of a client and its key, as PEM.
    pub(crate) fn client(&self, user: &str, group: Option<&str>) -> Result<(String, String)> {
        let mut params = named(user, group, user)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(user, &params)
    }

    fn sign(&self, name: &str, params: &CertificateParams) -> Result<(String, String)> {
        let key = KeyPair::generate().map_err(failed(name))?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed(name))?;
        Ok((certificate.pem(), key.serialize_pem()))
    }
}

fn named(common_name: &str, organization: Option<&str>, what: &str) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new()).map_err(failed(what))?;
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    if let Some(organization) = organization {
        params
            .distinguished_name
            .push(DnType::OrganizationName, organization);
    }
    Ok(params)
}

fn failed(name: &str) -> impl Fn(rcgen::Error) -> Error {
    let name = name.to_owned();
    move |source| Error::Certificate {
        name: name.clone(),
        source,
    }
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().enumerate().fold(0u32, |word, (i, byte)| {
            word | u32::from(*byte) << (16 - 8 * i)
        });
        for i in 0..4 {
            let six = (word >> (18 - 6 * i)) & 63;
            text.push(if i <= chunk.len() {
                char::from(ALPHABET[six as usize])
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_pads_as_rfc_4648_says() {
        let cases = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (plain, coded) in cases {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn a_complete_directory_is_not_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let first = Pki::open(dir.path(), None)
            .unwrap()
            .admin_kubeconfig("https://127.0.0.1:1")
            .unwrap();
        let second = Pki::open(dir.path(), None)
            .unwrap()
            .admin_kubeconfig("https://127.0.0.1:1")
            .unwrap();
        assert_eq!(first, second);
        let config = kube::config::Kubeconfig::from_yaml(&first).unwrap();
        assert_eq!(config.current_context.as_deref(), Some("localcluster"));
    }
}
