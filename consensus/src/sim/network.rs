//! The simulated network: delay, loss, duplication, and so reordering; partitions; slow nodes.

use std::collections::BTreeSet;

use super::rng::Rng;
use crate::message::Message;

/// How good the network is.
#[derive(Debug, Clone, Copy)]
pub struct Quality {
    /// The shortest delay, in ms.
    pub min_delay_ms: u64,
    /// The longest delay, in ms.
    pub max_delay_ms: u64,
    /// Messages lost, in a thousand.
    pub loss_per_mille: u64,
    /// Messages that come twice, in a thousand.
    pub duplicate_per_mille: u64,
}

impl Quality {
    /// Every message comes, within 5 to 20 ms.
    pub const GOOD: Self =
        Self { min_delay_ms: 5, max_delay_ms: 20, loss_per_mille: 0, duplicate_per_mille: 0 };
}

type Filter = Box<dyn FnMut(usize, usize, &Message) -> bool>;

/// A network between numbered nodes.
pub struct Network {
    /// How good it is.
    pub quality: Quality,
    /// (from, to) pairs that are cut.
    cut: BTreeSet<(usize, usize)>,
    /// This node's messages take ten times as long.
    pub slow: Option<usize>,
    /// Tells whether a message from one node to another is delivered. For directed tests.
    filter: Option<Filter>,
}

impl Network {
    /// A network without cuts.
    pub const fn new(quality: Quality) -> Self {
        Self { quality, cut: BTreeSet::new(), slow: None, filter: None }
    }

    /// Cuts one direction.
    pub fn cut(&mut self, from: usize, to: usize) {
        self.cut.insert((from, to));
    }

    /// Cuts both directions between these nodes and the others of `all`.
    pub fn isolate(&mut self, island: &[usize], all: usize) {
        for inside in island {
            for outside in (0..all).filter(|node| !island.contains(node)) {
                self.cut.insert((*inside, outside));
                self.cut.insert((outside, *inside));
            }
        }
    }

    /// Restores every link and removes the filter.
    pub fn heal(&mut self) {
        self.cut.clear();
        self.filter = None;
    }

    /// Delivers only what `filter` says: (from, to, message).
    pub fn set_filter(&mut self, filter: impl FnMut(usize, usize, &Message) -> bool + 'static) {
        self.filter = Some(Box::new(filter));
    }

    /// The delays, in ms, with which a message is delivered: none, one or two.
    pub fn delays(&mut self, rng: &mut Rng, from: usize, to: usize, message: &Message) -> Vec<u64> {
        let passes = self.filter.as_mut().is_none_or(|filter| filter(from, to, message));
        if !passes || self.cut.contains(&(from, to)) || rng.chance(self.quality.loss_per_mille) {
            return Vec::new();
        }
        let factor = if self.slow == Some(from) || self.slow == Some(to) { 10 } else { 1 };
        let mut delays = vec![rng.between(self.quality.min_delay_ms, self.quality.max_delay_ms) * factor];
        if rng.chance(self.quality.duplicate_per_mille) {
            delays.push(rng.between(self.quality.min_delay_ms, self.quality.max_delay_ms * 4));
        }
        delays
    }
}
