//! Waiting for a connection to a peer, for those who want to open a session.

use std::collections::BTreeMap;

use evchain_protocol::crypto::PublicKey;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError, NetworkBehaviour, Swarm};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::oneshot;

use super::error::SessionError;
use super::identity::peer_of_key;

/// Dials that somebody waits for, at the same time.
const MAX_WAITING: usize = 128;

/// Addresses of one peer that are tried.
const MAX_ADDRESSES: usize = 8;

/// Asks for a connection to a peer.
pub(super) struct ConnectRequest {
    peer: PeerId,
    addresses: Vec<Multiaddr>,
    reply: oneshot::Sender<Result<(), SessionError>>,
}

impl ConnectRequest {
    /// The request, and where its outcome arrives.
    pub(super) fn new(
        peer: &PublicKey,
        mut addresses: Vec<Multiaddr>,
    ) -> Result<(Self, oneshot::Receiver<Result<(), SessionError>>), SessionError> {
        let peer = peer_of_key(peer).map_err(|_| SessionError::UnusableKey)?;
        addresses.truncate(MAX_ADDRESSES);
        let (reply, outcome) = oneshot::channel();
        Ok((Self { peer, addresses, reply }, outcome))
    }
}

/// The requests whose dials are under way.
#[derive(Default)]
pub(super) struct Connecting {
    waiting: BTreeMap<ConnectionId, (PeerId, oneshot::Sender<Result<(), SessionError>>)>,
}

impl Connecting {
    /// Dials, unless there is a connection.
    pub(super) fn connect<B: NetworkBehaviour>(&mut self, swarm: &mut Swarm<B>, request: ConnectRequest) {
        let ConnectRequest { peer, addresses, reply } = request;
        if swarm.is_connected(&peer) {
            answer(reply, Ok(()));
            return;
        }
        if self.waiting.len() >= MAX_WAITING {
            answer(reply, Err(SessionError::Unreachable("too many dials are under way".to_owned())));
            return;
        }
        let dial =
            DialOpts::peer_id(peer).condition(PeerCondition::Disconnected).addresses(addresses).build();
        let connection = dial.connection_id();
        match swarm.dial(dial) {
            Ok(()) => drop(self.waiting.insert(connection, (peer, reply))),
            Err(error) => answer(reply, Err(SessionError::Unreachable(error.to_string()))),
        }
    }

    /// A connection to the peer is there, whoever dialed.
    pub(super) fn connected(&mut self, peer: &PeerId) {
        let ready: Vec<ConnectionId> =
            self.waiting.iter().filter(|(_, (wanted, _))| wanted == peer).map(|(id, _)| *id).collect();
        for id in ready {
            if let Some((_, reply)) = self.waiting.remove(&id) {
                answer(reply, Ok(()));
            }
        }
    }

    /// A dial has failed.
    pub(super) fn failed(&mut self, connection: ConnectionId, error: &DialError) {
        if let Some((_, reply)) = self.waiting.remove(&connection) {
            answer(reply, Err(SessionError::Unreachable(error.to_string())));
        }
    }
}

fn answer(reply: oneshot::Sender<Result<(), SessionError>>, outcome: Result<(), SessionError>) {
    // Who asked may have given up.
    let _ = reply.send(outcome);
}
