//! Nodes for tests, waiting for their events, and a peer that speaks libp2p and no more.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use evchain_protocol::crypto::{ChainId, Hash, KeyPair, PublicKey};
use futures::StreamExt;
use libp2p::core::upgrade::Version;
use libp2p::swarm::{self, NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol, SwarmBuilder, noise, ping, tcp, yamux};
use libp2p_stream::OpenStreamError;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::network::{
    Admission, NetworkConfig, NetworkEvent, NetworkEvents, NetworkHandle, NetworkLimits, NetworkMetrics,
    peer_of_key, start,
};

/// What is not there after this time is missing.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) const CHAIN: ChainId = ChainId(Hash::from_bytes([7; 32]));

/// The outcome of a future that is expected to come.
pub(super) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

pub(super) fn keys(seed: u8) -> KeyPair {
    KeyPair::from_secret(&[seed; 32])
}

pub(super) fn key(seed: u8) -> PublicKey {
    keys(seed).public_key()
}

pub(super) fn loopback() -> Multiaddr {
    "/ip4/127.0.0.1/tcp/0".parse().unwrap()
}

/// A node with its events and counters.
pub(super) struct Node {
    pub(super) key: PublicKey,
    pub(super) handle: NetworkHandle,
    pub(super) events: NetworkEvents,
    pub(super) address: Multiaddr,
    registry: Arc<Registry>,
}

/// Reads a node's counters.
pub(super) struct Probe(Arc<Registry>);

impl Probe {
    /// The value of a counter's line, such as `network_bans_total{reason="node"}`; 0 without one.
    pub(super) fn value(&self, line: &str) -> u64 {
        let mut text = String::new();
        encode(&mut text, &self.0).unwrap();
        let value = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().unwrap())
    }

    /// Waits until a counter has at least this value.
    pub(super) async fn wait(&self, line: &str, at_least: u64) {
        soon(line, async {
            while self.value(line) < at_least {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }
}

impl Node {
    /// Reads the counters, also once the node is elsewhere.
    pub(super) fn probe(&self) -> Probe {
        Probe(Arc::clone(&self.registry))
    }

    /// A node on a free port, with the key of this seed, that dials these addresses.
    pub(super) async fn start(seed: u8, bootstrap: &[&Multiaddr]) -> Self {
        Self::start_with(seed, CHAIN, loopback(), bootstrap, Admission::Open, NetworkLimits::default()).await
    }

    pub(super) async fn start_with(
        seed: u8,
        chain: ChainId,
        listen: Multiaddr,
        bootstrap: &[&Multiaddr],
        admission: Admission,
        limits: NetworkLimits,
    ) -> Self {
        let bootstrap = bootstrap.iter().map(|address| (*address).clone()).collect();
        let config =
            NetworkConfig { listen: vec![listen], bootstrap, admission, limits, ..NetworkConfig::default() };
        Self::start_config(seed, chain, config).await
    }

    pub(super) async fn start_config(seed: u8, chain: ChainId, config: NetworkConfig) -> Self {
        let mut registry = Registry::default();
        let metrics = NetworkMetrics::registered(&mut registry);
        let (handle, events) = start(config, chain, &keys(seed), metrics).unwrap();
        let addresses = soon("an address", handle.listen_addresses()).await.unwrap();
        Self { key: key(seed), handle, events, address: addresses[0].clone(), registry: Arc::new(registry) }
    }

    /// The first event that `pick` makes something of; others are skipped.
    pub(super) async fn wait_for<T>(
        &mut self,
        what: &str,
        mut pick: impl FnMut(NetworkEvent) -> Option<T>,
    ) -> T {
        soon(what, async {
            loop {
                let event = self.events.recv().await.expect("the network runs");
                if let Some(found) = pick(event) {
                    return found;
                }
            }
        })
        .await
    }

    pub(super) async fn wait_connected(&mut self, to: PublicKey) {
        self.wait_for("a connection", |event| {
            matches!(event, NetworkEvent::PeerConnected { peer, .. } if peer == to).then_some(())
        })
        .await;
    }

    pub(super) async fn wait_disconnected(&mut self, from: PublicKey) {
        self.wait_for("the end of a connection", |event| {
            matches!(event, NetworkEvent::PeerDisconnected { peer } if peer == from).then_some(())
        })
        .await;
    }

    /// The value of a counter's line, such as `network_bans_total{reason="node"}`; 0 without one.
    pub(super) fn metric(&self, line: &str) -> u64 {
        self.probe().value(line)
    }

    /// Waits until a counter has at least this value.
    pub(super) async fn wait_metric(&self, line: &str, at_least: u64) {
        self.probe().wait(line, at_least).await;
    }
}

/// A connection to a node from this address of the machine.
pub(super) async fn socket_from(ip: &str, node: &Node) -> TcpStream {
    let from = TcpSocket::new_v4().unwrap();
    from.bind(SocketAddr::new(ip.parse().unwrap(), 0)).unwrap();
    from.connect(socket(&node.address)).await.unwrap()
}

/// Where a node listens.
pub(super) fn socket(address: &Multiaddr) -> SocketAddr {
    let parts: Vec<String> = address.to_string().split('/').map(str::to_owned).collect();
    format!("{}:{}", parts[2], parts[4]).parse().unwrap()
}

/// An address whose one connection goes on to a node from `ip`: libp2p does not choose where it dials from.
async fn relay(ip: &str, node: &Node) -> Multiaddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, peer) = (listener.local_addr().unwrap().port(), peer_of_key(&node.key).unwrap());
    let mut far = socket_from(ip, node).await;
    tokio::spawn(async move {
        let (mut near, _) = listener.accept().await.unwrap();
        // Ends with either side.
        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
    });
    format!("/ip4/127.0.0.1/tcp/{port}/p2p/{peer}").parse().unwrap()
}

/// A peer that has a key and opens streams, and follows no rule beyond that.
pub(super) struct Stranger {
    control: libp2p_stream::Control,
    target: PeerId,
    task: tokio::task::JoinHandle<()>,
}

#[derive(NetworkBehaviour)]
struct StrangerBehaviour {
    ping: ping::Behaviour,
    streams: libp2p_stream::Behaviour,
}

impl Stranger {
    /// Connects to a node with the key of this seed.
    pub(super) async fn connect(seed: u8, node: &Node) -> Self {
        Self::dial(seed, node, node.address.clone()).await
    }

    /// The same from another address of this machine, which to the node is another host.
    pub(super) async fn connect_from(ip: &str, seed: u8, node: &Node) -> Self {
        Self::dial(seed, node, relay(ip, node).await).await
    }

    async fn dial(seed: u8, node: &Node, address: Multiaddr) -> Self {
        Self::dial_with(seed, node, address, |config| config).await
    }

    /// Connects at this address, and then opens streams without waiting for the node's word on them.
    pub(super) async fn connect_lazily(seed: u8, node: &Node, address: &Multiaddr) -> Self {
        Self::dial_with(seed, node, address.clone(), |config| {
            config.with_substream_upgrade_protocol_override(Version::V1Lazy)
        })
        .await
    }

    async fn dial_with(
        seed: u8,
        node: &Node,
        address: Multiaddr,
        configure: impl FnOnce(swarm::Config) -> swarm::Config,
    ) -> Self {
        let keys = libp2p::identity::Keypair::ed25519_from_bytes(keys(seed).secret().to_vec().as_mut_slice())
            .unwrap();
        let mut swarm = SwarmBuilder::with_existing_identity(keys)
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_behaviour(|_| StrangerBehaviour {
                ping: ping::Behaviour::default(),
                streams: libp2p_stream::Behaviour::new(),
            })
            .unwrap()
            .with_swarm_config(configure)
            .build();
        let control = swarm.behaviour().streams.new_control();
        swarm.dial(address).unwrap();
        soon("the stranger's connection", async {
            while !matches!(swarm.select_next_some().await, SwarmEvent::ConnectionEstablished { .. }) {}
        })
        .await;
        let task = tokio::spawn(async move {
            loop {
                swarm.select_next_some().await;
            }
        });
        Self { control, target: peer_of_key(&node.key).unwrap(), task }
    }

    /// Opens a stream; `name` is the protocol's part after the chain's prefix.
    pub(super) async fn open(&mut self, name: &str) -> Stream {
        self.try_open(name).await.unwrap()
    }

    pub(super) async fn try_open(&mut self, name: &str) -> Result<Stream, OpenStreamError> {
        let prefix: String = CHAIN.to_string().chars().take(16).collect();
        let protocol = StreamProtocol::try_from_owned(format!("/evchain/{prefix}/{name}/1")).unwrap();
        soon("the stranger's stream", self.control.open_stream(self.target, protocol)).await
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.task.abort();
    }
}
