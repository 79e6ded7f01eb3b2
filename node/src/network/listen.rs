//! The addresses that a swarm listens on, and those who ask for them.

use libp2p::multiaddr::Protocol;
use libp2p::swarm::NetworkBehaviour;
use libp2p::{Multiaddr, Swarm};
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

/// An address of the swarm's own, with its own `/p2p/` part.
pub(super) fn with_own_peer<B: NetworkBehaviour>(swarm: &Swarm<B>, address: Multiaddr) -> Multiaddr {
    address.with(Protocol::P2p(*swarm.local_peer_id()))
}

fn answer<B: NetworkBehaviour>(swarm: &Swarm<B>, reply: oneshot::Sender<Vec<Multiaddr>>) {
    let addresses = swarm.listeners().map(|address| with_own_peer(swarm, address.clone())).collect();
    // Who asked may have given up.
    let _ = reply.send(addresses);
}
