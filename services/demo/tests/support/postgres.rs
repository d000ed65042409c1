//! A real PostgreSQL as the operator sets it up: two roles for a database, each let in by its certificate alone.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use localcluster::free_port;
use localcluster::process::{Directory, Life, Process, Spec};
use nix::unistd::{User, chown, geteuid};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SanType,
};
use tempfile::TempDir;

use super::{Variables, until, variables};

const ACCESS: &str = "\
local all all trust
hostssl orders orders_owner all cert
hostssl orders orders_app all cert
host all all all reject
";

/// The server.
pub struct Postgres {
    directory: TempDir,
    programs: PathBuf,
    port: u16,
    process: Process,
}

impl Postgres {
    /// Starts it with the database `orders`.
    pub async fn start() -> Self {
        let programs = programs().expect(
            "no PostgreSQL in /usr/lib/postgresql: `cargo xtask test` installs it on Debian, or says how",
        );
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        certificates(path);
        fs::write(path.join("access.conf"), ACCESS).unwrap();
        hand_over(path);
        let data = path.join("data");
        let initialised = as_server(&programs.join("initdb"))
            .args(["--username=postgres", "--auth=trust", "--no-sync", "-D"])
            .arg(&data)
            .current_dir(path)
            .output()
            .unwrap();
        assert!(initialised.status.success(), "{initialised:?}");
        let port = free_port("postgres").unwrap();
        let process = launch(&programs, path, port);
        let server = Self {
            directory,
            programs,
            port,
            process,
        };
        server.until_up().await;
        server.sql("postgres", "CREATE ROLE orders_owner LOGIN");
        server.sql("postgres", "CREATE ROLE orders_app LOGIN");
        server.sql("postgres", "CREATE DATABASE orders OWNER orders_owner");
        server
    }

    /// The variables that the operator sets, for a role.
    pub fn variables(&self, role: &str) -> Variables {
        let file = |name: &str| self.directory.path().join(name).display().to_string();
        variables([
            ("PGHOST", "127.0.0.1"),
            ("PGPORT", self.port.to_string().as_str()),
            ("PGDATABASE", "orders"),
            ("PGUSER", role),
            ("PGSSLMODE", "verify-full"),
            ("PGSSLCERT", &file(&format!("{role}.crt"))),
            ("PGSSLKEY", &file(&format!("{role}.key"))),
            ("PGSSLROOTCERT", &file("ca.crt")),
        ])
    }

    /// Asks as the superuser.
    pub fn sql(&self, database: &str, statement: &str) -> String {
        let output = self.psql(database, statement).output().unwrap();
        assert!(output.status.success(), "{statement}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn psql(&self, database: &str, statement: &str) -> Command {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres"])
            .args(["-p", &self.port.to_string(), "-d", database])
            .args(["-c", statement, "-h"])
            .arg(self.directory.path());
        psql
    }

    async fn until_up(&self) {
        until("PostgreSQL answers", async || {
            let output = self.psql("postgres", "SELECT 1").output().unwrap();
            output.status.success().then_some(())
        })
        .await;
    }

    /// Kills it as a power cut would: nothing is written on the way.
    pub fn kill(&mut self) {
        self.process.stop(Duration::ZERO).unwrap();
    }

    /// Starts it again on the same data.
    pub async fn restart(&mut self) {
        self.process = launch(&self.programs, self.directory.path(), self.port);
        self.until_up().await;
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = self.process.stop(Duration::ZERO);
    }
}

fn launch(programs: &Path, directory: &Path, port: u16) -> Process {
    let own = Directory::open(directory).unwrap();
    let server = as_server(&programs.join("postgres"));
    let path = |name: &str| directory.join(name).display().to_string();
    let settings = [
        format!("port={port}"),
        "listen_addresses=127.0.0.1".to_owned(),
        format!("unix_socket_directories={}", directory.display()),
        format!("hba_file={}", path("access.conf")),
        "ssl=on".to_owned(),
        format!("ssl_ca_file={}", path("ca.crt")),
        format!("ssl_cert_file={}", path("server.crt")),
        format!("ssl_key_file={}", path("server.key")),
    ];
    let settings = settings.iter().flat_map(|setting| ["-c", setting]);
    let spec = Spec::new("postgres", server.get_program())
        .args(server.get_args())
        .args(["-D".to_owned(), path("data")])
        .args(settings);
    own.spawn(&spec, Life::Attached).unwrap()
}

fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    versions
        .map(|version| version.path().join("bin"))
        .filter(|programs| programs.join("initdb").exists())
        .max()
}

/// PostgreSQL refuses to run as root: as its own user then.
fn server_user() -> Option<User> {
    let user = || User::from_name("postgres").unwrap();
    geteuid().is_root().then(user).flatten()
}

fn as_server(program: &Path) -> Command {
    let Some(user) = server_user() else {
        return Command::new(program);
    };
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--clear-groups"]);
    command.arg(format!("--reuid={}", user.uid));
    command.arg(format!("--regid={}", user.gid));
    command.arg("--").arg(program);
    command
}

/// Gives the directory and what is in it to the server's user.
fn hand_over(directory: &Path) {
    let Some(user) = server_user() else { return };
    let files = fs::read_dir(directory).unwrap();
    for path in files
        .map(|file| file.unwrap().path())
        .chain([directory.to_owned()])
    {
        chown(&path, Some(user.uid), Some(user.gid)).unwrap();
    }
}

fn certificates(directory: &Path) {
    let authority = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(DnType::CommonName, "orders-ca");
    let ca = params.self_signed(&authority).unwrap().pem();
    fs::write(directory.join("ca.crt"), ca).unwrap();
    let issuer = Issuer::new(params, authority);
    for name in ["server", "orders_owner", "orders_app"] {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = if name == "server" {
            let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
            params.subject_alt_names.push(SanType::IpAddress(address));
            vec![ExtendedKeyUsagePurpose::ServerAuth]
        } else {
            vec![ExtendedKeyUsagePurpose::ClientAuth]
        };
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap().pem();
        fs::write(directory.join(format!("{name}.crt")), certificate).unwrap();
        let path = directory.join(format!("{name}.key"));
        fs::write(&path, key.serialize_pem()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
}
