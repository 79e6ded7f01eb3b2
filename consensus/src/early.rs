//! Messages of the next epoch that came before this node got there (`docs/protocol.md`, E7). Without them it
//! would miss the first view of each epoch that others enter a moment earlier.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use evchain_protocol::authority::MAX_AUTHORITIES;
use evchain_protocol::crypto::PublicKey;

use crate::message::Message;
use crate::mutations::{Breakage, broken};

/// The most messages kept of one peer: a proposal, some votes and some certificates.
const MAX_PER_PEER: usize = 8;

/// The most bytes kept of the current authorities, most of whom are the next ones too.
const AUTHORITIES_BYTES: usize = 24 * 1024 * 1024;

/// The most other peers of whom messages are kept, some of whom may be the next authorities.
const MAX_OTHERS: usize = 16;

/// The most bytes kept of them.
const OTHERS_BYTES: usize = 8 * 1024 * 1024;

/// The most bytes kept in all.
pub(crate) const MAX_EARLY_BYTES: usize = AUTHORITIES_BYTES + OTHERS_BYTES;

/// The first messages of each peer. Those of the current authorities have room of their own, so that
/// nobody else can take it.
#[derive(Debug)]
pub(crate) struct EarlyMessages {
    authorities: Room,
    others: Room,
}

impl Default for EarlyMessages {
    fn default() -> Self {
        Self {
            authorities: Room::new(MAX_AUTHORITIES, AUTHORITIES_BYTES),
            others: Room::new(MAX_OTHERS, OTHERS_BYTES),
        }
    }
}

impl EarlyMessages {
    /// The number of messages.
    pub(crate) fn len(&self) -> usize {
        self.authorities.len().saturating_add(self.others.len())
    }

    /// Their size, in bytes: measured, not as it was counted when they came.
    pub(crate) fn bytes(&self) -> usize {
        let kept = self.authorities.by_peer.values().chain(self.others.by_peer.values());
        let messages = kept.flat_map(|kept| &kept.messages);
        messages.filter_map(|(_, message)| size_bytes(message)).fold(0, usize::saturating_add)
    }

    /// Keeps a message, if there is room and it can be of use.
    pub(crate) fn keep(&mut self, from: PublicKey, is_authority: bool, message: Message) {
        let Some(mut bytes) = size_bytes(&message).filter(|_| !broken(Breakage::DropEarly)) else { return };
        if let Message::Proposal(proposal) = &message
            && broken(Breakage::CountNoEnvelopes)
        {
            bytes = proposal.block.size_hint();
        }
        let room = if is_authority { &mut self.authorities } else { &mut self.others };
        room.keep(from, bytes, message);
    }

    /// Takes everything out, what the authorities sent first.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = (PublicKey, Message)> + use<> {
        let Self { authorities, others } = std::mem::take(self);
        let peers = authorities.by_peer.into_iter().chain(others.by_peer);
        peers.flat_map(|(from, kept)| kept.messages.into_iter().map(move |(_, message)| (from, message)))
    }
}

/// The size of a message that can be of use early, in bytes.
fn size_bytes(message: &Message) -> Option<usize> {
    let behind = match message {
        Message::Proposal(proposal) => proposal.size_hint(),
        Message::Vote(_) => 0,
        Message::Certificate(certificate) => certificate.size_hint(),
        _ => return None,
    };
    Some(behind.saturating_add(size_of::<Message>()))
}

/// Room for some peers' messages.
#[derive(Debug)]
struct Room {
    max_peers: usize,
    max_bytes: usize,
    by_peer: BTreeMap<PublicKey, Kept>,
    bytes: usize,
    /// Peers that ever got a place.
    arrivals: u64,
}

/// One peer's messages.
#[derive(Debug)]
struct Kept {
    /// Its place in the order in which peers came.
    arrival: u64,
    bytes: usize,
    /// Each with its size, in bytes.
    messages: Vec<(usize, Message)>,
}

impl Room {
    const fn new(max_peers: usize, max_bytes: usize) -> Self {
        Self { max_peers, max_bytes, by_peer: BTreeMap::new(), bytes: 0, arrivals: 0 }
    }

    fn len(&self) -> usize {
        self.by_peer.values().map(|kept| kept.messages.len()).fold(0, usize::saturating_add)
    }

    /// Keeps a peer's first messages. A new peer takes the place of the one that came first: the
    /// messages that came last are the likeliest to be of use, since the epoch is about to begin.
    fn keep(&mut self, from: PublicKey, bytes: usize, message: Message) {
        let keeps_all = broken(Breakage::KeepAllEarly);
        let held = self.by_peer.get(&from);
        let is_full = held.is_some_and(|kept| kept.messages.len() >= MAX_PER_PEER);
        let of_peer = held.map_or(0, |kept| kept.bytes).saturating_add(bytes);
        if !keeps_all && (is_full || !self.make_room(from, bytes, of_peer)) {
            return;
        }
        if !self.by_peer.contains_key(&from) {
            if self.by_peer.len() >= self.max_peers && !keeps_all {
                let first = self.by_peer.iter().min_by_key(|(_, kept)| kept.arrival).map(|(peer, _)| *peer);
                if let Some(peer) = first {
                    self.forget(peer);
                }
            }
            self.arrivals = self.arrivals.saturating_add(1);
        }
        let arrival = self.arrivals;
        let kept = self.by_peer.entry(from).or_insert(Kept { arrival, bytes: 0, messages: Vec::new() });
        kept.bytes = kept.bytes.saturating_add(bytes);
        kept.messages.push((bytes, message));
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Who holds most gives way to who would still hold less with what it brings; its last message leaves
    /// first. Tells whether there is room then.
    fn make_room(&mut self, from: PublicKey, bytes: usize, of_peer: usize) -> bool {
        while self.bytes.saturating_add(bytes) > self.max_bytes {
            let others = self.by_peer.iter_mut().filter(|(peer, _)| **peer != from);
            let Some((peer, kept)) = others.max_by_key(|(_, kept)| kept.bytes) else { return false };
            if kept.bytes <= of_peer {
                return false;
            }
            let peer = *peer;
            let Some((freed, _)) = kept.messages.pop() else { return false };
            kept.bytes = kept.bytes.saturating_sub(freed);
            self.bytes = self.bytes.saturating_sub(freed);
            if kept.messages.is_empty() {
                self.forget(peer);
            }
        }
        true
    }

    fn forget(&mut self, peer: PublicKey) {
        if let Some(kept) = self.by_peer.remove(&peer) {
            self.bytes = self.bytes.saturating_sub(kept.bytes);
        }
    }
}
