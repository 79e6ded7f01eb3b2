use std::net::Ipv4Addr;

use super::error::FaultError;
use super::switch::{Links, Port, Switch, ethernet_address, port};
use super::tool::tool;
use crate::cluster::Place;

/// The UDP port of the links, on addresses that are theirs alone.
const VXLAN_PORT: u16 = 4_789;
/// The number of the network of all hosts.
const SHARED: u8 = 200;

/// A host for each validator: a network namespace with two interfaces. `wan` leads to this machine,
/// for clients; `links` leads to the other hosts, through a [`Switch`] that can delay, lose and cut.
///
/// All of it is gone when this is dropped.
#[derive(Debug)]
pub(super) struct Hosts {
    switch: Option<Switch>,
    names: Vec<String>,
    block: u8,
}

impl Hosts {
    /// Makes this many hosts. An error mostly says that this user may not.
    pub(super) async fn make(count: usize, seed: u64) -> Result<Self, FaultError> {
        // Names and addresses that another run on this machine does not have.
        let process = std::process::id();
        let block = 64 + u8::try_from(process % 64).unwrap_or_default();
        let mut hosts = Self { switch: None, names: Vec::new(), block };
        let mut ports = Vec::new();
        for host in 1..=count {
            let name = format!("ev{process}-{host}");
            tool("ip", &["netns", "add", &name])?;
            // From here on, dropping removes it.
            hosts.names.push(name);
            ports.push(hosts.connect(host, count)?);
        }
        let started = Switch::start(&ports, seed).await;
        let failed = |error: std::io::Error| FaultError::Tool {
            command: format!("listen on UDP port {VXLAN_PORT}"),
            reason: error.to_string(),
        };
        hosts.switch = Some(started.map_err(failed)?);
        Ok(hosts)
    }

    /// Where the validators run.
    pub(super) fn places(&self) -> Vec<Place> {
        let place = |(index, name): (usize, &String)| Place {
            wrapper: ["ip", "netns", "exec", name].map(Into::into).to_vec(),
            rpc_ip: self.wan(index + 1, 2),
            p2p_ip: self.shared(index + 1),
        };
        self.names.iter().enumerate().map(place).collect()
    }

    /// Changes what the links between the hosts do.
    pub(super) fn set(&self, links: Links) {
        if let Some(switch) = &self.switch {
            switch.set(links);
        }
    }

    fn connect(&self, host: usize, count: usize) -> Result<Port, FaultError> {
        let (name, outside) = (&self.names[host - 1], outside(host));
        let (here, there) = (self.wan(host, 1), self.wan(host, 2));
        let ip = |line: String| tool("ip", &line.split_whitespace().collect::<Vec<_>>());
        ip(format!("link add {outside} type veth peer name wan netns {name}"))?;
        ip(format!("addr add {here}/30 dev {outside}"))?;
        ip(format!("link set dev {outside} up"))?;
        ip(format!("-n {name} link set dev lo up"))?;
        ip(format!("-n {name} addr add {there}/30 dev wan"))?;
        ip(format!("-n {name} link set dev wan up"))?;
        ip(format!(
            "-n {name} link add links type vxlan id 42 local {there} remote {here} dstport {VXLAN_PORT} nolearning"
        ))?;
        // One segment a frame, as on a real link.
        ip(format!("-n {name} link set dev links address {} gso_max_segs 1", ethernet_address(host)))?;
        ip(format!("-n {name} addr add {}/24 dev links", self.shared(host)))?;
        ip(format!("-n {name} link set dev links up"))?;
        for other in (1..=count).filter(|other| *other != host) {
            let (address, lladdr) = (self.shared(other), ethernet_address(other));
            ip(format!("-n {name} neigh add {address} lladdr {lladdr} dev links nud permanent"))?;
        }
        Ok(port(here, there, VXLAN_PORT))
    }

    fn wan(&self, host: usize, end: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, self.block, u8::try_from(host).unwrap_or_default(), end)
    }

    fn shared(&self, host: usize) -> Ipv4Addr {
        self.wan(usize::from(SHARED), u8::try_from(host).unwrap_or_default())
    }
}

/// The end of a host's `wan` on this machine. Interfaces have names of at most 15 bytes.
fn outside(host: usize) -> String {
    format!("ev{}w{host}", std::process::id())
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for (index, name) in self.names.iter().enumerate() {
            // The namespace may live on a little with its processes; its interface must not.
            let _ = tool("ip", &["link", "del", "dev", &outside(index + 1)]);
            if let Err(error) = tool("ip", &["netns", "del", name]) {
                tracing::warn!(%error, "testnet: a network namespace stays");
            }
        }
    }
}
