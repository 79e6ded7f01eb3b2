//! What the network tells the node.

use evchain_protocol::crypto::PublicKey;
use libp2p::gossipsub::MessageId;
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::protocols::Topic;
use super::session::SessionStream;
use super::sync::{ByteBudget, Reservation};

/// Something that happened on the network.
#[derive(Debug)]
pub enum NetworkEvent {
    /// A frame from a current authority.
    ConsensusMessage {
        /// The authority: the authenticated key of the connection.
        from: PublicKey,
        /// The frame's content, at most `max_consensus_frame_bytes`.
        bytes: Vec<u8>,
        /// To be kept as long as the content is.
        share: FrameShare,
    },
    /// A gossip message that waits for a [`Verdict`] and is forwarded after it only.
    Gossip(GossipMessage),
    /// A request for catching up.
    SyncRequest {
        /// Who asks.
        from: PublicKey,
        /// The request, at most `max_request_bytes`.
        bytes: Vec<u8>,
        /// Where the response goes. Dropping it tells the peer that this node is busy.
        responder: SyncResponder,
    },
    /// A peer opened a session.
    Session(SessionStream),
    /// The first connection to a peer was established.
    PeerConnected {
        /// The peer's authenticated key.
        peer: PublicKey,
        /// Its address as seen from here.
        address: Multiaddr,
    },
    /// The last connection to a peer has ended.
    PeerDisconnected {
        /// The peer.
        peer: PublicKey,
    },
    /// An authority has said where it can be reached. Who gives the record to
    /// [`NetworkHandle::learn_address`](super::NetworkHandle::learn_address) after a restart finds it again.
    AddressAnnounced {
        /// The authority that signed it.
        authority: PublicKey,
        /// The signed record, of at most 1 KiB.
        record: Vec<u8>,
    },
    /// The node listens on this address, which ends in its own `/p2p/` part.
    Listening(Multiaddr),
}

/// A received gossip message.
#[derive(Debug)]
pub struct GossipMessage {
    /// What it is about.
    pub topic: Topic,
    /// What it carries: encoded transactions, or one encoded finalization. Never empty.
    pub items: Vec<Vec<u8>>,
    /// Who passed it on to this node (not necessarily its author).
    pub from: PublicKey,
    /// To be given back with the verdict.
    pub id: GossipId,
    /// Its share of the bytes that may wait for the node.
    pub(super) _share: OwnedSemaphorePermit,
}

/// Names a received gossip message and the peer whose score depends on it.
#[derive(Debug, Clone)]
pub struct GossipId {
    pub(super) message: MessageId,
    pub(super) source: PeerId,
}

/// What the node thinks of a gossip message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Valid: pass it on.
    Accept,
    /// Invalid, which the one who passed it on should have seen: do not pass it on, lower its score.
    Reject,
    /// Not worth passing on (stale, known, the pool is full), and nobody's fault.
    Ignore,
}

/// Where the response to a request goes.
#[derive(Debug)]
pub struct SyncResponder {
    answer: oneshot::Sender<SyncAnswer>,
    budget: ByteBudget,
    max_response_bytes: usize,
    reserved: Option<Reservation>,
}

/// A response, with the bytes set aside for it.
#[derive(Debug)]
pub(super) struct SyncAnswer {
    pub(super) bytes: Vec<u8>,
    pub(super) reserved: Reservation,
}

impl SyncResponder {
    pub(super) fn new(
        answer: oneshot::Sender<SyncAnswer>,
        budget: ByteBudget,
        max_response_bytes: usize,
    ) -> Self {
        Self { answer, budget, max_response_bytes, reserved: None }
    }

    /// Sets the bytes of the largest response aside. To be called before a response is made: where it gives
    /// false the peer, its host or all together hold too much, and the peer is to be told that this node is
    /// busy.
    pub fn reserve(&mut self) -> bool {
        if self.reserved.is_none() {
            self.reserved = self.budget.reserve(self.max_response_bytes);
        }
        self.reserved.is_some()
    }

    /// Whether the peer still waits.
    pub fn is_wanted(&self) -> bool {
        !self.answer.is_closed()
    }

    /// Sends the response. One of more than `max_response_bytes`, or for which no bytes are left, is not sent,
    /// and the peer is told that this node is busy.
    pub fn respond(self, bytes: Vec<u8>) {
        let reserved = match self.reserved {
            Some(mut reserved) => {
                reserved.shrink(bytes.len());
                Some(reserved)
            }
            None => self.budget.reserve(bytes.len()),
        };
        if let Some(reserved) = reserved {
            // The receiver is gone when the network has stopped: then nobody waits for a response.
            let _ = self.answer.send(SyncAnswer { bytes, reserved });
        }
    }
}

/// A consensus frame's share of the bytes that may wait for the node.
#[derive(Debug)]
pub struct FrameShare {
    _permit: OwnedSemaphorePermit,
}

/// The events for the node, from bounded queues of their own, so that no kind crowds out another.
///
/// What happens when the node does not take them:
/// - consensus frames: the streams are no longer read, which holds the senders back;
/// - sync requests and sessions: more are refused;
/// - gossip: messages are ignored (not forwarded) and counted;
/// - the rest (connected, disconnected, listening): dropped and counted. The state can always be
///   asked for: [`NetworkHandle::connected_peers`](super::NetworkHandle::connected_peers),
///   [`NetworkHandle::listen_addresses`](super::NetworkHandle::listen_addresses).
#[derive(Debug)]
pub struct NetworkEvents {
    pub(super) consensus: mpsc::Receiver<ConsensusFrame>,
    pub(super) requests: mpsc::Receiver<NetworkEvent>,
    pub(super) sessions: mpsc::Receiver<SessionStream>,
    pub(super) status: mpsc::Receiver<NetworkEvent>,
    pub(super) gossip: mpsc::Receiver<GossipMessage>,
}

impl NetworkEvents {
    /// The next event, consensus first; `None` once the network has stopped. Cancel safe.
    pub async fn recv(&mut self) -> Option<NetworkEvent> {
        tokio::select! {
            biased;
            Some(frame) = self.consensus.recv() => Some(frame.into_event()),
            Some(event) = self.status.recv() => Some(event),
            Some(event) = self.requests.recv() => Some(event),
            Some(session) = self.sessions.recv() => Some(NetworkEvent::Session(session)),
            Some(message) = self.gossip.recv() => Some(NetworkEvent::Gossip(message)),
            else => None,
        }
    }

    /// Takes the consensus frames out, so that nothing else waits while they are held back; the events go on
    /// without them.
    pub fn take_frames(&mut self) -> ConsensusFrames {
        let (_, none) = mpsc::channel(1);
        ConsensusFrames(std::mem::replace(&mut self.consensus, none))
    }
}

/// The frames of the authorities.
#[derive(Debug)]
pub struct ConsensusFrames(mpsc::Receiver<ConsensusFrame>);

impl ConsensusFrames {
    /// The next frame; `None` once the network has stopped. Cancel safe.
    pub async fn recv(&mut self) -> Option<ConsensusFrame> {
        self.0.recv().await
    }
}

/// A consensus frame with its share of the receive queue's bytes.
#[derive(Debug)]
pub struct ConsensusFrame {
    /// The authority: the authenticated key of the connection.
    pub from: PublicKey,
    /// The frame's content, at most `max_consensus_frame_bytes`.
    pub bytes: Vec<u8>,
    /// To be kept as long as the content is.
    pub share: FrameShare,
}

impl ConsensusFrame {
    pub(super) const fn new(from: PublicKey, bytes: Vec<u8>, share: OwnedSemaphorePermit) -> Self {
        Self { from, bytes, share: FrameShare { _permit: share } }
    }

    fn into_event(self) -> NetworkEvent {
        NetworkEvent::ConsensusMessage { from: self.from, bytes: self.bytes, share: self.share }
    }
}

/// The sending ends of [`NetworkEvents`].
#[derive(Debug, Clone)]
pub(super) struct EventSenders {
    pub(super) consensus: mpsc::Sender<ConsensusFrame>,
    pub(super) requests: mpsc::Sender<NetworkEvent>,
    pub(super) sessions: mpsc::Sender<SessionStream>,
    pub(super) status: mpsc::Sender<NetworkEvent>,
    pub(super) gossip: mpsc::Sender<GossipMessage>,
}
