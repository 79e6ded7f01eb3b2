use std::collections::BTreeSet;

use evchain_protocol::crypto::Hash;
use evchain_protocol::primitives::Height;

/// A transaction that has missed so many blocks is passed on again, then after twice as many.
const FIRST_AFTER: u64 = 8;
/// How often one is passed on again, at most.
const MAX_TIMES: u32 = 8;
/// How many are passed on again after one block.
const MAX_PER_BLOCK: usize = 16;
/// How many are remembered, with those that have become final since.
const MAX_REMEMBERED: usize = 100_000;

/// When which of the clients' transactions are passed on again (M17): whoever leads may not have heard of them.
#[derive(Debug, Default)]
pub(super) struct Repeats(BTreeSet<Repeat>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Repeat {
    due: Height,
    times: u32,
    id: Hash,
}

impl Repeats {
    /// It was passed on first when this was the newest final block.
    pub(super) fn add(&mut self, id: Hash, height: Height) {
        self.remember(Repeat { due: later(height, 0), times: 0, id });
    }

    /// Those to be passed on after the block at this height. What does not wait any more is forgotten.
    pub(super) fn due(&mut self, height: Height, mut waits: impl FnMut(&Hash) -> bool) -> Vec<Hash> {
        let mut due = Vec::new();
        while due.len() < MAX_PER_BLOCK
            && let Some(first) = self.0.first().copied().filter(|first| first.due <= height)
        {
            self.0.remove(&first);
            if !waits(&first.id) {
                continue;
            }
            due.push(first.id);
            let times = first.times.saturating_add(1);
            if times < MAX_TIMES {
                self.remember(Repeat { due: later(height, times), times, id: first.id });
            }
        }
        due
    }

    fn remember(&mut self, repeat: Repeat) {
        if self.0.len() < MAX_REMEMBERED {
            self.0.insert(repeat);
        }
    }
}

fn later(height: Height, times: u32) -> Height {
    height.saturating_add(Height::new(FIRST_AFTER << times.min(MAX_TIMES)))
}

#[cfg(test)]
mod tests;
