//! How often one host may connect. Each connection costs a handshake, and libp2p keeps a few
//! bytes for each that was ever established, so their number over time is bounded too.

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Instant;

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};

use super::config::RateLimit;
use super::limits::{Admit, Rates};
use crate::host::Host;

/// Refuses inbound connections of hosts that connect too often, before their handshake.
pub(super) struct Arrivals {
    rates: Rates<Host>,
}

/// A host connects too often.
#[derive(Debug, thiserror::Error)]
#[error("too many connections from this host in a short time")]
struct TooManyArrivals;

impl Arrivals {
    pub(super) fn new(limit: RateLimit) -> Self {
        Self { rates: Rates::new(limit) }
    }
}

impl NetworkBehaviour for Arrivals {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        // TCP listeners report nothing but IP addresses.
        let Some(host) = Host::of(remote) else { return Ok(()) };
        match self.rates.admit(&host, Instant::now()) {
            Admit::Yes => Ok(()),
            Admit::Drop | Admit::Disconnect => Err(ConnectionDenied::new(TooManyArrivals)),
        }
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

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}
