//! The node's peer-to-peer layer: one task owns the libp2p swarm, everybody else talks to it by
//! messages. `docs/network.md` describes the wire, the limits and the scoring.

mod announcement;
mod arrivals;
mod authority_links;
mod behaviour;
mod config;
mod connect;
mod door;
mod endpoint;
mod error;
mod event;
mod frame;
#[doc(hidden)]
pub mod fuzzing;
mod gossip;
mod gossip_health;
mod guests;
mod handle;
mod identity;
mod limits;
mod listen;
mod members;
mod metrics;
mod offences;
mod peers;
mod protocols;
mod session;
mod stall;
mod start;
mod status;
mod swarm;
mod sync;

#[cfg(test)]
mod tests;

pub use config::{Admission, NetworkConfig, NetworkLimits, RateLimit};
pub use endpoint::SessionEndpoint;
pub use error::{RequestError, SendError, SessionError, StartError};
pub use event::{
    ConsensusFrame, ConsensusFrames, FrameShare, GossipId, GossipMessage, NetworkEvent, NetworkEvents,
    SyncResponder, Verdict,
};
pub use guests::{GuestKeys, Guests, StrangerLimits};
pub use handle::{NetworkHandle, PeerInfo};
pub use identity::{NotAnEd25519Peer, key_of_peer, peer_of_key};
pub use libp2p::{Multiaddr, PeerId};
pub use members::Members;
pub use metrics::NetworkMetrics;
pub use peers::key_in;
pub use protocols::{Service, Topic};
pub use session::SessionStream;
pub use start::start;
pub use status::NetworkStatus;
