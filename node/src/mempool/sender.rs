use std::collections::BTreeMap;
use std::sync::Arc;

use evchain_protocol::primitives::{Amount, Nonce, Timestamp};
use evchain_protocol::transaction::VerifiedTransaction;

use super::contest::{Contest, Merit};
use super::lane::{Lane, Load, Rank};

/// What one sender has waiting.
#[derive(Debug, Default)]
pub(super) struct Sender {
    /// All of it.
    pub(super) waiting: BTreeMap<Nonce, Waiting>,
    /// The first nonce that is missing: those below are ready, those above wait behind a gap.
    pub(super) end: Nonce,
    /// What all may cost together (M3).
    pub(super) owed: Amount,
    /// Bytes of all.
    pub(super) bytes: usize,
    /// Bytes of those behind a gap.
    pub(super) gap_bytes: usize,
    /// Those that cost nothing.
    pub(super) free: Load,
}

/// One transaction that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) transaction: Arc<VerifiedTransaction>,
    pub(super) lane: Lane,
    pub(super) fee: Amount,
    /// The fee, and what else it is known to take from the account (M3).
    pub(super) cost: Amount,
    pub(super) arrived: Timestamp,
    /// A client of this node sent it, so this node passes it on (M16).
    pub(super) is_own: bool,
    pub(super) place: Place,
}

/// Where a transaction waits.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// For a block.
    Ready(Rank),
    /// For one with a lower nonce, since so many came before it.
    Gap(u64),
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.transaction.encoded_len()
    }

    pub(super) const fn is_ready(&self) -> bool {
        matches!(self.place, Place::Ready(_))
    }

    /// What it contends for with others', if it does (M18).
    pub(super) fn contest(&self) -> Option<(Contest, Merit)> {
        Contest::of(self.transaction.action(), self.lane)
    }

    /// Whether one with this fee and lane may stand in its place (M8).
    pub(super) fn may_be_replaced_by(&self, lane: Lane, fee: Amount) -> bool {
        match (self.lane, lane) {
            (Lane::Other, Lane::Settlement) => true,
            (Lane::Settlement, Lane::Other) => false,
            _ => fee > self.fee && fee >= self.fee.saturating_add(self.fee),
        }
    }
}

impl Sender {
    /// Its first transaction, if it is ready.
    pub(super) fn head(&self) -> Option<&Waiting> {
        self.waiting.values().next().filter(|first| first.is_ready())
    }

    /// The turn of a transaction that becomes ready behind the others.
    pub(super) fn next_turn(&self, height: u64) -> u64 {
        let ready = self.waiting.range(..self.end).next_back();
        match ready.map(|(_, last)| last.place) {
            Some(Place::Ready(rank)) => height.max(rank.turn.saturating_add(1)),
            _ => height,
        }
    }

    /// The first nonce that a balance does not cover any more, together with those before it.
    pub(super) fn first_uncovered(&self, balance: Amount) -> Option<Nonce> {
        if self.owed <= balance {
            return None;
        }
        let mut cost = Amount::ZERO;
        self.waiting.iter().find_map(|(nonce, waiting)| {
            cost = cost.saturating_add(waiting.cost);
            (cost > balance).then_some(*nonce)
        })
    }
}
