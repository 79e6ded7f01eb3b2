//! The addresses that a swarm listens on, and those who ask for them.

use std::io;
use std::net::{IpAddr, SocketAddr};

use libp2p::multiaddr::Protocol;
use libp2p::swarm::NetworkBehaviour;
use libp2p::{Multiaddr, Swarm};
use socket2::{Domain, Socket, Type};
use tokio::sync::oneshot;

use super::error::StartError;

/// Questions that wait for the first address; more are dropped.
const MAX_WAITING: usize = 64;

/// Answers where a swarm listens: at once, or when the system has given the first address.
pub(super) struct ListenAddresses {
    is_expected: bool,
    waiting: Vec<oneshot::Sender<Vec<Multiaddr>>>,
}

impl ListenAddresses {
    /// Starts to listen on these addresses.
    pub(super) fn start<B: NetworkBehaviour>(
        swarm: &mut Swarm<B>,
        addresses: impl IntoIterator<Item = Multiaddr>,
    ) -> Result<Self, StartError> {
        let mut is_expected = false;
        let addresses: Vec<Multiaddr> = addresses.into_iter().collect();
        // All of them before the first: two of the own addresses may share a port.
        addresses.iter().try_for_each(refuse_taken)?;
        for address in addresses {
            swarm
                .listen_on(address.clone())
                .map_err(|error| StartError::Listen { address, reason: error.to_string() })?;
            is_expected = true;
        }
        Ok(Self { is_expected, waiting: Vec::new() })
    }

    /// Answers, now or later.
    pub(super) fn tell<B: NetworkBehaviour>(
        &mut self,
        swarm: &Swarm<B>,
        reply: oneshot::Sender<Vec<Multiaddr>>,
    ) {
        if self.is_expected && swarm.listeners().next().is_none() {
            if self.waiting.len() < MAX_WAITING {
                self.waiting.push(reply);
            }
        } else {
            answer(swarm, reply);
        }
    }

    /// There is a new address.
    pub(super) fn on_new_address<B: NetworkBehaviour>(&mut self, swarm: &Swarm<B>) {
        for reply in self.waiting.drain(..) {
            answer(swarm, reply);
        }
    }
}

/// Refuses a port on which somebody listens. libp2p would share it with any other program of this user that
/// shares its ports, such as a second node, and the system would hand each connection to one of them.
fn refuse_taken(address: &Multiaddr) -> Result<(), StartError> {
    let mut parts = address.iter();
    let ip = match parts.next() {
        Some(Protocol::Ip4(ip)) => IpAddr::V4(ip),
        Some(Protocol::Ip6(ip)) => IpAddr::V6(ip),
        _ => return Ok(()),
    };
    match parts.next() {
        Some(Protocol::Tcp(port)) if port > 0 => bind_alone(SocketAddr::new(ip, port)).map_err(|error| {
            let reason = match error.kind() {
                io::ErrorKind::AddrInUse => format!(
                    "port {port} is in use by another program, perhaps by a second node: stop that one, or \
                         choose another port with --listen"
                ),
                _ => error.to_string(),
            };
            StartError::Listen { address: address.clone(), reason }
        }),
        _ => Ok(()),
    }
}

/// Binds the address without sharing it, and lets go of it. Connections of a process that has ended, which the
/// system remembers for a minute, are not in the way.
fn bind_alone(address: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())
}

/// An address of the swarm's own, with its own `/p2p/` part.
pub(super) fn with_own_peer<B: NetworkBehaviour>(swarm: &Swarm<B>, address: Multiaddr) -> Multiaddr {
    address.with(Protocol::P2p(*swarm.local_peer_id()))
}

fn answer<B: NetworkBehaviour>(swarm: &Swarm<B>, reply: oneshot::Sender<Vec<Multiaddr>>) {
    let addresses = swarm.listeners().map(|address| with_own_peer(swarm, address.clone())).collect();
    // Who asked may have given up.
    let _ = reply.send(addresses);
}
