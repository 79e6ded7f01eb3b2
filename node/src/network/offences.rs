//! How long peers that broke the rules are refused.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use libp2p::PeerId;
use lru::LruCache;

use super::config::NetworkLimits;

/// How often the peers seen last have broken the rules.
#[derive(Debug)]
pub(super) struct Offences {
    of_peers: LruCache<PeerId, Offence>,
    first: Duration,
    longest: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Offence {
    count: u32,
    /// When the peer is or was admitted again.
    until: Instant,
}

impl Offences {
    const MAX_REMEMBERED: NonZeroUsize = NonZeroUsize::new(1_024).unwrap();

    pub(super) fn new(limits: &NetworkLimits) -> Self {
        let first = Duration::from_millis(limits.ban_ms);
        let longest = Duration::from_millis(limits.ban_max_ms).max(first);
        Self { of_peers: LruCache::new(Self::MAX_REMEMBERED), first, longest }
    }

    /// Until when a peer is refused that has just broken the rules: twice as long as the time before, unless it
    /// has kept them for the longest such time since. While it is refused the time stays: what it sent before is
    /// no further offence.
    pub(super) fn add(&mut self, peer: PeerId, now: Instant) -> Instant {
        let past = self.of_peers.get(&peer).copied();
        if let Some(past) = past.filter(|past| now < past.until) {
            return past.until;
        }
        let recent = past.filter(|past| now.duration_since(past.until) < self.longest);
        let count = recent.map_or(0, |past| past.count);
        let factor = 2_u32.checked_pow(count).unwrap_or(u32::MAX);
        let until = now + self.first.saturating_mul(factor).min(self.longest);
        self.of_peers.put(peer, Offence { count: count.saturating_add(1), until });
        until
    }
}
