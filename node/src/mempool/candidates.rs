use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use evchain_protocol::crypto::PublicKey;
use evchain_protocol::execute::Filled;
use evchain_protocol::primitives::Nonce;
use evchain_protocol::transaction::{MAX_TRANSACTION_BYTES, VerifiedTransaction};

use super::handle::MempoolHandle;
use super::lane::Rank;
use crate::chain::BlockLimits;

/// Candidates that the pool gives at a time: a full block and what stands in the blocks before it.
pub(super) const BATCH: usize = 8_192;

/// Settlements have this part of a block first.
const SETTLEMENTS_SHARE: usize = 2;
/// What authorities send for nothing has this part of a block first.
const FREE_SHARE: usize = 8;

/// Some of the pool's candidates, each in the order of its rank.
#[derive(Debug, Default)]
pub struct Batch {
    /// Authorities' free ones that wait for nothing else of their senders'.
    pub free: Vec<Arc<VerifiedTransaction>>,
    /// Settlements that wait for nothing else of their senders'.
    pub settlements: Vec<Arc<VerifiedTransaction>>,
    /// All, those above among them.
    pub rest: Vec<Arc<VerifiedTransaction>>,
    /// The rank of the last one, none if the pool has no more.
    pub last: Option<Rank>,
}

/// The candidates for one block, in the order in which a leader tries them (M12): a share of the block for
/// what authorities send for nothing, one for settlements, then all that are left, by rank.
#[derive(Debug)]
pub struct Candidates {
    mempool: MempoolHandle,
    shares: VecDeque<Share>,
    rest: std::vec::IntoIter<Arc<VerifiedTransaction>>,
    last: Option<Rank>,
    /// How far each sender's were given out of the shares.
    given: BTreeMap<PublicKey, Nonce>,
}

#[derive(Debug)]
struct Share {
    candidates: std::vec::IntoIter<Arc<VerifiedTransaction>>,
    room: Filled,
    /// What the block holds when the share is used up; known once its turn has come.
    until: Option<Filled>,
}

impl Candidates {
    pub(super) fn new(mempool: MempoolHandle, first: Batch, limits: BlockLimits) -> Self {
        let share = |candidates: Vec<_>, part: usize| Share {
            candidates: candidates.into_iter(),
            // In the smallest block too, one has room.
            room: Filled {
                transactions: (limits.transactions / part).max(1),
                bytes: (limits.bytes / part).max(MAX_TRANSACTION_BYTES),
            },
            until: None,
        };
        let shares = [share(first.free, FREE_SHARE), share(first.settlements, SETTLEMENTS_SHARE)].into();
        let (rest, last) = (first.rest.into_iter(), first.last);
        Self { mempool, shares, rest, last, given: BTreeMap::new() }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rest.as_slice().is_empty()
    }

    /// Tells the pool what did not fit into the block and may never do so, so that it is looked at at once (M10).
    pub fn report<'a>(&self, rejected: impl Iterator<Item = &'a VerifiedTransaction>) {
        let senders: BTreeSet<PublicKey> = rejected.map(|transaction| *transaction.sender()).collect();
        if !senders.is_empty() {
            self.mempool.suspect(senders.into_iter().collect());
        }
    }

    /// Gives no more of what has a share, so that trying those in vain leaves time for the others.
    pub fn end_shares(&mut self) {
        self.shares.clear();
    }

    /// The next one to try for a block that holds this much already. Waits for the pool where it has to give
    /// more, so it is for threads and not for tasks.
    pub fn next(&mut self, filled: Filled) -> Option<Arc<VerifiedTransaction>> {
        while let Some(share) = self.shares.front_mut() {
            let room = share.room;
            let until = share.until.get_or_insert(Filled {
                transactions: filled.transactions.saturating_add(room.transactions),
                bytes: filled.bytes.saturating_add(room.bytes),
            });
            let has_room = filled.transactions < until.transactions && filled.bytes < until.bytes;
            if let Some(candidate) = share.candidates.next().filter(|_| has_room) {
                self.given.insert(*candidate.sender(), candidate.nonce());
                return Some(candidate);
            }
            self.shares.pop_front();
        }
        loop {
            for candidate in self.rest.by_ref() {
                let given = self.given.get(candidate.sender());
                if given.is_none_or(|given| *given < candidate.nonce()) {
                    return Some(candidate);
                }
            }
            let more = self.mempool.more_candidates(self.last?);
            (self.rest, self.last) = (more.rest.into_iter(), more.last);
        }
    }
}

#[cfg(test)]
mod tests;
