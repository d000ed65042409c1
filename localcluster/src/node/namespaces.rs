//! The namespaces in which a real node lives, and its control groups.
//!
//! Whatever the node starts is in one process namespace: when its first process is killed, the kernel kills all others, and with
//! the last of them the mounts and the network are gone. Nothing has to be undone, so a crash leaves no more behind than
//! a stop does: empty control groups, and for a moment the link.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::process::{Identity, Spec};

const CGROUPS: &str = "/sys/fs/cgroup";

/// The kernel settings that kubelet wants, below `/proc/sys`. They hold for the whole machine, so they are not changed: in the
/// node's mount namespace files with these values lie over them.
const SYSCTLS: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// Directories that programs insist on, and those of ours that lie over them in the node's mount namespace.
const DIRECTORIES: [(&str, &str); 4] = [
    ("kubelet", "/var/lib/kubelet"),
    ("containerd-state", "/run/containerd"),
    ("container-logs", "/var/log/containers"),
    ("cni-results", "/var/lib/cni"),
];

/// Mounts propagate inside, as volumes with `mountPropagation` need it, and not to the host. Then it takes the exit
/// status of whatever has lost its parent.
const FIRST_PROCESS: &str = r#"set -e
mount --make-rshared /
while [ "$1" != -- ]; do
    mkdir -p "$2"
    mount --bind "$1" "$2"
    shift 2
done
shift
while [ "$1" != -- ]; do
    mount --bind "$1" "$2"
    shift 2
done
ip link set lo up
echo 1 > /proc/sys/net/ipv4/ip_forward
: > "$2"
while :; do
    sleep 86400 &
    wait $!
done
"#;

/// Says how to start the first process. Whatever an earlier node left in `root` that does not survive a reboot is removed.
pub(crate) fn prepare(name: &str, root: &Path) -> Result<Spec> {
    let ready = ready(root);
    remove(&ready)?;
    // On a real machine this is in memory. Stale entries would be taken for running containers.
    remove(&root.join("containerd-state"))?;
    let mut args: Vec<PathBuf> = Vec::new();
    for (ours, theirs) in DIRECTORIES {
        let ours = root.join(ours);
        fs::create_dir_all(&ours).map_err(Error::io("create", &ours))?;
        args.extend([ours, theirs.into()]);
    }
    args.push("--".into());
    for (name, value) in SYSCTLS {
        let theirs = Path::new("/proc/sys").join(name);
        // Not every kernel has all.
        if theirs.exists() {
            let ours = root.join("sysctl").join(name);
            if let Some(parent) = ours.parent() {
                fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
            }
            fs::write(&ours, format!("{value}\n")).map_err(Error::io("write", &ours))?;
            args.extend([ours, theirs]);
        }
    }
    args.extend(["--".into(), ready]);
    let spec = Spec::new(name, "unshare").args([
        "--mount",
        "--propagation=private",
        "--net",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "--",
        "sh",
        "-c",
        FIRST_PROCESS,
        "node",
    ]);
    Ok(spec.args(args))
}

/// Whether the first process has made everything ready.
pub(crate) fn is_ready(root: &Path) -> bool {
    ready(root).exists()
}

/// Remembers the first process, the child of the one that made the namespaces.
pub(crate) fn remember(root: &Path, process: i32) -> Result<()> {
    let path = first_process(root);
    let first = serde_json::json!(Identity::of_child(process)).to_string();
    fs::write(&path, first).map_err(Error::io("write", &path))
}

/// Waits until the first process has ended after it was killed: the kernel lets it end only after all others inside.
pub(crate) fn wait_for_end(root: &Path, patience: Duration) -> Result<()> {
    let text = fs::read_to_string(first_process(root)).unwrap_or_default();
    let Ok(first) = serde_json::from_str::<Identity>(&text) else {
        return Ok(());
    };
    let deadline = Instant::now() + patience;
    while first.is_alive() {
        if Instant::now() >= deadline {
            return Err(Error::NotCleared {
                what: "a process".to_owned(),
                seconds: patience.as_secs(),
            });
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn first_process(root: &Path) -> PathBuf {
    root.join("first-process.json")
}

fn ready(root: &Path) -> PathBuf {
    root.join("ready")
}

/// The same program in the namespaces that `process` has made. It ends with the process that is started here.
pub(crate) fn inside(process: i32, spec: Spec) -> Spec {
    let of = |namespace: &str| format!("/proc/{process}/ns/{namespace}");
    let entered = Spec {
        name: spec.name,
        program: "nsenter".into(),
        args: Vec::new(),
        env: spec.env,
    };
    entered
        .args([
            format!("--net={}", of("net")),
            format!("--mount={}", of("mnt")),
            // The process itself is outside; only its children are in.
            format!("--pid={}", of("pid_for_children")),
            "--".to_owned(),
            // nsenter waits outside for the program; who kills nsenter means the program.
            "setpriv".to_owned(),
            "--pdeathsig=KILL".to_owned(),
            "--".to_owned(),
        ])
        .args([spec.program.into_os_string()])
        .args(spec.args)
}

/// The directories of a control group: one in each hierarchy of version 1, or one at all in version 2.
fn cgroup_dirs(name: &str) -> Vec<PathBuf> {
    let root = Path::new(CGROUPS);
    if root.join("cgroup.controllers").exists() {
        return vec![root.join(name)];
    }
    let hierarchies = fs::read_dir(root).into_iter().flatten().flatten();
    hierarchies
        .filter(|entry| entry.path().join("cgroup.procs").exists())
        .map(|entry| entry.path().join(name))
        .collect()
}

/// Makes the control group below which kubelet puts all pods: clusters must not meet in one.
pub(crate) fn make_cgroup(name: &str) -> Result<()> {
    let root = Path::new(CGROUPS);
    if let Ok(controllers) = fs::read_to_string(root.join("cgroup.controllers")) {
        for controller in controllers.split_whitespace() {
            // One that cannot be handed down is missing in pods, and kubelet says so if it needs it.
            let _ = fs::write(
                root.join("cgroup.subtree_control"),
                format!("+{controller}"),
            );
        }
    }
    for dir in cgroup_dirs(name) {
        fs::create_dir_all(&dir).map_err(Error::io("create", &dir))?;
    }
    Ok(())
}

/// Removes the control group, which is possible as soon as the last process of it has ended.
pub(crate) fn remove_cgroup(name: &str, patience: Duration) -> Result<()> {
    let deadline = Instant::now() + patience;
    for dir in cgroup_dirs(name) {
        while !remove_tree(&dir) {
            if Instant::now() >= deadline {
                return Err(Error::NotCleared {
                    what: format!("the control group {}", dir.display()),
                    seconds: patience.as_secs(),
                });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    Ok(())
}

/// Removes directories only: the files in a control group go with it.
fn remove_tree(dir: &Path) -> bool {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    match fs::remove_dir(dir) {
        Ok(()) => true,
        Err(e) => e.kind() == std::io::ErrorKind::NotFound,
    }
}

fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match removed {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path)(e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_survive_a_reboot_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (stale, kept) = (
            dir.path().join("containerd-state/x"),
            dir.path().join("kubelet/x"),
        );
        fs::create_dir_all(&stale).unwrap();
        fs::create_dir_all(&kept).unwrap();
        fs::write(ready(dir.path()), "").unwrap();
        prepare("node", dir.path()).unwrap();
        assert!(!stale.exists() && kept.exists() && !is_ready(dir.path()));
    }

    #[test]
    fn a_program_inside_keeps_its_arguments() {
        let spec = inside(7, Spec::new("x", "/bin/x").args(["--a", "b"]));
        assert!(
            spec.args
                .contains(&"--pid=/proc/7/ns/pid_for_children".into())
        );
        assert!(
            spec.args
                .ends_with(&["/bin/x".into(), "--a".into(), "b".into()])
        );
    }
}
