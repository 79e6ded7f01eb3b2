//! Rates for each peer or host, as token buckets.

use std::collections::BTreeMap;
use std::time::Instant;

use libp2p::PeerId;

use super::config::RateLimit;

/// What to do with a message under its sender's rate, the mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
        self.admit_units(1, now)
    }

    /// The same for something that counts as so many, such as bytes.
    pub(super) fn admit_units(&mut self, units: u32, now: Instant) -> Admit {
        if !self.tolerated.take(units, now) {
            Admit::Disconnect
        } else if self.allowed.take(units, now) {
            Admit::Yes
        } else {
            Admit::Drop
        }
    }

    /// Whether forgetting it changes nothing: a new rate is full too.
    fn is_full(&self, now: Instant) -> bool {
        self.allowed.is_full(now) && self.tolerated.is_full(now)
    }
}

/// The rates of peers.
pub(super) type PeerRates = Rates<PeerId>;

/// The rates of peers or hosts. They outlive connections, so that reconnecting does not refill a bucket; nor
/// does coming under many names, since only full buckets are ever forgotten: whoever finds no room for a
/// bucket shares one with all others who come as late.
#[derive(Debug)]
pub(super) struct Rates<K> {
    limit: RateLimit,
    buckets: BTreeMap<K, Rate>,
    latecomers: Option<Rate>,
}

impl<K: Ord + Copy> Rates<K> {
    pub(super) const MAX_TRACKED: usize = 1_024;

    pub(super) fn new(limit: RateLimit) -> Self {
        Self { limit, buckets: BTreeMap::new(), latecomers: None }
    }

    pub(super) fn admit(&mut self, key: &K, now: Instant) -> Admit {
        self.admit_units(key, 1, now)
    }

    /// The same for something that counts as so many, such as bytes.
    pub(super) fn admit_units(&mut self, key: &K, units: u32, now: Instant) -> Admit {
        let limit = self.limit;
        if !self.buckets.contains_key(key) && self.buckets.len() >= Self::MAX_TRACKED {
            self.buckets.retain(|_, rate| !rate.is_full(now));
            if self.buckets.len() >= Self::MAX_TRACKED {
                let shared = self.latecomers.get_or_insert_with(|| Rate::new(limit, now));
                // Nobody is to blame alone for what all of them do.
                return match shared.admit_units(units, now) {
                    Admit::Yes => Admit::Yes,
                    Admit::Drop | Admit::Disconnect => Admit::Drop,
                };
            }
        }
        self.buckets.entry(*key).or_insert_with(|| Rate::new(limit, now)).admit_units(units, now)
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

    fn take(&mut self, units: u32, now: Instant) -> bool {
        self.tokens = self.tokens_at(now);
        self.filled_at = now;
        let enough = self.tokens >= f64::from(units);
        if enough {
            self.tokens -= f64::from(units);
        }
        enough
    }

    fn is_full(&self, now: Instant) -> bool {
        self.tokens_at(now) >= self.size
    }

    fn tokens_at(&self, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.filled_at).as_secs_f64();
        (self.tokens + passed * self.per_second).min(self.size)
    }
}
