//! Room for those whom an endpoint's owner expects, which strangers cannot take however many connections they hold.
//!
//! Keys are free, so a limit for each key keeps nobody out. The owner says which keys it expects (it knows from
//! the chain who has paid). Everybody else shares a room of its own, of which no host holds more than its part.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use evchain_protocol::crypto::PublicKey;
use libp2p::core::transport::PortUse;
use libp2p::core::{ConnectedPoint, Endpoint};
use libp2p::swarm::{
    CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::identity::key_of_peer;
use crate::host::Host;

/// How often strangers that have stayed too long are looked for.
const TICK: Duration = Duration::from_secs(1);

/// The keys that an endpoint keeps room for.
pub type GuestKeys = Arc<BTreeSet<PublicKey>>;

/// Whom an endpoint keeps room for, and what it leaves to others.
#[derive(Debug, Clone)]
pub struct Guests {
    /// Who is expected, as of now.
    pub keys: watch::Receiver<GuestKeys>,
    /// What is left to all other keys.
    pub strangers: StrangerLimits,
}

impl Guests {
    /// Whether this key is expected.
    pub fn expects(&self, key: &PublicKey) -> bool {
        self.keys.borrow().contains(key)
    }
}

/// The room that all keys which an endpoint does not expect have together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StrangerLimits {
    /// Their connections. Above, the oldest one of the host that has the most gives way.
    pub connections: usize,
    /// How long one of their connections stays.
    pub stay: Duration,
    /// Their sessions, one for each key; more are refused, by `session.rs`.
    pub sessions: usize,
    /// Handshakes under way with one host. Before a handshake has ended nobody knows with whom it is.
    pub handshakes_of_host: usize,
}

/// Closes connections of strangers where there are too many, and those that have stayed too long.
pub(super) struct Rooms {
    guests: Guests,
    /// Inbound connections in all.
    max_connections: usize,
    /// The host of each; none where its address is no IP address, which TCP listeners don't report.
    handshakes: BTreeMap<ConnectionId, Option<Host>>,
    /// The inbound connections, in the order of their arrival.
    connections: BTreeMap<ConnectionId, Visitor>,
    closing: VecDeque<(PeerId, ConnectionId)>,
    tick: Interval,
}

#[derive(Debug, Clone, Copy)]
struct Visitor {
    peer: PeerId,
    key: PublicKey,
    host: Option<Host>,
    since: Instant,
}

/// A host has too many handshakes under way.
#[derive(Debug, thiserror::Error)]
#[error("too many handshakes with this host are under way")]
struct TooManyHandshakes;

impl Rooms {
    pub(super) fn new(guests: Guests, max_connections: usize) -> Self {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            guests,
            max_connections,
            handshakes: BTreeMap::new(),
            connections: BTreeMap::new(),
            closing: VecDeque::new(),
            tick,
        }
    }

    fn arrived(&mut self, connection: ConnectionId, peer: PeerId, address: &Multiaddr) {
        // The peer's id was made from an Ed25519 key, or its streams are refused.
        let Ok(key) = key_of_peer(&peer) else { return self.closing.push_back((peer, connection)) };
        let visitor = Visitor { peer, key, host: Host::of(address), since: Instant::now() };
        self.connections.insert(connection, visitor);
        while let Some(connection) = self.who_gives_way() {
            self.close(connection);
        }
    }

    /// Which connection has to go, if there are too many: a stranger's while there is one. A host that has many
    /// loses its own first.
    fn who_gives_way(&self) -> Option<ConnectionId> {
        let expected = self.guests.keys.borrow();
        let (guests, strangers): (Vec<_>, Vec<_>) =
            self.connections.iter().partition(|(_, visitor)| expected.contains(&visitor.key));
        let is_full = self.connections.len() > self.max_connections;
        if strangers.len() > self.guests.strangers.connections || (is_full && !strangers.is_empty()) {
            let most = oldest_of_most(strangers.iter().map(|(id, visitor)| (visitor.host, **id)));
            return most.map(|(_, oldest)| oldest);
        }
        if !is_full {
            return None;
        }
        // All are expected: who has several loses the oldest, or else there is no room for the newest, who has just come.
        match oldest_of_most(guests.iter().map(|(id, visitor)| (visitor.key, **id))) {
            Some((2.., oldest)) => Some(oldest),
            _ => self.connections.last_key_value().map(|(newest, _)| *newest),
        }
    }

    fn close(&mut self, connection: ConnectionId) {
        if let Some(visitor) = self.connections.remove(&connection) {
            tracing::debug!(key = %visitor.key, "a connection has to give way, or its time is over");
            self.closing.push_back((visitor.peer, connection));
        }
    }

    fn close_who_overstayed(&mut self) {
        let (expected, stay) = (self.guests.keys.borrow().clone(), self.guests.strangers.stay);
        let is_over = |it: &Visitor| !expected.contains(&it.key) && it.since.elapsed() > stay;
        let over: Vec<_> = self.connections.iter().filter(|(_, it)| is_over(it)).map(|(id, _)| *id).collect();
        for connection in over {
            self.close(connection);
        }
    }
}

/// How many connections those have who have the most, and the oldest one of them.
fn oldest_of_most<O: Ord>(
    connections: impl Iterator<Item = (O, ConnectionId)>,
) -> Option<(usize, ConnectionId)> {
    let mut of: BTreeMap<O, (usize, ConnectionId)> = BTreeMap::new();
    for (owner, connection) in connections {
        let (count, oldest) = of.entry(owner).or_insert((0, connection));
        (*count, *oldest) = (*count + 1, (*oldest).min(connection));
    }
    of.into_values().max_by_key(|(count, oldest)| (*count, Reverse(*oldest)))
}

impl NetworkBehaviour for Rooms {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let host = Host::of(remote);
        let under_way = self.handshakes.values().filter(|other| **other == host).count();
        if under_way >= self.guests.strangers.handshakes_of_host {
            return Err(ConnectionDenied::new(TooManyHandshakes));
        }
        self.handshakes.insert(connection, host);
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(it) => {
                self.handshakes.remove(&it.connection_id);
                if let ConnectedPoint::Listener { send_back_addr, .. } = it.endpoint {
                    self.arrived(it.connection_id, it.peer_id, send_back_addr);
                }
            }
            FromSwarm::ListenFailure(it) => drop(self.handshakes.remove(&it.connection_id)),
            FromSwarm::ConnectionClosed(it) => drop(self.connections.remove(&it.connection_id)),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        while self.tick.poll_tick(cx).is_ready() {
            self.close_who_overstayed();
        }
        match self.closing.pop_front() {
            Some((peer_id, connection)) => Poll::Ready(ToSwarm::CloseConnection {
                peer_id,
                connection: CloseConnection::One(connection),
            }),
            None => Poll::Pending,
        }
    }
}
