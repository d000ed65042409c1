//! Addresses of a real node, and the link between the host and its network namespace.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::tools::output;

/// The second byte of the addresses that clusters may use, `10.<number>.0.0/16` each.
const NUMBERS: std::ops::RangeInclusive<u8> = 96..=127;

/// The link's name inside of the node's network namespace.
const INSIDE: &str = "eth0";

/// The addresses of one cluster with a real node. Clusters on one machine do not share any: the host has one route to
/// each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Network {
    number: u8,
    /// Whose link it is, written on it as its alias; also the name of the control group.
    owner: String,
}

impl Network {
    /// The network that an earlier run chose for this directory, else one that nobody uses; its link is made at once, as
    /// its name is what reserves the addresses.
    pub(crate) fn open(path: &Path, owner: &str) -> Result<Self> {
        if let Some(network) = Self::read(path)? {
            network.make_link()?;
            return Ok(network);
        }
        for number in NUMBERS {
            let network = Self {
                number,
                owner: owner.to_owned(),
            };
            if network.exists(&network.link()) || network.has_routes()? {
                continue;
            }
            // Before the link: what is in no file is found by nobody who cleans up.
            let text = serde_json::json!(network).to_string();
            fs::write(path, text).map_err(Error::io("write", path))?;
            match network.make_link() {
                // Another cluster was faster.
                Err(Error::NetworkTaken { .. }) => {}
                made => return made.map(|()| network),
            }
        }
        let _ = fs::remove_file(path);
        Err(Error::NoFreeNetwork)
    }

    /// The network that was chosen, if one was.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>> {
        match fs::read_to_string(path) {
            Ok(text) => serde_json::from_str(&text)
                .map(Some)
                .map_err(|e| Error::State {
                    path: path.to_owned(),
                    reason: e.to_string(),
                }),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io("read", path)(e)),
        }
    }

    /// A name for what is the machine's, not the state directory's.
    pub(crate) fn owner(&self) -> &str {
        &self.owner
    }

    fn address(&self, third: u8, fourth: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, self.number, third, fourth)
    }

    /// Everything below.
    fn all(&self) -> String {
        format!("{}/16", self.address(0, 0))
    }

    /// The host's end of the link: where the API server listens.
    pub(crate) fn host(&self) -> Ipv4Addr {
        self.address(0, 1)
    }

    /// The node's end of the link.
    pub(crate) fn node(&self) -> Ipv4Addr {
        self.address(0, 2)
    }

    /// The two ends.
    pub(crate) fn link_network(&self) -> String {
        format!("{}/30", self.address(0, 0))
    }

    /// Pods.
    pub(crate) fn pods(&self) -> String {
        format!("{}/24", self.address(1, 0))
    }

    /// Services.
    pub(crate) fn services(&self) -> String {
        format!("{}/20", self.address(16, 0))
    }

    /// The Service `kubernetes.default`; always the first address.
    pub(crate) fn api_service(&self) -> Ipv4Addr {
        self.address(16, 1)
    }

    /// The Service of CoreDNS.
    pub(crate) fn dns_service(&self) -> Ipv4Addr {
        self.address(16, 10)
    }

    /// The host's end of the link.
    pub(crate) fn link(&self) -> String {
        format!("localcluster{}", self.number)
    }

    /// The other end as long as it has not been moved into the node's network namespace.
    fn other_end(&self) -> String {
        format!("localnode{}", self.number)
    }

    fn exists(&self, link: &str) -> bool {
        sys(link).exists()
    }

    /// Whether the link is there and this cluster made it.
    pub(crate) fn owns_link(&self) -> bool {
        fs::read_to_string(sys(&self.link()).join("ifalias"))
            .is_ok_and(|alias| alias.trim() == self.owner)
    }

    fn has_routes(&self) -> Result<bool> {
        let mut show = Command::new("ip");
        show.args(["-4", "route", "show", "table", "all", "root"])
            .arg(self.all());
        output(show, "a free network").map(|routes| !routes.trim().is_empty())
    }

    /// Makes the link, with both ends on the host, unless it is there.
    fn make_link(&self) -> Result<()> {
        let (link, other) = (self.link(), self.other_end());
        if self.owns_link() {
            return Ok(());
        }
        let taken = || Error::NetworkTaken {
            network: self.all(),
            link: link.clone(),
        };
        if self.exists(&link) {
            return Err(taken());
        }
        let add = ["link", "add", &link, "type", "veth", "peer", "name", &other];
        if let Err(error) = ip(None, &add) {
            return Err(if self.exists(&link) { taken() } else { error });
        }
        ip(None, &["link", "set", &link, "alias", &self.owner])
    }

    /// Replaces a link whose other end is in a network namespace that is no more, or ends at this moment.
    pub(crate) fn renew_link(&self) -> Result<()> {
        if !self.exists(&self.other_end()) {
            self.remove_link()?;
        }
        self.make_link()
    }

    /// Puts the other end into the network namespace of a process and gives both ends addresses and routes. Done only once:
    /// the host's route, which comes last, says that it was.
    pub(crate) fn connect(&self, process: i32) -> Result<()> {
        let (link, other) = (self.link(), self.other_end());
        if self.is_connected()? {
            return Ok(());
        }
        if self.exists(&other) {
            let id = process.to_string();
            ip(None, &["link", "set", &other, "netns", &id, "name", INSIDE])?;
        }
        let address = |address: Ipv4Addr| format!("{address}/30");
        let (host, node) = (self.host().to_string(), self.node().to_string());
        ip(
            None,
            &["address", "replace", &address(self.host()), "dev", &link],
        )?;
        ip(None, &["link", "set", &link, "up"])?;
        let inside = |args: &[&str]| ip(Some(process), args);
        inside(&["address", "replace", &address(self.node()), "dev", INSIDE])?;
        inside(&["link", "set", INSIDE, "up"])?;
        // Services have addresses that nobody has: without a route nothing would be sent, and so nothing be translated.
        inside(&["route", "replace", &self.all(), "via", &host])?;
        // A pod that is gone is said to be gone, instead of its packets going to and fro.
        inside(&["route", "replace", "unreachable", &self.pods()])?;
        ip(None, &["route", "replace", &self.all(), "via", &node])
    }

    fn is_connected(&self) -> Result<bool> {
        if !self.owns_link() {
            return Ok(false);
        }
        let mut show = Command::new("ip");
        show.args(["-4", "route", "show", &self.all(), "dev", &self.link()]);
        output(show, "the node's network").map(|routes| !routes.trim().is_empty())
    }

    /// Removes the link if this cluster made it.
    pub(crate) fn remove_link(&self) -> Result<()> {
        if !self.owns_link() {
            return Ok(());
        }
        match ip(None, &["link", "delete", &self.link()]) {
            // It also goes with the network namespace of its other end.
            Err(_) if !self.owns_link() => Ok(()),
            removed => removed,
        }
    }
}

fn sys(link: &str) -> PathBuf {
    Path::new("/sys/class/net").join(link)
}

fn ip(namespace_of: Option<i32>, args: &[&str]) -> Result<()> {
    let mut command = match namespace_of {
        None => Command::new("ip"),
        Some(process) => {
            let mut command = Command::new("nsenter");
            command
                .arg(format!("--net=/proc/{process}/ns/net"))
                .arg("ip");
            command
        }
    };
    command.args(args);
    output(command, "the node's network").map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_network_do_not_overlap() {
        let network = Network {
            number: 96,
            owner: "x".to_owned(),
        };
        assert_eq!(network.link_network(), "10.96.0.0/30");
        assert_eq!(network.pods(), "10.96.1.0/24");
        assert_eq!(network.services(), "10.96.16.0/20");
        assert_eq!(network.api_service().to_string(), "10.96.16.1");
    }

    #[test]
    fn names_of_links_are_short_enough() {
        let network = Network {
            number: *NUMBERS.end(),
            owner: "x".to_owned(),
        };
        // IFNAMSIZ is 16 with the final zero.
        for name in [network.link(), network.other_end()] {
            assert!(name.len() <= 15, "{name}");
        }
    }
}
