//! What runs on a node's connections, and how a swarm is put together.

use std::time::Duration;

use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{Swarm, SwarmBuilder, identify, noise, ping, tcp, yamux};

use super::arrivals::Arrivals;
use super::config::NetworkLimits;
use super::door::Door;
use super::error::StartError;
use super::gossip::{self, Gossipsub};
use super::guests::{Guests, Rooms};
use super::protocols::Protocols;
use super::stall::ImpatientYamux;
use super::sync::{self, SyncBehaviour};

/// Streams that one connection may have open, each with up to 256 KiB that nobody has read yet. Above the own
/// requests that may wait and the streams of every protocol together.
const MAX_STREAMS_PER_CONNECTION: usize = 128;
/// Of these, inbound ones whose protocol is not agreed on.
const MAX_NEGOTIATING_STREAMS: usize = 32;

/// A full node's protocols. Who may connect comes first: a connection that is refused there
/// never reaches the others.
#[derive(NetworkBehaviour)]
pub(super) struct NodeBehaviour {
    pub(super) door: Door,
    pub(super) identify: identify::Behaviour,
    pub(super) ping: ping::Behaviour,
    pub(super) gossip: Gossipsub,
    pub(super) sync: SyncBehaviour,
    pub(super) streams: libp2p_stream::Behaviour,
}

impl NodeBehaviour {
    pub(super) fn new(
        keys: &Keypair,
        protocols: &Protocols,
        limits: &NetworkLimits,
        door: Door,
    ) -> Result<Self, StartError> {
        let identify = identify::Config::new(protocols.version.clone(), keys.public())
            .with_agent_version(concat!("evchain/", env!("CARGO_PKG_VERSION")).to_owned())
            .with_cache_size(0);
        Ok(Self {
            door,
            identify: identify::Behaviour::new(identify),
            ping: liveness(limits),
            gossip: gossip::gossipsub(keys, protocols, limits)?,
            sync: sync::behaviour(protocols, limits),
            streams: libp2p_stream::Behaviour::new(),
        })
    }
}

/// The protocols of a process that takes part in sessions only.
#[derive(NetworkBehaviour)]
pub(super) struct EndpointBehaviour {
    arrivals: Arrivals,
    rooms: Toggle<Rooms>,
    limits: connection_limits::Behaviour,
    ping: ping::Behaviour,
    pub(super) streams: libp2p_stream::Behaviour,
}

impl EndpointBehaviour {
    pub(super) fn new(limits: &NetworkLimits, guests: Option<Guests>) -> Self {
        let max_connections = limits.max_connections as usize;
        // Where guests are expected, the rooms count in place of the limit, which knows no difference.
        let most = guests.is_none().then_some(limits.max_connections);
        Self {
            arrivals: Arrivals::new(limits.arrival_rate),
            rooms: Toggle::from(guests.map(|guests| Rooms::new(guests, max_connections))),
            limits: connection_limits::Behaviour::new(limits_of(limits).with_max_established(most)),
            ping: liveness(limits),
            streams: libp2p_stream::Behaviour::new(),
        }
    }
}

/// A swarm over TCP, Noise and Yamux.
pub(super) fn swarm<B: NetworkBehaviour>(
    keys: Keypair,
    behaviour: B,
    limits: &NetworkLimits,
) -> Result<Swarm<B>, StartError> {
    let patience = Duration::from_millis(limits.stall_timeout_ms);
    let multiplexer = || {
        let mut config = yamux::Config::default();
        config.set_max_num_streams(MAX_STREAMS_PER_CONNECTION);
        ImpatientYamux { config, patience }
    };
    let swarm = SwarmBuilder::with_existing_identity(keys)
        .with_tokio()
        .with_tcp(tcp::Config::new().nodelay(true), noise::Config::new, multiplexer)
        .map_err(|error| StartError::Settings(error.to_string()))?
        .with_behaviour(|_| behaviour)
        .map_err(|error| StartError::Settings(error.to_string()))?
        .with_swarm_config(|config| {
            config
                .with_idle_connection_timeout(Duration::from_millis(limits.idle_timeout_ms))
                .with_max_negotiating_inbound_streams(MAX_NEGOTIATING_STREAMS)
        })
        .with_connection_timeout(Duration::from_millis(limits.handshake_timeout_ms))
        .build();
    Ok(swarm)
}

fn limits_of(limits: &NetworkLimits) -> ConnectionLimits {
    ConnectionLimits::default()
        .with_max_established(Some(limits.max_connections))
        .with_max_established_per_peer(Some(limits.max_connections_per_peer))
        .with_max_pending_incoming(Some(limits.max_pending_connections))
        .with_max_pending_outgoing(Some(limits.max_pending_connections))
}

fn liveness(limits: &NetworkLimits) -> ping::Behaviour {
    let interval = Duration::from_millis(limits.ping_interval_ms);
    ping::Behaviour::new(ping::Config::new().with_interval(interval).with_timeout(interval))
}
