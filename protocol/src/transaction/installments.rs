//! Lock installments: the price of a bid in N locks at once (I1 to I4; P21 IV-A).

use serde::{Deserialize, Serialize};

use super::payable::Paying;
use crate::codec::{Decode, Encode, List};
use crate::crypto::{Hash, PublicKey};
use crate::event::Event;
use crate::execute::{ExecuteError, Ledger, Sender};
use crate::payment::{BadInstallmentCount, InstallmentPlan};
use crate::payment::{DepositRule, InstallmentCount};
use crate::primitives::Timestamp;
use crate::primitives::TxRef;
use crate::state::auction::PaymentKinds;
use crate::state::key::{DueItem, StateKey};
use crate::state::payment::MAX_INSTALLMENTS_LEN;
use crate::state::payment::{ChainLock, HashLocks, Payment};
use crate::state::value::StateValue;
use crate::tagged_enum;

/// Locks the price of a bid in installments. The transaction's name is the payment's.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct LockInstallments {
    /// Which of the sender's requests.
    pub request: TxRef,
    /// Whose bid.
    pub producer: PublicKey,
    /// What becomes of an unclaimed deposit.
    pub deposit: DepositRule,
    /// The locks, whose number is N.
    pub locks: InstallmentLocks,
}

/// What unlocks the installments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstallmentLocks {
    /// A hash for each, `y_k = H(r_k)`.
    Hashes(List<Hash, MAX_INSTALLMENTS_LEN>),
    /// One hash chain for all.
    Chain(ChainAnchor),
}

tagged_enum!(InstallmentLocks { 0 => Hashes(List<Hash, MAX_INSTALLMENTS_LEN>), 1 => Chain(ChainAnchor) });

/// A hash chain that nothing of was shown yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct ChainAnchor {
    /// See [`HashChain`](crate::hash_chain::HashChain).
    pub anchor: Hash,
    /// N, the chain's number of links.
    pub count: InstallmentCount,
}

/// Why a payment in installments breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages name the fields
pub enum InstallmentsReason {
    /// I2
    #[error(transparent)]
    Count(#[from] BadInstallmentCount),
    /// I3
    #[error("the deposit's refund at {until} is not after the block's time, {now}")]
    RefundPassed { until: Timestamp, now: Timestamp },
    /// I3
    #[error("the deposit's refund at {until} is not before the window's start, {start}")]
    RefundAfterStart { until: Timestamp, start: Timestamp },
}

impl LockInstallments {
    /// N.
    fn count(&self) -> Result<InstallmentCount, BadInstallmentCount> {
        match &self.locks {
            InstallmentLocks::Hashes(hashes) => {
                InstallmentCount::new(u32::try_from(hashes.len()).unwrap_or(u32::MAX))
            }
            InstallmentLocks::Chain(chain) => Ok(chain.count),
        }
    }

    pub(super) fn check(&self) -> Result<(), InstallmentsReason> {
        // I2, the part that shows alone
        self.count()?;
        Ok(())
    }

    pub(super) fn apply(&self, sender: Sender, ledger: &mut Ledger<'_>) -> Result<(), ExecuteError> {
        let count = self.count().map_err(InstallmentsReason::Count)?;
        let kind = match self.locks {
            InstallmentLocks::Hashes(_) => PaymentKinds::HASHES,
            InstallmentLocks::Chain(_) => PaymentKinds::CHAIN,
        };
        // I1, I2
        let paying = Paying { request: self.request, producer: self.producer, kind, count };
        let (request, bid) = paying.check(sender.key, ledger)?;
        // I3
        let (start, now) = (request.window.start, ledger.block.time);
        match self.deposit {
            DepositRule::Refund(until) if until <= now => {
                return Err(InstallmentsReason::RefundPassed { until, now }.into());
            }
            DepositRule::Refund(until) if until >= start => {
                return Err(InstallmentsReason::RefundAfterStart { until, start }.into());
            }
            DepositRule::Refund(_) | DepositRule::Forfeit => {}
        }
        let payment = Payment {
            consumer: sender.key,
            producer: self.producer,
            request: self.request,
            plan: InstallmentPlan {
                price: bid.price,
                count,
                window: request.window,
                deposit: self.deposit,
                claim_margin: ledger.block.params.claim_margin,
            },
            cancel_by: bid.cancel_by,
            installments_paid: 0,
            locks: self.locks.unsettled(),
        };
        // I4
        paying.pay(sender, request, &bid, ledger)?;
        let name = sender.name;
        ledger.reschedule(DueItem::Payment(name), None, payment.next_deadline());
        ledger.state.put(StateKey::Payment(name), StateValue::Payment(payment));
        ledger.emit(Event::PaymentLocked {
            payment: name,
            request: self.request,
            consumer: sender.key,
            producer: self.producer,
            price: bid.price,
            installments: count,
        });
        Ok(())
    }
}

impl InstallmentLocks {
    fn unsettled(&self) -> HashLocks {
        match self {
            Self::Hashes(hashes) => HashLocks::Hashes(hashes.map(|hash| Some(*hash))),
            Self::Chain(chain) => HashLocks::Chain(ChainLock { anchor: chain.anchor, settled: 0 }),
        }
    }
}
