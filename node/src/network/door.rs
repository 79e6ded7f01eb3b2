//! The door: who may connect, how many at a time, how often, and who gives way.
//!
//! All limits on connections are here, since they need each other: which peers have places of their own decides
//! what counts towards the limits of the others.

pub(super) mod places;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use evchain_protocol::crypto::PublicKey;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};

use super::config::{Admission, NetworkLimits};
use super::identity::key_of_peer;
use super::limits::{Admit, Rates};
use super::members::Members;
use super::metrics::NetworkMetrics;
use crate::host::Host;
pub(super) use places::Refused;
use places::{Bans, GivesWay, Places};

/// At most one line about refused keys in this time: strangers do not fill the log.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Keeps the door.
pub(super) struct Door {
    admission: Admission,
    members: Members,
    /// Keys that the operator admits beside the members.
    listed: BTreeSet<PublicKey>,
    arrivals: Rates<Host>,
    places: Places,
    bans: Bans,
    /// Connections that are to be closed.
    leaving: VecDeque<(PeerId, CloseConnection)>,
    told_at: Option<Instant>,
    metrics: NetworkMetrics,
}

impl Door {
    pub(super) fn new(
        admission: Admission,
        members: Members,
        listed: BTreeSet<PublicKey>,
        limits: &NetworkLimits,
        metrics: NetworkMetrics,
    ) -> Self {
        Self {
            admission,
            members,
            listed,
            arrivals: Rates::new(limits.arrival_rate),
            places: Places::new(limits),
            bans: Bans::new(limits),
            leaving: VecDeque::new(),
            told_at: None,
            metrics,
        }
    }

    /// Sets whose places are their own, and at which hosts those peers are.
    pub(super) fn reserve(&mut self, peers: BTreeSet<PeerId>, hosts: BTreeSet<Host>) {
        self.places.reserve(peers, hosts);
    }

    /// Sets the operator's list.
    pub(super) fn set_listed(&mut self, listed: BTreeSet<PublicKey>) {
        self.listed = listed;
    }

    /// Sets what gossip thinks of the peers.
    pub(super) fn set_scores(&mut self, scores: BTreeMap<PeerId, f64>) {
        self.places.set_scores(scores);
    }

    /// Disconnects who is admitted no longer. The chain goes on and says nothing to the network, so somebody has
    /// to look now and then. Whoever calls this polls the swarm afterwards.
    pub(super) fn look_again(&mut self) {
        for peer in self.places.peers() {
            if !self.is_admitted(&peer) {
                tracing::info!(peer = %name(&peer), "disconnecting a peer whose key is admitted no longer");
                self.metrics.refused(Refused::NotAdmitted.label());
                self.leaving.push_back((peer, CloseConnection::All));
            }
        }
    }

    /// Disconnects a peer and refuses it until then. Says whether it was not refused already.
    pub(super) fn ban(&mut self, peer: PeerId, until: Instant) -> bool {
        self.leaving.push_back((peer, CloseConnection::All));
        self.bans.add(peer, until)
    }

    pub(super) fn lift_bans_due(&mut self, now: Instant) {
        self.bans.lift_due(now);
    }

    fn is_admitted(&self, peer: &PeerId) -> bool {
        let is_known = |key| self.listed.contains(&key) || self.members.contains(&key);
        match self.admission {
            _ if self.places.is_reserved(peer) => true,
            // Without a key of the chain's kind nobody has business here.
            Admission::Open => key_of_peer(peer).is_ok(),
            Admission::Members => key_of_peer(peer).is_ok_and(is_known),
        }
    }

    fn knock(&mut self, id: ConnectionId, remote: &Multiaddr) -> Result<(), Refused> {
        let host = Host::of(remote);
        if let Some(host) = host
            && self.arrivals.admit(&host, Instant::now()) != Admit::Yes
        {
            return Err(Refused::ArrivalRate);
        }
        self.places.knock(id, host)
    }

    fn enter(&mut self, peer: &PeerId, remote: &Multiaddr) -> Result<(), Refused> {
        if self.bans.holds(peer, Instant::now()) {
            return Err(Refused::Banned);
        }
        if !self.is_admitted(peer) {
            self.tell_not_admitted(peer, remote);
            return Err(Refused::NotAdmitted);
        }
        if let Some(GivesWay { peer, connection }) = self.places.enter(peer, Host::of(remote))? {
            tracing::debug!(%peer, "all places are taken: this one gives way");
            self.metrics.refused("gave_way");
            // It counts no longer, so that the next newcomer does not make another one go for this place.
            self.places.left(connection);
            self.leaving.push_back((peer, CloseConnection::One(connection)));
        }
        Ok(())
    }

    fn deny(&self, refused: Refused) -> ConnectionDenied {
        self.metrics.refused(refused.label());
        ConnectionDenied::new(refused)
    }

    fn tell_not_admitted(&mut self, peer: &PeerId, address: &Multiaddr) {
        let now = Instant::now();
        if self.told_at.is_some_and(|told| now.saturating_duration_since(told) < LINE_EVERY) {
            return;
        }
        self.told_at = Some(now);
        tracing::info!(
            key = %name(peer), %address,
            "refusing a peer whose key the chain has not admitted: an authority can admit it (evchain tx admit KEY --roles auditor), \
             this node can list it (--allow, --allow-file), or let in anybody (--open)"
        );
    }
}

/// The peer's key as operators write it.
fn name(peer: &PeerId) -> String {
    key_of_peer(peer).map_or_else(|_| peer.to_string(), |key| key.to_string())
}

impl NetworkBehaviour for Door {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.knock(id, remote).map_err(|refused| self.deny(refused))
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.places.handshake_over(id);
        self.enter(&peer, remote).map_err(|refused| self.deny(refused))?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if peer.is_some_and(|peer| self.bans.holds(&peer, Instant::now())) {
            return Err(self.deny(Refused::Banned));
        }
        self.places.dial(id, peer).map_err(|refused| self.deny(refused))?;
        Ok(Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        remote: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.places.handshake_over(id);
        self.enter(&peer, remote).map_err(|refused| self.deny(refused))?;
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(made) => {
                let host = Host::of(made.endpoint.get_remote_address());
                self.places.entered(made.connection_id, made.peer_id, host);
            }
            FromSwarm::ConnectionClosed(closed) => self.places.left(closed.connection_id),
            FromSwarm::DialFailure(failure) => self.places.handshake_over(failure.connection_id),
            FromSwarm::ListenFailure(failure) => self.places.handshake_over(failure.connection_id),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        match self.leaving.pop_front() {
            Some((peer_id, connection)) => Poll::Ready(ToSwarm::CloseConnection { peer_id, connection }),
            None => Poll::Pending,
        }
    }
}
