//! CPU that processes have used. On a machine whose every core is busy it says more than the clock on the wall: what else
//! runs there does not change it.

use std::fs;

use anyhow::{Context, Result};

/// The kernel's resolution: a hundredth of a second on every Linux.
pub const TICK: f64 = 0.01;

/// Seconds of CPU that a process has used.
pub fn seconds(pid: i32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let stat =
        fs::read_to_string(&path).with_context(|| format!("cannot read {path}: has it ended?"))?;
    ticks(&stat)
        .map(|ticks| ticks * TICK)
        .with_context(|| format!("{path} has no times"))
}

/// User and system time: fields 14 and 15. The second field is the name in brackets, which may contain anything.
fn ticks(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_the_kernel_writes_them() {
        assert_eq!(
            ticks("7 (a) b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14"),
            Some(23.0)
        );
        assert_eq!(ticks("7 (a"), None);
    }

    #[test]
    fn this_process_has_used_some() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(seconds(pid).unwrap() >= 0.0);
        assert!(seconds(-1).is_err());
    }
}
