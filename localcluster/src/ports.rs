//! Free ports on 127.0.0.1, chosen once and remembered, so that a part that is restarted is found where it was.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rand::RngExt as _;

use crate::error::{Error, Result};

/// Below the range from which Linux takes the ports of outgoing connections (32768 and up): a port chosen there could be
/// taken by somebody's connection between the choice and the start of the server.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// The ports of one cluster by name.
#[derive(Debug)]
pub(crate) struct Ports {
    path: PathBuf,
    chosen: BTreeMap<String, u16>,
}

impl Ports {
    /// Reads the ports that an earlier run chose.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let chosen = match fs::read_to_string(path) {
            Ok(text) => serde_json::from_str(&text).map_err(|e| Error::State {
                path: path.to_owned(),
                reason: e.to_string(),
            })?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(e) => return Err(Error::io("read", path)(e)),
        };
        Ok(Self {
            path: path.to_owned(),
            chosen,
        })
    }

    /// The port called `name`, chosen now if it is new.
    pub(crate) fn get(&mut self, name: &str) -> Result<u16> {
        if let Some(port) = self.chosen.get(name) {
            return Ok(*port);
        }
        let port = choose(name, |port| self.chosen.values().any(|p| *p == port))?;
        self.set(name, port)?;
        Ok(port)
    }

    /// Gives `name` a fixed port.
    pub(crate) fn set(&mut self, name: &str, port: u16) -> Result<()> {
        self.chosen.insert(name.to_owned(), port);
        let text = serde_json::json!(self.chosen).to_string();
        fs::write(&self.path, text).map_err(Error::io("write", &self.path))
    }
}

/// A port on 127.0.0.1 on which nothing listens at this moment, and which this process was not given before.
///
/// # Errors
/// If all that were tried are taken.
pub fn free_port(part: &str) -> Result<u16> {
    choose(part, |_| false)
}

fn choose(part: &str, is_taken: impl Fn(u16) -> bool) -> Result<u16> {
    /// Whoever got one may be about to listen on it.
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut random = rand::rng();
    std::iter::repeat_with(|| random.random_range(RANGE))
        .take(200)
        .find(|port| !is_taken(*port) && is_free(*port) && given.insert(*port))
        .ok_or_else(|| Error::NoFreePort {
            part: part.to_owned(),
        })
}

/// Whether nothing listens on the port.
pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_remembered_and_no_two_names_share_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ports.json");
        let mut ports = Ports::open(&path).unwrap();
        let (a, b) = (ports.get("a").unwrap(), ports.get("b").unwrap());
        assert_ne!(a, b);
        assert_eq!(Ports::open(&path).unwrap().get("a").unwrap(), a);
    }

    #[test]
    fn no_port_is_given_twice() {
        let ports: BTreeSet<_> = (0..300).map(|_| free_port("test").unwrap()).collect();
        assert_eq!(ports.len(), 300);
    }

    #[test]
    fn a_damaged_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ports.json");
        fs::write(&path, "{").unwrap();
        assert!(
            Ports::open(&path)
                .unwrap_err()
                .to_string()
                .contains("ports.json")
        );
    }
}
