//! Free ports on 127.0.0.1, chosen once and remembered, so that a part that is restarted is found where it was.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

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
        let mut random = rand::rng();
        for _ in 0..200 {
            let port = random.random_range(RANGE);
            if !self.chosen.values().any(|p| *p == port) && is_free(port) {
                self.set(name, port)?;
                return Ok(port);
            }
        }
        Err(Error::NoFreePort {
            part: name.to_owned(),
        })
    }

    /// Gives `name` a fixed port.
    pub(crate) fn set(&mut self, name: &str, port: u16) -> Result<()> {
        self.chosen.insert(name.to_owned(), port);
        let text = serde_json::json!(self.chosen).to_string();
        fs::write(&self.path, text).map_err(Error::io("write", &self.path))
    }
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
