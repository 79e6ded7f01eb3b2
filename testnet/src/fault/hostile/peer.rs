use std::time::Duration;

use evchain_node::network::{Multiaddr, PeerId, peer_of_key};
use evchain_protocol::crypto::{ChainId, KeyPair};
use futures::StreamExt;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Stream, StreamProtocol, SwarmBuilder, noise, ping, tcp, yamux};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::field::Target;

/// How long a connection or a stream may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// A peer that has a key and opens streams, and follows no rule beyond that. Its connection ends when it
/// is dropped.
pub(super) struct Peer {
    control: libp2p_stream::Control,
    target: PeerId,
    prefix: String,
    task: JoinHandle<()>,
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    ping: ping::Behaviour,
    streams: libp2p_stream::Behaviour,
}

impl Peer {
    /// Connects to a validator; `None` where it refuses or this takes too long.
    pub(super) async fn connect(key: &KeyPair, target: &Target, chain: ChainId) -> Option<Self> {
        let mut secret = key.secret().to_vec();
        let keys = libp2p::identity::Keypair::ed25519_from_bytes(secret.as_mut_slice()).ok()?;
        let mut swarm = SwarmBuilder::with_existing_identity(keys)
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
            .ok()?
            .with_behaviour(|_| Behaviour {
                ping: ping::Behaviour::default(),
                streams: libp2p_stream::Behaviour::new(),
            })
            .ok()?
            .build();
        let control = swarm.behaviour().streams.new_control();
        let address: Multiaddr = target.p2p.clone();
        swarm.dial(address).ok()?;
        timeout(PATIENCE, async {
            loop {
                match swarm.select_next_some().await {
                    SwarmEvent::ConnectionEstablished { .. } => return Some(()),
                    SwarmEvent::OutgoingConnectionError { .. } => return None,
                    _ => {}
                }
            }
        })
        .await
        .ok()??;
        let task = tokio::spawn(async move {
            while !matches!(swarm.select_next_some().await, SwarmEvent::ConnectionClosed { .. }) {}
        });
        let prefix = chain.to_string().chars().take(16).collect();
        Some(Self { control, target: peer_of_key(&target.key).ok()?, prefix, task })
    }

    /// Whether the connection stands.
    pub(super) fn is_connected(&self) -> bool {
        !self.task.is_finished()
    }

    /// Opens a stream; `name` is the protocol's part after the chain's prefix.
    pub(super) async fn open(&mut self, name: &str) -> Option<Stream> {
        let protocol = StreamProtocol::try_from_owned(format!("/evchain/{}/{name}/1", self.prefix)).ok()?;
        timeout(PATIENCE, self.control.open_stream(self.target, protocol)).await.ok()?.ok()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
