use evchain_protocol::authority::MAX_AUTHORITIES;
use evchain_protocol::primitives::{Amount, Nonce};
use evchain_protocol::transaction::MAX_TRANSACTION_BYTES;
use serde::Deserialize;

use super::lane::{Lane, Load};

/// Bytes of one sender's transactions that wait behind a gap (M7): one of the longest, or many short ones.
pub(super) const MAX_SENDER_GAP_BYTES: usize = 64 * 1024;
/// Bytes of one authority's free transactions (M4).
pub(super) const MAX_FREE_BYTES: usize = 128 * 1024;

/// The limits of the pool (`docs/mempool.md`, M4, M5 and M7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PoolLimits {
    /// Transactions that are ready for a block; authorities' free ones come on top.
    pub max_transactions: usize,
    /// Bytes of their encodings.
    pub max_bytes: usize,
    /// Transactions of one sender, which is also how far a nonce may run ahead of the account's.
    pub max_per_sender: usize,
    /// Bytes of one sender's transactions.
    pub max_sender_bytes: usize,
    /// Transactions that wait behind a gap.
    pub max_gaps: usize,
    /// Bytes of their encodings.
    pub max_gap_bytes: usize,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self {
            max_transactions: 50_000,
            max_bytes: 64 * 1024 * 1024,
            max_per_sender: 64,
            max_sender_bytes: 256 * 1024,
            max_gaps: 4_096,
            max_gap_bytes: 4 * 1024 * 1024,
        }
    }
}

impl PoolLimits {
    /// What a lane has room for: settlements a quarter, others the rest. That of the authorities' free
    /// ones is never full, since it has room for each authority's share.
    pub(super) fn room(&self, lane: Lane) -> Load {
        let settlements = Load {
            transactions: self.max_transactions / 4,
            bytes: (self.max_bytes / 4).max(MAX_TRANSACTION_BYTES),
        };
        match lane {
            Lane::Settlement => settlements,
            Lane::Free => {
                let share = self.free_share();
                Load {
                    transactions: share.transactions.saturating_mul(MAX_AUTHORITIES),
                    bytes: share.bytes.saturating_mul(MAX_AUTHORITIES),
                }
            }
            Lane::Other => Load {
                transactions: self.max_transactions.saturating_sub(settlements.transactions),
                bytes: self.max_bytes.saturating_sub(settlements.bytes).max(MAX_TRANSACTION_BYTES),
            },
        }
    }

    /// What one authority may have waiting for nothing.
    pub(super) fn free_share(&self) -> Load {
        Load { transactions: self.max_per_sender, bytes: MAX_FREE_BYTES }
    }

    /// What may wait behind gaps.
    pub(super) fn gaps(&self) -> Load {
        Load { transactions: self.max_gaps, bytes: self.max_gap_bytes.max(MAX_TRANSACTION_BYTES) }
    }
}

/// Why the pool did not take a transaction. It may be valid all the same, later or elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// It is waiting already.
    #[error("the transaction is already waiting for a block")]
    Known,
    /// Another transaction of this sender waits with this nonce, and this one may not replace it (M8).
    #[error("another transaction of this sender with nonce {0} is already waiting for a block")]
    NonceTaken(Nonce),
    /// The nonce is further ahead than the pool keeps.
    #[error("nonce {given} is too far ahead: the account's next is {next}, and at most {max} may wait")]
    NonceTooFar {
        /// The transaction's.
        given: Nonce,
        /// The account's.
        next: Nonce,
        /// The limit.
        max: usize,
    },
    /// The sender has as many bytes waiting as the pool keeps of one.
    #[error(
        "the sender has {waiting} bytes of transactions waiting, of at most {max}: try again when they are final"
    )]
    SenderFull {
        /// What waits.
        waiting: usize,
        /// The limit.
        max: usize,
    },
    /// The sender could not pay for all that it would have waiting (M3).
    #[error(
        "the balance of {balance} does not cover {needed}, which this and what else of the sender waits may cost"
    )]
    NotCovered {
        /// The account's balance.
        balance: Amount,
        /// What all would cost.
        needed: Amount,
    },
    /// Enough wait to do the same, of which one has to become final (M18).
    #[error(
        "{0} others wait already to post as new a state of this channel, or to report this: see in a moment whether one is final"
    )]
    Contested(usize),
    /// The pool is full of what is not worse (M6): so many of the same lane wait.
    #[error("the node has {0} transactions of this kind waiting and takes no more: try again in a moment")]
    Full(usize),
}
