//! How the node talks to the network.

use std::collections::BTreeSet;
use std::sync::Arc;

use evchain_protocol::crypto::PublicKey;
use libp2p::Multiaddr;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

use super::authority_links::LinkTable;
use super::config::NetworkLimits;
use super::connect::ConnectRequest;
use super::error::{RequestError, SendError, SessionError};
use super::event::{GossipId, Verdict};
use super::metrics::NetworkMetrics;
use super::protocols::Topic;
use super::session::{SessionOpener, SessionStream};
use super::status::NetworkStatus;

/// Commands and own gossip that wait for the network's task, each.
pub(super) const COMMAND_QUEUE: usize = 4_096;

/// Bytes of own gossip that wait for the network's task.
pub(super) const PUBLISH_QUEUE_BYTES: usize = 8 * 1024 * 1024;

/// Talks to the network's task. Clones are cheap; when the last one is gone, the network stops.
#[derive(Clone)]
pub struct NetworkHandle {
    pub(super) local_key: PublicKey,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) links: watch::Receiver<LinkTable>,
    pub(super) sessions: SessionOpener,
    pub(super) status: watch::Receiver<NetworkStatus>,
    /// Bytes of own gossip that may still wait for the network's task.
    pub(super) publish_budget: Arc<Semaphore>,
    pub(super) limits: Arc<NetworkLimits>,
    pub(super) metrics: NetworkMetrics,
}

/// A connected peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInfo {
    /// Its authenticated key.
    pub key: PublicKey,
    /// Its address as seen from here, of the newest connection.
    pub address: Multiaddr,
    /// Whether it is a current authority.
    pub is_authority: bool,
    /// What it calls its software, once it has said so; not to be trusted.
    pub agent: Option<String>,
}

/// What the handle asks of the network's task.
pub(super) enum Command {
    SetAuthorities { authorities: Vec<PublicKey>, done: oneshot::Sender<()> },
    Publish { topic: Topic, item: Vec<u8>, _share: OwnedSemaphorePermit },
    Judge { id: GossipId, verdict: Verdict },
    Request { peer: PublicKey, bytes: Vec<u8>, reply: oneshot::Sender<Result<Vec<u8>, RequestError>> },
    Connect(ConnectRequest),
    LearnAddress(Vec<u8>),
    SetListed(BTreeSet<PublicKey>),
    Ban { peer: PublicKey, reason: &'static str },
    ConnectedPeers(oneshot::Sender<Vec<PeerInfo>>),
    ListenAddresses(oneshot::Sender<Vec<Multiaddr>>),
    Shutdown(oneshot::Sender<()>),
}

impl NetworkHandle {
    /// The node's own key.
    pub fn local_key(&self) -> PublicKey {
        self.local_key
    }

    /// How well the node is connected; answers at once.
    pub fn status(&self) -> NetworkStatus {
        *self.status.borrow()
    }

    /// Sets whose consensus frames are accepted, and to whom frames can be sent. Around an
    /// epoch's boundary the union of both sets may be given. When the own key is in the set, a
    /// stream is kept open to every other authority; else (an observer) to none. Returns when the
    /// new set is in force.
    ///
    /// # Errors
    /// [`SendError::Stopped`].
    pub async fn set_authorities(&self, authorities: Vec<PublicKey>) -> Result<(), SendError> {
        let (done, is_done) = oneshot::channel();
        let command = Command::SetAuthorities { authorities, done };
        self.commands.send(command).await.map_err(|_| SendError::Stopped)?;
        is_done.await.map_err(|_| SendError::Stopped)
    }

    /// Queues a consensus frame for one authority and returns at once. Frames to one authority
    /// arrive in order; the oldest are lost when the queue is full or the connection breaks.
    ///
    /// # Errors
    /// [`SendError::TooLarge`], [`SendError::NotAnAuthority`], [`SendError::QueueFull`].
    pub fn send_to_authority(&self, to: &PublicKey, bytes: Arc<[u8]>) -> Result<(), SendError> {
        check_len(bytes.len(), self.limits.max_consensus_frame_bytes)?;
        let links = self.links.borrow();
        let link = links.get(to).ok_or(SendError::NotAnAuthority)?;
        link.try_send(bytes).map_err(|_| self.queue_full("consensus_link_full"))
    }

    /// Queues a consensus frame for every other authority and returns at once. A full queue to
    /// one of them is counted and holds up nobody else.
    ///
    /// # Errors
    /// [`SendError::TooLarge`].
    pub fn broadcast_to_authorities(&self, bytes: &Arc<[u8]>) -> Result<(), SendError> {
        check_len(bytes.len(), self.limits.max_consensus_frame_bytes)?;
        for link in self.links.borrow().values() {
            if link.try_send(Arc::clone(bytes)).is_err() {
                self.queue_full("consensus_link_full");
            }
        }
        Ok(())
    }

    /// Gossips an encoded transaction, together with others that come within a few milliseconds.
    ///
    /// # Errors
    /// [`SendError::TooLarge`], [`SendError::QueueFull`], [`SendError::Stopped`].
    pub fn publish_transaction(&self, bytes: Vec<u8>) -> Result<(), SendError> {
        self.publish(Topic::Transactions, bytes)
    }

    /// Gossips an encoded finalization certificate, at once.
    ///
    /// # Errors
    /// [`SendError::TooLarge`], [`SendError::QueueFull`], [`SendError::Stopped`].
    pub fn publish_finalization(&self, bytes: Vec<u8>) -> Result<(), SendError> {
        self.publish(Topic::Finalizations, bytes)
    }

    /// Says what a gossip message is worth. Without a verdict it is not forwarded.
    ///
    /// # Errors
    /// [`SendError::QueueFull`], [`SendError::Stopped`].
    pub fn judge(&self, id: GossipId, verdict: Verdict) -> Result<(), SendError> {
        self.try_command(Command::Judge { id, verdict }, "verdict_queue")
    }

    /// Asks a connected peer and waits for its response.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn request(&self, peer: PublicKey, bytes: Vec<u8>) -> Result<Vec<u8>, RequestError> {
        let max = self.limits.max_request_bytes;
        if bytes.len() > max {
            return Err(RequestError::TooLarge { len: bytes.len(), max });
        }
        let (reply, response) = oneshot::channel();
        let command = Command::Request { peer, bytes, reply };
        self.commands.send(command).await.map_err(|_| RequestError::Stopped)?;
        response.await.map_err(|_| RequestError::Stopped)?
    }

    /// Opens a session with a peer, at these addresses if it is not connected yet, and waits
    /// until the peer has accepted it.
    ///
    /// # Errors
    /// See [`SessionError`].
    pub async fn open_session(
        &self,
        peer: PublicKey,
        addresses: Vec<Multiaddr>,
    ) -> Result<SessionStream, SessionError> {
        let (request, connected) = ConnectRequest::new(&peer, addresses)?;
        self.commands.send(Command::Connect(request)).await.map_err(|_| SessionError::Stopped)?;
        connected.await.map_err(|_| SessionError::Stopped)??;
        self.sessions.open(peer).await
    }

    /// Dials a peer, once, if it is not connected.
    ///
    /// # Errors
    /// [`SessionError::UnusableKey`], [`SessionError::Unreachable`], [`SessionError::Stopped`].
    pub async fn connect(&self, peer: PublicKey, addresses: Vec<Multiaddr>) -> Result<(), SessionError> {
        let (request, connected) = ConnectRequest::new(&peer, addresses)?;
        self.commands.send(Command::Connect(request)).await.map_err(|_| SessionError::Stopped)?;
        connected.await.map_err(|_| SessionError::Stopped)?
    }

    /// Takes a record of [`NetworkEvent::AddressAnnounced`](super::NetworkEvent::AddressAnnounced) that
    /// the node kept, if its author is an authority.
    ///
    /// # Errors
    /// [`SendError::QueueFull`], [`SendError::Stopped`].
    pub fn learn_address(&self, record: Vec<u8>) -> Result<(), SendError> {
        self.try_command(Command::LearnAddress(record), "address_queue")
    }

    /// Sets which keys may connect besides the chain's members, in place of those set before, and disconnects
    /// those who may no longer.
    ///
    /// # Errors
    /// [`SendError::Stopped`].
    pub async fn set_listed(&self, keys: BTreeSet<PublicKey>) -> Result<(), SendError> {
        self.commands.send(Command::SetListed(keys)).await.map_err(|_| SendError::Stopped)
    }

    /// Disconnects a peer that was found out to break the rules, and refuses it for a while: `ban_ms`, twice as
    /// long with each offence, at most `ban_max_ms`. The reason is its label in the metrics.
    ///
    /// # Errors
    /// [`SendError::QueueFull`], [`SendError::Stopped`].
    pub fn ban(&self, peer: PublicKey, reason: &'static str) -> Result<(), SendError> {
        self.metrics.found_fault(reason);
        self.try_command(Command::Ban { peer, reason }, "ban_queue")
    }

    /// Counts something of a peer's that the node dropped, by reason.
    pub fn count_drop(&self, reason: &'static str) {
        self.metrics.dropped(reason);
    }

    /// The peers with at least one connection.
    ///
    /// # Errors
    /// [`SendError::Stopped`].
    pub async fn connected_peers(&self) -> Result<Vec<PeerInfo>, SendError> {
        let (reply, peers) = oneshot::channel();
        self.commands.send(Command::ConnectedPeers(reply)).await.map_err(|_| SendError::Stopped)?;
        peers.await.map_err(|_| SendError::Stopped)
    }

    /// The addresses on which the node listens, each ending in its own `/p2p/` part.
    ///
    /// # Errors
    /// [`SendError::Stopped`].
    pub async fn listen_addresses(&self) -> Result<Vec<Multiaddr>, SendError> {
        let (reply, addresses) = oneshot::channel();
        self.commands.send(Command::ListenAddresses(reply)).await.map_err(|_| SendError::Stopped)?;
        addresses.await.map_err(|_| SendError::Stopped)
    }

    /// Stops the network: its listeners and connections are closed when this returns.
    pub async fn shutdown(&self) {
        let (done, is_done) = oneshot::channel();
        if self.commands.send(Command::Shutdown(done)).await.is_ok() {
            // An error means that the task has ended, which is what was asked for.
            let _ = is_done.await;
        }
    }

    fn publish(&self, topic: Topic, item: Vec<u8>) -> Result<(), SendError> {
        check_len(item.len(), super::gossip::max_item_len(&self.limits))?;
        let bytes = u32::try_from(item.len()).unwrap_or(u32::MAX);
        let share = Arc::clone(&self.publish_budget).try_acquire_many_owned(bytes);
        let share = share.map_err(|_| self.queue_full("publish_queue"))?;
        self.try_command(Command::Publish { topic, item, _share: share }, "publish_queue")
    }

    fn try_command(&self, command: Command, queue: &'static str) -> Result<(), SendError> {
        self.commands.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => self.queue_full(queue),
            mpsc::error::TrySendError::Closed(_) => SendError::Stopped,
        })
    }

    fn queue_full(&self, queue: &'static str) -> SendError {
        self.metrics.dropped(queue);
        SendError::QueueFull
    }
}

fn check_len(len: usize, max: usize) -> Result<(), SendError> {
    if len > max { Err(SendError::TooLarge { len, max }) } else { Ok(()) }
}
