//! Who gets a handshake and who a place: the decisions, without sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use libp2p::PeerId;
use libp2p::swarm::ConnectionId;

use crate::host::Host;
use crate::network::config::NetworkLimits;

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::network) enum Refused {
    #[error("too many connections from this host in a short time")]
    ArrivalRate,
    #[error("too many handshakes with this host are under way")]
    HandshakesOfHost,
    #[error("too many handshakes are under way")]
    Handshakes,
    #[error("the peer broke the rules and is refused for a while")]
    Banned,
    #[error("the peer's key is not admitted")]
    NotAdmitted,
    #[error("the peer has too many connections")]
    PlacesOfPeer,
    #[error("the host has too many connections")]
    PlacesOfHost,
    #[error("there are too many connections")]
    Places,
}

impl Refused {
    /// The label in the metrics.
    pub(in crate::network) const fn label(self) -> &'static str {
        match self {
            Self::ArrivalRate => "arrival_rate",
            Self::HandshakesOfHost => "handshakes_of_host",
            Self::Handshakes => "handshakes",
            Self::Banned => "banned",
            Self::NotAdmitted => "not_admitted",
            Self::PlacesOfPeer => "places_of_peer",
            Self::PlacesOfHost => "places_of_host",
            Self::Places => "places",
        }
    }
}

/// The handshakes and places in use. Authorities and the peers that the operator named have places of their own,
/// and handshakes with their hosts too: strangers cannot use them up.
#[derive(Debug)]
pub(in crate::network) struct Places {
    max_handshakes: usize,
    max_handshakes_of_host: usize,
    max_all: usize,
    max_of_host: usize,
    max_of_peer: usize,
    reserved: BTreeSet<PeerId>,
    reserved_hosts: BTreeSet<Host>,
    /// Inbound handshakes under way.
    handshakes: BTreeMap<ConnectionId, Option<Host>>,
    /// Own dials of others than the reserved peers, under way.
    dials: BTreeSet<ConnectionId>,
    /// Connections, in the order in which they were begun.
    taken: BTreeMap<ConnectionId, Place>,
    /// Gossip's opinion of peers; without one it is 0.
    scores: BTreeMap<PeerId, f64>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    peer: PeerId,
    host: Option<Host>,
}

/// Who has to go, so that another can come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::network) struct GivesWay {
    pub(in crate::network) peer: PeerId,
    pub(in crate::network) connection: ConnectionId,
}

impl Places {
    pub(in crate::network) fn new(limits: &NetworkLimits) -> Self {
        Self {
            max_handshakes: limits.max_pending_connections as usize,
            max_handshakes_of_host: limits.max_pending_connections_per_host as usize,
            max_all: limits.max_connections as usize,
            max_of_host: limits.max_connections_per_host as usize,
            max_of_peer: limits.max_connections_per_peer as usize,
            reserved: BTreeSet::new(),
            reserved_hosts: BTreeSet::new(),
            handshakes: BTreeMap::new(),
            dials: BTreeSet::new(),
            taken: BTreeMap::new(),
            scores: BTreeMap::new(),
        }
    }

    pub(in crate::network) fn reserve(&mut self, peers: BTreeSet<PeerId>, hosts: BTreeSet<Host>) {
        self.reserved = peers;
        self.reserved_hosts = hosts;
    }

    pub(in crate::network) fn is_reserved(&self, peer: &PeerId) -> bool {
        self.reserved.contains(peer)
    }

    pub(in crate::network) fn set_scores(&mut self, scores: BTreeMap<PeerId, f64>) {
        self.scores = scores;
    }

    /// Somebody has connected, who is known by address only. With a host of a reserved peer as many handshakes
    /// may be under way as with all strangers together.
    pub(in crate::network) fn knock(&mut self, id: ConnectionId, host: Option<Host>) -> Result<(), Refused> {
        let of_host = self.handshakes.values().filter(|other| **other == host).count();
        if host.is_some_and(|host| self.reserved_hosts.contains(&host)) {
            if of_host >= self.max_handshakes {
                return Err(Refused::HandshakesOfHost);
            }
        } else {
            let of_strangers = self.handshakes.values().filter(|other| !self.is_reserved_host(**other));
            if of_host >= self.max_handshakes_of_host {
                return Err(Refused::HandshakesOfHost);
            }
            if of_strangers.count() >= self.max_handshakes {
                return Err(Refused::Handshakes);
            }
        }
        self.handshakes.insert(id, host);
        Ok(())
    }

    /// This node dials somebody. Reserved peers always.
    pub(in crate::network) fn dial(&mut self, id: ConnectionId, peer: Option<PeerId>) -> Result<(), Refused> {
        if peer.is_some_and(|peer| self.is_reserved(&peer)) {
            return Ok(());
        }
        if self.dials.len() >= self.max_handshakes {
            return Err(Refused::Handshakes);
        }
        self.dials.insert(id);
        Ok(())
    }

    /// A handshake is over, well or not.
    pub(in crate::network) fn handshake_over(&mut self, id: ConnectionId) {
        self.handshakes.remove(&id);
        self.dials.remove(&id);
    }

    /// Whether an admitted peer may come in, and who has to go for it.
    pub(in crate::network) fn enter(
        &self,
        peer: &PeerId,
        host: Option<Host>,
    ) -> Result<Option<GivesWay>, Refused> {
        if self.is_reserved(peer) {
            return Ok(None);
        }
        let (mut of_all, mut of_peer, mut of_host) = (0, 0, 0);
        for (_, place) in self.shared() {
            of_all += 1;
            of_peer += usize::from(place.peer == *peer);
            of_host += usize::from(place.host == host && host.is_some());
        }
        if of_peer >= self.max_of_peer {
            return Err(Refused::PlacesOfPeer);
        }
        if of_host >= self.max_of_host {
            return Err(Refused::PlacesOfHost);
        }
        if of_all < self.max_all {
            return Ok(None);
        }
        self.gives_way(of_host).map(Some).ok_or(Refused::Places)
    }

    /// Who gives way to a newcomer whose host has so many places: a peer with a bad score; else one of the host
    /// with the most places, if it stays ahead of the newcomer's, so that the two do not take turns. Among those
    /// the one with the worst score, which a peer that nobody meshes with has, and the latest of several.
    fn gives_way(&self, of_host: usize) -> Option<GivesWay> {
        let mut by_host: BTreeMap<Option<Host>, usize> = BTreeMap::new();
        for (_, place) in self.shared() {
            *by_host.entry(place.host).or_default() += 1;
        }
        let most = by_host.values().copied().max().unwrap_or(0);
        let crowded = most.checked_sub(2).is_some_and(|rest| rest >= of_host);
        let score = |place: &Place| self.scores.get(&place.peer).copied().unwrap_or(0.0);
        self.shared()
            .filter(|(_, place)| {
                score(place) < 0.0 || crowded && by_host.get(&place.host).is_some_and(|count| *count == most)
            })
            .rev()
            .min_by(|(_, one), (_, other)| score(one).total_cmp(&score(other)))
            .map(|(connection, place)| GivesWay { peer: place.peer, connection: *connection })
    }

    /// The connection is there.
    pub(in crate::network) fn entered(&mut self, id: ConnectionId, peer: PeerId, host: Option<Host>) {
        self.handshake_over(id);
        self.taken.insert(id, Place { peer, host });
    }

    /// The connection has ended.
    pub(in crate::network) fn left(&mut self, id: ConnectionId) {
        self.taken.remove(&id);
    }

    /// Everybody with a place.
    pub(in crate::network) fn peers(&self) -> BTreeSet<PeerId> {
        self.taken.values().map(|place| place.peer).collect()
    }

    /// The places that are nobody's own.
    fn shared(&self) -> impl DoubleEndedIterator<Item = (&ConnectionId, &Place)> {
        self.taken.iter().filter(|(_, place)| !self.is_reserved(&place.peer))
    }

    fn is_reserved_host(&self, host: Option<Host>) -> bool {
        host.is_some_and(|host| self.reserved_hosts.contains(&host))
    }
}

/// Peers that broke the rules, and until when they are refused.
#[derive(Debug)]
pub(in crate::network) struct Bans {
    until: BTreeMap<PeerId, Instant>,
    max: usize,
}

impl Bans {
    pub(in crate::network) fn new(limits: &NetworkLimits) -> Self {
        Self { until: BTreeMap::new(), max: limits.max_known_peers.max(1) }
    }

    /// Says whether the peer was not refused already. When there are too many, the one that ends first is lifted.
    pub(in crate::network) fn add(&mut self, peer: PeerId, until: Instant) -> bool {
        if self.until.len() >= self.max && !self.until.contains_key(&peer) {
            let soonest = self.until.iter().min_by_key(|(_, until)| **until).map(|(peer, _)| *peer);
            soonest.map(|peer| self.until.remove(&peer));
        }
        self.until.insert(peer, until).is_none()
    }

    pub(in crate::network) fn holds(&self, peer: &PeerId, now: Instant) -> bool {
        self.until.get(peer).is_some_and(|until| *until > now)
    }

    pub(in crate::network) fn lift_due(&mut self, now: Instant) {
        self.until.retain(|_, until| *until > now);
    }
}
