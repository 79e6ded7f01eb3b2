//! Whom to dial, and when: bootstrap peers and authorities forever, other known peers a few times.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use evchain_protocol::crypto::PublicKey;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

use super::config::NetworkLimits;
use super::identity::key_of_peer;
use crate::host::Host;

/// Addresses that are kept for one peer, beside those that it announced.
const MAX_ADDRESSES: usize = 4;

/// Dials of a peer that is neither bootstrap peer nor authority, before it is forgotten.
const MAX_ATTEMPTS: u32 = 8;

/// Pauses that double with each failure, up to a maximum.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    initial: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    pub(super) fn new(limits: &NetworkLimits) -> Self {
        let initial = Duration::from_millis(limits.retry_initial_ms.max(1));
        Self { initial, max: Duration::from_millis(limits.retry_max_ms).max(initial), failures: 0 }
    }

    /// The pause after one more failure.
    pub(super) fn next_pause(&mut self) -> Duration {
        let factor = 2_u32.checked_pow(self.failures).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        self.initial.saturating_mul(factor).min(self.max)
    }

    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// The peers whose addresses are known.
#[derive(Debug)]
pub(super) struct PeerBook {
    peers: BTreeMap<PeerId, Known>,
    authorities: BTreeSet<PeerId>,
    backoff: Backoff,
    max_known: usize,
}

#[derive(Debug)]
struct Known {
    /// Configured, or seen.
    addresses: Vec<Multiaddr>,
    /// What an authority has signed to be its addresses.
    announced: Vec<Multiaddr>,
    is_bootstrap: bool,
    backoff: Backoff,
    /// When to dial; `None` while connected or while a dial is under way.
    dial_at: Option<Instant>,
}

impl PeerBook {
    /// A book that holds the bootstrap peers, to be dialed at once.
    pub(super) fn new(
        bootstrap: impl IntoIterator<Item = (PeerId, Multiaddr)>,
        limits: &NetworkLimits,
        now: Instant,
    ) -> Self {
        let backoff = Backoff::new(limits);
        let (peers, authorities) = (BTreeMap::new(), BTreeSet::new());
        let mut book = Self { peers, authorities, backoff, max_known: limits.max_known_peers };
        for (peer, address) in bootstrap {
            let known = book.entry(peer);
            known.is_bootstrap = true;
            known.dial_at = Some(now);
            remember(&mut known.addresses, address);
        }
        book
    }

    /// Sets who is dialed until the end of time, beside the bootstrap peers, once an address is known.
    pub(super) fn set_authorities(&mut self, authorities: BTreeSet<PeerId>) {
        for former in self.authorities.difference(&authorities) {
            if let Some(known) = self.peers.get_mut(former) {
                known.announced.clear();
            }
        }
        self.authorities = authorities;
    }

    /// Remembers an address of a connected peer, if there is room.
    pub(super) fn learn(&mut self, peer: PeerId, address: Multiaddr) {
        let is_new = !self.peers.contains_key(&peer);
        if is_new && !self.authorities.contains(&peer) && self.temporary() >= self.max_known && !self.evict()
        {
            return;
        }
        remember(&mut self.entry(peer).addresses, address);
    }

    /// Remembers where an authority says that it is, in place of what it said before.
    pub(super) fn announced(&mut self, authority: PeerId, addresses: Vec<Multiaddr>) {
        let known = self.entry(authority);
        if known.announced != addresses {
            known.announced = addresses;
            known.backoff.reset();
        }
    }

    /// Authorities that can be dialed.
    pub(super) fn authorities(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.authorities.iter().filter(|peer| self.peers.contains_key(peer)).copied()
    }

    /// The hosts at which bootstrap peers and authorities are known to be.
    pub(super) fn lasting_hosts(&self) -> BTreeSet<Host> {
        self.peers
            .iter()
            .filter(|(peer, known)| !self.is_temporary(peer, known))
            .flat_map(|(_, known)| known.addresses.iter().chain(&known.announced))
            .filter_map(Host::of)
            .collect()
    }

    /// Dials a known peer that is not connected, now unless it is due later anyway.
    pub(super) fn want(&mut self, peer: &PeerId, now: Instant) {
        if let Some(known) = self.peers.get_mut(peer) {
            known.dial_at.get_or_insert(now);
        }
    }

    /// There is a connection: nothing to dial.
    pub(super) fn connected(&mut self, peer: &PeerId) {
        if let Some(known) = self.peers.get_mut(peer) {
            known.dial_at = None;
            known.backoff.reset();
        }
    }

    /// The last connection has ended, or a dial has failed: dial again after a pause.
    pub(super) fn lost(&mut self, peer: &PeerId, now: Instant) {
        let is_authority = self.authorities.contains(peer);
        let Some(known) = self.peers.get_mut(peer) else { return };
        if !known.is_bootstrap && !is_authority && known.backoff.failures >= MAX_ATTEMPTS {
            self.peers.remove(peer);
            return;
        }
        known.dial_at = Some(now + known.backoff.next_pause());
    }

    /// When the next dial is due.
    pub(super) fn next_dial(&self) -> Option<Instant> {
        self.peers.values().filter_map(|known| known.dial_at).min()
    }

    /// The peers that are to be dialed now, with their addresses. Each is either `connected` or
    /// `lost` later.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let mut due = Vec::new();
        for (peer, known) in &mut self.peers {
            if known.dial_at.is_some_and(|at| at <= now) {
                known.dial_at = None;
                let mut addresses = known.announced.clone();
                addresses
                    .extend(known.addresses.iter().filter(|own| !known.announced.contains(own)).cloned());
                due.push((*peer, addresses));
            }
        }
        due
    }

    fn entry(&mut self, peer: PeerId) -> &mut Known {
        self.peers.entry(peer).or_insert_with(|| Known {
            addresses: Vec::new(),
            announced: Vec::new(),
            is_bootstrap: false,
            backoff: self.backoff.clone(),
            dial_at: None,
        })
    }

    fn is_temporary(&self, peer: &PeerId, known: &Known) -> bool {
        !known.is_bootstrap && !self.authorities.contains(peer)
    }

    fn temporary(&self) -> usize {
        self.peers.iter().filter(|(peer, known)| self.is_temporary(peer, known)).count()
    }

    /// Forgets a peer that is not connected, if there is one.
    fn evict(&mut self) -> bool {
        let is_unreachable =
            |(peer, known): &(&PeerId, &Known)| self.is_temporary(peer, known) && known.backoff.failures > 0;
        let peer = self.peers.iter().find(is_unreachable).map(|(peer, _)| *peer);
        peer.is_some_and(|peer| self.peers.remove(&peer).is_some())
    }
}

fn remember(addresses: &mut Vec<Multiaddr>, address: Multiaddr) {
    if !addresses.contains(&address) && addresses.len() < MAX_ADDRESSES {
        addresses.push(address);
    }
}

/// The peer in an address's last part.
pub(super) fn peer_in(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}

/// The key in an address's last part, where that names a peer of this network.
pub fn key_in(address: &Multiaddr) -> Option<PublicKey> {
    peer_in(address).and_then(|peer| key_of_peer(&peer).ok())
}

/// Whether `claimed`, which a peer says it listens on, is at the host that the peer connected
/// from. Others are not remembered: anybody could make this node dial anybody.
pub(super) fn is_same_host(claimed: &Multiaddr, seen: &Multiaddr) -> bool {
    let host = |address: &Multiaddr| {
        address
            .iter()
            .next()
            .filter(|part| matches!(part, Protocol::Ip4(_) | Protocol::Ip6(_)))
            .map(Protocol::acquire)
    };
    let has_port = matches!(claimed.iter().nth(1), Some(Protocol::Tcp(port)) if port > 0);
    has_port && host(claimed).is_some() && host(claimed) == host(seen)
}
