//! Who the authorities are, where they are, and keeping in touch with them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use evchain_protocol::crypto::{ChainId, KeyPair, PublicKey};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

use super::NetworkTask;
use crate::clock;
use crate::network::announcement::{MAX_ANNOUNCED, announce};
use crate::network::event::{NetworkEvent, Verdict};
use crate::network::identity::peer_of_key;
use crate::network::protocols::Topic;

/// The pause after the first announcement, which doubles: neighbours may not have come to the epoch in
/// which this node is an authority.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause, after which whoever came meanwhile has heard of everybody.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// With fewer peers an observer connects to authorities of which it has heard.
const MIN_PEERS: usize = 3;

/// Tells others, now and then, where this node is.
pub(in crate::network) struct Announcer {
    keys: KeyPair,
    chain: ChainId,
    /// What the operator wants to be told; if nothing, where the node listens.
    configured: Vec<Multiaddr>,
    due: Instant,
    pause: Duration,
}

impl Announcer {
    pub(in crate::network) fn new(keys: KeyPair, chain: ChainId, configured: Vec<Multiaddr>) -> Self {
        Self { keys, chain, configured, due: Instant::now(), pause: FIRST_PAUSE }
    }

    /// The node's own key.
    pub(super) fn key(&self) -> PublicKey {
        self.keys.public_key()
    }

    /// When to announce again.
    pub(super) const fn due(&self) -> Instant {
        self.due
    }

    /// Announces soon, and often at first.
    pub(super) fn start_over(&mut self, now: Instant) {
        self.due = now;
        self.pause = FIRST_PAUSE;
    }

    /// The record, where this node can be reached at all.
    fn record<'a>(
        &mut self,
        listening: impl Iterator<Item = &'a Multiaddr>,
        now: Instant,
    ) -> Option<Vec<u8>> {
        self.due = now + self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        let addresses =
            if self.configured.is_empty() { reachable(listening) } else { self.configured.clone() };
        (!addresses.is_empty()).then(|| announce(&self.keys, self.chain, clock::now(), &addresses))
    }
}

/// The addresses of a listening node that are of use to others: those of this machine alone only
/// where there are no others.
fn reachable<'a>(listening: impl Iterator<Item = &'a Multiaddr>) -> Vec<Multiaddr> {
    let is_local = |address: &Multiaddr| match address.iter().next() {
        Some(Protocol::Ip4(host)) => host.is_loopback(),
        Some(Protocol::Ip6(host)) => host.is_loopback(),
        _ => false,
    };
    let (local, public): (Vec<_>, Vec<_>) = listening.cloned().partition(is_local);
    let mut addresses = if public.is_empty() { local } else { public };
    addresses.truncate(MAX_ANNOUNCED);
    addresses
}

impl NetworkTask {
    pub(super) fn set_authorities(&mut self, authorities: Vec<PublicKey>) {
        let own = *self.swarm.local_peer_id();
        let authorities: BTreeSet<PublicKey> = authorities.into_iter().collect();
        let peers: BTreeSet<PeerId> =
            authorities.iter().filter_map(|key| peer_of_key(key).ok()).filter(|peer| *peer != own).collect();
        let former = self.links.watch_authorities().borrow().clone();
        self.book.set_authorities(peers);
        self.announcements.keep_only(&authorities);
        if *former != authorities {
            self.announcer.start_over(Instant::now());
        }
        self.links.set_authorities(authorities, |peer| self.peers.contains_key(peer));
        self.reserve_places();
        self.swarm.behaviour_mut().door.look_again();
        self.seek_authorities();
    }

    /// Takes a record from gossip or from what the node kept.
    pub(super) fn take_announcement(&mut self, bytes: Vec<u8>) -> Verdict {
        let authorities = self.links.watch_authorities().borrow().clone();
        let taken = self.announcements.take(&bytes, clock::now(), &authorities);
        match taken {
            Ok((authority, addresses)) => {
                tracing::debug!(%authority, ?addresses, "an authority has said where it is");
                if authority != self.announcer.key()
                    && let Ok(peer) = peer_of_key(&authority)
                {
                    self.book.announced(peer, addresses);
                    self.reserve_places();
                    self.seek_authorities();
                    self.report(NetworkEvent::AddressAnnounced { authority, record: bytes });
                }
                Verdict::Accept
            }
            Err(refused) => {
                tracing::debug!(reason = %refused, "not taking a record of where an authority is");
                self.metrics.dropped(refused.label());
                if refused.is_forwarders_fault() { Verdict::Reject } else { Verdict::Ignore }
            }
        }
    }

    /// An authority says where it is, and whoever is not looks for peers.
    pub(super) fn announce_if_due(&mut self, now: Instant) {
        if self.announcer.due() > now {
            return;
        }
        let record = self.announcer.record(self.swarm.listeners(), now);
        if let Some(record) = record.filter(|_| self.takes_part()) {
            self.publish(Topic::Addresses, vec![record]);
        }
        self.seek_authorities();
    }

    /// Authorities keep connections to all others; observers to a few, so that none is cut off when
    /// the peers end that its operator named.
    pub(super) fn seek_authorities(&mut self) {
        let now = Instant::now();
        let missing: Vec<PeerId> =
            self.book.authorities().filter(|peer| !self.peers.contains_key(peer)).collect();
        let count =
            if self.takes_part() { missing.len() } else { MIN_PEERS.saturating_sub(self.peers.len()) };
        for peer in missing.iter().take(count) {
            self.book.want(peer, now);
        }
    }

    fn takes_part(&self) -> bool {
        self.links.is_authority(&self.announcer.key())
    }
}
