//! A PostgreSQL server, from Debian's package.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::unistd::{User, chown, geteuid};

use super::{Server, write};
use crate::error::{Error, Result};
use crate::pki::{Authority, LOOPBACK, write_private};
use crate::ports::free_port;
use crate::process::Spec;
use crate::tools::output;

const NAME: &str = "postgres";
/// Where Debian keeps the programs, one folder a version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// How the roles of a database prove themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Not at all.
    Name,
    /// By a certificate, as under the operator.
    Certificate,
}

/// A PostgreSQL server. Each of its databases has two roles, `<database>_owner` and `<database>_app`, which can connect to
/// no other, as under the operator.
#[derive(Debug)]
pub struct Postgres {
    server: Server,
    programs: PathBuf,
    port: u16,
    proof: Proof,
    authority: Authority,
    databases: Mutex<Vec<String>>,
}

impl Postgres {
    /// Starts it, without databases, for roles that need no proof.
    ///
    /// # Errors
    /// If PostgreSQL is not installed, or does not start.
    pub async fn start() -> Result<Self> {
        Self::start_for(Proof::Name).await
    }

    /// Starts it, without databases.
    ///
    /// # Errors
    /// If PostgreSQL is not installed, or does not start.
    pub async fn start_for(proof: Proof) -> Result<Self> {
        let programs = programs().ok_or_else(|| Error::MissingProgram {
            program: "initdb".to_owned(),
            hint: "install PostgreSQL (Debian: apt-get install postgresql)",
        })?;
        let mut postgres = Self {
            server: Server::new()?,
            programs,
            port: free_port(NAME)?,
            proof,
            authority: Authority::new("postgres-ca")?,
            databases: Mutex::default(),
        };
        write(&postgres.server.path("ca.crt"), postgres.authority.pem())?;
        let certificate = postgres.authority.server(NAME, &[], &[LOOPBACK])?;
        postgres.write_certificate("server", certificate)?;
        postgres.write_access(&[])?;
        hand_over(&postgres.server.state)?;
        let mut init = as_server(&postgres.programs.join("initdb"));
        init.args(["--username=postgres", "--auth=trust", "--no-sync", "-D"])
            .arg(postgres.server.path("data"))
            .current_dir(&postgres.server.state);
        output(init, "a PostgreSQL database")?;
        postgres.restart().await?;
        Ok(postgres)
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Makes a database and its two roles.
    ///
    /// # Errors
    /// If it is there already.
    pub fn create_database(&self, name: &str) -> Result<()> {
        let mut databases = self
            .databases
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for role in [format!("{name}_owner"), format!("{name}_app")] {
            self.sql("postgres", &format!("CREATE ROLE {role} LOGIN"))?;
            self.write_certificate(&role, self.authority.client(&role, None)?)?;
        }
        let create = format!("CREATE DATABASE {name} OWNER {name}_owner");
        self.sql("postgres", &create)?;
        databases.push(name.to_owned());
        self.write_access(&databases)?;
        self.sql("postgres", "SELECT pg_reload_conf()").map(drop)
    }

    /// libpq's variables, by which a program finds a database and proves that it has a role.
    #[must_use]
    pub fn variables(&self, database: &str, role: &str) -> Vec<(String, String)> {
        let file = |name: String| self.server.path(&name).display().to_string();
        let mut variables = vec![
            ("PGHOST", LOOPBACK.to_string()),
            ("PGPORT", self.port.to_string()),
            ("PGDATABASE", database.to_owned()),
            ("PGUSER", role.to_owned()),
        ];
        match self.proof {
            Proof::Name => variables.push(("PGSSLMODE", "disable".to_owned())),
            Proof::Certificate => variables.extend([
                ("PGSSLMODE", "verify-full".to_owned()),
                ("PGSSLCERT", file(format!("{role}.crt"))),
                ("PGSSLKEY", file(format!("{role}.key"))),
                ("PGSSLROOTCERT", file("ca.crt".to_owned())),
            ]),
        }
        let variables = variables.into_iter();
        variables
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    /// Asks as the superuser, and gives what psql prints.
    ///
    /// # Errors
    /// If the statement fails.
    pub fn sql(&self, database: &str, statement: &str) -> Result<String> {
        let text = output(self.psql(database, statement), "an answer of PostgreSQL")?;
        Ok(text.trim().to_owned())
    }

    fn psql(&self, database: &str, statement: &str) -> Command {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres"])
            .args(["-p", &self.port.to_string(), "-d", database])
            .args(["-c", statement, "-h"])
            .arg(&self.server.state);
        psql
    }

    /// Kills it as a power cut would: nothing is written on the way.
    ///
    /// # Errors
    /// If it does not end.
    pub fn kill(&mut self) -> Result<()> {
        self.server.stop(Duration::ZERO)
    }

    /// Starts it again on the same data.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn restart(&mut self) -> Result<()> {
        let program = as_server(&self.programs.join("postgres"));
        let path = |name: &str| self.server.path(name).display().to_string();
        let settings = [
            format!("port={}", self.port),
            "listen_addresses=127.0.0.1".to_owned(),
            format!("unix_socket_directories={}", self.server.state.display()),
            format!("hba_file={}", path("access.conf")),
            "ssl=on".to_owned(),
            format!("ssl_ca_file={}", path("ca.crt")),
            format!("ssl_cert_file={}", path("server.crt")),
            format!("ssl_key_file={}", path("server.key")),
            "max_connections=200".to_owned(),
        ];
        let spec = Spec::new(NAME, program.get_program())
            .args(program.get_args())
            .args(["-D".to_owned(), path("data")])
            .args(settings.iter().flat_map(|setting| ["-c", setting]));
        let probe = self.psql("postgres", "SELECT 1");
        let (program, arguments): (_, Vec<_>) = (probe.get_program(), probe.get_args().collect());
        let is_ready = || async {
            let asked = Command::new(program).args(&arguments).output();
            asked.is_ok_and(|output| output.status.success())
        };
        self.server.launch(&spec, is_ready).await
    }

    fn write_access(&self, databases: &[String]) -> Result<()> {
        let (connection, proof) = match self.proof {
            Proof::Name => ("host", "trust"),
            Proof::Certificate => ("hostssl", "cert"),
        };
        let mut access =
            "local all postgres trust\nhost all postgres 127.0.0.1/32 trust\n".to_owned();
        for name in databases {
            access.push_str(&format!(
                "{connection} {name} {name}_owner,{name}_app 127.0.0.1/32 {proof}\n"
            ));
        }
        access.push_str("host all all all reject\n");
        write(&self.server.path("access.conf"), &access)
    }

    fn write_certificate(&self, name: &str, (crt, key): (String, String)) -> Result<()> {
        write(&self.server.path(&format!("{name}.crt")), &crt)?;
        write_private(&self.server.path(&format!("{name}.key")), &key)
    }
}

fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir(VERSIONS).ok()?.flatten();
    versions
        .map(|version| version.path().join("bin"))
        .filter(|programs| programs.join("initdb").exists())
        .max()
}

/// PostgreSQL refuses to run as root: as its own user then.
fn server_user() -> Option<User> {
    let user = || User::from_name("postgres").ok().flatten();
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

/// Gives the directory and the files in it to the server's user.
fn hand_over(directory: &Path) -> Result<()> {
    let Some(user) = server_user() else {
        return Ok(());
    };
    let files = fs::read_dir(directory).map_err(Error::io("read", directory))?;
    let files = files.flatten().map(|file| file.path());
    for path in files.chain([directory.to_owned()]) {
        chown(&path, Some(user.uid), Some(user.gid))
            .map_err(|errno| Error::io("hand over", &path)(errno.into()))?;
    }
    Ok(())
}
