//! Money locked behind hashes: single locks, and payments in installments.

use serde::{Deserialize, Serialize};

use crate::codec::{Decode, Encode, List};
use crate::crypto::{Hash, PublicKey};
use crate::payment::{InstallmentPlan, MAX_INSTALLMENTS};
use crate::primitives::{Amount, Timestamp, TxRef};
use crate::tagged_enum;

/// A single lock: HTLC(A, B, x, y, t) of P21 II-B.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Lock {
    /// A, who gets the money back at the deadline.
    pub payer: PublicKey,
    /// B, who gets it for the preimage.
    pub payee: PublicKey,
    /// x.
    pub amount: Amount,
    /// y = H(r).
    pub hash: Hash,
    /// t. A claim in a block of this time is too late.
    pub deadline: Timestamp,
}

/// The longest list of installments, for the type of lists.
pub const MAX_INSTALLMENTS_LEN: usize = MAX_INSTALLMENTS as usize;

/// What unlocks a payment's installments, and which are settled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HashLocks {
    /// A hash for each installment; none where it is settled.
    Hashes(List<Option<Hash>, MAX_INSTALLMENTS_LEN>),
    /// One hash chain. Claims and deadlines both settle from the front.
    Chain(ChainLock),
}

tagged_enum!(HashLocks { 0 => Hashes(List<Option<Hash>, MAX_INSTALLMENTS_LEN>), 1 => Chain(ChainLock) });

/// A hash chain's anchor and how far it is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct ChainLock {
    /// H applied k+1 times to the link of installment k.
    pub anchor: Hash,
    /// Installments below this index are settled.
    pub settled: u32,
}

/// A payment in installments under way. It leaves the state when all are settled (I9).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Payment {
    /// Who pays.
    pub consumer: PublicKey,
    /// Who is paid.
    pub producer: PublicKey,
    /// For which request.
    pub request: TxRef,
    /// Amounts and deadlines.
    pub plan: InstallmentPlan,
    /// The bid's: before this the consumer can cancel.
    pub cancel_by: Timestamp,
    /// How many installments went to the producer so far: claimed, or forfeited.
    pub installments_paid: u32,
    /// The locks.
    pub locks: HashLocks,
}

impl Payment {
    /// Whether installment `index` was claimed, refunded or forfeited, or does not exist.
    pub fn is_settled(&self, index: u32) -> bool {
        match &self.locks {
            HashLocks::Hashes(hashes) => {
                let lock = usize::try_from(index).ok().and_then(|index| hashes.get(index));
                lock.is_none_or(Option::is_none)
            }
            HashLocks::Chain(chain) => index < chain.settled || index >= self.plan.count.get(),
        }
    }

    /// Gives an installment to the producer. Along a hash chain it is the first unsettled one.
    pub(crate) fn pay(&mut self, index: u32) {
        self.settle(index);
        self.installments_paid = self.installments_paid.saturating_add(1);
    }

    /// Gives an installment back to the consumer. Along a hash chain it is the first unsettled one.
    pub(crate) fn refund(&mut self, index: u32) {
        self.settle(index);
    }

    fn settle(&mut self, index: u32) {
        match &mut self.locks {
            HashLocks::Hashes(hashes) => {
                if let Some(lock) = usize::try_from(index).ok().and_then(|index| hashes.get_mut(index)) {
                    *lock = None;
                }
            }
            HashLocks::Chain(chain) => chain.settled = chain.settled.max(index.saturating_add(1)),
        }
    }

    /// The unsettled installments, in ascending order.
    pub fn unsettled(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.plan.count.get()).filter(|index| !self.is_settled(*index))
    }

    /// When the next unsettled installment settles by itself, if there is one.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.unsettled().next().map(|index| self.plan.deadline(index))
    }

    /// The money that it still holds.
    pub fn held(&self) -> Amount {
        self.unsettled().fold(Amount::ZERO, |sum, index| sum.saturating_add(self.plan.amount(index)))
    }
}
