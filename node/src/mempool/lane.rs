use std::cmp::Reverse;
use std::collections::BTreeSet;

use evchain_protocol::primitives::Amount;
use evchain_protocol::transaction::Action;

use super::limits::PoolLimits;

/// What kinds of transactions have a room of their own in the pool (M5) and in each block (M12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// What settles something that is open: a deadline may be near.
    Settlement,
    /// What an authority sends for nothing (G7 of the ledger): it may be what ends a flood.
    Free,
    /// Everything else.
    Other,
}

impl Lane {
    /// The lane of an action, which costs its sender nothing or something.
    pub(super) const fn of(action: &Action, is_free: bool) -> Self {
        if is_free {
            Self::Free
        } else if action.settles() {
            Self::Settlement
        } else {
            Self::Other
        }
    }
}

/// So many transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Load {
    pub(super) transactions: usize,
    /// Of their encodings.
    pub(super) bytes: usize,
}

impl Load {
    pub(super) const fn with(self, bytes: usize) -> Self {
        Self { transactions: self.transactions.saturating_add(1), bytes: self.bytes.saturating_add(bytes) }
    }

    pub(super) const fn without(self, bytes: usize) -> Self {
        Self { transactions: self.transactions.saturating_sub(1), bytes: self.bytes.saturating_sub(bytes) }
    }

    /// Whether this much may wait where at most `limit` may.
    pub(super) const fn is_within(self, limit: Self) -> bool {
        self.transactions <= limit.transactions && self.bytes <= limit.bytes
    }
}

/// Where a transaction stands among those that are ready, from the one that is proposed first and
/// leaves last to the one that is proposed last and leaves first (M6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// The height at which it came, or one above its sender's transaction before it: whoever sends many
    /// waits with the later ones until others had their turn.
    pub(super) turn: u64,
    /// The fee for as much room as [`PLACE_BYTES`].
    pub(super) price: Reverse<u64>,
    /// How many came before it.
    pub(super) arrival: u64,
}

/// The room in a block that a short transaction is taken to use up, since blocks have a limit on their
/// number too: bytes of a block by transactions of a block, as the chain's defaults have it.
const PLACE_BYTES: u64 = 512;

/// What a transaction pays for as much room as [`PLACE_BYTES`].
pub(super) fn price_of(fee: Amount, bytes: usize) -> Reverse<u64> {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX).max(PLACE_BYTES);
    Reverse(fee.get().saturating_mul(PLACE_BYTES) / bytes)
}

/// The ready transactions of one lane.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) limit: Load,
    pub(super) load: Load,
    pub(super) ranks: BTreeSet<Rank>,
}

/// A room for each lane.
#[derive(Debug)]
pub(super) struct Rooms {
    settlements: Room,
    free: Room,
    others: Room,
}

impl Rooms {
    pub(super) fn new(limits: &PoolLimits) -> Self {
        let room = |lane| Room { limit: limits.room(lane), load: Load::default(), ranks: BTreeSet::new() };
        Self { settlements: room(Lane::Settlement), free: room(Lane::Free), others: room(Lane::Other) }
    }

    pub(super) const fn get(&self, lane: Lane) -> &Room {
        match lane {
            Lane::Settlement => &self.settlements,
            Lane::Free => &self.free,
            Lane::Other => &self.others,
        }
    }

    pub(super) const fn get_mut(&mut self, lane: Lane) -> &mut Room {
        match lane {
            Lane::Settlement => &mut self.settlements,
            Lane::Free => &mut self.free,
            Lane::Other => &mut self.others,
        }
    }
}
