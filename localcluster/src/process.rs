//! Child processes that die with us (tests) or outlive us and are found again (the local cluster of `up`).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How long children live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// As long as this process: the kernel kills them when it ends, however it ends.
    Attached,
    /// Until they are stopped: in a session of their own, found again by their pid files.
    Detached,
}

/// What to start.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The name of its pid file and log.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Additional environment variables.
    pub env: BTreeMap<String, OsString>,
}

impl Spec {
    /// A program without arguments.
    pub fn new(name: impl Into<String>, program: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            program: program.into(),
            args: Vec::new(),
            env: BTreeMap::new(),
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.insert(name.to_owned(), value.into());
        self
    }
}

/// A process id that cannot be mistaken for that of a later process: ids are used again, start times are not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pid: i32,
    /// Clock ticks since boot, field 22 of `/proc/<pid>/stat`.
    started: u64,
    /// Ticks start again with each boot.
    boot: String,
}

impl Identity {
    fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (state, _, started) = parse_stat(&stat)?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .unwrap_or_default()
            .trim()
            .to_owned();
        // A zombie does nothing any more; only its parent has not asked for it yet.
        (state != 'Z' && state != 'X').then_some(Self { pid, started, boot })
    }

    /// The only child of a process, or one of them.
    pub(crate) fn of_child(parent: i32) -> Option<Self> {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        processes
            .filter_map(|process| process.file_name().to_str()?.parse().ok())
            .find(|pid| {
                let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                parse_stat(&stat).is_some_and(|(_, of, _)| of == parent)
            })
            .and_then(Self::of)
    }

    pub(crate) fn is_alive(&self) -> bool {
        Self::of(self.pid).as_ref() == Some(self)
    }
}

/// State, parent and start time. The second field is the program's name in brackets, which may contain anything, brackets too.
fn parse_stat(stat: &str) -> Option<(char, i32, u64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let started = fields.nth(17)?.parse().ok()?;
    Some((state, parent, started))
}

/// A running (or ended) child.
#[derive(Debug)]
pub struct Process {
    name: String,
    identity: Option<Identity>,
    /// Present if this process started it.
    child: Option<Child>,
    log: PathBuf,
    pid_file: Option<PathBuf>,
}

/// Where pid files and logs lie.
#[derive(Debug, Clone)]
pub struct Directory {
    root: PathBuf,
}

impl Directory {
    /// Uses `pid/` and `log/` in `root`.
    ///
    /// # Errors
    /// If they cannot be made.
    pub fn open(root: &Path) -> Result<Self> {
        for name in ["pid", "log"] {
            let dir = root.join(name);
            fs::create_dir_all(&dir).map_err(Error::io("create", &dir))?;
        }
        Ok(Self {
            root: root.to_owned(),
        })
    }

    /// The log of a process.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.root.join("log").join(format!("{name}.log"))
    }

    fn pid_file(&self, name: &str) -> PathBuf {
        self.root.join("pid").join(name)
    }

    /// Names of all processes that have a pid file.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.root.join("pid"))
            .into_iter()
            .flatten()
            .flatten();
        let mut names: Vec<_> = entries
            .filter_map(|e| e.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    /// A process of an earlier run, if it still runs.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Process> {
        let pid_file = self.pid_file(name);
        let text = fs::read_to_string(&pid_file).ok()?;
        // A damaged file names nobody whom we may kill.
        let identity: Identity = serde_json::from_str(&text).ok()?;
        identity.is_alive().then(|| Process {
            name: name.to_owned(),
            identity: Some(identity),
            child: None,
            log: self.log(name),
            pid_file: Some(pid_file),
        })
    }

    /// Starts a process.
    ///
    /// # Errors
    /// If the program, `setpriv` or `setsid` cannot be run.
    pub fn spawn(&self, spec: &Spec, life: Life) -> Result<Process> {
        let log = self.log(&spec.name);
        let output = File::create(&log).map_err(Error::io("create", &log))?;
        let errors = output.try_clone().map_err(Error::io("open", &log))?;
        // Both are from util-linux and become the program by exec: the process id stays.
        let mut command = match life {
            Life::Attached => {
                let mut command = Command::new("setpriv");
                command.args(["--pdeathsig", "KILL", "--"]);
                command
            }
            Life::Detached => Command::new("setsid"),
        };
        command
            .arg(&spec.program)
            .args(&spec.args)
            .envs(&spec.env)
            .current_dir(&self.root);
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        let failed = |source: io::Error| {
            if source.kind() == io::ErrorKind::NotFound {
                let program = if life == Life::Attached {
                    "setpriv"
                } else {
                    "setsid"
                };
                return Error::MissingProgram {
                    program: program.to_owned(),
                    hint: "install util-linux",
                };
            }
            Error::Spawn {
                part: spec.name.clone(),
                program: spec.program.clone(),
                source,
            }
        };
        let child = spawn_from_lasting_thread(command).map_err(failed)?;
        let identity = i32::try_from(child.id()).ok().and_then(Identity::of);
        let pid_file = self.pid_file(&spec.name);
        if let Some(identity) = &identity {
            let text = serde_json::json!(identity).to_string();
            fs::write(&pid_file, text).map_err(Error::io("write", &pid_file))?;
        }
        Ok(Process {
            name: spec.name.clone(),
            identity,
            child: Some(child),
            log,
            pid_file: Some(pid_file),
        })
    }
}

impl Process {
    /// Its process id while it runs.
    #[must_use]
    pub fn id(&self) -> Option<i32> {
        self.identity.as_ref().map(|i| i.pid)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its log file.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Whether it runs.
    pub fn is_alive(&mut self) -> bool {
        if let Some(child) = &mut self.child {
            // Also takes its exit status, without which it would stay a zombie.
            return matches!(child.try_wait(), Ok(None));
        }
        self.identity.as_ref().is_some_and(Identity::is_alive)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let Some(identity) = self.identity.as_ref().filter(|i| i.is_alive()) else {
            return Ok(());
        };
        match kill(Pid::from_raw(identity.pid), signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(Error::Io {
                action: "signal",
                path: self.log.clone(),
                source: errno.into(),
            }),
        }
    }

    /// Asks it to end, and kills it after `patience`. Zero patience kills at once.
    ///
    /// # Errors
    /// If it does not even end when killed.
    pub fn stop(&mut self, patience: Duration) -> Result<()> {
        const AFTER_KILL: Duration = Duration::from_secs(10);
        if !patience.is_zero() {
            self.signal(Signal::SIGTERM)?;
            if self.ends_within(patience) {
                return self.forget();
            }
        }
        self.signal(Signal::SIGKILL)?;
        if self.ends_within(AFTER_KILL) {
            return self.forget();
        }
        Err(Error::NotStopped {
            part: self.name.clone(),
            pid: self.id().unwrap_or_default(),
            seconds: AFTER_KILL.as_secs(),
        })
    }

    fn ends_within(&mut self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while self.is_alive() {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }

    fn forget(&mut self) -> Result<()> {
        self.identity = None;
        match self
            .pid_file
            .take()
            .map(|path| (fs::remove_file(&path), path))
        {
            Some((Err(e), path)) if e.kind() != io::ErrorKind::NotFound => {
                Err(Error::io("remove", path)(e))
            }
            _ => Ok(()),
        }
    }
}

/// The end of a log, for error messages.
#[must_use]
pub fn tail(log: &Path) -> String {
    const BYTES: u64 = 4096;
    let read = || -> io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

type Request = (Command, SyncSender<io::Result<Child>>);

/// The parent-death signal comes when the *thread* that started the child ends, not the process. So all are started by
/// one thread that ends only with the process.
fn spawn_from_lasting_thread(command: Command) -> io::Result<Child> {
    static THREAD: OnceLock<Sender<Request>> = OnceLock::new();
    let thread = THREAD.get_or_init(|| {
        let (sender, receiver) = channel::<Request>();
        std::thread::spawn(move || {
            for (mut command, answer) in receiver {
                // Nobody listens any more if the asker gave up, which it never does.
                let _ = answer.send(command.spawn());
            }
        });
        sender
    });
    let (answer, child) = sync_channel(1);
    let gone = || io::Error::other("the thread that starts processes has ended");
    thread.send((command, answer)).map_err(|_| gone())?;
    child.recv().map_err(|_| gone())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_behind_the_last_bracket() {
        let rest = (4..=52)
            .map(|i| i.to_string())
            .collect::<Vec<_>>()
            .join(" ");
        assert_eq!(
            parse_stat(&format!("7 (a) b) c) S {rest}")),
            Some(('S', 4, 22))
        );
        assert_eq!(parse_stat("7 (a"), None);
    }

    #[test]
    fn a_process_is_found_again_and_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let here = Directory::open(dir.path()).unwrap();
        let mut first = here
            .spawn(
                &Spec::new("sleeper", "sleep").args(["1000"]),
                Life::Attached,
            )
            .unwrap();
        let mut again = here.find("sleeper").unwrap();
        assert_eq!(first.id(), again.id());
        again.stop(Duration::ZERO).unwrap();
        assert!(here.find("sleeper").is_none());
        assert!(!first.is_alive());
    }

    #[test]
    fn a_pid_file_of_another_process_with_the_same_id_names_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let here = Directory::open(dir.path()).unwrap();
        let mut identity = Identity::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        identity.started += 1;
        fs::write(here.pid_file("x"), serde_json::json!(identity).to_string()).unwrap();
        assert!(here.find("x").is_none());
        fs::write(here.pid_file("x"), "not json").unwrap();
        assert!(here.find("x").is_none());
    }

    #[test]
    fn the_tail_of_a_log_is_its_last_lines() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("l");
        fs::write(
            &log,
            (0..1000).map(|i| format!("line {i}\n")).collect::<String>(),
        )
        .unwrap();
        assert!(tail(&log).starts_with("line 985\n") && tail(&log).ends_with("line 999"));
    }
}
