//! What the tests of the running program share: the program with nothing in its environment but what a test says, and ways
//! to ask and wait.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do, and no test file uses them all"
)]

use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use localcluster::free_port;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};

/// How long anything may take before a test fails. Far more than it takes.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// Environment variables.
pub type Variables = Vec<(String, String)>;

/// Variables from pairs.
pub fn variables<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Variables {
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    pairs.into_iter().map(owned).collect()
}

/// The program, which ends with the test however that ends.
fn command(arguments: &[&str], variables: &Variables) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--", env!("CARGO_BIN_EXE_demo")])
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .envs(variables.iter().cloned())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// What a process that has ended leaves.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code.
    pub code: Option<i32>,
    /// Its standard output.
    pub output: String,
    /// Its log.
    pub log: String,
}

/// Runs the program to its end.
pub async fn ended(arguments: &[&str], variables: &Variables) -> Ended {
    let output = command(arguments, variables).output();
    let output = tokio::time::timeout(DEADLINE, output)
        .await
        .unwrap_or_else(|_| panic!("demo {arguments:?} does not end"))
        .unwrap();
    Ended {
        code: output.status.code(),
        output: String::from_utf8(output.stdout).unwrap(),
        log: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The program, running.
pub struct Running {
    child: Child,
    /// Its admin port.
    pub admin: u16,
    /// Its own port.
    pub port: u16,
}

impl Running {
    /// Starts it on ports of its own.
    pub fn start(arguments: &[&str], mut variables: Variables) -> Self {
        let (admin, port) = (free_port("admin").unwrap(), free_port("http").unwrap());
        for (name, port) in [("DEMO_ADMIN_LISTEN", admin), ("DEMO_LISTEN", port)] {
            variables.push((name.to_owned(), format!("127.0.0.1:{port}")));
        }
        let child = command(arguments, &variables)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child, admin, port }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let id = self.child.id().expect("it runs");
        kill(Pid::from_raw(i32::try_from(id).unwrap()), signal).unwrap();
    }

    /// Waits for its end; gives its status and log.
    pub async fn end(mut self) -> (ExitStatus, String) {
        let mut log = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        let end = async {
            stderr.read_to_string(&mut log).await.unwrap();
            self.child.wait().await.unwrap()
        };
        let status = tokio::time::timeout(DEADLINE, end)
            .await
            .expect("it does not end");
        (status, log)
    }

    /// Tells it to end, and waits; it must end well.
    pub async fn stop(self) -> String {
        self.signal(Signal::SIGTERM);
        let (status, log) = self.end().await;
        assert_eq!(status.code(), Some(0), "{log}");
        log
    }

    /// Asks the admin port.
    pub async fn admin(&self, path: &str) -> Option<(u16, String)> {
        ask("GET", self.admin, path, "").await
    }

    /// Waits until it is ready.
    pub async fn until_ready(&self) {
        until("it is ready", async || {
            self.admin("/readyz")
                .await
                .filter(|(status, _)| *status == 200)
        })
        .await;
    }
}

/// Sends a request on a new connection; nothing if there is no answer.
pub async fn ask(method: &str, port: u16, path: &str, body: &str) -> Option<(u16, String)> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = axum::http::Request::builder()
        .method(method)
        .uri(format!("http://127.0.0.1:{port}{path}"))
        .header("content-type", "application/json")
        .body(Full::<axum::body::Bytes>::from(body.to_owned()))
        .unwrap();
    let answer = client.request(request).await.ok()?;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.ok()?.to_bytes();
    Some((status, String::from_utf8(body.to_vec()).unwrap()))
}

/// Looks until there is something.
pub async fn until<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}
