//! What the operator sets: addresses, who may connect, and every limit.

use std::collections::BTreeSet;

use evchain_protocol::crypto::PublicKey;
use libp2p::Multiaddr;
use serde::{Deserialize, Serialize};

use super::members::Members;

/// How a node takes part in the network.
#[derive(Debug, Clone, Default)]
pub struct NetworkConfig {
    /// Where to listen, for example `/ip4/0.0.0.0/tcp/9000`. Port 0: the system chooses. May be
    /// empty for a node that only dials.
    pub listen: Vec<Multiaddr>,
    /// Where an authority says that others reach it, for example when it is behind a translated address.
    /// Empty: where it listens.
    pub announce: Vec<Multiaddr>,
    /// Peers that are dialed forever, each with a last `/p2p/` part that names it.
    pub bootstrap: Vec<Multiaddr>,
    /// Who may connect.
    pub admission: Admission,
    /// Keys that may connect besides the chain's members.
    /// [`NetworkHandle::set_listed`](super::NetworkHandle::set_listed) replaces them.
    pub listed: BTreeSet<PublicKey>,
    /// Whom the chain has admitted. A node sets this itself, from its chain.
    pub members: Members,
    /// The limits.
    pub limits: NetworkLimits,
}

/// Who may connect, in either direction. Connections of others end after the Noise handshake,
/// before any protocol starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Admission {
    /// The chain's members, the listed keys, the authorities and the bootstrap peers.
    #[default]
    Members,
    /// Anybody, within the limits.
    Open,
}

/// The limits of a node's network. Sizes in bytes, times in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkLimits {
    /// Connections in all, both directions. Those of authorities and bootstrap peers do not count.
    pub max_connections: u32,
    /// The same with one host: an IPv4 address, or the /64 of an IPv6 address.
    pub max_connections_per_host: u32,
    /// Connections to one peer. Above 2, so that a peer that lost power can come back while its
    /// old connections have not timed out.
    pub max_connections_per_peer: u32,
    /// Connections that have not finished their handshake, for each direction. The hosts of authorities and
    /// bootstrap peers have as many each for themselves.
    pub max_pending_connections: u32,
    /// The same, inbound, of one other host.
    pub max_pending_connections_per_host: u32,
    /// Inbound connections from one host. Above it they are refused before their handshake.
    pub arrival_rate: RateLimit,
    /// How long a handshake may take.
    pub handshake_timeout_ms: u64,
    /// How long a connection that nobody uses stays.
    pub idle_timeout_ms: u64,
    /// How long a stream may wait for the other side to read, before the connection is closed.
    pub stall_timeout_ms: u64,
    /// Time between liveness probes; a connection whose probe is unanswered for as long is closed.
    pub ping_interval_ms: u64,
    /// The first pause before dialing or opening a stream again; it doubles with each failure.
    pub retry_initial_ms: u64,
    /// The longest such pause.
    pub retry_max_ms: u64,
    /// Peers, other than bootstrap peers and authorities, whose addresses are remembered.
    pub max_known_peers: usize,
    /// How long a peer that broke the rules is refused, the first time.
    pub ban_ms: u64,
    /// The longest such time: it doubles with each offence, until the peer has kept the rules for as long.
    pub ban_max_ms: u64,

    /// The largest consensus frame: a proposal with its block.
    pub max_consensus_frame_bytes: usize,
    /// Frames that wait for one authority; above, the oldest are dropped.
    pub consensus_send_queue: usize,
    /// Bytes that wait for one authority; above, the oldest are dropped.
    pub consensus_send_queue_bytes: usize,
    /// Received consensus frames that wait for the node; above, the senders are held back.
    pub consensus_receive_queue: usize,
    /// The same in bytes.
    pub consensus_receive_queue_bytes: usize,
    /// Consensus frames from one authority.
    pub consensus_rate: RateLimit,

    /// The largest gossip message.
    pub max_gossip_bytes: usize,
    /// Own transactions that are collected into one gossip message.
    pub batch_max_items: usize,
    /// How long an own transaction waits for others to join its message.
    pub batch_delay_ms: u64,
    /// Received gossip messages that wait for the node; above, messages are ignored.
    pub gossip_queue: usize,
    /// The same in bytes.
    pub gossip_queue_bytes: usize,
    /// Gossip messages from one peer.
    pub gossip_rate: RateLimit,
    /// Bytes of gossip from one peer.
    pub gossip_byte_rate: RateLimit,

    /// The largest request for catching up.
    pub max_request_bytes: usize,
    /// The largest response to one.
    pub max_response_bytes: usize,
    /// How long a request may take, from sending to the last byte of its response.
    pub request_timeout_ms: u64,
    /// Requests whose response is being made or has not left yet; more are refused as busy. A quarter of
    /// these places, and of the bytes in all, is for authorities only.
    pub max_inbound_requests: usize,
    /// The same for one host, an IPv6 /64 being one.
    pub max_inbound_requests_per_host: usize,
    /// The same for one peer.
    pub max_inbound_requests_per_peer: usize,
    /// Bytes of responses that are being made or have not left yet. One that is being made counts as the
    /// largest there is; where that is above a limit the peer is told that this node is busy.
    pub max_response_bytes_in_all: usize,
    /// The same for one host.
    pub max_response_bytes_per_host: usize,
    /// The same for one peer.
    pub max_response_bytes_per_peer: usize,
    /// Own requests that wait for a response.
    pub max_outbound_requests: usize,
    /// The same for one peer.
    pub max_outbound_requests_per_peer: usize,
    /// Requests from one peer.
    pub request_rate: RateLimit,

    /// Sessions that others opened, at the same time; more are refused.
    pub max_inbound_sessions: usize,
    /// The same for one peer.
    pub max_inbound_sessions_per_peer: usize,
    /// The largest message of a session.
    pub max_session_message_bytes: usize,
    /// How long opening a session, or sending one message of it, may take.
    pub session_timeout_ms: u64,
    /// Streams (consensus and session) that one peer opens.
    pub stream_rate: RateLimit,
}

impl Default for NetworkLimits {
    fn default() -> Self {
        Self {
            max_connections: 256,
            max_connections_per_host: 32,
            max_connections_per_peer: 4,
            max_pending_connections: 64,
            max_pending_connections_per_host: 8,
            arrival_rate: RateLimit { per_second: 20, burst: 200, excess: 1 },
            handshake_timeout_ms: 5_000,
            idle_timeout_ms: 60_000,
            stall_timeout_ms: 20_000,
            ping_interval_ms: 5_000,
            retry_initial_ms: 100,
            retry_max_ms: 2_000,
            max_known_peers: 256,
            ban_ms: 30_000,
            ban_max_ms: 600_000,

            max_consensus_frame_bytes: 16 * 1024 * 1024,
            consensus_send_queue: 1_024,
            consensus_send_queue_bytes: 64 * 1024 * 1024,
            consensus_receive_queue: 1_024,
            consensus_receive_queue_bytes: 64 * 1024 * 1024,
            consensus_rate: RateLimit { per_second: 2_000, burst: 10_000, excess: 10 },

            max_gossip_bytes: 64 * 1024,
            batch_max_items: 256,
            batch_delay_ms: 5,
            gossip_queue: 1_024,
            gossip_queue_bytes: 16 * 1024 * 1024,
            gossip_rate: RateLimit { per_second: 1_000, burst: 5_000, excess: 10 },
            gossip_byte_rate: RateLimit { per_second: 8 << 20, burst: 32 << 20, excess: 10 },

            max_request_bytes: 1024,
            max_response_bytes: 16 * 1024 * 1024,
            request_timeout_ms: 10_000,
            max_inbound_requests: 32,
            max_inbound_requests_per_host: 8,
            max_inbound_requests_per_peer: 4,
            max_response_bytes_in_all: 64 * 1024 * 1024,
            max_response_bytes_per_host: 32 * 1024 * 1024,
            max_response_bytes_per_peer: 24 * 1024 * 1024,
            max_outbound_requests: 16,
            max_outbound_requests_per_peer: 4,
            request_rate: RateLimit { per_second: 50, burst: 200, excess: 10 },

            max_inbound_sessions: 64,
            max_inbound_sessions_per_peer: 4,
            max_session_message_bytes: 64 * 1024,
            session_timeout_ms: 10_000,
            stream_rate: RateLimit { per_second: 5, burst: 30, excess: 10 },
        }
    }
}

/// A token bucket for each peer, of messages or bytes. What comes above it is dropped and counted; a peer that sends
/// `excess` times as much is disconnected and refused for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// In the long run.
    pub per_second: u32,
    /// At once.
    pub burst: u32,
    /// How many times both a peer may reach before it is disconnected.
    pub excess: u32,
}
