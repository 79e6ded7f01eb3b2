//! Rates for each peer or host, as token buckets.

use std::hash::Hash;
use std::num::NonZeroUsize;
use std::time::Instant;

use libp2p::PeerId;
use lru::LruCache;

use super::config::RateLimit;

/// What to do with a message under its sender's rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admit {
    /// Within the rate.
    Yes,
    /// Above it: drop the message.
    Drop,
    /// Far above it: disconnect the sender.
    Disconnect,
}

/// The rate of one peer: a bucket for the rate, one for its multiple.
#[derive(Debug)]
pub(super) struct Rate {
    allowed: Bucket,
    tolerated: Bucket,
}

impl Rate {
    pub(super) fn new(limit: RateLimit, now: Instant) -> Self {
        let times = |value: u32| f64::from(value) * f64::from(limit.excess.max(1));
        Self {
            allowed: Bucket::new(f64::from(limit.per_second), f64::from(limit.burst), now),
            tolerated: Bucket::new(times(limit.per_second), times(limit.burst), now),
        }
    }

    pub(super) fn admit(&mut self, now: Instant) -> Admit {
        if !self.tolerated.take(now) {
            Admit::Disconnect
        } else if self.allowed.take(now) {
            Admit::Yes
        } else {
            Admit::Drop
        }
    }
}

/// The rates of peers.
pub(super) type PeerRates = Rates<PeerId>;

/// The rates of the peers, or hosts, that were seen last. They outlive connections, so that reconnecting
/// does not refill a bucket.
#[derive(Debug)]
pub(super) struct Rates<K: Hash + Eq> {
    limit: RateLimit,
    rates: LruCache<K, Rate>,
}

impl<K: Hash + Eq + Copy> Rates<K> {
    const MAX_TRACKED: NonZeroUsize = NonZeroUsize::new(1_024).unwrap();

    pub(super) fn new(limit: RateLimit) -> Self {
        Self { limit, rates: LruCache::new(Self::MAX_TRACKED) }
    }

    pub(super) fn admit(&mut self, key: &K, now: Instant) -> Admit {
        let limit = self.limit;
        self.rates.get_or_insert_mut(*key, || Rate::new(limit, now)).admit(now)
    }
}

#[derive(Debug)]
struct Bucket {
    per_second: f64,
    size: f64,
    tokens: f64,
    filled_at: Instant,
}

impl Bucket {
    fn new(per_second: f64, size: f64, now: Instant) -> Self {
        Self { per_second, size, tokens: size, filled_at: now }
    }

    fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.filled_at).as_secs_f64();
        self.tokens = (self.tokens + passed * self.per_second).min(self.size);
        self.filled_at = now;
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }
}
